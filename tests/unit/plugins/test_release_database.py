"""The phases of a release that concern its database, against a played application and a real SQLite file."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

ID = "20261121T013005Z-1a2b3c4d"
FIRST, SECOND = "2026_01_01_000001_first", "2026_01_02_000001_second"
SQL = {FIRST: ["create table a (b int)"], SECOND: ["insert into users values ('topsecret')", "drop table users"]}


def evidence(result):
    return result["phases"][-1]


@pytest.fixture
def staged(site):
    """A site with a staged release that has two migrations, and the lock ours."""

    def stage(**behaviour):
        site.add(ID, **{"migrations": [FIRST, SECOND], "sql": SQL, "driver": "sqlite", **behaviour})
        site.lock()
        return site

    with sqlite3.connect(site.home / "db.sqlite") as database:
        database.executescript("create table notes (body text); insert into notes values ('first')")
    database.close()
    return stage


def run(site, *phases, **args):
    return site.run(*phases, release=ID, **args)


def manifest(site):
    return json.loads((site.path(ID) / ".slipway.json").read_text())


def notes(site):
    database = sqlite3.connect(site.home / "db.sqlite")
    found = [row[0] for row in database.execute("select body from notes order by 1")]
    database.close()
    return found


# plan


def test_plan(staged):
    site = staged()
    code, result = run(site, "plan")
    found = evidence(result)
    assert (code, result["changed"], found["pending"], found["destructive"]) == (0, False, [FIRST, SECOND], True)
    assert found["sql"][SECOND] == ["insert into users values ('***')", "drop table users"]
    assert [(risk["migration"], risk["kind"], risk["table"]) for risk in found["risks"]] == [
        (SECOND, "drop_table", "users")
    ]
    file = site.root / f".slipway/plans/{ID}.sql"
    assert (found["sql_file"], file.stat().st_mode & 0o777) == (str(file), 0o600)
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "drop table users;\n" in file.read_text()
    assert "topsecret" not in file.read_text() + json.dumps(result)


@pytest.mark.parametrize(
    ("behaviour", "live", "consents"),
    [
        ({"empty": True}, "", [False, False]),
        ({"empty": True}, "20251121T013005Z-1a2b3c4d", [True, True]),
        # Also one that has tables and no record of its migrations.
        ({"empty": False}, "", [True, True]),
        ({"empty": True, "connection": "reports"}, "", [False, True]),
    ],
)
def test_what_cannot_be_told_has_nothing_to_destroy_before_the_first_release(staged, behaviour, live, consents):
    told = {FIRST: {"does": "event() in line 9"}}
    site = staged(sql={SECOND: ["call tidy()"]}, told=told, **behaviour)
    if live:
        site.add(live)
        (site.root / "current").symlink_to(f"releases/{live}")
    risks = evidence(run(site, "plan")[1])["risks"]
    assert [(risk["kind"], risk["needs_consent"]) for risk in risks] == [("unknown", asked) for asked in consents]


def test_plans_of_old_releases_go(staged):
    site = staged()
    (site.root / ".slipway/plans").mkdir()
    for number in range(12):
        (site.root / f".slipway/plans/20250101T0000{number:02}Z-aaaaaaaa.sql").touch()
    run(site, "plan")
    left = sorted(path.name for path in (site.root / ".slipway/plans").iterdir())
    assert (len(left), left[0], left[-1]) == (10, "20250101T000003Z-aaaaaaaa.sql", f"{ID}.sql")


@pytest.mark.parametrize("args, behaviour", [({}, {"migrations": []}), ({"_ansible_check_mode": True}, {})])
def test_plan_without_a_file(staged, args, behaviour):
    site = staged(**behaviour)
    code, result = run(site, "plan", **args)
    assert (code, evidence(result)["sql_file"], (site.root / ".slipway/plans").exists()) == (0, "", False)
    assert bool(evidence(result)["pending"]) is bool(args)


def test_plan_of_what_check_mode_did_not_stage(site):
    code, result = site.run("stage", "plan", release=ID, _ansible_check_mode=True)
    assert (code, evidence(result)["pending"], evidence(result)["destructive"]) == (0, [], False)


def test_plan_without_a_database(staged):
    site = staged()
    (site.home / "database_error").write_text("SQLSTATE[HY000] [2002] Connection refused")
    code, result = run(site, "plan")
    assert (code, result["failed_phase"]) == (1, "plan")
    assert "Connection refused" in result["msg"]


# snapshot and restore


def test_snapshot_migrate_and_restore(staged):
    site = staged()
    code, result = run(site, "snapshot", "migrate", seeders=["Countries"])
    taken, migrated = result["phases"]
    assert (code, result["changed"]) == (0, True)
    assert taken["id"].endswith("-before-1a2b3c4d")
    assert taken["path"] == f"{site.root}/.slipway/snapshots/{taken['id']}.sqlite.gz"
    assert {"size", "sha256", "seconds", "database"} < set(taken)
    assert (migrated["migrations"], migrated["seeded"]) == ([FIRST, SECOND], ["Countries"])
    assert (manifest(site)["snapshots"], manifest(site)["migrations"]) == ([taken["id"]], [FIRST, SECOND])

    with sqlite3.connect(site.home / "db.sqlite") as database:
        database.execute("insert into notes values ('second')")
    database.close()
    code, result = run(site, "restore", snapshot_id=taken["id"], _ansible_check_mode=True)
    assert (code, result["changed"], notes(site)) == (0, True, ["first", "second"])
    code, result = run(site, "restore", snapshot_id=taken["id"])
    assert (code, result["changed"], notes(site)) == (0, True, ["first"])
    assert evidence(result)["safety"].endswith("-before-restore")


@pytest.mark.parametrize("phase", ["snapshot", "restore"])
def test_database_that_is_not_the_applications(staged, phase):
    site = staged(database={"driver": "mysql", "host": "db.example.com", "port": "3306", "database": "shop"})
    code, result = run(site, phase, snapshot_id="20261121T013005Z-before-1a2b3c4d")
    assert (code, result["failed_phase"]) == (1, phase)
    assert f"uses another database (mysql db.example.com 3306 shop) than {site.root}/shared/.env" in result["msg"]
    assert not (site.root / ".slipway/snapshots").exists()


def test_snapshot_of_an_application_that_does_not_start(staged):
    site = staged()
    taken = evidence(run(site, "snapshot")[1])["id"]
    (site.path(ID) / "app.json").write_text('{"boot_error": "syntax error"}')
    code, result = run(site, "snapshot")
    assert (code, "cannot tell its database" in result["msg"]) == (1, True)
    # To restore one may be the cure.
    code, result = run(site, "restore", snapshot_id=taken)
    # Where the controller's code was imported before, by another test, Ansible takes warnings out of the result.
    warnings = json.dumps(result.get("warnings")) + " ".join(site.stderr().split())
    assert (code, "is not known" in warnings) == (0, True), result.get("msg")


@pytest.mark.parametrize("phase", ["snapshot", "migrate"])
def test_check_mode(staged, phase):
    site = staged()
    code, result = run(site, phase, _ansible_check_mode=True)
    assert (code, result["changed"]) == (0, True)
    assert not (site.root / ".slipway/snapshots").exists()
    assert not (site.home / "database.json").exists()


def test_snapshot_by_command(staged):
    site = staged()
    code, result = run(site, "snapshot", snapshot_command=["echo", "snap-{release}"])
    assert (code, evidence(result)["id"], evidence(result)["path"]) == (0, f"snap-{ID}", "")
    code, result = run(site, "restore", snapshot_id=f"snap-{ID}")
    assert (code, result["failed_phase"]) == (1, "restore")
    assert "restore it by the tool that took it" in result["msg"]


def test_release_that_is_resumed_has_another_snapshot_taken(staged):
    site = staged()
    runs = [run(site, "snapshot", snapshot_command=["echo", "{snapshot}"]) for _again in range(2)]
    assert [code for code, _result in runs] == [0, 0]
    ids = [evidence(result)["id"] for _code, result in runs]
    assert ids[0] != ids[1]
    assert all(re.match(r"\d{8}T\d{6}Z-before-", name) for name in ids), ids


def test_restore_by_command(staged):
    site = staged(database={"driver": "mongodb"})
    file = site.home / "db.sqlite"
    commands = {
        "snapshot_command": ["sh", "-c", f'cp {file} {file}."$0" && echo "$0"', "{release}"],
        "restore_command": [
            "sh",
            "-c",
            f'cp {file}."$0" {file} && echo "$0 $1" > {file}.told',
            "{snapshot}",
            "{release}",
        ],
    }
    run(site, "snapshot", **commands)
    with sqlite3.connect(file) as database:
        database.execute("insert into notes values ('second')")
    database.close()
    code, result = run(site, "restore", snapshot_id=ID, **commands, _ansible_check_mode=True)
    assert (code, result["changed"], notes(site)) == (0, True, ["first", "second"])
    code, result = run(site, "restore", snapshot_id=ID, **commands)
    assert (code, notes(site), evidence(result)["id"]) == (0, ["first"], ID), result.get("msg")
    assert evidence(result)["safety"].endswith("-before-restore")
    assert (site.home / "db.sqlite.told").read_text() == f"{ID} {ID}\n"


@pytest.mark.parametrize(
    ("restoring", "known"),
    [
        # What it prints need not be text.
        ("printf '\\377' >&2; exit 3", {"safety"}),
        ('[ "$0" != bad ]', {"unchanged"}),
    ],
)
def test_restore_that_failed_says_what_is_known_of_the_database(staged, restoring, known):
    site = staged()
    run(site, "snapshot", snapshot_command=["echo", "bad"])
    commands = {"snapshot_command": ["echo", "{release}"], "restore_command": ["sh", "-c", restoring, "{snapshot}"]}
    code, result = run(site, "restore", snapshot_id="bad", **commands)
    found = evidence(result)
    assert (code, result["failed_phase"], known) == (1, "restore", {"safety", "unchanged"} & set(found)), result["msg"]
    assert found.get("safety", "-before-restore").endswith("-before-restore")


def test_restore_that_is_begun_again_while_it_is_at_work_is_none(staged):
    site = staged()
    taken = evidence(run(site, "snapshot")[1])["id"]
    with Layout(str(site.root)).restoring():
        code, result = run(site, "restore", snapshot_id=taken)
    assert (code, result["failed_phase"]) == (1, "restore")
    assert "the database is being restored on this host" in result["msg"]
    # Whether that other one leaves the database whole is not known here.
    assert "unchanged" not in evidence(result)


def test_restore_under_an_open_site_is_none(staged):
    site = staged()
    taken = evidence(run(site, "snapshot")[1])["id"]
    code, result = run(site, "restore", snapshot_id=taken, maintenance_held="why")
    assert (code, evidence(result)["open"], "the site is open" in result["msg"]) == (1, True, True)


@pytest.mark.parametrize(
    "held, behaviour, told",
    [
        ("why", {"keeps": ["queue", "maintenance"]}, ["queue", "maintenance"]),
        ("", {"keeps": ["queue"]}, []),
        # It may be what is to be rolled back.
        ("why", {"boot_error": "syntax error"}, []),
    ],
)
def test_what_goes_with_a_restore_is_told_beforehand(staged, held, behaviour, told):
    site = staged()
    site.go_live(ID)
    (site.path(ID) / "app.json").write_text(json.dumps(behaviour))
    found = evidence(site.run("preflight", release="", maintenance_held=held, maintenance_flags=["/f"])[1])
    assert (found["goes_with_a_restore"], found["flags"]) == (told, 1)


def test_nothing_is_migrated_when_the_snapshot_fails(staged):
    site = staged()
    code, result = run(site, "snapshot", "migrate", snapshot_command=["false"])
    assert (code, result["failed_phase"], (site.home / "database.json").exists()) == (1, "snapshot", False)


def test_old_snapshots_go(staged):
    site = staged()
    for name in ("a", "b"):
        (site.root / ".slipway/snapshots").mkdir(exist_ok=True)
        entry = {"id": name, "name": name, "file": "", "release": "r0", "created_at": f"2025-{name}"}
        (site.root / f".slipway/snapshots/{name}.json").write_text(json.dumps(entry))
    code, result = run(site, "snapshot", snapshot_keep=2)
    assert (code, evidence(result)["removed"]) == (0, ["a"])


# migrate


def test_a_failed_migration_tells_what_was_applied(staged):
    site = staged(failing_migration=SECOND)
    run(site, "plan")
    code, result = run(site, "migrate")
    found = evidence(result)
    assert (code, result["failed_phase"], result["changed"]) == (1, "migrate", True)
    assert (found["migrations"], found["changed"]) == ([FIRST], True)
    assert (
        f"{SECOND} may be half applied: compare its tables against {site.root}/.slipway/plans/{ID}.sql"
        in found["error"]
    )
    assert manifest(site)["migrations"] == [FIRST]
    assert not (site.root / ".slipway/migrating").exists()


@pytest.mark.parametrize("isolated, unlocked", [("auto", True), ("never", False)])
def test_the_lock_that_a_killed_run_left_is_given_back(staged, isolated, unlocked):
    site = staged(mutex=unlocked)
    (site.root / ".slipway/migrating").write_text("{}")
    code, result = run(site, "migrate", migrate_isolated=isolated)
    assert (code, evidence(result)["migrations"]) == (0, [FIRST, SECOND])
    assert (site.home / "unlocked").exists() is unlocked
    assert not (site.root / ".slipway/migrating").exists()


def test_the_lock_of_somebody_else_is_left_alone(staged):
    site = staged(mutex=True)
    code, result = run(site, "migrate")
    assert (code, (site.home / "unlocked").exists()) == (1, False)
    assert "another process runs migrate" in result["msg"]


def test_a_migration_that_outlived_its_run_is_not_joined(staged):
    site = staged()
    (site.root / ".slipway/migrating").write_text("{}")
    argv = [sys.executable, "-ISc", "print(flush=True); import time; time.sleep(60)", "artisan", "migrate"]
    with subprocess.Popen(argv, cwd=site.path(ID), stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        code, result = run(site, "migrate")
        child.kill()
    assert (code, (site.home / "database.json").exists()) == (1, False)
    assert f"the migration of an earlier run still runs (pid {child.pid})" in result["msg"]
    assert run(site, "migrate")[0] == 0
