"""Snapshots of PostgreSQL: what becomes of a dump on its way, and, where the host has one, a real server."""

from __future__ import annotations

import contextlib
import glob
import gzip
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _probe, _snapshot
from ansible_collections.slipway.laravel.plugins.module_utils._errors import SnapshotError

# With all that a file of passwords, a file of variables and a string of SQL could take for their own.
PASSWORD = "p:a\\ss#\"w'or d"  # noqa: S105


def loaded(*lines):
    return [line.decode() for line in _snapshot._for_pgsql([f"{line}\n".encode() for line in lines])]


def test_comments_on_extensions_are_left_out_but_not_data():
    data = ["COPY public.a (b) FROM stdin;", "COMMENT ON EXTENSION x", "\\."]
    assert loaded("COMMENT ON EXTENSION a IS 'b';", *data, "COMMENT ON EXTENSION c IS 'd';") == [
        f"{line}\n" for line in data
    ]


def test_setting_that_older_servers_do_not_know_is_left_out_but_not_of_what_the_application_has():
    setting, name = "SET transaction_timeout = 0;", "-- Name: f(); Type: FUNCTION; Schema: public; Owner: -"
    data = ["COPY public.a (b) FROM stdin;", setting, "\\."]
    told = loaded("SET lock_timeout = 0;", setting, "SET row_security = off;", name, setting, *data)
    assert told == [f"{line}\n" for line in ("SET lock_timeout = 0;", "SET row_security = off;", name, setting, *data)]


def test_grants_are_tried_but_only_where_a_dump_has_them():
    grant = "GRANT SELECT ON TABLE public.a TO report;"
    body = ["-- Name: grants(); Type: FUNCTION; Schema: public; Owner: -", grant]
    header = "-- Name: TABLE a; Type: ACL; Schema: public; Owner: -"
    default = "-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: public; Owner: -"
    told = loaded(*body, header, "--", "", grant, default, "ALTER DEFAULT PRIVILEGES x;", *body)
    assert [line for line in told if line.startswith("do ")] == [
        f"do $slipway$ begin {statement} exception when insufficient_privilege or undefined_object then "
        "raise warning '%', sqlerrm; end $slipway$;\n"
        for statement in (grant, "ALTER DEFAULT PRIVILEGES x;")
    ]
    assert told.count(f"{grant}\n") == 2


# Real


class Server:
    """A PostgreSQL of our own, with the database "shop" of the account "shop"."""

    def __init__(self, programs, home):
        self._programs, self._home, self._process = programs, home, None
        # The server does not run as root, and its files are not to be another's.
        self._as = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(home, "postgres", "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "--pgdata", f"{home}/data", "--auth-local=trust", "--auth-host=scram-sha-256", "-U", "dba")
        self.start()
        account = PASSWORD.replace("'", "''")
        self.sql(f"create role shop login password '{account}'; create role report; create role other", "postgres")
        self.sql("create database shop owner shop", "postgres")
        self.sql("create extension pgcrypto; create extension citext")

    def _run(self, program, *words):
        subprocess.run([f"{self._programs}/{program}", *words], check=True, capture_output=True, cwd="/", **self._as)

    def start(self):
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._home}"
        log = f"--log={self._home}/log"
        self._run("pg_ctl", "start", "--wait", "--pgdata", f"{self._home}/data", "--options", options, log)

    def stop(self):
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate", "--pgdata", f"{self._home}/data")

    def sql(self, text, database="shop", user="dba"):
        argv = [*self._psql(user), "-d", database]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _psql(self, user):
        where = ["-h", self._home, "-p", str(self.port), "-U", user]
        return [f"{self._programs}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *where]

    @contextlib.contextmanager
    def forgotten(self, text):
        """A transaction that is open meanwhile, and has done this."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([*self._psql("dba"), "-d", "shop"], **pipes) as process:
            process.stdin.write(f"begin; {text};\n\\echo done\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            yield
            process.stdin.close()

    def state(self):
        """All that the database holds, with its owners and grants."""
        argv = [f"{self._programs}/pg_dump", "-h", self._home, "-p", str(self.port), "-U", "dba", "shop"]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        # Of late a dump has a word of its own in it each time.
        return [line for line in told.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


@pytest.fixture(scope="module")
def server():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found or not all(shutil.which(name) for name in ("psql", "pg_dump")):
        pytest.skip("there is no postgresql on this machine")
    # Its own user has to get there.
    home = tempfile.mkdtemp(prefix="slipway-pgsql-")
    made = None
    try:
        made = Server(os.path.dirname(found[-1]), home)
        yield made
    finally:
        if made:
            with contextlib.suppress(subprocess.CalledProcessError):
                made.stop()
        shutil.rmtree(home)


MADE = """
create type status as enum ('new', 'sent (c)');
create domain positive as integer check (value > 0);
create sequence numbers start 41;
create table customers (id bigserial primary key, email citext not null unique);
create table orders (id bigint generated always as identity primary key, customer bigint references customers,
  state status not null default 'new', amount positive, paid numeric(8,2), secret bytea, told jsonb, at timestamptz,
  words text[]);
insert into customers (email) select 'User' || n || '@example.com' from generate_series(1, 50) n;
insert into orders (customer, state, amount, paid, secret, told, at, words)
  select n, 'sent (c)', n, n / 4.0, pgp_sym_encrypt('naive', 'x'), '{"a": [1, "q"]}', '2026-11-21 01:02:03.4+02',
  array['a\\b', E'tab\\tnew\\nline', 'COMMENT ON EXTENSION x', null] from generate_series(1, 50) n;
select nextval('numbers');
create table logs (at date not null, said text) partition by range (at);
create table logs_2026 partition of logs for values from ('2026-01-01') to ('2027-01-01');
insert into logs values ('2026-05-05', 'hello');
create view sent as select * from orders where state = 'sent (c)';
create materialized view sums as select customer, sum(paid) from orders group by 1;
create function half(n numeric) returns numeric language sql as $$ select n / 2 $$;
create procedure tidy() language plpgsql as $$
begin
GRANT SELECT ON TABLE public.customers TO report;
end $$;
create function touch() returns trigger language plpgsql as $$ begin new.at = now(); return new; end $$;
create trigger touched before update on orders for each row execute function touch();
create schema archive;
create table archive.orders (id int);
insert into archive.orders values (7);
comment on table orders is 'what was ordered';
grant select on orders to report;
grant select (id, email) on customers to report;
alter default privileges in schema archive grant select on tables to report;
"""


@pytest.fixture
def shop(server, tmp_path):
    """A filled database, and an .env that names it."""
    server.sql("drop owned by shop, other cascade; drop schema if exists audit cascade")
    server.sql(MADE, user="shop")
    write_env(tmp_path, server)
    return server


def write_env(tmp_path, server, password=PASSWORD):
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    values = {"DB_CONNECTION": "pgsql", "DB_HOST": "127.0.0.1", "DB_PORT": server.port, "DB_DATABASE": "shop"}
    values.update(DB_USERNAME="shop", DB_PASSWORD=f'"{quoted}"')
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


@pytest.fixture
def snapshot(tmp_path, run_module):
    def run(**args):
        return run_module(
            "database_snapshot", **{"directory": f"{tmp_path}/snapshots", "env_file": f"{tmp_path}/.env", **args}
        )

    return run


def taken(snapshot):
    code, result = snapshot()
    assert code == 0, result["msg"]
    return result["snapshot"]


def test_it_is_what_it_was(shop, snapshot):
    before = shop.state()
    name = taken(snapshot)["id"]
    shop.sql(
        "update orders set paid = 1; delete from orders where id > 7; alter table customers drop column email cascade;"
        "drop view sent; alter table orders alter column told type text; alter type status rename value 'new' to 'old';"
        "select nextval('numbers') from generate_series(1, 9); drop function half; drop schema archive cascade;"
        "create table newer (id int); create type colour as enum ('red'); create schema more;"
        "create table more.x (a int);"
        "revoke select on orders from report; refresh materialized view sums",
        user="shop",
    )
    changed = shop.state()
    code, result = snapshot(state="restored", id=name)
    assert code == 0, result["msg"]
    assert shop.state() == before
    # An extension that somebody else has made is still there, and still theirs.
    assert shop.sql("select extname from pg_extension where extowner = 'dba'::regrole order by 1").split() == [
        *("citext", "pgcrypto", "plpgsql")
    ]
    # And what was there in between.
    assert snapshot(state="restored", id=result["safety"])[0] == 0
    assert shop.state() == changed


def test_schema_of_another_account_keeps_everything_as_it_is(shop, snapshot):
    name = taken(snapshot)["id"]
    shop.sql("create schema audit authorization other; grant usage on schema audit to shop")
    before = shop.state()
    code, result = snapshot(state="restored", id=name)
    assert (code, shop.state()) == (1, before)
    assert "was not loaded, and the database was not changed: psql exited 3: " in result["msg"]
    assert "must be owner of schema audit" in result["msg"]
    assert "NOT WHOLE" not in result["msg"]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ("7\tbob@example.com\n7\tann@example.com", "duplicate key value violates unique constraint"),
        ("bob@example.com\tx", "invalid input syntax for type integer: ***"),
    ],
)
def test_load_that_fails_tells_no_rows(shop, tmp_path, rows, error):
    before = shop.state()
    server = _snapshot.Server(_snapshot.database_of(f"{tmp_path}/.env", {}), {})
    head = "SET transaction_timeout = 0;\ncreate table n (id int primary key, mail text);\n"
    with pytest.raises(SnapshotError, match=re.escape(error)) as failed:
        server.load(f"{line}\n".encode() for line in f"{head}COPY n FROM stdin;\n{rows}\n\\.".split("\n"))
    assert ("example.com" in str(failed.value), shop.state() == before) == (False, True), failed.value


def test_table_of_another_account_is_restored_as_our_own(shop, snapshot):
    shop.sql("create table notes (id int); insert into notes values (7); alter table notes owner to other")
    shop.sql("grant select on notes to shop")
    name = taken(snapshot)["id"]
    shop.sql("delete from notes")
    code, result = snapshot(state="restored", id=name)
    assert code == 0, result["msg"]
    assert shop.sql("select id, relowner::regrole from notes, pg_class where relname = 'notes'") == "7|shop\n"


def test_a_transaction_that_somebody_forgot_does_not_keep_it_waiting_for_ever(shop, snapshot, monkeypatch):
    monkeypatch.setattr(_snapshot, "_EMPTY_PGSQL", _snapshot._EMPTY_PGSQL.replace("'60s'", "'1s'"))
    name = taken(snapshot)["id"]
    with shop.forgotten("lock table orders in row exclusive mode"):
        code, result = snapshot(state="restored", id=name)
    assert (code, "canceling statement due to lock timeout" in result["msg"]) == (1, True), result
    assert "the database was not changed" in result["msg"]


def test_a_grant_that_nobody_can_give_any_more_is_no_obstacle(shop, snapshot):
    name = taken(snapshot)["id"]
    shop.sql("drop owned by report; drop role report")
    code, result = snapshot(state="restored", id=name)
    shop.sql("create role report")
    assert code == 0, result["msg"]
    assert shop.sql("select count(*) from orders") == "50\n"


def test_dump_of_what_the_account_may_not_read(shop, snapshot, tmp_path):
    shop.sql("create schema audit; grant usage on schema audit to shop; create table audit.log (id int)")
    code, result = snapshot()
    assert (code, list(tmp_path.glob("snapshots/*"))) == (1, [])
    assert "permission denied for table log" in result["msg"]
    assert "; grant shop what it lacks, or give release_snapshot_command" in result["msg"]


def test_password_is_in_no_list_of_processes_and_no_result(shop, snapshot):
    shop.sql("insert into logs select '2026-05-05', repeat(md5(n::text), 30) from generate_series(1, 60000) n")
    seen, ended = set(), threading.Event()

    def watch():
        while not ended.is_set():
            for file in glob.glob("/proc/[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = Path(file).read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                    if "pg_dump" in line or "psql" in line:
                        seen.add(line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        code, result = snapshot()
    finally:
        ended.set()
        watcher.join()
    assert code == 0, result["msg"]
    assert any("pg_dump" in line and "--host 127.0.0.1" in line for line in seen), seen
    assert PASSWORD not in "".join(seen) + str(result)


@pytest.mark.parametrize("state", ["present", "restored"])
def test_wrong_password_is_one_sentence(shop, snapshot, tmp_path, state):
    name = taken(snapshot)["id"]
    before = shop.state()
    write_env(tmp_path, shop, "wr0ng")
    code, result = snapshot(state=state, id=name)
    assert (code, shop.state()) == (1, before)
    assert result["msg"].count('password authentication failed for user "shop"') == 1, result["msg"]
    assert "wr0ng" not in result["msg"]


def test_server_that_is_stopped(shop, snapshot):
    shop.stop()
    try:
        code, result = snapshot()
    finally:
        shop.start()
    assert (code, "Connection refused" in result["msg"]) == (1, True)


def test_killed_client_takes_nothing_with_it(shop, snapshot, monkeypatch):
    """As when a machine runs out of memory in the middle of a restore."""
    name = taken(snapshot)["id"]
    before = shop.state()

    def killed(path):
        yield from list(_snapshot_lines(path))[:200]
        subprocess.run(["pkill", "-KILL", "-P", str(os.getpid()), "psql"], check=True)
        time.sleep(0.2)
        yield b"select 1;\n" * 2**16

    _snapshot_lines = _snapshot._unpacked
    monkeypatch.setattr(_snapshot, "_unpacked", killed)
    code, result = snapshot(state="restored", id=name)
    assert (code, shop.state()) == (1, before), result
    assert "the database was not changed: psql exited -9" in result["msg"]


def test_a_dump_is_plain_sql(shop, snapshot):
    text = gzip.decompress(Path(taken(snapshot)["path"]).read_bytes()).decode()
    assert _probe.given(PASSWORD) not in text
    assert "GRANT SELECT ON TABLE public.orders TO report;\n" in text
