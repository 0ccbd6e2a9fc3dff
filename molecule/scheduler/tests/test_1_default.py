from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]
BEATS = "/var/www/app/shared/beats"


def entry(host):
    (line,) = [
        line for line in host.file("/etc/cron.d/app").content_string.splitlines() if line.startswith("* * * * *")
    ]
    return line.removeprefix("* * * * * ").split(" ", 1)


def test_cron_runs_and_reads_the_entry(host):
    assert host.service("cron").is_running
    assert host.service("cron").is_enabled
    found = host.file("/etc/cron.d/app")
    assert (found.user, found.group, found.mode) == ("root", "root", 0o644)


def test_the_line_of_the_entry_runs_the_scheduler_as_the_user(host):
    user, command = entry(host)
    assert user == "deploy"
    # As cron does: its shell, its environment, the user's rights.
    before = len(host.run("cat %s", BEATS).stdout.splitlines())
    done = host.run("su -s /bin/sh %s -c 'exec env -i HOME=/ PATH=/usr/bin:/bin /bin/sh -c \"$0\"' %s", user, command)
    assert (done.rc, done.stdout, done.stderr) == (0, "", "")
    assert len(host.check_output("cat %s", BEATS).splitlines()) > before
    log = host.file("/var/log/app-scheduler.log")
    assert "Running scheduled commands" in log.content_string
    assert (log.user, log.group, log.mode) == ("deploy", "adm", 0o640)


def test_the_log_is_rotated_and_goes_on(host):
    host.run_test("logrotate --force /etc/logrotate.d/app-scheduler")
    log = host.file("/var/log/app-scheduler.log")
    assert (log.user, log.group, log.mode, log.size) == ("deploy", "adm", 0o640, 0)
    assert host.file("/var/log/app-scheduler.log.1").size > 0


def test_nothing_happens_before_the_first_release(host):
    user, command = entry(host)
    elsewhere = command.replace("/var/www/app/current", "/var/www/none/current")
    done = host.run("su -s /bin/sh %s -c %s", user, elsewhere)
    assert (done.rc, done.stdout, done.stderr) == (0, "", "")
