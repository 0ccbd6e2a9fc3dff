from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]
BEATS = "/var/www/app/shared/beats"


def test_the_timer_took_the_place_of_cron(host):
    assert not host.file("/etc/cron.d/app").exists
    assert host.service("app-scheduler.timer").is_running
    assert host.service("app-scheduler.timer").is_enabled
    assert host.check_output("systemctl show -p TimersCalendar --value app-scheduler.timer").count("OnCalendar=") == 1


def test_the_unit_runs_the_scheduler_as_the_user(host):
    host.run_test("chown media %s", BEATS)
    before = host.check_output("cat %s", BEATS).count("\n")
    host.run_test("systemctl start app-scheduler.service")
    assert host.check_output("cat %s", BEATS).count("\n") > before
    log = host.file("/var/log/shop/schedule.log")
    assert "Running scheduled commands" in log.content_string
    assert (log.user, log.mode) == ("media", 0o640)
    host.run_test("logrotate --debug /etc/logrotate.d/app-scheduler")
    assert not host.file("/etc/logrotate.d/app-scheduler").contains("app-scheduler.log")
