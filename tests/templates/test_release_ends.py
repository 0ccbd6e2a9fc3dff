"""What the role release makes of what its tasks have found: where hosts go back to, and what is told."""

from __future__ import annotations

import os

import pytest
from ansible_collections.slipway.laravel.plugins.modules.release import CHECKS

ARTIFACT = "https://ann:s3cret@ci.example.com/shop-1a2b3c4d.tar.gz?X-Signature=s1gned#part"


@pytest.fixture
def release(role):
    """Load the role as one host of a run sees it; what each host registered is given by host."""

    def load(hosts=("app1", "app2"), registered=None, **given):
        loaded = role("release", ansible_play_hosts_all=list(hosts), inventory_hostname=hosts[0], **given)
        loaded.variables |= {
            "groups": {"all": list(hosts)},
            "group_names": [],
            "playbook_dir": "/srv",
            "hostvars": {host: {"inventory_hostname": host, **(registered or {}).get(host, {})} for host in hosts},
            **(registered or {}).get(hosts[0], {}),
        }
        return loaded

    return load


def preflight(current, history, **more):
    found = {"current": current, "history": history, "releases": sorted({*history, current, "X"}), **more}
    return {"__release_preflight": {"current": current, "phases": [found]}}


def tasks(loaded, file):
    return loaded.loader.load_from_file(str(loaded.path / "tasks" / file), trusted_as_template=True)


SPLIT = {
    "app1": preflight("X", ["Z", "A", "X"], rollback_target="A"),
    "app2": preflight("A", ["Z", "A"], rollback_target="Z"),
}


@pytest.mark.parametrize(("hosts", "bad", "before"), [(("app1", "app2"), "X", "X"), (("app2", "app1"), "", "A")])
def test_rollback_of_a_split_fleet_on_each_of_its_hosts(release, hosts, bad, before):
    loaded = release(hosts, SPLIT)
    loaded.variables |= next(task for task in tasks(loaded, "rollback.yml") if task["name"] == "Roll back")["vars"]
    assert loaded.value("__release_no_rollback") == []
    assert loaded.value("__release_id") == "A"
    assert loaded.value("__release_bad") == bad
    assert loaded.value("__release_before") == before, "where a rollback that fails goes"


@pytest.mark.parametrize(
    ("file", "restores", "warns"),
    [("rollback.yml", False, True), ("rollback.yml", True, True), ("main.yml", False, False)],
)
def test_what_the_bad_release_may_have_broken_is_only_a_warning_for_a_rollback(release, file, restores, warns):
    given = {"release_expect": {"max_failed_jobs": 100, "warn": ["names", "rights"]}}
    loaded = release(release_restore_snapshot=restores, **given)
    begin = next((task for task in tasks(loaded, file) if task["name"] == "Begin"), {})
    loaded.variables |= begin.get("vars", {})
    expect = loaded.template(loaded.variables["__release_settling"]["expect"])
    warned = {"names", "rights"}
    if warns:
        warned |= set(CHECKS) - {"directories", "programs", "workers"} - ({"database"} if restores else set())
    assert (set(expect["warn"]), expect["max_failed_jobs"]) == (warned, 100)


def test_what_a_killed_run_left_on_some_hosts_is_nothing_to_go_back_to(release):
    killed = {"app1": preflight("X", ["Z", "A", "X"], rollback_target="A", unproven="X")}
    assert release(registered=SPLIT | killed).value("__release_before") == "A"


def test_release_that_goes_live_again_goes_back_to_the_one_before(release):
    built = {"__release_build_result": {"release": "X"}}
    registered = {host: preflight("X", ["A", "X"], rollback_target="A") | built for host in ("app1", "app2")}
    assert release(registered=registered).value("__release_before") == "A"


FINISHED = [{"phase": "verify"}, {"phase": "finish", "removed": []}]


@pytest.mark.parametrize("result", ["__release_phase", "__release_migrate_result"])
def test_single_host_that_has_finished_does_so_once(release, result):
    registered = {"app1": {name: {} for name in ("__release_phase", "__release_migrate_result")}}
    registered["app1"][result] = {"phases": FINISHED}
    loaded = release(["app1"], registered)
    assert loaded.value("__release_finished") is True
    assert loaded.value("__release_untidy") == []


def test_hosts_that_have_not_tidied_up_are_named(release):
    finish = {"__release_finish": {"phases": FINISHED[1:]}, "__release_phase": {"phases": []}}
    failed = {"__release_finish": {"phases": [{"phase": "finish", "error": "no"}]}, "__release_phase": {}}
    nothing = {"__release_migrate_result": {}}
    assert release(registered={"app1": finish | nothing, "app2": failed}).value("__release_untidy") == ["app2"]
    unfinished = {
        "__release_phase": {"phases": [{"phase": "finish", "error": "no"}]},
        **nothing,
        "__release_finish": {},
    }
    assert release(["app1"], {"app1": unfinished}).value("__release_untidy") == ["app1"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"release_version": "v1", "release_artifact_url": ARTIFACT}, "v1"),
        ({"release_artifact_url": ARTIFACT}, "https://ci.example.com/shop-1a2b3c4d.tar.gz"),
        ({"release_artifact_url": "https://ci.example.com?a=b@c"}, "https://ci.example.com"),
    ],
)
def test_name_of_a_release_has_no_secret(release, given, name):
    assert release(**given).value("__release_name") == name


NOTIFY = {"release_notify": [{"kind": "slack", "url": "https://chat.example.com"}], "release_sentry": {"url": "x"}}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("steps", ["__release_steps_finish", "__release_steps_failed"])
def test_nobody_is_told_in_check_mode(release, steps, check):
    results = {"__release_phase": {}, "__release_migrate_result": {}, "__release_signed": {}}
    loaded = release(["app1"], {"app1": results}, **NOTIFY)
    loaded.variables |= {"ansible_check_mode": check, "__release_good_news": "good", "__release_what": "it"}
    files = [step["file"] for step in loaded.value(steps)]
    assert ("notify" in files) is not check


def test_notification_that_was_not_sent_is_told_also_without_an_answer(release):
    told = {"__release_told_chat": {"results": [{"msg": "no such host"}]}, "__release_told_mail": {}}
    assert release(["app1"], {"app1": told | {"__release_told_sentry": {}}}).value("__release_untold") == ["the chat"]


@pytest.mark.parametrize(("fleet", "number"), [(SPLIT, 1), ({**SPLIT, "app2": {"__release_preflight": {}}}, 0)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_hooks_of_going_back_need_the_lock_of_every_host(release, fleet, number, when):
    loaded = release(registered=fleet, release_hooks={f"{when}_revert": [{"command": ["a"]}]})
    assert len(loaded.value(f"__release_steps_{when}_revert")) == number


@pytest.mark.parametrize(
    ("hosts", "given", "brought_in"),
    [
        (("app1", "app2"), {"release_drain": "nginx"}, ["app1", "app2"]),
        (("app1",), {"release_drain": "drain.yml", "release_strategy": "rolling"}, ["app1"]),
        # By its batches, if there were any.
        (("app1", "app2"), {"release_drain": "nginx", "release_strategy": "rolling"}, None),
        (
            ("app1", "app2"),
            {"release_drain": "nginx", "release_strategy": "rolling", "__release_idle": True},
            ["app1", "app2"],
        ),
        # None of which a site that is shut has.
        (
            ("app1", "app2"),
            {"release_drain": "nginx", "release_strategy": "rolling", "release_maintenance": "always"},
            ["app1", "app2"],
        ),
        (("app1", "app2"), {"release_drain": "nginx", "__release_kind_of_run": "rollback"}, ["app1", "app2"]),
        (("app1", "app2"), {}, None),
    ],
)
def test_good_end_brings_in_what_an_earlier_run_has_left_out(release, hosts, given, brought_in):
    steps = release(hosts, **given).value("__release_steps_finish")
    assert [step["hosts"] for step in steps if step["file"] == "drain"] == ([brought_in] if brought_in else [])
    if brought_in:
        assert (steps[0]["file"], steps[0]["state"]) == ("drain", "undrain"), "before the lock is given back"


@pytest.mark.parametrize(("hook", "at_once"), [("before_up", False), ("after_up", False), ("before_switch", True)])
def test_hook_behind_the_proof_lets_a_single_host_finish_later(release, hook, at_once):
    loaded = release(["app1"], release_hooks={hook: [{"command": ["a"]}]}, release_checklist="")
    assert loaded.value("__release_finish_at_once") == (["finish"] if at_once else [])


@pytest.mark.parametrize(
    ("commands", "fault"),
    [
        ({"release_restore_command": ["a", "{snapshot}"]}, "restores what release_snapshot_command has taken"),
        ({"release_restore_command": ["a"], "release_snapshot_command": ["b"]}, "has no {snapshot} in it"),
        ({"release_restore_command": ["a", "-s={snapshot}"], "release_snapshot_command": ["b"]}, ""),
        (
            {"release_restore_command": "a {snapshot}", "release_snapshot_command": ["b"]},
            "release_restore_command is a list of words, such as [echo, hello]; a shell line is [sh, -c, 'the line']",
        ),
        ({"release_snapshot_command": "a b"}, "release_snapshot_command is a list of words"),
        ({"release_drain_nginx_reload": "nginx -s reload"}, "release_drain_nginx_reload is a list of words"),
        ({"release_snapshot_command": ["b"]}, ""),
    ],
)
def test_command_that_restores_needs_the_other_one_and_an_id(release, commands, fault):
    faults = release(**commands).value("__release_common_faults")
    assert [fault in found for found in faults] == ([True] if fault else [])


SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, []),
        ({"release_build_host": "localhost"}, []),
        (
            {"release_build_host": "localhost", "release_migrate_host": "web9"},
            ["release_migrate_host (web9) has to be a host of this run (app1, app2); mind --limit"],
        ),
        (
            {"release_build_host": "web9"},
            ["release_build_host (web9) has to be localhost or a host of this run (app1, app2); mind --limit"],
        ),
        (
            {"release_drain": "drain.yml"},
            [
                f"release_drain (drain.yml) names a task file that is not there, looked for in {os.getcwd()}, /srv; "
                "give none, nginx, haproxy or a path"
            ],
        ),
        ({"release_artifact_url": ARTIFACT, "release_artifact_sha256": SHA256.upper()}, []),
    ],
)
def test_faults_of_a_request(release, given, faults):
    loaded = release(release_version="v1", release_repository="git@git.example.com:app.git", **given)
    assert loaded.value("__release_faults") == faults


def test_command_of_the_controller_runs_where_its_program_is(release, tmp_path):
    (tmp_path / "purge.sh").touch()

    def runs_in(word, **step):
        hooks = {"after_verify": [{"command": [word], "hosts": "localhost"}]}
        command = {"command": [word], **step}
        loaded = release(release_hooks=hooks, __release_step=command)
        loaded.variables |= {"inventory_dir": "/srv", "playbook_dir": str(tmp_path)}
        (_hosts, task) = tasks(loaded, "hook_command.yml")
        return loaded.template(task["ansible.builtin.command"]["chdir"]), loaded.value("__release_hook_faults")

    assert runs_in("./purge.sh") == (str(tmp_path), [])
    assert runs_in("./purge.sh", chdir="/opt")[0] == "/opt"
    for word in ("purge.sh", "/bin/sh"):
        assert runs_in(word) == (os.getcwd(), [])
    (_place, (fault,)) = runs_in("bin/none")
    assert fault.endswith(f"bin/none is not there, looked for in {os.getcwd()}, /srv, {tmp_path}")


def test_checksum_in_capitals_is_that_of_the_build(release):
    loaded = release(release_artifact_url=ARTIFACT, release_artifact_sha256=SHA256.upper())
    loaded.variables["__release_build"] = {}
    for name in ("__release_build_arguments", "__release_signoff_arguments"):
        key = "sha256" if name == "__release_build_arguments" else "artifact_sha256"
        assert loaded.template(loaded.variables[name][key]) == SHA256


@pytest.mark.parametrize(
    ("release_id", "text"),
    [("", "live was X when it was last seen."), ("Q", "live was X when it was last seen; it may be Q now.")],
)
def test_what_a_host_that_is_away_may_run(release, release_id, text):
    away = LIVE_X["app1"] | restored(__release_restore_result={})
    loaded = release(registered=LIVE_X | {"app1": away})
    loaded.variables |= {"__release_id": release_id, "__release_what": "Release v1"}
    told = " ".join(filter(None, loaded.value("__release_story")))
    assert f"{text} Its lock may be left: when the host is back, run the same again, from elsewhere with" in told


@pytest.mark.parametrize(
    ("limit", "hosts", "way"),
    [
        (None, ("app1", "app2"), "the same with --limit 'all:!app1' -e release_left_out=app9,app1."),
        ("app1,app2", ("app1", "app2"), "the same with --limit 'app1,app2,!app1' -e release_left_out=app9,app1."),
        (None, ("app1",), ""),
    ],
)
def test_release_can_go_on_without_a_host_that_never_answered(release, limit, hosts, way):
    well = {"__release_revert": {"phases": [{}]}, "__release_preflight": {"current": "X", "left_out": ["app9"]}}
    registered = {"app1": {"__release_preflight": {"unreachable": True}}, "app2": well}
    loaded = release(hosts, {host: registered[host] | restored() for host in hosts})
    loaded.variables |= {"__release_what": "Release v1"} | ({"ansible_limit": limit} if limit else {})
    told = " ".join(filter(None, loaded.value("__release_story")))
    assert ("To go on without it: " in told, way in told) == (bool(way), True)


# A rollback that restored the database


def restored(**results):
    return {
        "__release_restore_result": {"phases": [{"phase": "restore", "id": "s15", "safety": "s20"}]},
        "__release_snapshot_result": {},
        "__release_migrate_result": {},
        "__release_give_back": {},
        **results,
    }


GIVEN = {"phases": [{"phase": "restore", "id": "s20", "safety": "s21"}]}
LIVE_X = {host: preflight("X", ["A", "X"], migrated=["X"], rollback_target="A") for host in ("app1", "app2")}
LIVE_A = {host: preflight("A", ["Z", "A"], rollback_target="Z") for host in ("app1", "app2")}
BROKEN = {"failed": True, "phases": [{"phase": "restore", "error": "it IS NOT WHOLE", "safety": "s20"}]}
UNCHANGED = {"failed": True, "phases": [{"phase": "restore", "error": "no", "unchanged": True}]}


@pytest.mark.parametrize(
    ("fleet", "result", "to_give_back", "shut"),
    [
        (LIVE_X, restored(), True, True),
        (LIVE_X, restored(__release_give_back=GIVEN), True, False),
        (
            LIVE_X,
            restored(__release_give_back={"failed": True, "phases": [{"phase": "restore", "error": "no"}]}),
            True,
            True,
        ),
        # What is live fits the restored database.
        (LIVE_A, restored(), False, False),
        (LIVE_X, restored(__release_restore_result={"unreachable": True}), False, True),
        (LIVE_X, restored(__release_restore_result=BROKEN), False, True),
        # Killed: it says nothing at all.
        (LIVE_X, restored(__release_restore_result={"failed": True, "msg": "MODULE FAILURE"}), False, True),
        (LIVE_X, restored(__release_restore_result=UNCHANGED), False, False),
        (LIVE_X, restored(__release_restore_result={}), False, False),
    ],
)
def test_newer_release_gets_its_database_back_or_the_site_stays_shut(release, fleet, result, to_give_back, shut):
    loaded = release(registered=fleet | {"app1": fleet["app1"] | result}, release_rollback_to="A")
    loaded.variables |= {"__release_id": "A", "__release_kind_of_run": "rollback"}
    assert loaded.value("__release_to_give_back") is to_give_back
    assert loaded.value("__release_stays_shut") is shut


@pytest.mark.parametrize(
    ("result", "text", "way"),
    [
        (restored(), "restored snapshot s15, which may not fit what is live, and failed; what was there", "=s20"),
        (restored(__release_restore_result=BROKEN), "the database is not whole; what was there before is in", "=s20"),
        (restored(__release_restore_result={"failed": True}), "how that ended is not known, nor whether", "the snaps"),
        (restored(__release_restore_result={}), "ann began to restore snapshot s15;", "the snapshots"),
    ],
)
def test_reason_for_a_site_to_stay_shut_names_what_is_known(release, result, text, way):
    given = {"release_restore_confirm": "s15", "release_restore_snapshot": True, "release_owner": "ann"}
    loaded = release(registered=LIVE_X | {"app1": LIVE_X["app1"] | result}, release_rollback_to="A", **given)
    loaded.variables |= {"__release_id": "A", "__release_kind_of_run": "rollback", "__release_settled": {}}
    assert text in loaded.value("__release_held")
    assert loaded.value("__release_arguments")["maintenance_held"] == loaded.value("__release_held")
    assert way in loaded.value("__release_way_back")


@pytest.mark.parametrize(
    ("given", "stale", "words"),
    [
        ({}, False, ""),
        ({"release_migrate_host": "app2"}, False, " -e release_migrate_host=app2"),
        ({}, True, " -e release_rollback_environment=old"),
    ],
)
def test_way_back_goes_to_the_same_host_and_environment(release, given, stale, words):
    results = {host: found | restored() for host, found in LIVE_X.items()}
    results["app2"]["__release_preflight"] = preflight("X", ["A", "X"], stale=stale)["__release_preflight"]
    loaded = release(registered=results, release_rollback_to="A", **given)
    loaded.variables |= {"__release_id": "A", "__release_kind_of_run": "rollback"}
    assert loaded.value("__release_way_back").endswith(
        f"rollback_to=X -e rollback_restore_snapshot=true{words} -e rollback_confirm=s20"
    )


OLD_ENV = {"A": {"known": True, "decisive": ["APP_KEY"], "others": []}}


@pytest.mark.parametrize(
    ("environment", "kind", "first", "restarts_all"),
    [
        ("same", "laravel", ["stop"], False),
        ("old", "laravel", ["load", "switch"], False),
        ("new", "laravel", ["recache, load", "switch"], True),
        # It has no such cache.
        ("new", "node", ["switch", "restart, verify"], False),
    ],
)
def test_rollback_to_another_environment(release, environment, kind, first, restarts_all):
    registered = {
        host: preflight("X", ["A", "X"], environments={} if kind == "node" else OLD_ENV) for host in ("app1", "app2")
    }
    given = {"release_rollback_environment": environment, "release_kind": kind}
    loaded = release(registered=registered, **given)
    loaded.variables |= {"__release_kind_of_run": "rollback", "__release_settled": {}, "__release_id": "A"}
    assert [step["label"] for step in loaded.value("__release_steps_rollback")][:2] == first
    found = loaded.value("__release_arguments")
    assert (found["restart_all"], found["rollback"]) == (restarts_all, True)
    told = [note for note in notes(loaded) if "of: APP_KEY" in note]
    assert len(told) == int(environment == "old")
    loaded.variables["__release_kind_of_run"] = "release"
    found = loaded.value("__release_arguments")
    assert (found["restart_all"], found["rollback"], notes(loaded)) == (False, False, [])


@pytest.mark.parametrize("kind", ["release", "rollback"])
@pytest.mark.parametrize(("shut", "batches"), [("never", 2), ("always", 1)])
def test_site_that_is_shut_is_not_switched_in_batches(release, kind, shut, batches):
    registered = {host: preflight("X", ["A", "X"], environments=OLD_ENV) for host in ("app1", "app2")}
    given = {"release_strategy": "rolling", "release_drain": "nginx", "release_maintenance": shut}
    loaded = release(registered=registered, release_rollback_environment="old", **given)
    told = notes(loaded)
    assert ["hosts switch, and so all do at once" in note for note in told] == [True] * (shut == "always")
    lists = {"release": "__release_steps_live", "rollback": "__release_steps_rollback"}
    loaded.variables |= {"__release_kind_of_run": kind, "__release_no_rollback": []}
    steps = loaded.value(lists[kind])
    assert len([step for step in steps if "switch" in step.get("phases", [])]) == batches
    assert len([step for step in steps if step["file"] == "drain"]) == (2 * batches if batches > 1 else 0)
    assert [step for step in steps if "exchange" in step.get("phases", [])] == (
        [] if batches == 1 or kind == "release" else [steps[2]]
    )


def notes(loaded, **built):
    results = {"__release_build": built, "__release_untidy": [], "__release_safety": ""}
    loaded.variables |= results | {"__release_plan": {}, "__release_unsigned": []}
    return loaded.value("__release_notes")


@pytest.mark.parametrize(
    ("lives", "told"),
    [
        (["X", "X"], "is live already as X; -e release_force=true releases it again"),
        (
            ["X", "Y"],
            "is live already as X on app1, Y on app2; -e release_force=true releases it again, with one id for all "
            "hosts, so that a rollback can go back there",
        ),
    ],
)
def test_version_that_is_live_under_several_ids(release, lives, told):
    registered = {host: preflight(live, [live]) for host, live in zip(("app1", "app2"), lives, strict=True)}
    loaded = release(registered=registered)
    loaded.variables |= {"__release_idle": True, "release_version": "v1"}
    assert notes(loaded, commit="c" * 40, sha256="d" * 64) == [f"v1 (cccccccc) {told}"]


def test_only_a_rollback_that_restores_may_open_what_is_held(release):
    loaded = release(registered=LIVE_X, release_restore_snapshot=True)
    loaded.variables["__release_settled"] = {}
    assert loaded.value("__release_arguments")["maintenance_held"] == ""


UP = {"__release_phase": {"phases": [{"phase": "up"}]}}
UP_FAILED = {"__release_phase": {"phases": [{"phase": "up", "error": "still 503"}]}}
REVERTED = {"__release_revert": {"current": "A", "phases": [{"phase": "revert"}]}}
OPEN = {"__release_give_back": {"phases": [{"phase": "restore", "error": "it is open", "open": True}]}}
FOUND_OPEN = {"__release_revert": {"current": "A", "phases": [{"phase": "revert", "shut": False, "open": True}]}}


@pytest.mark.parametrize(
    ("app1", "app2", "stays"),
    [
        (UP_FAILED, UP, True),
        (UP, UP_FAILED, True),
        (UP_FAILED, UP_FAILED, False),
        # The answer of the host that migrates was lost.
        (OPEN, {}, True),
        (FOUND_OPEN, {}, True),
    ],
)
def test_database_is_not_replaced_under_users_who_were_let_in(release, app1, app2, stays):
    done = {"app1": LIVE_X["app1"] | restored() | REVERTED | app1, "app2": LIVE_X["app2"] | REVERTED | app2}
    loaded = release(registered=done, release_rollback_to="A", release_restore_confirm="s15")
    loaded.variables |= {"__release_id": "A", "__release_kind_of_run": "rollback", "__release_what": "The rollback"}
    told = " ".join(filter(None, loaded.value("__release_story")))
    assert loaded.value("__release_to_give_back") is not stays
    assert loaded.value("__release_stays_shut") is not stays
    assert loaded.value("__release_open") is stays
    assert ("is live, but not well everywhere:" in told) is stays
    assert ("so that nothing was taken back; live is A." in told) is stays
    # Also of a host that comes back.
    given = [task.get("slipway.laravel.release", {}) for task in tasks(loaded, "revert.yml")[0]["block"]]
    reverts = [args for args in given if args.get("phases") == ["revert"]]
    assert [loaded.template(args["stays_live"]) for args in reverts] == [stays, stays]


@pytest.mark.parametrize(("given", "number"), [({"release_maintenance": "always"}, 1), ({}, 0)])
def test_what_follows_the_opening_takes_nothing_back(release, given, number):
    hooks = {"after_up": [{"command": ["a"]}]}
    registered = {host: found | {"__release_phase": {}} for host, found in LIVE_X.items()}
    loaded = release(registered=registered, release_hooks=hooks, **given)
    loaded.variables["__release_signed"] = {}
    steps = [step.get("hook", step["file"]) for step in loaded.value("__release_steps_finish")]
    assert steps == ["after_up"] * number + ["finish"]
    assert "after_up" not in [step.get("hook") for step in loaded.value("__release_steps_live")]


def test_way_back_is_named_after_a_restored_rollback(release):
    loaded = release(registered=LIVE_X | {"app1": LIVE_X["app1"] | restored()}, release_restore_confirm="s15")
    loaded.variables |= {"__release_idle": False, "__release_untidy": []}
    (note,) = loaded.value("__release_notes")
    assert "restored from snapshot s15; what it was before is in snapshot s20" in note
    assert note.endswith("-e release_rollback_to=X -e rollback_restore_snapshot=true -e rollback_confirm=s20")


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("taken", "It is live here and not proven: another run has taken the lock, and this one took nothing back;"),
        ("given back", "It is live here, and the lock was given back by then, so that this run took nothing back;"),
    ],
)
def test_what_a_run_without_its_lock_leaves_live_is_not_said_to_be_untouched(release, lost, said):
    ends = {"app1": ("B", {"reverted": False, "lost": lost}), "app2": ("A", {"reverted": True})}
    registered = {
        host: {**preflight("A", ["A"]), "__release_revert": {"current": current, "phases": [found]}}
        for host, (current, found) in ends.items()
    }
    loaded = release(registered=registered)
    loaded.variables |= {"__release_id": "B", "__release_what": "Release v2"}
    told = " ".join(filter(None, loaded.value("__release_story")))
    assert told.startswith("Release v2 is live on app1, and this run has not proven it: ")
    assert f"{said} live is B." in told
    assert "was not touched" not in told
    assert "All hosts: app1: live is B" in told


# The request


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"release_health_path": "up"}, "release_health_path (up) has to begin with a slash"),
        ({"release_maintenance_path": ""}, "release_maintenance_path () has to begin with a slash"),
        (
            {"release_smoke": [{"path": "login?key=s3cret"}, {"path": "/about"}, {"url": "https://shop.example.com"}]},
            "a path in release_smoke has to begin with a slash: login; an address goes into url",
        ),
        ({"laravel_queue_workers": [{"processes": 2}, {"name": "mail"}]}, "release_workers, by default laravel_queue_"),
        ({"laravel_queue_workers": ["mail"]}, "release_workers, by default laravel_queue_workers, has to be a list of"),
        ({"laravel_queue_workers": "mail"}, "release_workers, by default laravel_queue_workers, has to be a list of"),
        ({"release_workers": {"mail": {"processes": 2}}}, "[{name: default}, {name: mail, processes: 2}]"),
        ({"release_workers": {"name": "mail"}}, "[{name: default}, {name: mail, processes: 2}]"),
    ],
)
def test_fault_that_would_show_only_later_stops_the_request(release, given, fault):
    loaded = release(**given)
    (found,) = loaded.value("__release_common_faults")
    assert fault in found
    assert "s3cret" not in found
    # What the role's arguments are made of can be told all the same.
    for name in ("release_restart_commands", "release_timeout", "__release_processes"):
        loaded.value(name)


@pytest.mark.parametrize("workers", [[], [{"name": "mail", "processes": 2}, {"name": "default", "user": "www-data"}]])
def test_good_request_has_no_fault(release, workers):
    assert release(laravel_queue_workers=workers).value("__release_common_faults") == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"rollback_restore_snapshot": True, "release_migrate_host": "app3"},
            "release_migrate_host (app3), which has the snapshots, has to be a host of this run (app1, app2); mind ",
        ),
        ({"rollback_confirm": "s15"}, "=s15 restores nothing without -e rollback_restore_snapshot=true"),
    ],
)
def test_rollback_that_would_restore_nothing_is_refused(release, given, fault):
    (found,) = release(**given).value("__release_rollback_faults")
    assert fault in found
    assert release(rollback_confirm="s15", rollback_restore_snapshot=True).value("__release_rollback_faults") == []


@pytest.mark.parametrize("given", ["lb1", ["lb1"], "lb1,lb2", ["lb1", "lb2"]])
def test_load_balancers_may_be_given_as_text(release, given):
    loaded = release(release_drain="nginx", release_drain_hosts=given)
    assert loaded.value("__release_balancers") == ["lb1", "lb2"][: 2 if "lb2" in given else 1]
    assert loaded.value("__release_common_faults") == []


@pytest.mark.parametrize("given", ["one.example a\ntwo.example b\n", ["one.example a", "two.example b"]])
def test_host_keys_may_be_given_as_one_block_of_text(release, given):
    loaded = release(release_known_hosts=given)
    block = next(task["block"] for task in tasks(loaded, "layout.yml") if "block" in task)
    task = next(task for task in block if "host keys" in task["name"])
    text = loaded.template(task["slipway.laravel.config_files"]["files"][0]["content"])
    assert text == "one.example a\ntwo.example b\n"


def test_root_does_nothing_within_the_directory_of_the_application(release):
    loaded = release(release_user="jane")
    as_root = [task for task in tasks(loaded, "layout.yml") if "become_user" not in task]
    made = [task["ansible.builtin.file"] for task in as_root if "ansible.builtin.file" in task]
    assert [loaded.template(file["path"]) for file in made] == ["/var/www", "/var/www/app"]
    assert made[1]["follow"] is False
    assert len(as_root) == 4
    (filled,) = [task for task in tasks(loaded, "layout.yml") if "become_user" in task]
    assert (loaded.template(filled["become"]), loaded.template(filled["become_user"])) == (True, "jane")
    assert release(laravel_become=False).template(filled["become"]) is False
    # A file that is transferred could not be read by that user.
    modules = {key for task in filled["block"] for key in task if "." in key}
    plain = {f"ansible.builtin.{name}" for name in ("file", "stat", "debug")}
    assert modules == plain | {"slipway.laravel.dotenv", "slipway.laravel.config_files"}


@pytest.mark.parametrize(
    ("check", "owner", "asked"),
    [(False, None, True), (True, None, False), (True, "root", False), (True, "deploy", True)],
)
def test_layout_of_a_user_whom_check_mode_has_not_made(release, check, owner, asked):
    there = {"exists": True, "pw_name": owner} if owner else {"exists": False}
    loaded = release(ansible_check_mode=check, __release_root_found={"stat": there})
    assert loaded.value("__release_layable") is asked


# Maintenance


@pytest.mark.parametrize(
    ("given", "turned"), [("on", "on"), (True, "on"), ("True", "on"), ("off", "off"), (False, "off"), ("False", "off")]
)
def test_on_and_off_may_be_what_yaml_makes_of_them(release, given, turned):
    assert release(release_maintenance_state=given).value("__release_turned") == turned


SECRET = "of-this" + "-run"


@pytest.mark.parametrize(
    ("entrances", "flags", "told"),
    [
        (("secret", "secret"), [], ["those who opened https://shop.example.com/of-this-run in their browser first"]),
        (("secret", ""), [], ["in their browser first"]),
        (("secret", "secret"), ["/run/shop"], ["in their browser first and whose address nginx_maintenance_allow has"]),
        (
            ("earlier secret", "secret"),
            [],
            ["in their browser first, on app2", "was in maintenance before, on app1: there the secret"],
        ),
        (("earlier secret", "earlier secret"), [], ["was in maintenance before, on app1, app2: there the secret"]),
        (("", ""), ["/run/shop"], []),
        ((None, None), [], []),
    ],
)
def test_secret_is_told_where_it_opens_something(release, entrances, flags, told):
    phases = [{"phase": "down"} if found is None else {"phase": "down", "entrance": found} for found in entrances]
    registered = {f"app{number}": {"__release_phase": {"phases": [phase]}} for number, phase in enumerate(phases, 1)}
    given = {"release_env": {"APP_URL": "https://shop.example.com"}, "release_maintenance_flags": flags}
    loaded = release(registered=registered, __release_secret=SECRET, **given)
    ways = loaded.value("__release_ways_in")
    assert len(ways) == len(told)
    assert all(part in way for part, way in zip(told, ways, strict=True))
    assert (SECRET in " ".join(ways)) is ("secret" in entrances)


@pytest.mark.parametrize("name", ["__release_secret", "__release_salt"])
def test_secret_of_a_run_is_set_where_nothing_is_shown(release, name):
    loaded = release(release_no_log=True)
    setting = [task for task in tasks(loaded, "run.yml") if name in str(task["ansible.builtin.set_fact"])]
    assert len(setting) == 1
    assert loaded.template(setting[0].get("no_log")) is True
    assert setting[0]["run_once"] is True


# Two applications in one run of ansible-playbook


def test_what_the_run_before_registered_is_forgotten(release):
    loaded = release()
    task = next(task for task in tasks(loaded, "run.yml") if task["name"] == "Name this run")
    forgotten = {key for key, value in task["ansible.builtin.set_fact"].items() if value == {}}
    # Place and layout are no run of a release, and register anew whatever they read.
    files = [path for path in (loaded.path / "tasks").glob("*.yml") if path.name not in ("layout.yml", "place.yml")]
    texts = [path.read_text() for path in files]
    registered = {line.split("register: ")[1] for text in texts for line in text.splitlines() if "  register: " in line}
    assert forgotten == registered
    # Nothing is made of what is empty.
    loaded.variables |= {name: {} for name in registered}
    loaded.variables["hostvars"] = {host: {name: {} for name in registered} for host in ("app1", "app2")}
    for name in ("id", "before", "killed", "finished", "applied", "snapshot_taken", "restored", "unproven", "untold"):
        assert not loaded.value(f"__release_{name}")
