"""What is said of each host after a release that failed."""

from __future__ import annotations

from ansible_collections.slipway.laravel.plugins.filter.release_fleet import release_fleet


def fleet(**hosts):
    return release_fleet(list(hosts), {host: {"__release_revert": result} for host, result in hosts.items()})


def test_host_that_was_left_shut_is_said_to_be():
    (app1, app2) = fleet(
        app1={"current": "A", "phases": [{"phase": "revert", "reverted": False, "shut": True}]},
        app2={"current": "B", "phases": [{"phase": "revert", "reverted": True}]},
    )
    assert (app1["shut"], app1["text"]) == (True, "app1: live is A, and shut")
    assert (app2["shut"], app2["reverted"], app2["text"]) == (False, True, "app2: live is B")


def test_release_that_another_run_keeps_from_going_back_is_not_said_to_be_well():
    (app1, app2) = fleet(
        app1={"current": "B", "phases": [{"phase": "revert", "reverted": False, "lost": "taken"}]},
        app2={"current": "A", "phases": [{"phase": "revert", "reverted": True}]},
    )
    assert (app1["lost"], app1["text"]) == (
        "taken",
        "app1: live is B, not proven, for another run has taken the lock",
    )
    assert app2["lost"] == ""


def test_what_was_not_carried_out_tells_nothing():
    assert [host["reached"] for host in fleet(app1={}, app2={"skipped": True})] == [False, False]
