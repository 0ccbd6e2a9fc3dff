from __future__ import annotations

import time

testinfra_hosts = ["ansible://role_hosts"]


def wait_for(ready, seconds=15):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_worker_that_left_the_list_left_the_host(host):
    def running():
        return [line.split()[0] for line in host.run("supervisorctl status").stdout.splitlines() if " RUNNING " in line]

    wait_for(lambda: running() == ["app-queue-default:app-queue-default_00", "app-queue-media:app-queue-media_00"])
    assert not host.file("/etc/supervisor/conf.d/app-queue-gone.conf").exists
    assert not host.process.filter(comm="php", user="deploy")


def test_every_option_is_in_effect(host):
    pid = host.check_output("supervisorctl pid app-queue-default:app-queue-default_00")
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == (
        "/usr/bin/php artisan queue:work database --queue=high,low --tries=5 --timeout=100 --sleep=0.5 --memory=128"
        " --max-time=600 --backoff=3,10 --max-jobs=500 --rest=0.1 --force"
    )
    assert host.check_output("stat -c %%U /proc/%s", pid) == "worker"
    assert "APP_ROLE=worker" in host.check_output("tr '\\0' '\\n' < /proc/%s/environ", pid).splitlines()
    assert "stopwaitsecs=105\n" in host.file("/etc/supervisor/conf.d/app-queue-default.conf").content_string
    assert "stopwaitsecs=600\n" in host.file("/etc/supervisor/conf.d/app-queue-media.conf").content_string


def test_workers_of_another_user_may_be_restarted(host):
    allowed = host.check_output("sudo -l -U worker").split("commands on")[1].splitlines()[1:]
    assert [line.split("NOPASSWD: ")[1].replace("\\", "") for line in allowed] == [
        "/usr/bin/supervisorctl start app-queue-default:*",
        "/usr/bin/supervisorctl restart app-queue-media:*",
    ]
    before = host.check_output("supervisorctl pid app-queue-media:app-queue-media_00")
    host.run_test("runuser -u worker -- sudo -n /usr/bin/supervisorctl restart 'app-queue-media:*'")
    assert host.check_output("supervisorctl pid app-queue-media:app-queue-media_00") != before
