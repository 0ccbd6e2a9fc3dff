"""Back to cron, after the run with alternative.yml."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture(scope="module", autouse=True)
def back(converge):
    done = converge()
    assert done.status == 0, done.errors


def test_cron_takes_the_place_of_the_timer(host):
    assert host.file("/etc/cron.d/app").exists
    assert host.run("systemctl is-active app-scheduler.timer").stdout.strip() == "inactive"
    assert not host.file("/etc/systemd/system/timers.target.wants/app-scheduler.timer").exists


def test_a_second_entry_is_noticed(host, converge):
    host.run_test("echo '* * * * * root php /var/www/app/current/artisan schedule:run' >/etc/cron.d/by-hand")
    found = converge(f"--limit={host.backend.host}")
    host.run_test("rm /etc/cron.d/by-hand")
    assert found.status != 0
    assert any("/etc/cron.d/by-hand: remove what is not this role's" in error for error in found.errors)
