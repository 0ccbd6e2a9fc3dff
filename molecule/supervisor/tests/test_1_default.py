from __future__ import annotations

import time

testinfra_hosts = ["ansible://role_hosts"]


def test_supervisor_runs_and_comes_back_after_a_boot(host):
    assert host.service("supervisor").is_running
    assert host.service("supervisor").is_enabled


def test_programs_run_as_configured(host):
    status = host.check_output("supervisorctl status").splitlines()
    assert [line.split()[:2] for line in status] == [
        ["clock:clock_00", "RUNNING"],
        ["clock:clock_01", "RUNNING"],
        ["gone:gone_00", "RUNNING"],
    ]
    pid = host.check_output("supervisorctl pid clock:clock_01")
    assert host.check_output("xargs -0 echo < /proc/%s/cmdline", pid) == "sleep 11000"
    assert host.check_output("stat -c %%U /proc/%s", pid) == "nobody"
    assert "GREETING=it's 100% here" in host.check_output("tr '\\0' '\\n' < /proc/%s/environ", pid).splitlines()


def test_a_program_that_dies_is_started_again(host):
    pid = host.check_output("supervisorctl pid clock:clock_00")
    host.run_test("kill -KILL %s", pid)
    deadline = time.monotonic() + 10
    while (again := host.run("supervisorctl pid clock:clock_00").stdout.strip()) in (pid, "0", ""):
        assert time.monotonic() < deadline
    assert again.isdigit()


def test_only_root_commands_supervisor(host):
    socket = host.file("/run/supervisor.sock")
    assert (socket.user, socket.group, socket.mode) == ("root", "root", 0o700)
    assert "supervisord" not in host.check_output("ss -Hltnp")
    assert host.file("/etc/supervisor/conf.d/clock.conf").mode == 0o640


def test_a_stop_waits_for_programs_and_leaves_none(host):
    shown = host.check_output("systemctl show -p TimeoutStopUSec -p KillMode supervisor").splitlines()
    assert sorted(shown) == ["KillMode=mixed", "TimeoutStopUSec=infinity"]
