"""What holds for every role once it has configured its host. Check mode there is tried with the alternative."""

from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
