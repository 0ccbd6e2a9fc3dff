"""Horizon switched off, after the run with alternative.yml."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture(scope="module", autouse=True)
def off(converge):
    done = converge("--extra-vars=horizon_enabled=false")
    assert done.status == 0, done.errors


def test_what_is_switched_off_leaves_the_host(host):
    assert "app-horizon" not in host.check_output("supervisorctl avail")
    assert not host.file("/etc/supervisor/conf.d/app-horizon.conf").exists
    assert not host.file("/etc/sudoers.d/app-horizon").exists
    assert host.run("pgrep -f 'artisan [h]orizon'").rc == 1
