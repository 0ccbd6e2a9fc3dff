"""What the role release works out for a whole fleet, rendered as a run of Ansible does."""

from __future__ import annotations

import pytest

NEW = "r9"


def fleet(role, preflights, **given):
    """The role on the first of these hosts; each has what its preflight found."""
    hosts = list(preflights)
    found = {
        host: {"inventory_hostname": host, "__release_preflight": {"phases": [{"phase": "preflight", **phase}]}}
        for host, phase in preflights.items()
    }
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
        # Another host has come to the end of that run; so it was well everywhere.
        ({"current": "r2", "rollback_target": "r1", "unproven": "r2"}, {"current": "r2", "unproven": ""}, "r2"),
        # A rollback that goes where this run would go back to.
        ({"current": "r2", "rollback_target": NEW, "unproven": "r2"}, {"current": "r2", "unproven": "r2"}, "r2"),
    ],
)
def test_where_a_failed_release_goes_back_to(role, first, second, before):
    assert fleet(role, {"web1": first, "web2": second}).value("__release_before") == before


def test_a_load_balancer_need_not_know_a_host_that_has_no_release_yet(role):
    loaded = fleet(role, {"web1": {"current": "r2"}, "web2": {"current": None}, "worker1": {"current": "r2"}})
    for name, found in loaded.variables["hostvars"].items():
        found["__release_server"] = f"10.0.0.{name[-1]}"
        found["__release_preflight"]["current"] = found["__release_preflight"]["phases"][0]["current"]
    loaded.variables["hostvars"]["worker1"]["release_http_url"] = ""
    assert loaded.value("__release_known_servers") == ["10.0.0.1"]
    assert loaded.value("__release_rolled") == ["web1", "web2"]


@pytest.mark.parametrize("drain", ["none", "nginx", "haproxy", "own.yml"])
@pytest.mark.parametrize("hosts", [["web1"], ["web1", "web2"]])
def test_a_load_balancer_is_asked_before_anything_is_built(role, drain, hosts):
    preflights = {host: {"current": "r2"} for host in hosts}
    loaded = fleet(role, preflights, release_strategy="rolling", release_drain=drain, groups={})
    asks = drain in ("nginx", "haproxy") and len(hosts) > 1
    given = {
        "__release_no_rollback": [],
        "__release_no_build": [],
        "__release_alone": False,
        "__release_finish_at_once": [],
    }
    for steps in ("__release_steps_stage", "__release_steps_rollback"):
        files = [step["file"] for step in loaded.template(loaded.variables[steps], **given)]
        assert (files[0] == "drain_check", files.count("drain_check")) == (asks, int(asks))


@pytest.mark.parametrize(
    ("version", "fault"),
    [("1.10", []), ("20261122", []), (1.10, [1.1]), (20261122, [20261122])],
)
def test_version_that_is_a_number_is_refused(role, version, fault):
    """What it was before YAML or JSON read it is lost."""
    given = {"release_version": version, "release_repository": "git@example.com:app.git", "groups": {}}
    found = fleet(role, {"web1": {}}, inventory_hostname="web1", playbook_dir="/", **given).value("__release_faults")
    said = "release_version is {} and no text: put it in quotes, without them YAML and JSON read 1.10 as the number 1.1"
    assert found == [said.format(number) for number in fault]


def test_builds_for_hosts_without_an_inventory_have_a_place(role):
    loaded = role("release", inventory_dir=None)
    assert loaded.value("release_build_dir") == "~/.cache/slipway/app-adhoc"


@pytest.mark.parametrize(
    ("given", "pages"),
    [
        ({}, [{"path": "/", "status_below": 500}]),
        ({"release_health_path": "/"}, []),
        ({"release_kind": "node"}, []),
        ({"release_smoke": []}, []),
    ],
)
def test_home_page_is_asked_for_unless_it_is_the_health_page(role, given, pages):
    loaded = role("release", group_names=[], **given)
    assert loaded.value("release_smoke") == pages


def plan(role, *risks, **given):
    """The role on its one host, once that has told these risks of its migrations."""
    told = [
        {"migration": "m1", "table": "users", "statement": "", "needs_consent": False, "destructive": False, **risk}
        for risk in risks
    ]
    plan = {"phase": "plan", "risks": told, "destructive": any(risk["destructive"] for risk in told)}
    loaded = fleet(role, {"web1": {"current": "r1"}}, release_migrate_host="web1", release_version="v1", **given)
    loaded.variables["hostvars"]["web1"]["__release_stage"] = {"phases": [plan]}
    return loaded


LOCK = {"kind": "long_lock", "statement": "create index …", "reason": "builds an index", "needs_consent": True}
UNKNOWN = {"kind": "unknown", "reason": "nobody knows", "needs_consent": True}
DROP = {"kind": "drop_table", "statement": "drop …", "reason": "lost", "needs_consent": True, "destructive": True}
UPDATE = {"kind": "update_data", "statement": "update …", "reason": "changes rows"}


@pytest.mark.parametrize(
    ("risks", "lines"),
    [
        ([UPDATE], []),
        ([LOCK, UPDATE], ["m1: create index …: builds an index", "they need -e release_allow_destructive=true"]),
        ([UNKNOWN], ["m1: nobody knows", "they need -e release_allow_destructive=true"]),
        ([DROP], ["m1: drop …: lost", "they need -e release_allow_destructive=true, and then run in maintenance mode"]),
    ],
)
def test_what_a_migration_may_do_needs_consent(role, risks, lines):
    stopped = plan(role, *risks).value("__release_no_change")
    assert [line in stopped[0] for line in lines] == [True] * len(lines)
    assert bool(stopped) is bool(lines)
    consenting = plan(role, *risks, release_allow_destructive=True)
    assert consenting.value("__release_no_change") == []
    assert consenting.value("__release_down") is (DROP in risks)


@pytest.mark.parametrize(
    ("risk", "given", "named"),
    [
        (DROP, {}, True),
        (DROP, {"release_snapshot_command": ["all"]}, False),
        (UPDATE, {}, False),
    ],
)
def test_destruction_that_no_snapshot_precedes_is_refused(role, risk, given, named):
    risks = [risk | {"connection": "reports", "elsewhere": True}, DROP | {"connection": "mysql", "elsewhere": False}]
    told = plan(role, *risks, release_allow_destructive=True, **given).value("__release_no_change")
    assert ["on the connection reports, and a snapshot is taken" in line for line in told] == [True] * named


def without_web2(role, pending=("add_title",), **given):
    """The role on one of two hosts, when --limit leaves out the other one."""
    loaded = plan(role, **given)
    loaded.variables["hostvars"]["web1"]["__release_stage"]["phases"][0]["pending"] = list(pending)
    loaded.variables["hostvars"]["web1"]["__release_preflight"]["left_out"] = ["web2"]
    return loaded


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "would go on with a database that these migrations change (add_title). "),
        ({"pending": (), "release_maintenance": "always"}, "go on, and be served and write while the others"),
        ({"pending": ()}, ""),
        ({"release_left_out": ["web2"]}, ""),
        ({"release_left_out": "web3, web2"}, ""),
        ({"release_left_out": ["web3"]}, "(add_title)"),
    ],
)
def test_host_that_is_left_out_of_what_concerns_it_has_to_be_named(role, given, why):
    loaded = without_web2(role, **given)
    stopped = loaded.value("__release_no_change")
    assert [why in told for told in stopped] == ([True] if why else [])
    if why:
        assert "Or, if web2 neither answers requests nor runs workers" in stopped[0]
        assert stopped[0].endswith(" -e release_left_out=web2, and before it serves again the same with --limit web2")
        assert [step["file"] for step in loaded.value("__release_steps_live")] == ["stop"]


def test_run_without_a_limit_leaves_nobody_out(role):
    loaded = plan(role, ansible_check_mode=True, release_maintenance="always")
    assert (loaded.value("__release_left_out"), loaded.value("__release_no_change")) == ([], [])
    assert loaded.value("__release_notes") == []


def test_host_that_was_left_out_is_named_at_the_end(role):
    loaded = without_web2(role, ansible_check_mode=True, release_owner="ann", __release_applied=[])
    (note,) = loaded.value("__release_notes")
    assert note.startswith("--limit left out web2: what is live there stays as it was. Where that is not v1: the same")
    assert "left out: web2" in loaded.value("__release_good_news").splitlines()


@pytest.mark.parametrize(("restores", "stopped"), [(False, False), (True, True)])
def test_rollback_without_a_host_is_refused_where_that_does_harm(role, restores, stopped):
    given = {"__release_kind_of_run": "rollback", "release_restore_snapshot": restores, "ansible_check_mode": True}
    loaded = without_web2(role, __release_rollback={"target": "r1", "problems": [], "notes": []}, **given)
    told = loaded.value("__release_no_rollback")
    assert ["while the database is restored under it. Leave" in text for text in told] == [True] * stopped
    # The release id of a rollback is its target.
    way = f"rollback.yml with -e release_rollback_to={NEW} --limit web2"
    assert [way in text for text in told] == [True] * stopped
    assert f"Where that is not {NEW}: {way}" in loaded.value("__release_notes")[0]
    named = without_web2(role, release_left_out="web2", __release_rollback={"problems": []}, **given)
    assert named.value("__release_no_rollback") == []


def test_what_a_migration_did_to_rows_is_told(role):
    notes = plan(role, UPDATE, UPDATE, LOCK, ansible_check_mode=True).value("__release_notes")
    assert [note.partition(": ")[2] for note in notes] == ["m1: users: changes rows"]
    assert plan(role, LOCK, ansible_check_mode=True).value("__release_notes") == []


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 60),
        ({"release_workers": [{"name": "default"}]}, 90),
        ({"release_workers": [{"name": "a", "timeout": 300}, {"name": "b"}]}, 330),
        ({"release_workers": [{"name": "a", "timeout": 0, "stopwaitsecs": 3600}]}, 3630),
        ({"release_workers": [{"name": "a", "timeout": 10, "stopwaitsecs": 3600}]}, 60),
        ({"release_horizon": True}, 90),
        ({"release_horizon": True, "horizon_job_timeout": 900}, 930),
        ({"release_kind": "node", "release_workers": [{"name": "a", "timeout": 300}]}, 60),
    ],
)
def test_a_release_waits_for_the_longest_job(role, given, seconds):
    assert role("release", group_names=[], **given).value("release_timeout") == seconds
