from __future__ import annotations

import time

testinfra_hosts = ["ansible://role_hosts"]


def wait_for(ready, seconds=10):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_what_left_the_list_left_the_host(host):
    status = host.check_output("supervisorctl status").splitlines()
    assert [line.split()[0] for line in status] == ["both:chatter_00", "both:clock", "ears:ears_00"]
    assert not host.file("/etc/supervisor/conf.d/gone.conf").exists
    assert not host.process.filter(args="sleep 1000")


def test_options_of_a_program_are_in_effect(host):
    pid = host.check_output("supervisorctl pid both:clock")
    assert host.check_output("readlink /proc/%s/cwd", pid) == "/opt"
    assert host.check_output("grep Umask /proc/%s/status", pid).split()[1] == "0077"
    assert host.check_output("grep 'open files' /proc/%s/limits", pid).split()[3] == "8192"
    assert 'WHERE=in "the" lab' in host.check_output("tr '\\0' '\\n' < /proc/%s/environ", pid).splitlines()
    assert host.file("/var/log/supervisor/tick.log").exists
    assert host.file("/var/log/supervisor/clock.err.log").exists


def test_supervisord_is_limited_as_configured(host):
    pid = host.check_output("supervisorctl pid")
    assert host.check_output("grep 'open files' /proc/%s/limits", pid).split()[3] == "2048"
    assert "TimeoutStopUSec=10min" in host.check_output("systemctl show -p TimeoutStopUSec supervisor")


def test_logs_are_rotated(host):
    log = "/var/log/supervisor/chatter.log"
    wait_for(lambda: host.file(f"{log}.2").exists)
    assert host.file(f"{log}.1").size < 2048
    assert not host.file(f"{log}.3").exists


def test_the_listener_hears_of_an_end(host):
    host.run_test("supervisorctl restart both:clock")
    host.run_test("kill -KILL $(supervisorctl pid both:chatter_00)")
    wait_for(lambda: "chatter" in host.run("cat /tmp/heard").stdout)


def test_who_may_command_supervisor(host):
    socket = host.file("/run/supervisor.sock")
    assert (socket.user, socket.group, socket.mode) == ("www-data", "adm", 0o770)
    answer = "curl -so /dev/null -w '%%{http_code}' %s http://127.0.0.1:9001/"
    assert host.check_output(answer, "-q") == "401"
    assert host.check_output(answer, "-uboss:a-secret") == "200"
    assert "a-secret" not in host.file("/etc/supervisor/supervisord.conf").content_string


def test_sudo_permits_exactly_what_is_listed(host):
    def asks(*words):
        return host.run("runuser -u www-data -- sudo -n /usr/bin/supervisorctl " + "%s " * len(words), *words).rc

    allowed = host.check_output("sudo -l -U www-data").split("commands on")[1].splitlines()[1:]
    assert [line.split("NOPASSWD: ")[1].replace("\\", "") for line in allowed] == [
        "/usr/bin/supervisorctl restart both:*",
    ]
    assert asks("restart", "both:*") == 0
    assert [asks("stop", "both:*"), asks("restart", "both:clock"), asks("restart", "both:*", "x")] == [1, 1, 1]
