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


def well(target):
    return {"target": target, "problems": [], "notes": []}


def refusal(*hosts, **options):
    (problem,) = rollback(*hosts, **options)["problems"]
    return problem


def test_plain_rollback_goes_to_the_release_before():
    assert rollback(host("Z", "A"), host("Z", "A")) == well("Z")
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
    assert rollback(*hosts, to=to) == well("A")


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
    assert rollback(*hosts, to=to) == well("A")
    assert rollback(*hosts, to="Z") == well("Z")


def test_killed_rollback_of_a_database_is_finished_by_the_same_again():
    found = host("Z", "A", "X", "A", migrated="X", snapshots=["X@15"]) | {"rolled_back_from": "X"}
    assert rollback(found, restore=True, confirm="s15") == well("A")
    assert "restoring snapshot s15 for A (which stays live)" in refusal(found, restore=True)


def test_host_with_nothing_but_what_is_live_is_to_be_left_out():
    new, old = host("X"), host("A", "X")
    names = {"hosts": ["web1", "web2", "web3"]}
    assert refusal(new, old, new, **names).endswith(
        "every host has X, live is X; release A again, on all hosts: release.yml -e release_version=<its commit>; or "
        "take web1, web3 out of the load balancer, where X goes on serving, and add --limit 'web2'"
    )
    assert refusal(new, new, new, **names).endswith("live is X; release an earlier version again")
    assert refusal(new, host("A", "X", bad="A"), old, **names).endswith("live is X; release an earlier version again")


def test_host_without_a_release_is_in_no_load_balancer():
    old, joined, fresh = host("A", "X"), host("X"), host()
    assert refusal(old, fresh, hosts=["app1", "app2"]).endswith(
        "live is X on app1, none on app2; release A again, on all hosts: release.yml -e release_version=<its commit>; "
        "or add --limit 'app1'"
    )
    assert refusal(old, joined, fresh, hosts=["app1", "app2", "app3"]).endswith(
        "; or take app2 out of the load balancer, where X goes on serving, and add --limit 'app1'"
    )


@pytest.mark.parametrize("to", ["Q", "X"])
def test_wrong_target_where_nothing_but_the_live_one_is_left_to_name(to):
    assert refusal(host("X"), host("X"), to=to).endswith(
        "every host has X, live is X; release an earlier version again"
    )
    assert refusal(host("X", current="A"), host("X"), to="Q").endswith("name another one by release_rollback_to")
    assert "name another one" in rollback(host("X"), host("X"), to="Q", restore=True)["problems"][0]


def test_hosts_with_nothing_in_common_are_told_as_they_are():
    """A host that was brought up by itself has the same commit under another id."""
    old = host("A", "X") | {"commits": {"A": "a" * 40, "X": "b" * 40}}
    new = host("Y") | {"commits": {"Y": "b" * 40}}
    assert refusal(old, new, hosts=["app1", "app2"]) == (
        "there is no earlier release, not marked bad, that was live on every host; every host has no release in "
        "common, live is X on app1, Y on app2; release A again, on all hosts: release.yml -e release_version="
        f"{'a' * 40}; or take app2 out of the load balancer, where Y goes on serving, and add --limit 'app1'"
    )


LEAPS = [
    # Releases on one host alone, by --limit.
    [host("R1", "R2", "R3", "R4", "R5"), host("R1", "R5")],
    [host("R1", "R2", "R3", "R4"), host("R1", "R4", "R1")],
    [host("R1", "R2", "R7"), host("R1", "R7")],
]


@pytest.mark.parametrize("hosts", [list(order) for fleet in LEAPS for order in permutations(fleet)])
def test_what_is_not_the_release_before_on_each_host_is_refused(hosts):
    longest = max(hosts, key=lambda found: len(found["releases"]))
    before = longest["releases"][-2]
    names = ["app1", "app2"] if hosts[0] is longest else ["app2", "app1"]
    found = rollback(*hosts, hosts=names)
    assert found["target"] == "R1"
    (problem,) = found["problems"]
    assert problem.startswith(f"the release before is {before}")
    assert ", which app2 cannot go back to; what all hosts have in common is R1, further back; if" in problem
    assert f"add -e release_rollback_to=R1; otherwise release {before} again, on all hosts" in problem
    assert rollback(*hosts, hosts=names, to="R1") == well("R1")


def test_release_that_was_bad_on_one_host_is_passed_over_on_all():
    assert rollback(host("R1", "R2", "R3"), host("R1", "R2", "R3", bad=["R2"])) == well("R1")


def cached_before(found, decisive=(), others=(), known=True):
    told = {"known": known, "decisive": list(decisive), "others": list(others)}
    return found | {"environments": {"A": told}}


ROTATED = cached_before(host("A", "X"), ["APP_KEY", "DB_PASSWORD"])


def test_target_with_another_environment_is_refused():
    same = host("A", "X")
    (problem,) = rollback(same, ROTATED, ROTATED, hosts=["app1", "app2", "app3"])["problems"]
    assert problem.startswith(
        "A was cached with other values than shared/.env has now, on app2, app3, of: APP_KEY, DB_PASSWORD. It would"
    )
    assert "add -e release_rollback_environment=old; -e release_rollback_environment=new caches" in problem
    old = rollback(same, ROTATED, hosts=["app1", "app2"], environment="old")
    assert (old["target"], old["problems"], len(old["notes"])) == ("A", [], 1)
    assert rollback(same, ROTATED, environment="new") == well("A")
    assert "was cached with other values" in refusal(ROTATED, to="A")


def test_environment_of_what_is_live_or_no_target_is_not_asked_for():
    assert rollback(cached_before(host("Z", "A", "X", "A", bad="X"), ["APP_KEY"])) == well("Z")
    assert rollback(cached_before(host("Z", "A"), ["APP_KEY"]), host("Z", "A", "X")) == well("A")
    killed = host("Z", "A", "X", "A") | {"rolled_back_from": "X"}
    assert rollback(cached_before(killed, ["APP_KEY"])) == well("A")


def test_other_names_and_what_is_not_known_are_told_and_stop_nothing():
    found = rollback(cached_before(host("A", "X"), others=["MAIL_HOST"]), hosts=["app1"])
    assert found["problems"] == []
    assert found["notes"] == [
        "A serves with values of its day, other than those that shared/.env has now, on app1, of: MAIL_HOST"
    ]
    found = rollback(cached_before(host("A", "X"), known=False), hosts=["app1"])
    assert (found["problems"], "is not known on app1" in found["notes"][0]) == ([], True)


def test_live_everywhere_is_refused():
    assert "release_rollback_to=A is live already on every host" in refusal(host("Z", "A"), host("Z", "A"), to="A")


# With the database

# X took snapshot s15, migrated and failed: before it was live, and after it.
FAILED = [host("Z", "A", snapshots=["X@15"]), host("Z", "A", "X", "A", bad="X", migrated="X", snapshots=["X@15"])]


@pytest.mark.parametrize("found", FAILED)
@pytest.mark.parametrize("to", ["", "A"])
def test_bad_migration_is_taken_back_under_the_release_that_is_live(found, to):
    assert rollback(found, to=to, restore=True, confirm="s15") == well("A")
    said = refusal(found, to=to, restore=True)
    assert "restoring snapshot s15 for A (which stays live) takes the database back to 2026-01-01T00:15" in said
    assert "before X, and everything" in said
    assert said.endswith("-e rollback_confirm=s15")


def test_release_that_was_made_live_by_hand_is_of_no_time_before_what_was_live_last():
    """Nobody noted when A became live again. P was pruned, and its snapshot is older than that."""
    found = host("A", "B", "A", "X@30", migrated="X", snapshots=["P@5", "X@29"])
    found["switched_at"][2] = None
    assert rollback(found, restore=True, to="A", confirm="s29") == well("A")
    said = refusal(found, restore=True, to="A")
    assert "restoring snapshot s29 for A takes the database back" in said
    assert "before X, and everything" in said


RETRIED = [
    host("Z", "A", "Y@20", snapshots=["X@15"]),
    host("Z", "A", "X@16", "A@17", "Y@20", bad="X", migrated="X", snapshots=["X@15"]),
]


@pytest.mark.parametrize("found", RETRIED)
def test_bad_migration_is_taken_back_after_a_release_that_had_nothing_to_migrate(found):
    assert rollback(found, restore=True, confirm="s15") == well("A")
    assert "restoring snapshot s15 for A takes" in refusal(found, restore=True)


def test_release_that_stayed_is_no_bad_migration():
    found = host("Z", "A", "B", migrated="B", snapshots=["B@15"])
    assert rollback(found, restore=True, confirm="s15") == well("A")


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
    assert rollback(*hosts, restore=True, confirm="s15") == well("A")
    later = [host("Z", "A", releases="AXZ", snapshots=["X@15"]), host("Z", "A", "X")]
    assert "restoring snapshot s15 for A" in refusal(*later, restore=True)


@pytest.mark.parametrize("other", [{}, {"phase": "preflight", "error": "no space"}])
def test_hosts_that_were_not_looked_at(other):
    assert rollback(host("Z", "A"), other, to="Z") == well("")


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


# R2 migrated on app1, R3 on app2; since then the host that migrates is another one.
MOVED = [
    host("R1", "R2", "R3", migrated=["R2"], snapshots=["R2@9"]),
    host("R1", "R2", "R3", migrated=["R3"], snapshots=["R3@19"]),
]


def test_snapshot_of_the_first_migration_counts_wherever_it_lies():
    names = {"hosts": ["app1", "app2"], "to": "R1", "restore": True}
    told = release_rollback(MOVED, database=MOVED[1], migrate_host="app2", **names)["problems"]
    assert told == [
        "snapshot s9 from before R2, the first release after R1 that migrated, lies on app1, which migrated then, and "
        "not on app2: add -e release_migrate_host=app1"
    ]
    (problem,) = release_rollback(MOVED, database=MOVED[0], migrate_host="app1", **names)["problems"]
    assert problem.startswith("restoring snapshot s9 for R1 takes the database back to 2026-01-01T00:09")
    assert "before R2, R3, and everything" in problem
    # It cannot be confirmed where it does not lie.
    (problem,) = release_rollback(MOVED, database=MOVED[1], migrate_host="app2", confirm="s9", **names)["problems"]
    assert problem.startswith("snapshot s9 from before R2")
    assert release_rollback(MOVED, database=MOVED[1], migrate_host="app2", **names | {"to": "R2"})["problems"][0] == (
        "restoring snapshot s19 for R2 takes the database back to 2026-01-01T00:19:00.000Z, before R3, and everything "
        "written since is lost. If that is wanted, add -e rollback_restore_snapshot=true -e rollback_confirm=s19"
    )


def test_migration_on_another_host_without_a_snapshot_is_known_too():
    later = host("R1", "R3@19", migrated=["R3"], snapshots=["R3@19"])
    moved = [host("R1", "R2@9", "R3@19", migrated=["R2"]), later]
    names = {"hosts": ["app1", "app2"], "to": "R1", "restore": True, "migrate_host": "app2"}
    (problem,) = release_rollback(moved, database=later, **names)["problems"]
    assert problem.startswith("there is no snapshot from before R2, the first release after R1 that migrated")
