from __future__ import annotations

import time

testinfra_hosts = ["ansible://role_hosts"]


def wait_for(ready, seconds=15):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def workers(host):
    """Process ids by name."""
    lines = host.run("supervisorctl status").stdout.splitlines()
    return {line.split()[0]: line.split()[3].strip(",") for line in lines if " RUNNING " in line}


def test_workers_run_in_the_current_release(host):
    running = wait_for(lambda: len(found := workers(host)) == 3 and found)
    assert sorted(running) == [f"app-queue-{name}" for name in ("default:app-queue-default_00",)] + [
        "app-queue-default:app-queue-default_01",
        "app-queue-gone:app-queue-gone_00",
    ]
    pid = running["app-queue-default:app-queue-default_00"]
    assert host.check_output("readlink /proc/%s/cwd", pid) == "/var/www/app/releases/r1"
    assert host.check_output("stat -c %%U /proc/%s", pid) == "deploy"
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == (
        "php artisan queue:work --queue=default --tries=3 --timeout=30 --sleep=1 --memory=256 --max-time=3600"
    )


def test_a_worker_that_dies_is_started_again(host):
    name = "app-queue-default:app-queue-default_00"
    pid = workers(host)[name]
    host.run_test("kill -KILL %s", pid)
    assert wait_for(lambda: workers(host).get(name) not in (None, pid))


def test_a_stop_waits_for_the_job_in_hand(host):
    jobs = "/var/www/app/shared/jobs"
    wait_for(lambda: len(workers(host)) == 3)
    host.run_test("cd %s && echo 3 >slow.new && chown deploy slow.new && mv slow.new slow.job", jobs)
    wait_for(lambda: host.file(f"{jobs}/slow.taken").exists)
    host.run_test("supervisorctl stop app-queue-default:* app-queue-gone:*")
    assert workers(host) == {}
    assert host.file(f"{jobs}/slow.done").exists


def test_the_user_may_start_its_workers_and_nothing_else(host):
    def asks(*words):
        return host.run("runuser -u deploy -- sudo -n /usr/bin/supervisorctl " + "%s " * len(words), *words).rc

    assert asks("start", "app-queue-default:*") == 0
    assert asks("start", "app-queue-gone:*") == 0
    assert len(workers(host)) == 3
    refused = [
        ("stop", "app-queue-default:*"),
        ("start", "app-queue-default:x"),
        ("start", "app-queue-default:*", "all"),
        ("start", "all"),
        ("shutdown",),
    ]
    assert [asks(*words) for words in refused] == [1] * len(refused)
    found = host.file("/etc/sudoers.d/app-queue")
    assert (found.user, found.mode) == ("root", 0o440)
