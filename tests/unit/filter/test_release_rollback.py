"""Where a rollback goes, which snapshot belongs to that, and what is refused."""

from __future__ import annotations

from itertools import permutations

import pytest
from ansible_collections.slipway.laravel.plugins.filter.release_rollback import release_rollback


def host(*history, bad=(), releases=None, snapshots=(), migrated=(), current=None):
    """What preflight found: "A X A" as what was live in turn, "A@5" at a certain minute; snapshots as "X@3"."""
    names = [word.split("@")[0] for word in history]
    times = [int(word.partition("@")[2] or 10 * number) for number, word in enumerate(history)]
    taken = [snapshot.split("@") for snapshot in snapshots]
    return {
        "current": current or (names[-1] if names else None),
        "history": names,
        "switched_at": [f"2026-01-01T00:{time:02}:00Z" for time in times],
        "releases": sorted(set(names)) if releases is None else list(releases),
        "bad": list(bad),
        "migrated": list(migrated),
        "snapshots": [
            {
                "id": f"s{minute}",
                "release": release,
                "created_at": f"2026-01-01T00:{int(minute):02}:00.000Z",
            }
            for release, minute in taken
        ],
    }


def rollback(*hosts, **options):
    return release_rollback(list(hosts), database=hosts[0], **options)


def refusal(*hosts, **options):
    (problem,) = rollback(*hosts, **options)["problems"]
    return problem


def test_plain_rollback_goes_to_the_release_before():
    assert rollback(host("Z", "A"), host("Z", "A")) == {"target": "Z", "problems": []}
    assert rollback(host("Z", "A", "B", bad=["A"]))["target"] == "Z"
    assert rollback(host("Z", "A", "B", releases=["B", "Z"]))["target"] == "Z"


def test_what_came_after_the_live_one_is_not_before_it():
    assert rollback(host("Z", "A", "X", "A"))["target"] == "Z"


@pytest.mark.parametrize("found", [host("A"), host("A", current="B"), host()])
def test_nothing_to_go_back_to(found):
    found = {**found, "releases": [found["current"]] if found["current"] else []}
    assert rollback(found)["target"] == ""
    assert "there is no earlier release, not marked bad" in refusal(found)


def test_release_that_one_host_has_not_is_no_target():
    assert rollback(host("Z", "A", "B"), host("Z", "A", "B", releases=["Z", "B"]))["target"] == "Z"
    assert "release_rollback_to=A is not on every host" in refusal(host("A", "B"), host("B"), to="A")


SPLIT = [
    [host("Z", "A", "X"), host("Z", "A", releases="AXZ")],
    [host("Z", "A", "X"), host("Z", "A", "X", "A", bad="X")],
    # A rollback that was killed half way.
    [host("Z", "A", "X", "A"), host("Z", "A", "X")],
    # The release before was another tool's: a host that has not switched has no history.
    [host("A", "X"), host(current="A", releases="AX")],
]


@pytest.mark.parametrize("hosts", [list(order) for fleet in SPLIT for order in permutations(fleet)])
@pytest.mark.parametrize("to", ["", "A"])
def test_split_fleet_comes_together_on_what_was_live_before(hosts, to):
    assert rollback(*hosts, to=to) == {"target": "A", "problems": []}


def test_split_fleet_does_not_stay_on_what_was_bad():
    assert rollback(host("Z", "A", "X"), host("Z", "A", bad="A", releases="AXZ"))["target"] == "Z"


# A rollback from X to A that was killed when it had switched, on one of two hosts it may have come to its end.
KILLED = [
    [host("Z", "A", "X", "A") | {"rolled_back_from": "X"}] * 2,
    [host("Z", "A", "X", "A", bad="X"), host("Z", "A", "X", "A") | {"rolled_back_from": "X"}],
]


@pytest.mark.parametrize("hosts", KILLED)
@pytest.mark.parametrize("to", ["", "A"])
def test_killed_rollback_is_finished_by_the_same_again(hosts, to):
    assert rollback(*hosts, to=to) == {"target": "A", "problems": []}
    assert rollback(*hosts, to="Z") == {"target": "Z", "problems": []}


def test_killed_rollback_of_a_database_is_finished_by_the_same_again():
    found = host("Z", "A", "X", "A", migrated="X", snapshots=["X@15"]) | {"rolled_back_from": "X"}
    assert rollback(found, restore=True, confirm="s15") == {"target": "A", "problems": []}
    assert "restoring snapshot s15 for A (which stays live)" in refusal(found, restore=True)


def test_host_with_nothing_but_what_is_live_is_to_be_left_out():
    new, old = host("X"), host("A", "X")
    names = {"hosts": ["web1", "web2", "web3"]}
    assert refusal(new, old, new, **names).endswith(
        "every host has X, live is X; leave out the hosts without one by --limit (web1, web3), or release an earlier "
        "version again"
    )
    assert refusal(new, new, new, **names).endswith("live is X; release an earlier version again")
    assert refusal(new, host("A", "X", bad="A"), old, **names).endswith("live is X; release an earlier version again")


@pytest.mark.parametrize("to", ["Q", "X"])
def test_wrong_target_where_nothing_but_the_live_one_is_left_to_name(to):
    assert refusal(host("X"), host("X"), to=to).endswith(
        "every host has X, live is X; release an earlier version again"
    )
    assert refusal(host("X", current="A"), host("X"), to="Q").endswith("name another one by release_rollback_to")
    assert "name another one" in rollback(host("X"), host("X"), to="Q", restore=True)["problems"][0]


def test_live_everywhere_is_refused():
    assert "release_rollback_to=A is live already on every host" in refusal(host("Z", "A"), host("Z", "A"), to="A")


# With the database

# X took snapshot s15, migrated and failed: before it was live, and after it.
FAILED = [host("Z", "A", snapshots=["X@15"]), host("Z", "A", "X", "A", bad="X", migrated="X", snapshots=["X@15"])]


@pytest.mark.parametrize("found", FAILED)
@pytest.mark.parametrize("to", ["", "A"])
def test_bad_migration_is_taken_back_under_the_release_that_is_live(found, to):
    assert rollback(found, to=to, restore=True, confirm="s15") == {"target": "A", "problems": []}
    said = refusal(found, to=to, restore=True)
    assert "restoring snapshot s15 for A (which stays live) takes the database back to 2026-01-01T00:15" in said
    assert "before X, and everything" in said
    assert said.endswith("-e rollback_confirm=s15")


def test_release_that_was_made_live_by_hand_is_of_no_time_before_what_was_live_last():
    """Nobody noted when A became live again. P was pruned, and its snapshot is older than that."""
    found = host("A", "B", "A", "X@30", migrated="X", snapshots=["P@5", "X@29"])
    found["switched_at"][2] = None
    assert rollback(found, restore=True, to="A", confirm="s29") == {"target": "A", "problems": []}
    said = refusal(found, restore=True, to="A")
    assert "restoring snapshot s29 for A takes the database back" in said
    assert "before X, and everything" in said


RETRIED = [
    host("Z", "A", "Y@20", snapshots=["X@15"]),
    host("Z", "A", "X@16", "A@17", "Y@20", bad="X", migrated="X", snapshots=["X@15"]),
]


@pytest.mark.parametrize("found", RETRIED)
def test_bad_migration_is_taken_back_after_a_release_that_had_nothing_to_migrate(found):
    assert rollback(found, restore=True, confirm="s15") == {"target": "A", "problems": []}
    assert "restoring snapshot s15 for A takes" in refusal(found, restore=True)


def test_release_that_stayed_is_no_bad_migration():
    found = host("Z", "A", "B", migrated="B", snapshots=["B@15"])
    assert rollback(found, restore=True, confirm="s15") == {"target": "A", "problems": []}


def test_first_attempt_counts_and_the_others_are_listed():
    found = host("Z", "A", snapshots=["A@5", "X@15", "Y@16", "@17"])
    said = refusal(found, restore=True)
    assert "restoring snapshot s15 for A" in said
    assert "before X, Y, and everything" in said
    assert said.endswith("in its place: s5 (before A), s16 (before Y), s17 (before no release)")


@pytest.mark.parametrize("confirm", ["s5", "s17"])
def test_any_known_snapshot_can_be_confirmed(confirm):
    found = host("Z", "A", snapshots=["A@5", "X@15", "@17"])
    assert rollback(found, to="Z", restore=True, confirm=confirm)["problems"] == []


def test_unknown_snapshot_is_refused():
    said = refusal(host("Z", "A", snapshots=["X@15"]), restore=True, confirm="s99")
    assert said.startswith("there is no snapshot s99; restoring snapshot s15")


@pytest.mark.parametrize("confirm", ["", "s15"])
def test_managed_snapshot_needs_a_command_that_restores_it(confirm):
    found = host("Z", "A", snapshots=["X@15"])
    found["snapshots"][0]["managed"] = True
    first, *others = rollback(found, restore=True, confirm=confirm)["problems"]
    assert first.startswith("snapshot s15 was taken by release_snapshot_command; name the command")
    assert "release_restore_command" in first
    assert len(others) == (0 if confirm else 1), "at once with what is to be confirmed"
    allowed = rollback(found, restore=True, confirm=confirm, restore_command=["restore", "{snapshot}"])["problems"]
    assert allowed == others


def test_dump_beside_a_managed_snapshot_can_be_restored():
    found = host("Z", "A", snapshots=["X@15", "@17"])
    found["snapshots"][0]["managed"] = True
    assert rollback(found, to="Z", restore=True, confirm="s17")["problems"] == []


def test_snapshot_of_a_later_moment_is_not_offered():
    found = host("A", "B", "C", migrated="BC", snapshots=["C@15"])
    said = refusal(found, to="A", restore=True)
    assert said.startswith("there is no snapshot from before B, the first release after A that migrated")
    assert said.endswith("with -e rollback_restore_snapshot=true -e rollback_confirm=<id>: s15 (before C)")
    assert "restoring snapshot s15" in refusal(found, to="B", restore=True)


def test_release_that_migrated_nothing_needs_no_snapshot():
    assert "restoring snapshot s15" in refusal(
        host("A", "B", "C", migrated="C", snapshots=["C@15"]), to="A", restore=True
    )


def test_numbers_are_whole_names():
    found = host("8", "18", "20261121T013005Z-8", migrated=["18"], snapshots=["18@5", "20261121T013005Z-8@15"])
    assert "restoring snapshot s5 for 8" in refusal(found, to="8", restore=True)
    assert "restoring snapshot s15 for 18" in refusal(found, to="18", restore=True)


def test_no_snapshot_at_all():
    said = refusal(host("Z", "A"), restore=True)
    assert said.startswith("no release is known that migrated after Z was live; the database stays")
    assert "There are no snapshots. They lie on the host that migrated" in said
    assert "There are no snapshots on web2. They lie" in refusal(host("Z", "A"), restore=True, migrate_host="web2")


def test_restore_needs_maintenance():
    options = {"restore": True, "confirm": "s15", "maintenance": "never"}
    assert "release_maintenance=never cannot stand" in refusal(FAILED[0], **options)


def test_split_fleet_with_its_database():
    hosts = [host("Z", "A", "X", snapshots=["X@15"]), host("Z", "A", releases="AXZ")]
    assert rollback(*hosts, restore=True, confirm="s15") == {"target": "A", "problems": []}
    later = [host("Z", "A", releases="AXZ", snapshots=["X@15"]), host("Z", "A", "X")]
    assert "restoring snapshot s15 for A" in refusal(*later, restore=True)


@pytest.mark.parametrize("other", [{}, {"phase": "preflight", "error": "no space"}])
def test_hosts_that_were_not_looked_at(other):
    assert rollback(host("Z", "A"), other, to="Z") == {"target": "", "problems": []}


@pytest.mark.parametrize(
    "flags, keeps, refused",
    [
        ([0, 0, 0], ["maintenance"], "app1, app2"),
        ([1, 0, 0], ["queue", "maintenance"], "app2"),
        # Nobody asks a worker.
        ([1, 1, 0], ["maintenance"], ""),
        ([0, 0, 0], ["queue"], ""),
    ],
)
def test_restore_that_would_open_the_site_is_refused(flags, keeps, refused):
    found = [
        {**host("A", "X", snapshots=["X@5"], migrated=["X"]), "goes_with_a_restore": keeps, "flags": count}
        for count in flags
    ]
    hosts = {"hosts": ["app1", "app2", "worker"], "serving": ["app1", "app2"]}
    problems = rollback(*found, **hosts, restore=True, confirm="s5")["problems"]
    told = f"would open {refused} while it is loaded; let its .env have APP_MAINTENANCE_DRIVER=file"
    assert [told in problem for problem in problems] == ([True] if refused else [])
    assert rollback(*found, **hosts)["problems"] == []


@pytest.mark.parametrize("keeps, told", [(["queue"], True), ([], False)])
def test_jobs_that_come_back_are_told_before_a_restore(keeps, told):
    found = {**host("A", "X", snapshots=["X@5"], migrated=["X"]), "goes_with_a_restore": keeps}
    told_of = "is lost; jobs that were waiting then, also those done since, are run again. If"
    assert (told_of in refusal(found, restore=True)) is told
