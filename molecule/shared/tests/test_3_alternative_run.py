"""The run with alternative.yml, onto the host that has the defaults; test_3_*.py of the scenario see what it did.

A second run without changes is proven with the defaults; here it is check mode that has to find nothing to do.
"""

from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_check_mode_reports_no_change(converge_alternative):
    checked = converge_alternative("--check", "--diff")
    assert checked.status == 0, checked.errors
    assert checked.changed == 0, checked.changes


def test_no_unit_failed(host):
    failed = host.check_output("systemctl --failed --plain --no-legend").splitlines()
    # The kernel of a container's machine hears no auditd but its own.
    assert [line for line in failed if not line.startswith("audit")] == []
