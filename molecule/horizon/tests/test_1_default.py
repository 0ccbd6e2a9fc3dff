from __future__ import annotations

import time

testinfra_hosts = ["ansible://role_hosts"]


def wait_for(ready, seconds=15):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


NAME = "app-horizon:app-horizon_00"


def master(host):
    words = host.run("supervisorctl status %s", NAME).stdout.split()
    return words[3].strip(",") if words[1:2] == ["RUNNING"] else None


def workers(host):
    return host.run("pgrep -f 'artisan queue:work redis$'").stdout.split()


def test_one_master_and_its_workers_run_in_the_current_release(host):
    pid = wait_for(lambda: master(host))
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == "php artisan horizon"
    for process in [pid, *wait_for(lambda: len(found := workers(host)) == 2 and found)]:
        assert host.check_output("readlink /proc/%s/cwd", process) == "/var/www/app/releases/r1"
        assert host.check_output("stat -c %%U /proc/%s", process) == "deploy"
    assert "stopwaitsecs=60\n" in host.file("/etc/supervisor/conf.d/app-horizon.conf").content_string


def test_a_master_that_dies_is_started_again(host):
    pid = master(host)
    host.run_test("kill -KILL %s", pid)
    assert wait_for(lambda: master(host) not in (None, pid))
    wait_for(lambda: len(workers(host)) == 2)


def test_a_stop_waits_for_the_job_in_hand_and_leaves_nothing(host):
    jobs = "/var/www/app/shared/jobs"
    wait_for(lambda: master(host))
    host.run_test("cd %s && echo 3 >slow.new && chown deploy slow.new && mv slow.new slow.job", jobs)
    wait_for(lambda: host.file(f"{jobs}/slow.taken").exists)
    host.run_test("supervisorctl stop app-horizon:*")
    assert host.file(f"{jobs}/slow.done").exists
    assert workers(host) == []


def test_the_user_may_start_it_and_nothing_else(host):
    def asks(*words):
        return host.run("runuser -u deploy -- sudo -n /usr/bin/supervisorctl " + "%s " * len(words), *words).rc

    assert asks("start", "app-horizon:*") == 0
    assert master(host)
    assert [asks("stop", "app-horizon:*"), asks("restart", "app-horizon:*"), asks("start", "all")] == [1, 1, 1]
