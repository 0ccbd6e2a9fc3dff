"""Reverb switched off, after the run with alternative.yml."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture(scope="module", autouse=True)
def off(converge):
    done = converge("--extra-vars=reverb_enabled=false")
    assert done.status == 0, done.errors


def test_what_is_switched_off_leaves_the_host(host):
    assert "app-reverb" not in host.check_output("supervisorctl avail")
    assert not host.file("/etc/supervisor/conf.d/app-reverb.conf").exists
    assert not host.file("/etc/sudoers.d/app-reverb").exists
    assert ":8081" not in host.check_output("ss -Hltn")
