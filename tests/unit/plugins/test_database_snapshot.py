"""Snapshots: SQLite and, where the host has it, MariaDB are real; else their programs are played."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _snapshot

# With all that an option file could take for its own.
PASSWORD = 'p#a"s\\s w'  # noqa: S105

# Plays the programs of MariaDB or MySQL: the client and the dump. What they are told lies beside their directory.
PROGRAM = r"""#!/usr/bin/env -S python3 -IS
import json, os, sys
from pathlib import Path
HOME, name, words = Path(__file__).absolute().parent.parent, os.path.basename(__file__), sys.argv[1:]
play = json.loads((HOME / "play.json").read_text())
if words == ["--version"]:
    sys.exit(print(play["version"]))
file = next((word.partition("=")[2] for word in words if word.startswith("--defaults-file=")), "")
seen = {"name": name, "words": words[1:], "options": Path(file).read_text(), "mode": os.stat(file).st_mode & 0o777}
with open(HOME / "programs", "a") as out:
    out.write(json.dumps({**seen, "first": words[0].partition("=")[0]}) + "\n")
if "dump" in name:
    sys.stdout.write(play["dump"])
    sys.stdout.flush()
    sys.stderr.write(play["dump_error"])
    sys.exit(play["dump_status"])
if "-e" in words:
    query = words[words.index("-e") + 1]
    if query == play.get("refused"):
        sys.exit("ERROR 1044 (42000) at line 1: Access denied for user 'app'@'%' to database 'app'")
    told = {"data_length": play["size"], "current_user": "app@%", "'VIEW'": "old\t\nfk\t", "views": play["views"]}
    sys.exit(print(next((text for part, text in told.items() if part in query), ""), end=""))
loads = HOME / "loads"
loads.mkdir(exist_ok=True)
number = len(list(loads.iterdir()))
(loads / str(number)).write_text(sys.stdin.read())
if number < play["failing_loads"]:
    sys.exit("ERROR 1064 (42000) at line 7: You have an error in your SQL syntax")
"""
DUMP = "create table a (b int);\ninsert into a values ('it');\n-- Dump completed on 2026-11-21\n"


@pytest.fixture
def place(tmp_path):
    """Where snapshots lie."""
    return tmp_path / "snapshots"


@pytest.fixture
def snapshot(tmp_path, place, run_module):
    def run(**args):
        return run_module("database_snapshot", **{"directory": str(place), "env_file": str(tmp_path / ".env"), **args})

    return run


@pytest.fixture
def lite(tmp_path):
    """A database of SQLite, named by .env, with one row."""
    path = tmp_path / "app.sqlite"
    (tmp_path / ".env").write_text(f"DB_CONNECTION=sqlite\nDB_DATABASE={path}\n")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("create table notes (body text); insert into notes values ('first')")
    return path


@pytest.fixture
def mysql(tmp_path, monkeypatch):
    """Played programs; mysql(name=value) changes how they behave."""
    (tmp_path / "bin").mkdir()
    for name in ("mariadb", "mariadb-dump"):
        (tmp_path / "bin" / name).write_text(PROGRAM)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / ".env").write_text(
        f"DB_CONNECTION=mysql\nDB_HOST=db.test\nDB_DATABASE=app\nDB_USERNAME=app\nDB_PASSWORD='{PASSWORD}'\n"
    )
    play = {"version": "mariadb-dump from 11.8.3-MariaDB", "dump": DUMP, "dump_error": "", "dump_status": 0}
    play.update(size="1000", failing_loads=0, views="")

    def change(**values):
        play.update(values)
        (tmp_path / "play.json").write_text(json.dumps(play))

    change()
    return change


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("select body from notes order by 1")]


def programs(tmp_path):
    return [json.loads(line) for line in (tmp_path / "programs").read_text().splitlines()]


def names(place):
    return sorted(path.name for path in place.iterdir())


# SQLite


def test_take_and_restore(lite, snapshot, place):
    code, result = snapshot(label="before-x")
    taken = result["snapshot"]
    assert (code, result["changed"], taken["driver"], taken["database"]) == (0, True, "sqlite", str(lite))
    assert taken["id"].endswith("-before-x")
    assert taken["sha256"] == hashlib.sha256(Path(taken["path"]).read_bytes()).hexdigest()
    assert taken["size"] == os.path.getsize(taken["path"])
    assert [path.stat().st_mode & 0o777 for path in (place, *place.iterdir())] == [0o700, 0o600, 0o600]

    keeps_open = sqlite3.connect(lite)
    keeps_open.executescript("insert into notes values ('second'); create table more (a int)")
    code, result = snapshot(state="restored", id=taken["id"])
    assert (code, result["changed"], rows(lite)) == (0, True, ["first"])
    # A process that had the file open sees it too.
    assert keeps_open.execute("select count(*) from sqlite_master").fetchone() == (1,)
    keeps_open.close()
    # What was there before is a snapshot as well.
    code, result = snapshot(state="restored", id=result["safety"])
    assert (code, rows(lite)) == (0, ["first", "second"])
    assert not list(place.glob("*.part"))


@pytest.mark.parametrize("state", ["present", "restored", "absent"])
def test_check_mode(lite, snapshot, place, state):
    taken = snapshot()[1]["snapshot"]
    before = names(place)
    code, result = snapshot(state=state, id=taken["id"], _ansible_check_mode=True)
    assert (code, result["changed"], names(place)) == (0, True, before)


def test_list_and_remove(lite, snapshot, place):
    first, second = (snapshot()[1]["snapshot"]["id"] for _each in range(2))
    code, result = snapshot(state="listed")
    assert (code, result["changed"], [entry["id"] for entry in result["snapshots"]]) == (0, False, [first, second])
    code, result = snapshot(state="absent", id=first)
    assert (code, result["changed"], result["diff"]["after"]) == (0, True, f"{second}\n")
    assert all(name.startswith(second) for name in names(place))
    assert snapshot(state="absent", id=first)[1]["changed"] is False


def test_list_of_a_directory_that_is_not_there(snapshot):
    assert snapshot(state="listed")[1]["snapshots"] == []


def test_keep(lite, snapshot):
    taken = [snapshot(label=f"n{number}", keep=2)[1] for number in range(3)]
    assert taken[2]["removed"] == [taken[0]["snapshot"]["id"]]
    assert [entry["id"] for entry in taken[2]["snapshots"]] == [entry["snapshot"]["id"] for entry in taken[1:]]


def test_prune_keeps_those_of_the_newest_release(lite, tmp_path, place):
    snapshots = _snapshot.Snapshots(str(place))
    database = _snapshot.database_of(str(tmp_path / ".env"), {})
    taken = [snapshots.take(database, "x", release)["id"] for release in ("r1", "r2", "r2", "", "")]
    assert snapshots.prune(1) == [taken[0], taken[3]]


def test_database_of_values_that_are_nothing(tmp_path):
    names = ("HOST", "PORT", "SOCKET", "USERNAME", "PASSWORD")
    lines = ["DB_CONNECTION=mysql", "DB_DATABASE=shop", *(f"DB_{name}=null" for name in names)]
    (tmp_path / ".env").write_text("\n".join([*lines, "MYSQL_ATTR_SSL_CA=(empty)", "DB_SSLMODE=null"]))
    database = _snapshot.database_of(str(tmp_path / ".env"), {})
    assert database == _snapshot.Database("mysql", "shop", "127.0.0.1", "3306")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            "postgres://ann@db/shop?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
            _snapshot.Database("pgsql", "shop", "db", "5432", "", "ann", "", "/etc/ca.pem", "verify-full"),
        ),
        (
            "mysql2://ann@localhost/shop?unix_socket=/run/mysqld.sock",
            _snapshot.Database("mysql", "shop", "localhost", "3306", "/run/mysqld.sock", "ann"),
        ),
        ("sqlite3:////srv/db", _snapshot.Database("sqlite", "/srv/db")),
    ],
)
def test_database_by_a_url_with_options(tmp_path, url, found):
    (tmp_path / ".env").write_text(f"DB_CONNECTION=mysql\nDB_URL={url}\n")
    assert _snapshot.database_of(str(tmp_path / ".env"), {}) == found


def test_programs_of_postgresql_check_the_server_as_the_application_does(tmp_path):
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\necho "$PGSSLMODE $PGSSLROOTCERT"\n')
    program.chmod(0o755)
    database = _snapshot.Database("pgsql", "shop", "db", "5432", tls_ca="/etc/ca.pem", tls_mode="verify-full")
    server = _snapshot.Server(database, {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert server.rows("select 1") == [["verify-full /etc/ca.pem"]]


SHOP = _snapshot.Database("mysql", "shop", "db", "3306")
SOCKET = _snapshot.Database("mysql", "shop", "127.0.0.1", "3306", "/run/mysqld.sock")


@pytest.mark.parametrize(
    ("database", "told", "same"),
    [
        (SHOP, {"driver": "mysql", "database": "shop", "host": "db", "port": 3306}, True),
        (SHOP, {"driver": "mariadb", "database": "shop", "host": "db", "port": None, "socket": ""}, True),
        (SHOP, {"driver": "mysql", "database": "shop", "host": ["other", "db"], "port": "3306"}, True),
        (SHOP, {"driver": "mysql", "database": "shop", "host": "db", "port": "3307"}, False),
        (SHOP, {"driver": "mysql", "database": "other", "host": "db"}, False),
        (SHOP, {"driver": "pgsql", "database": "shop", "host": "db", "port": "3306"}, False),
        (SHOP, {"driver": "mysql", "database": "shop", "host": "db", "socket": "/run/other.sock"}, False),
        (SOCKET, {"driver": "mysql", "database": "shop", "host": "db", "socket": "/run/mysqld.sock"}, True),
        (SOCKET, {"driver": "mysql", "database": "shop", "host": "127.0.0.1", "port": "3306"}, False),
        (_snapshot.Database("sqlite", "/srv/db"), {"driver": "sqlite", "database": "/srv/x/../db"}, True),
        (_snapshot.Database("sqlite", "/srv/db"), {"driver": "sqlite", "database": "/srv/other"}, False),
    ],
)
def test_database_of_env_is_compared_with_the_applications(database, told, same):
    if same:
        return _snapshot.check_same(database, told, ".env")
    with pytest.raises(_snapshot.SnapshotError, match="the application uses another database"):
        _snapshot.check_same(database, told, ".env")
    return None


def test_leftovers_of_a_killed_run_go_and_those_of_a_running_one_stay(lite, snapshot, place):
    place.mkdir()
    (place / "dead.sql.gz.part").write_text("half")
    with contextlib.closing(_snapshot._Sink(str(place / "live.sql.gz"))._file):
        snapshot()
        assert [path.name for path in place.glob("*.part")] == ["live.sql.gz.part"]


@pytest.mark.parametrize(
    "damage, text",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "so it is not what was written; nothing was changed"),
        (lambda path: path.unlink(), "is gone; nothing was changed"),
    ],
)
def test_a_damaged_snapshot_is_not_restored(lite, snapshot, damage, text):
    taken = snapshot()[1]["snapshot"]
    damage(Path(taken["path"]))
    code, result = snapshot(state="restored", id=taken["id"])
    assert (code, rows(lite)) == (1, ["first"])
    assert text in result["msg"]
    assert len(snapshot(state="listed")[1]["snapshots"]) == 1


def test_a_snapshot_of_another_database_is_not_restored(lite, tmp_path, snapshot):
    taken = snapshot()[1]["snapshot"]
    shutil.copy(lite, tmp_path / "other.sqlite")
    (tmp_path / ".env").write_text(f"DB_CONNECTION=sqlite\nDB_DATABASE={tmp_path}/other.sqlite\n")
    code, result = snapshot(state="restored", id=taken["id"])
    assert code == 1
    assert f"and .env names the sqlite database {tmp_path}/other.sqlite; nothing was changed" in result["msg"]


@pytest.mark.parametrize(
    "env, text",
    [
        ("DB_CONNECTION=sqlite\nDB_DATABASE=database.sqlite", "give SQLite's file by its absolute path"),
        ("DB_CONNECTION=sqlite\nDB_DATABASE=/nowhere.sqlite", "/nowhere.sqlite does not exist"),
        ("DB_CONNECTION=mongodb", "which has no built-in snapshot; give release_snapshot_command"),
        ("DB_URL=mysql://ann:s3cr3t@[db/shop", "DB_URL in .env is no address; correct it"),
        ("DB_CONNECTION=mysql", "DB_DATABASE in"),
        (None, "cannot be read"),
    ],
)
def test_env_without_a_usable_database(tmp_path, snapshot, env, text):
    if env is not None:
        (tmp_path / ".env").write_text(env)
    code, result = snapshot()
    assert code == 1
    assert text in result["msg"]
    assert "s3cr3t" not in result["msg"]


def test_environment_goes_before_env_file(lite, tmp_path, snapshot):
    shutil.copy(lite, tmp_path / "other.sqlite")
    result = snapshot(environment={"DB_DATABASE": f"{tmp_path}/other.sqlite"})[1]
    assert result["snapshot"]["database"] == f"{tmp_path}/other.sqlite"


def test_unknown_id(lite, snapshot):
    code, result = snapshot(state="restored", id="it")
    assert (code, "there is no snapshot it in" in result["msg"]) == (1, True)


def test_parameters(lite, snapshot):
    assert "has to be a word without a slash" in snapshot(label="a/b")[1]["msg"]
    assert "neither env_file nor command" in snapshot(env_file=None)[1]["msg"]


def test_a_full_disk_is_seen_before(lite, snapshot, place, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 100 * 2**20))
    code, result = snapshot()
    assert (code, names(place)) == (1, [])
    assert f"{place} has 100 MiB left" in result["msg"]


# A command of one's own


def test_command(tmp_path, place, snapshot):
    command = ["sh", "-c", 'echo working; echo "arn:aws:rds:$REGION:it"; echo', "{release}"]
    code, result = snapshot(env_file=None, command=command, environment={"REGION": "eu"})
    assert (code, result["snapshot"]["id"], result["snapshot"]["path"]) == (0, "arn:aws:rds:eu:it", "")
    (tmp_path / ".env").write_text("DB_DATABASE=app")
    code, result = snapshot(state="restored", id="arn:aws:rds:eu:it", env_file=None)
    assert (code, "restore it by the tool that took it" in result["msg"]) == (1, True)
    assert snapshot(state="absent", id="arn:aws:rds:eu:it")[1]["changed"] is True
    assert names(place) == []


@pytest.fixture
def managed(tmp_path, lite, snapshot):
    """A database whose snapshots are copies of its file, made and put back by commands; they are files in backups/."""
    (tmp_path / "backups").mkdir()
    commands = {
        "command": ["sh", "-c", f'cp {lite} {tmp_path}/backups/"$0" && echo "$0"', "shop-{snapshot}"],
        "restore_command": ["sh", "-c", f'cp {tmp_path}/backups/"$0" {lite}', "{snapshot}"],
    }

    def run(**args):
        return snapshot(**{"env_file": None, **commands, **args})

    return run


def write_note(lite, text):
    with contextlib.closing(sqlite3.connect(lite)) as database, database:
        database.execute("insert into notes values (?)", [text])


def test_command_that_restores(lite, managed):
    first = managed()[1]["snapshot"]["id"]
    assert first.startswith("shop-2")
    assert first.endswith("Z-manual")
    write_note(lite, "second")
    code, result = managed(state="restored", id=first, _ansible_check_mode=True)
    assert (code, result["changed"], rows(lite), len(result["snapshots"])) == (0, True, ["first", "second"], 1)
    code, result = managed(state="restored", id=first)
    assert (code, result["changed"], rows(lite), result["snapshot"]["id"]) == (0, True, ["first"], first)
    assert result["safety"].endswith("-before-restore")
    assert [entry["release"] for entry in result["snapshots"]] == ["", ""]
    assert managed(state="restored", id=result["safety"])[0] == 0
    assert rows(lite) == ["first", "second"]


@pytest.mark.parametrize(
    "args, text",
    [
        ({"restore_command": []}, "by the tool that took it, or give the command that does in release_restore_command"),
        ({"restore_command": ["true"]}, "release_restore_command has no {snapshot} in it"),
        ({"command": []}, "release_restore_command needs release_snapshot_command too"),
        ({"command": ["false"]}, "release_snapshot_command false exited 1: it said nothing"),
    ],
)
def test_nothing_is_restored_without_both_commands(lite, managed, args, text):
    first = managed()[1]["snapshot"]["id"]
    write_note(lite, "second")
    code, result = managed(state="restored", id=first, **args)
    assert (code, text in result["msg"], rows(lite)) == (1, True, ["first", "second"]), result["msg"]


def test_command_that_gives_the_same_id_again(lite, managed):
    same = ["echo", "latest"]
    taken = managed(command=same)[1]["snapshot"]["created_at"]
    write_note(lite, "second")
    for args in ({}, {"state": "restored", "id": "latest"}):
        code, result = managed(command=same, **args)
        assert (code, rows(lite)) == (1, ["first", "second"])
        assert f"'latest', is not the id of a new snapshot: the snapshot of {taken} has it" in result["msg"]


@pytest.mark.parametrize("told", ["None", "null", "snapshot s15 is complete"])
def test_command_whose_last_line_is_no_id(place, managed, told):
    code, result = managed(command=["echo", told])
    assert (code, f"its last line, '{told}', is not the id of a new snapshot" in result["msg"]) == (1, True)
    assert names(place) == []


def test_what_was_there_is_restored_when_the_command_fails(tmp_path, lite, managed):
    first = managed()[1]["snapshot"]["id"]
    write_note(lite, "second")
    (tmp_path / "backups" / first).unlink()
    code, result = managed(state="restored", id=first)
    assert (code, rows(lite)) == (1, ["first", "second"])
    assert f"{first} was not restored: release_restore_command sh exited 1: cp: " in result["msg"]
    assert "The database is what it was before, from shop-2" in result["msg"]


def test_a_managed_database_that_nobody_knows_is_said_loudly(managed):
    first = managed()[1]["snapshot"]["id"]
    code, result = managed(state="restored", id=first, restore_command=["/nowhere", "{snapshot}"])
    assert code == 1
    assert "restore_command /nowhere cannot be run: No such file" in result["msg"]
    assert "NOBODY KNOWS WHAT THE DATABASE IS LIKE, take it that it IS NOT WHOLE" in result["msg"]
    assert result["msg"].endswith("-before-restore")


def test_a_dump_is_restored_without_commands(lite, snapshot, managed):
    taken = snapshot()[1]["snapshot"]["id"]
    write_note(lite, "second")
    assert "env_file is needed to restore" in managed(state="restored", id=taken)[1]["msg"]
    assert snapshot(state="restored", id=taken, restore_command=["false", "{snapshot}"])[0] == 0
    assert rows(lite) == ["first"]


@pytest.mark.parametrize(
    "command, text",
    [
        (["sh", "-c", "echo no such instance >&2; exit 3"], "release_snapshot_command sh exited 3: no such instance"),
        (["true"], "exited 0, but its output names no id"),
        (["/nowhere"], "release_snapshot_command /nowhere cannot be run: No such file"),
    ],
)
def test_command_that_fails(snapshot, place, command, text):
    code, result = snapshot(env_file=None, command=command)
    assert (code, names(place)) == (1, [])
    assert text in result["msg"]


# MySQL and MariaDB, played


def test_dump(tmp_path, mysql, snapshot):
    code, result = snapshot()
    assert code == 0
    assert gzip.decompress(Path(result["snapshot"]["path"]).read_bytes()).decode() == DUMP
    dump = programs(tmp_path)[-1]
    for option in ("--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob"):
        assert option in dump["words"]
    assert dump["words"][-3:] == ["--no-tablespaces", "--events", "app"]
    assert (dump["first"], dump["mode"]) == ("--defaults-file", 0o600)
    assert 'password="p#a\\"s\\\\s w"\n' in dump["options"]
    assert 'host="db.test"\nport="3306"\n' in dump["options"]
    assert "skip-ssl-verify-server-cert\n" in dump["options"]


def test_dump_by_an_account_that_may_not_see_events(tmp_path, mysql, snapshot):
    mysql(refused="show events")
    assert snapshot()[0] == 0
    assert "--events" not in programs(tmp_path)[-1]["words"]


def test_password_is_in_no_argument_and_no_result(tmp_path, mysql, snapshot):
    result = snapshot()[1]
    told = json.dumps([entry["words"] for entry in programs(tmp_path)]) + json.dumps(result)
    assert "p#a" not in told


@pytest.mark.parametrize(
    "version, options",
    [
        (
            "mysqldump  Ver 8.4.5 for Linux on x86_64 (Source distribution)",
            ["--set-gtid-purged=OFF", "--column-statistics=0"],
        ),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", ["--set-gtid-purged=OFF"]),
        ("mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)", []),
    ],
)
def test_options_of_each_client(tmp_path, mysql, snapshot, version, options):
    mysql(version=version)
    assert snapshot()[0] == 0
    dump = programs(tmp_path)[-1]
    assert [word for word in dump["words"] if word.startswith(("--set", "--column"))] == options
    assert ("skip-ssl" in dump["options"]) is ("MariaDB" in version)


@pytest.mark.parametrize(
    "behaviour, text",
    [
        (
            {"dump_status": 2, "dump_error": "Got error: 2013: Lost connection"},
            "exited 2: Got error: 2013: Lost connection",
        ),
        (
            {"dump_status": 2, "dump_error": "Access denied"},
            "grant app what it lacks, or give release_snapshot_command",
        ),
        ({"dump": DUMP[:40]}, "exited 0, but its dump does not end as a whole one does"),
        ({"size": "9000000000000000"}, "a snapshot of app may need"),
    ],
)
def test_a_dump_that_is_not_whole_leaves_nothing(place, mysql, snapshot, behaviour, text):
    mysql(**behaviour)
    code, result = snapshot()
    assert (code, names(place)) == (1, [])
    assert text in result["msg"]


def test_disk_that_fills_while_dumping(place, mysql, snapshot, monkeypatch):
    def put(_self, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_snapshot._Sink, "_put", put)
    code, result = snapshot()
    assert (code, names(place)) == (1, [])
    assert "cannot be written: No space left on device" in result["msg"]


def test_no_client(place, mysql, snapshot, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, result = snapshot()
    assert (code, "this host has no mariadb or mysql; install mariadb-client" in result["msg"]) == (1, True)


def test_restore_empties_and_loads(tmp_path, mysql, snapshot):
    foreign = "/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n"
    own = "/*!50003 CREATE*/ /*!50017 DEFINER=`app`@`%`*/ /*!50003 trigger t */\n"
    value = "INSERT INTO `a` VALUES ('DEFINER=`root`@`localhost` ');\n"
    mysql(dump="/*M!999999\\- enable the sandbox mode */ \n" + foreign + own + value + DUMP)
    taken = snapshot()[1]["snapshot"]
    code, result = snapshot(state="restored", id=taken["id"])
    assert (code, result["changed"]) == (0, True)
    loaded = (tmp_path / "loads/0").read_text()
    drops = "drop table if exists `old`;\ndrop table if exists `fk`;\n"
    assert loaded.startswith(f"set foreign_key_checks = 0;\n{drops}")
    assert loaded.endswith("/*!50013 SQL SECURITY DEFINER */\n" + own + value + DUMP)
    assert "sandbox" not in loaded


def test_what_was_there_is_loaded_again_when_loading_fails(tmp_path, mysql, snapshot):
    taken = snapshot()[1]["snapshot"]
    mysql(failing_loads=1, dump=DUMP.replace("it", "now"))
    code, result = snapshot(state="restored", id=taken["id"])
    assert code == 1
    assert "ERROR 1064 (42000) at line 7" in result["msg"]
    assert "The database is what it was before, from " in result["msg"]
    assert "values ('now')" in (tmp_path / "loads/1").read_text()


def test_a_database_that_is_not_whole_is_said_loudly(mysql, snapshot):
    taken = snapshot()[1]["snapshot"]
    mysql(failing_loads=2)
    code, result = snapshot(state="restored", id=taken["id"])
    assert (code, "THE DATABASE app IS NOT WHOLE; the state before is in" in result["msg"]) == (1, True)


def test_what_another_account_made_is_dropped_before_any_data(tmp_path, mysql, snapshot):
    taken = snapshot()[1]["snapshot"]
    mysql(views="sums\troot@localhost\nmine\tapp@%\n")
    assert snapshot(state="restored", id=taken["id"])[0] == 0
    assert (tmp_path / "loads/0").read_text() == "set foreign_key_checks = 0;\ndrop view if exists `sums`;\n"
    mysql(failing_loads=3, views="sums\troot@localhost\n")
    code, result = snapshot(state="restored", id=taken["id"])
    assert (code, "no data was touched" in result["msg"], "NOT WHOLE" in result["msg"]) == (1, True, False)
    assert "view sums by root@localhost" in result["msg"]


def test_pgsql_leaves_comments_on_extensions_out_but_not_data():
    lines = [
        b"COMMENT ON EXTENSION a IS 'b';\n",
        b"COPY public.a (b) FROM stdin;\n",
        b"COMMENT ON EXTENSION x\n",
        b"\\.\n",
    ]
    assert list(_snapshot._for_pgsql([*lines, lines[0]])) == lines[1:]


def test_lines_of_any_length(tmp_path):
    lines = [b"a" * 3_000_000 + b"\n", b"\n", b"last"]
    with gzip.open(tmp_path / "x.gz", "wb") as handle:
        handle.writelines(lines)
    assert list(_snapshot._unpacked(str(tmp_path / "x.gz"))) == lines


# MariaDB, real


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A MariaDB of our own: a function that runs SQL as root and returns its answer."""
    if not all(shutil.which(name) for name in ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")):
        pytest.skip("there is no mariadb-server on this machine")
    home = tmp_path_factory.mktemp("mariadb")
    socket, data = f"{home}/s", f"{home}/data"
    user = ["--user=root"] if os.geteuid() == 0 else []
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *user]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    argv = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking", *user]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = ["mariadb", "--no-defaults", "--default-character-set=utf8mb4", "-uroot", f"--socket={socket}", "-NB"]

    def sql(text):
        result = subprocess.run([*client, "app"], input=text, check=True, capture_output=True, text=True)
        return result.stdout

    deadline = time.monotonic() + 60
    while subprocess.run([*client, "-e", "select 1"], capture_output=True, check=False).returncode:
        assert process.poll() is None and time.monotonic() < deadline, "MariaDB does not start"
        time.sleep(0.2)
    account = f"create user app@localhost identified by '{PASSWORD}'".replace("\\", "\\\\")
    subprocess.run([*client, "-e", f"create database app; {account}; grant all on app.* to app@localhost"], check=True)
    sql.socket = socket
    yield sql
    process.terminate()
    process.wait()


MADE = """
create table things (id int primary key auto_increment, b blob, t text character set utf8mb4, d decimal(10,3),
  ts datetime(6), e enum('a','b (c)'), g bit(3), n varchar(10) null);
insert into things (b, t, d, ts, e, g) values (unhex('00ff27225c0a0d1a'), 'naïve 🚀 ''q'' \\\\ \\n DEFINER=`x`@`y` ',
  1.25, '2026-11-21 01:02:03.456789', 'b (c)', b'101'), (null, '', null, null, null, null);
create table parents (id int primary key); insert into parents values (1);
create table children (p int, foreign key (p) references parents(id)); insert into children values (1);
create definer=root@localhost view seen as select t from things;
create definer=root@localhost trigger counted before insert on parents for each row set @x = 1;
create definer=app@localhost procedure tidy() delete from children;
"""
STATE = """
select table_name, table_type from information_schema.tables where table_schema = 'app' order by 1;
select hex(b), t, d, ts, e, g + 0, n from things order by id; select * from parents; select * from children;
select t from seen; select trigger_name from information_schema.triggers where trigger_schema = 'app';
select routine_name from information_schema.routines where routine_schema = 'app';
"""


def test_mariadb_is_what_it_was(server, tmp_path, snapshot):
    server(MADE)
    before = server(STATE)
    assert "🚀" in before
    env = {"DB_CONNECTION": "mysql", "DB_SOCKET": server.socket, "DB_DATABASE": "app", "DB_USERNAME": "app"}
    lines = [f"{name}={value}" for name, value in env.items()] + [f"DB_PASSWORD='{PASSWORD}'"]
    (tmp_path / ".env").write_text("\n".join(lines))
    code, result = snapshot()
    assert code == 0, result["msg"]
    server(
        "set foreign_key_checks = 0; drop table parents; drop view seen; delete from children; drop procedure tidy;"
        "update things set t = 'other'; alter table things add x int; create table newer (a int);"
        "create view newest as select 1"
    )
    taken = result["snapshot"]["id"]
    code, result = snapshot(state="restored", id=taken)
    assert code == 0, result["msg"]
    assert server(STATE) == before
    # And what was there in between.
    assert snapshot(state="restored", id=result["safety"])[0] == 0
    assert "newest" in server("show tables")
    server("set foreign_key_checks = 0; drop view newest; drop table newer, things, children")
