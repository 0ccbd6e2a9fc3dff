"""What the role release works out for a whole fleet, rendered as a run of Ansible does."""

from __future__ import annotations

import pytest

NEW = "r9"


def fleet(role, preflights, **given):
    """The role on the first of these hosts; each has what its preflight found."""
    hosts = list(preflights)
    found = {host: {"__release_preflight": {"phases": [phase]}} for host, phase in preflights.items()}
    first = preflights[hosts[0]]
    return role(
        "release",
        hostvars=found,
        ansible_play_hosts_all=hosts,
        group_names=[],
        __release_id=NEW,
        __release_preflight={"current": first.get("current"), "phases": [first]},
        **given,
    )


@pytest.mark.parametrize(
    ("first", "second", "before"),
    [
        ({"current": "r2", "rollback_target": "r1"}, {"current": "r2"}, "r2"),
        ({"current": None, "rollback_target": None}, {"current": None}, ""),
        # A killed run had switched this host, or all of them, and nobody has proven what it made live.
        ({"current": "r2", "rollback_target": "r1", "unproven": "r2"}, {"current": "r1"}, "r1"),
        ({"current": "r2", "rollback_target": "r1", "unproven": "r2"}, {"current": "r2", "unproven": "r2"}, "r1"),
        # Its very first release: with the others to nothing, but never from all that there is to nothing.
        ({"current": "r2", "rollback_target": None, "unproven": "r2"}, {"current": None}, ""),
        ({"current": "r2", "rollback_target": None, "unproven": "r2"}, {"current": "r2", "unproven": "r2"}, "r2"),
        # This run goes on with the killed one.
        ({"current": NEW, "rollback_target": "r1", "unproven": NEW}, {"current": "r1"}, "r1"),
        ({"current": NEW, "rollback_target": None, "unproven": NEW}, {"current": NEW, "unproven": NEW}, ""),
        # A rollback that goes where this run would go back to.
        ({"current": "r2", "rollback_target": NEW, "unproven": "r2"}, {"current": "r2", "unproven": "r2"}, "r2"),
    ],
)
def test_where_a_failed_release_goes_back_to(role, first, second, before):
    assert fleet(role, {"web1": first, "web2": second}).value("__release_before") == before
