"""Releases on PostgreSQL: what goes live, is refused, or fails, and the way back. The tests follow each other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

testinfra_hosts = ["ansible://laravel"]
ROOT = "/var/www/logbook"
SNAPSHOTS = f"{ROOT}/.slipway/snapshots"
VARIABLES = yaml.safe_load((Path(__file__).parents[1] / "group_vars/laravel.yml").read_text())
PASSWORD = VARIABLES["laravel_env"]["DB_PASSWORD"]

# More rows than a table may have whose change needs nobody's consent; the statistics know nothing of them.
FILL = """
insert into customers (name, code, told, email) select 'Name ' || n, 'c' || n, '{"a": [1]}', 'User' || n || '@x.com'
  from generate_series(1, 60) n;
insert into orders (customer_id, amount, at, state) select n, n / 4.0, '2026-11-21 01:02:03+02', 'sent'
  from generate_series(1, 60) n;
insert into events (said) select md5(n::text) from generate_series(1, 150000) n;
insert into visits select '2026-05-05', md5(n::text) from generate_series(1, 150000) n;
create table tags_of_old (name text);
create function half(n numeric) returns numeric language sql as $$ select n / 2 $$;
create sequence numbers start 41;
select nextval('numbers');
insert into tags_of_old values (encode(digest('x', 'sha256'), 'hex'));
grant select on orders, customers, visits to report;
"""

# Until it is told to end, writes down each command line that has one of these words in it.
WATCH = """
import glob, json, sys
words, target = json.loads(sys.argv[1])
import signal
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
seen = set()
while not ended:
    for file in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            line = open(file, "rb").read().replace(b"\\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if "slipway-watch" not in line and "words, target" not in line and any(word in line for word in words):
            seen.add(line)
json.dump(sorted(seen), open(target, "w"))
"""


class Shop:
    """The application, as an operator and the administrator of its database see it."""

    def __init__(self, host, play, records):
        self.host, self._play, self._records = host, play, records

    def play(self, playbook, *arguments, **variables):
        return self._play(playbook, *arguments, "--extra-vars", json.dumps(variables))

    def release(self, version, *arguments, **variables):
        return self.play("release.yml", *arguments, release_version=version, **variables)

    @property
    def live(self):
        return Path(self.host.file(f"{ROOT}/current").linked_to).name

    def sql(self, text, user="postgres"):
        """Carry out SQL as an administrator, or as another role."""
        done = self.host.run(
            "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d logbook -c %s", f"set role {user};\n{text}"
        )
        assert done.rc == 0, done.stderr
        return done.stdout.strip()

    def state(self):
        """All that the database holds, but for what the cache keeps, with its owners and grants."""
        told = self.host.check_output("runuser -u postgres -- pg_dump --exclude-table-data='cache*' logbook")
        return [line for line in told.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]

    def migrations(self):
        return self.sql("select migration from migrations order by id").split()

    def snapshots(self):
        directory = self.host.file(SNAPSHOTS)
        return sorted(name for name in directory.listdir() if name.endswith(".json")) if directory.exists else []

    def evidence(self, phase):
        """What the newest record has of a phase."""
        records = [path for path in self._records.glob("*/*.jsonl") if path.name != "ledger.jsonl"]
        newest = max(records, key=lambda path: path.stat().st_mtime)
        entries = [json.loads(line) for line in newest.read_text().splitlines()]
        found = [entry["data"] for entry in entries if entry["event"] == "phase" and entry["data"]["phase"] == phase]
        return found[-1] if found else {}

    def untouched(self):
        """What a run that fails must not change."""
        return self.live, self.state(), self.snapshots(), self.host.file(f"{ROOT}/.slipway/lock").exists


@pytest.fixture
def shop(host, play, records):
    return Shop(host, play, records)


@pytest.fixture(scope="module")
def kept():
    """What a test leaves for those after it."""
    return {}


def told(run):
    """What a run said, without the line breaks of the console."""
    return " ".join(run.output.split())


def kinds(evidence):
    return {(risk["kind"], risk["table"]) for risk in evidence["risks"]}


def test_wrong_password_stops_before_anything_is_changed(shop):
    shop.host.check_output(f"sed --in-place=.right 's/^DB_PASSWORD=.*/DB_PASSWORD=wr0ng/' {ROOT}/shared/.env")
    run = shop.release("first")
    shop.host.check_output(f"mv {ROOT}/shared/.env.right {ROOT}/shared/.env")
    assert run.status == 2
    assert "the database logbook@127.0.0.1:5432/logbook of .env cannot be used: " in told(run)
    assert run.output.count('password authentication failed for user "logbook"') == 1, run.output
    assert "wr0ng" not in run.output
    assert shop.host.file(f"{ROOT}/releases").listdir() == []


def test_server_that_is_stopped_stops_before_anything_is_changed(shop):
    shop.host.check_output("systemctl stop postgresql")
    run = shop.release("first")
    shop.host.check_output("systemctl start postgresql && timeout 30 sh -c 'until pg_isready -q; do sleep .2; done'")
    assert run.status == 2
    assert told(run).count("Connection refused") == 1, run.output
    assert "start it, or correct DB_* in .env" in told(run)
    assert shop.host.file(f"{ROOT}/releases").listdir() == []


def test_first_release_migrates_an_empty_database(shop):
    run = shop.release("first")
    assert run.status == 0, run.errors
    assert len(shop.migrations()) == 6
    assert shop.evidence("plan")["risks"] == []
    # The table of locks was among what it made.
    assert shop.evidence("migrate")["isolated"] is False
    shop.sql(FILL, "logbook")


def test_what_only_adds_goes_live_without_consent(shop):
    run = shop.release("additive")
    assert run.status == 0, run.errors
    # Of a table with few rows: nobody has to agree to that.
    expected = {("long_lock", "orders"), ("add_constraint", "customers"), ("depends_on_schema", "")}
    assert kinds(shop.evidence("plan")) == expected
    assert shop.sql("select count(*) from orders where not paid") == "60"


def test_migrations_take_the_lock_of_the_framework_in_the_database(shop):
    version = int(shop.host.check_output(f"php {ROOT}/current/artisan --version").split()[2].split(".")[0])
    # Laravel 8 has none.
    assert shop.evidence("migrate")["isolated"] is (version >= 9)
    assert shop.sql("select count(*) from cache_locks") == "0"


def test_index_that_keeps_writers_waiting_is_refused(shop):
    before = shop.untouched()
    run = shop.release("locks")
    assert (run.status, shop.untouched()) == (2, before)
    assert "release_allow_destructive=true" in told(run)
    risks = {risk["table"]: risk for risk in shop.evidence("plan")["risks"]}
    # The rows of the second one are in its partitions.
    assert {table: risk["kind"] for table, risk in risks.items()} == {"events": "long_lock", "visits": "long_lock"}
    assert all(100_000 < risk["rows"] < 200_000 and risk["bytes"] > 2**20 for risk in risks.values()), risks


def test_index_that_keeps_nobody_waiting_is_not(shop):
    run = shop.release("concurrently")
    assert run.status == 0, run.errors
    assert shop.evidence("plan")["risks"] == []
    assert shop.sql("select indisvalid from pg_index where indexrelid = 'events_said'::regclass") == "t"


def test_not_null_without_default_is_refused(shop):
    before = shop.untouched()
    run = shop.release("not-null")
    assert (run.status, shop.untouched()) == (2, before)
    assert kinds(shop.evidence("plan")) == {("not_null_without_default", "customers")}


def test_migration_that_the_server_refuses_is_taken_back_as_a_whole(shop):
    before = shop.untouched()
    run = shop.release("not-null", release_allow_destructive=True)
    assert run.status == 2
    assert "2026_05_04_000001_ask_for_a_name itself was taken back" in told(run)
    after = shop.untouched()
    # Its snapshot stays.
    assert len(after[2]) == len(before[2]) + 1
    assert (after[0], after[1], after[3]) == (before[0], before[1], before[3])
    assert not shop.host.file(f"{ROOT}/shared/storage/framework/down").exists


def test_what_destroys_is_refused_with_all_its_reasons(shop):
    before = shop.untouched()
    run = shop.release("destructive")
    assert (run.status, shop.untouched()) == (2, before)
    expected = {
        *(("drop_object", ""), ("drop_column", "orders"), ("drop_table", "tags_of_old"), ("rename_table", "visits")),
        *(("rename_column", "customers"), ("narrow_column", "customers"), ("delete_data", "orders")),
        ("unknown", ""),
    }
    assert kinds(shop.evidence("plan")) == expected
    assert "what half() does is not known" in told(run)
    assert "changes from character varying(20) to varchar(5)" in told(run)


def test_with_consent_it_goes_live_in_maintenance_after_a_snapshot(shop, kept):
    kept["before"] = shop.state()
    watch = json.dumps([["pg_dump", "psql", PASSWORD], "/run/slipway-watch.json"])
    shop.host.check_output("systemd-run --quiet --collect --unit slipway-watch python3 -c %s %s", WATCH, watch)
    run = shop.release("destructive", release_allow_destructive=True)
    shop.host.check_output("systemctl stop slipway-watch")
    assert run.status == 0, run.errors
    assert shop.evidence("down")["changed"] is True
    assert re.search(r"before-[0-9a-f]{8}", shop.evidence("snapshot")["id"])
    assert not shop.host.file(f"{ROOT}/shared/storage/framework/down").exists
    assert shop.sql("select count(*), max(full_name) from customers") == "60|Name 9"
    # Nobody on this host could read the password meanwhile.
    seen = json.loads(shop.host.file("/run/slipway-watch.json").content_string)
    assert any("pg_dump" in line for line in seen), seen
    assert [line for line in seen if PASSWORD in line] == []
    kept["after"] = shop.state()


def test_rollback_asks_before_it_overwrites(shop, kept):
    run = shop.play("rollback.yml", rollback_restore_snapshot=True)
    assert (run.status, shop.state() == kept["after"]) == (2, True)
    kept["snapshot"] = re.search(r"rollback_confirm=(\S+)", run.output)[1]


def test_rollback_gives_everything_back(shop, kept):
    run = shop.play("rollback.yml", rollback_restore_snapshot=True, rollback_confirm=kept["snapshot"])
    assert run.status == 0, run.errors
    found = shop.state()
    assert found == kept["before"], "\n".join(sorted(set(found) ^ set(kept["before"]))[:40])
    # Said once more, since it is what this is for.
    assert shop.sql("select count(*), sum(amount) from orders") == "60|457.50"
    assert shop.sql("select count(*) from sent; select half(5), last_value from numbers") == "60\n2.5000000000000000|41"
    assert shop.sql("select name from tags_of_old") == shop.sql("select encode(digest('x', 'sha256'), 'hex')")
    assert shop.sql("select state, count(*) from orders group by 1") == "sent|60"
    assert shop.sql("select count(*) from customers where email = 'USER7@X.COM'") == "1"
    assert shop.sql("select extname from pg_extension where extowner = 'postgres'::regrole order by 1").split() == [
        *("citext", "pgcrypto", "plpgsql")
    ]
    assert shop.sql("select count(*) from orders", "report") == "60"
    assert shop.sql("insert into orders (customer_id, amount) values (1, 1) returning id", "logbook") == "61"


def test_what_was_there_in_between_can_be_had_as_well(shop, kept):
    names = shop.snapshots()
    assert any("before-restore" in name for name in names)


def test_no_secret_anywhere(shop, records):
    for path in records.rglob("*"):
        if path.is_file():
            assert PASSWORD not in path.read_text(errors="replace"), path
    found = shop.host.run(f"grep --recursive --files-with-matches --fixed-strings -e %s {ROOT}/.slipway /tmp", PASSWORD)
    assert found.stdout == ""
