"""What holds for every role once it has configured its host."""

from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_check_mode_reports_no_change(converge):
    checked = converge("--check", "--diff")
    assert checked.status == 0, checked.errors
    assert checked.changed == 0, checked.changes


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
