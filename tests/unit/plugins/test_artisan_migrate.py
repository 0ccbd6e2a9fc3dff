from __future__ import annotations

import json

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _migrate

from .conftest import make_application

USERS = {"name": {"type": "varchar(100)", "nullable": False, "default": False}}
TABLES = {"users": {"rows": 7, "bytes": 16384, "empty": False, "columns": USERS}}
SAFE, BAD = "2026_01_01_000001_safe", "2026_01_02_000001_bad"
SQL = {SAFE: ["create table `tags` (`id` int)"], BAD: ["alter table `users` drop `name`"]}


@pytest.fixture
def migrate(home, run_module):
    def run(args=None, **behaviour):
        behaviour = {"migrations": [SAFE, BAD], "sql": SQL, "tables": TABLES, **behaviour}
        path = make_application(home / "application", **behaviour)
        return run_module("artisan_migrate", **{"release": str(path), **(args or {})})

    return run


def calls(home):
    lines = (home / "calls").read_text().splitlines()
    return [line.replace(" --no-ansi --no-interaction", "") for line in lines if line.startswith("php artisan")]


def ran(home):
    path = home / "database.json"
    return json.loads(path.read_text()) if path.exists() else []


# The plan


@pytest.mark.parametrize("args", [{"state": "planned"}, {"_ansible_check_mode": True, "allow_destructive": True}])
def test_plan_tells_everything_and_changes_nothing(home, migrate, args):
    code, result = migrate(args)
    assert (code, ran(home), calls(home)) == (0, [], [])
    assert result["changed"] is ("state" not in args)
    assert result["pending"] == [SAFE, BAD]
    assert result["sql"] == {SAFE: ["create table `tags` (`id` int)"], BAD: ["alter table `users` drop `name`"]}
    (risk,) = result["risks"]
    assert (risk["migration"], risk["kind"], risk["table"], risk["rows"]) == (BAD, "drop_column", "users", 7)
    assert result["destructive"] is True
    text = result["diff"].get("prepared") or result["diff"]["after"]
    assert f"-- {BAD}\n-- drop_column users: drops the column name and its values\nalter table" in text


def test_values_of_statements_are_nowhere(migrate):
    _code, result = migrate({"state": "planned"}, sql={SAFE: ["insert into users values ('topsecret')"] * 3})
    assert "topsecret" not in json.dumps(result)
    assert result["sql"][SAFE] == ["insert into users values ('***')  -- times 3"]


@pytest.mark.parametrize(
    "behaviour, reason",
    [
        (
            {"told": {SAFE: {"error": "Error: (SQL: select * from a where b = topsecret)"}}},
            "Error: (SQL: select * from a",
        ),
        ({"untold": [SAFE]}, "one before it ended PHP"),
        ({"sql": {SAFE: ["call tidy()"]}}, "this kind of statement is not known"),
        ({"told": {SAFE: {"does": "rename() in line 9"}}}, "it does more than SQL: rename() in line 9"),
    ],
)
def test_what_cannot_be_told_is_unknown(migrate, behaviour, reason):
    code, result = migrate({"state": "planned"}, **{"migrations": [SAFE], **behaviour})
    (risk,) = result["risks"]
    assert (code, risk["migration"], risk["kind"], risk["destructive"]) == (0, SAFE, "unknown", False)
    assert reason in risk["reason"]
    assert risk["needs_consent"] is True
    assert "topsecret" not in json.dumps(result)


@pytest.mark.parametrize(
    ("told", "kind", "reason"),
    [
        ({"asks_data": True}, "depends_on_data", "it reads rows"),
        ({"asks_late": True}, "depends_on_schema", "it looks at the tables"),
    ],
)
def test_what_is_known_but_for_rows_or_tables_is_told_and_needs_no_consent(migrate, told, kind, reason):
    _code, result = migrate({"state": "planned"}, migrations=[SAFE], told={SAFE: told})
    (risk,) = result["risks"]
    assert (risk["kind"], reason in risk["reason"], risk["needs_consent"]) == (kind, True, False)


@pytest.mark.parametrize(
    ("driver", "query", "rows", "asked"),
    [
        ("mysql", "drop table users", 1, [True]),
        ("mysql", "alter table users add index a (name)", 10**6, [True]),
        ("mysql", "alter table users add index a (name)", 10, []),
        ("mysql", "optimize table other", 10, [True]),
        ("mysql", "update users set name = 'a'", 10**6, [False]),
        ("mysql", "alter table users add age int null", 10**6, []),
        ("mysql", "create table b (id int)", 10, []),
        ("pgsql", "create index a on users (name)", 10, [False]),
        ("pgsql", "create index a on users (name)", 10**6, [True]),
    ],
)
def test_what_needs_consent(migrate, driver, query, rows, asked):
    tables = {"users": {"rows": rows, "bytes": 1, "empty": False, "columns": {}}}
    _code, result = migrate({"state": "planned"}, migrations=[SAFE], sql={SAFE: [query]}, driver=driver, tables=tables)
    assert [risk["needs_consent"] for risk in result["risks"]] == asked


@pytest.mark.parametrize("connection, elsewhere", [("default", False), ("reports", True)])
def test_connection_of_a_risk_is_told(migrate, connection, elsewhere):
    _code, result = migrate({"state": "planned"}, migrations=[BAD], connection=connection)
    assert [(risk["connection"], risk["elsewhere"]) for risk in result["risks"]] == [(connection, elsewhere)]


@pytest.mark.parametrize("first, doubted", [(["create table a (b int)"], True), ([], False)])
def test_a_look_at_the_schema_is_doubted_after_other_changes(migrate, first, doubted):
    _code, result = migrate({"state": "planned"}, sql={SAFE: first}, told={BAD: {"asks_schema": True}})
    assert [risk["migration"] for risk in result["risks"]] == ([BAD] if doubted else [])


@pytest.mark.parametrize(
    "told", [{"told": {SAFE: {"does": "rename() in line 9"}}}, {"schema": "database/schema/mysql-schema.sql"}]
)
def test_a_look_at_the_schema_is_doubted_after_what_was_not_run(migrate, told):
    doubts = {**told.get("told", {}), BAD: {"asks_schema": True}}
    _code, result = migrate({"state": "planned"}, sql={}, **{**told, "told": doubts})
    assert (BAD, "depends_on_schema") in [(risk["migration"], risk["kind"]) for risk in result["risks"]]


@pytest.mark.parametrize(
    ("query", "transaction", "refused"),
    [
        ('create index concurrently "a" on "b" ("c")', "default", True),
        ('create unique index concurrently "a" on "b" ("c")', "default", True),
        ("drop index concurrently a", "default", True),
        ("reindex table concurrently a", "default", True),
        ("vacuum full users", "default", True),
        ('create index concurrently "a" on "b" ("c")', "", False),
        ('create index concurrently "a" on "b" ("c")', "reports", False),
        ("refresh materialized view concurrently v", "default", False),
        ('create index "concurrently" on "b" ("c")', "default", False),
    ],
)
def test_what_cannot_run_in_a_transaction_is_refused_before_anything_is_changed(
    home, migrate, query, transaction, refused
):
    told = {SAFE: {"transaction": transaction}}
    code, result = migrate(
        {"state": "planned"}, migrations=[SAFE], sql={SAFE: [query]}, told=told, driver="pgsql", tables={}
    )
    assert (code, calls(home)) == (int(refused), [])
    if refused:
        assert result["msg"].startswith(f"{SAFE} would fail, since PostgreSQL does not run this in a transaction: ")
        assert query in result["msg"] and "$withinTransaction = false" in result["msg"]


def test_a_view_that_a_later_migration_makes_again_is_replaced(migrate):
    sql = {SAFE: ["drop view v"], BAD: ["create view v as select 1"]}
    _code, result = migrate({"state": "planned"}, sql=sql)
    assert [risk["kind"] for risk in result["risks"]] == ["replace_object"]
    assert result["destructive"] is False


def test_migrations_that_skip_themselves_are_not_pending(home, migrate):
    code, result = migrate(skipped=[BAD])
    assert (code, result["pending"], result["skipped"], result["migrations"]) == (0, [SAFE], [BAD], [SAFE])


# Applying


def test_destructive_migrations_are_refused(home, migrate):
    code, result = migrate()
    assert (code, result["changed"], ran(home)) == (1, False, [])
    assert f"{BAD}: drop_column users: drops the column name" in result["msg"]
    assert "allow_destructive" in result["msg"]


UNTOLD = {"migrations": [SAFE], "told": {SAFE: {"does": "rename() in line 9"}}}
INDEX = {"migrations": [SAFE], "sql": {SAFE: ["alter table users add index a (name)"]}}


def of_rows(rows):
    return {"users": {"rows": rows, "bytes": 1, "empty": False, "columns": {}}}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (UNTOLD, f"{SAFE}: unknown: "),
        ({**INDEX, "tables": of_rows(10**6)}, f"{SAFE}: long_lock users: "),
    ],
)
def test_what_needs_consent_is_refused_without_it(home, migrate, behaviour, reason, check):
    code, result = migrate({"_ansible_check_mode": check}, **behaviour)
    assert (code, result["changed"], result["destructive"], ran(home)) == (1, False, False, [])
    assert (
        f"nothing was applied, since it may block something, or nobody can tell what it does: {reason}" in result["msg"]
    )
    assert result["msg"].endswith("Look at it, then add allow_destructive: true")
    code, result = migrate({"_ansible_check_mode": check, "allow_destructive": True}, **behaviour)
    assert (code, result["changed"], ran(home)) == (0, True, [] if check else [SAFE])


def test_what_needs_no_consent_is_applied(home, migrate):
    assert migrate(**{**INDEX, "tables": of_rows(10)})[0] == 0
    assert ran(home) == [SAFE]


def test_apply(home, migrate):
    code, result = migrate(
        {"allow_destructive": True, "seeders": ["Countries"], "database": "tenants", "paths": ["a/b"]}
    )
    assert (code, result["changed"], result["migrations"], result["seeded"]) == (0, True, [SAFE, BAD], ["Countries"])
    assert calls(home) == [
        "php artisan migrate --force --isolated=75 --database=tenants --path=a/b",
        "php artisan db:seed --class=Countries --force --database=tenants",
    ]


def test_nothing_pending(home, migrate):
    code, result = migrate(migrations=[])
    assert (code, result["changed"], result["migrations"], calls(home)) == (0, False, [], [])


SCHEMA = "database/schema/mysql-schema.sql"
SQUASHED = {"migrations": [], "schema": SCHEMA, "stored": ["2020_01_01_000001_old"]}


def test_the_stored_schema_of_a_squashed_application_is_loaded(home, migrate):
    code, result = migrate(**SQUASHED)
    assert (code, result["changed"], result["pending"], result["risks"]) == (0, True, [SCHEMA], [])
    assert result["migrations"] == [SCHEMA, "2020_01_01_000001_old"]
    assert calls(home) == ["php artisan migrate --force --isolated=75"]
    code, result = migrate(**SQUASHED)
    assert (code, result["changed"], result["pending"]) == (0, False, [])


def test_the_stored_schema_is_not_named_as_what_failed_after_it(migrate):
    code, result = migrate(**{**SQUASHED, "migrations": [SAFE]}, failing_migration=SAFE)
    assert (code, result["migrations"]) == (1, [SCHEMA, "2020_01_01_000001_old"])
    assert result["msg"].startswith(f"{SAFE} failed: ")


def test_the_stored_schema_over_tables_needs_consent(migrate):
    _code, result = migrate({"state": "planned"}, **SQUASHED, over=3)
    (risk,) = result["risks"]
    assert (risk["kind"], risk["needs_consent"]) == ("unknown", True)
    assert "over the tables that are there (3)" in risk["reason"]


@pytest.mark.parametrize(
    "isolated, why, command",
    [
        ("auto", "", "migrate --force --isolated=75"),
        ("auto", "Laravel 8.83 has no migrate --isolated", "migrate --force"),
        ("never", "", "migrate --force"),
    ],
)
def test_isolation(home, migrate, isolated, why, command):
    code, result = migrate({"isolated": isolated}, migrations=[SAFE], not_isolated=why)
    assert (code, calls(home)) == (0, [f"php artisan {command}"])
    assert result["isolated"] is ("--isolated" in command)


def test_isolation_that_is_asked_for_and_not_there(home, migrate):
    code, result = migrate(
        {"isolated": "always"}, migrations=[SAFE], not_isolated="the cache store array is not shared"
    )
    assert (code, result["msg"], calls(home)) == (
        1,
        "release_migrate_isolated: the cache store array is not shared",
        [],
    )


def test_a_lock_that_another_process_holds_is_a_failure(home, migrate):
    code, result = migrate(migrations=[SAFE], mutex=True)
    assert (code, result["changed"], result["migrations"]) == (1, False, [])
    assert "another process runs migrate with the lock of --isolated, so nothing was applied" in result["msg"]
    assert result["msg"].endswith("or leave it out once with -e release_migrate_isolated=never")


def test_exit_status_0_without_a_migration_is_a_failure(home, migrate):
    code, result = migrate({"isolated": "never"}, migrations=[SAFE], mutex=True)
    assert (code, result["changed"]) == (1, False)
    assert f"migrate exited 0 and left {SAFE} pending" in result["msg"]


@pytest.mark.parametrize(
    "driver, told", [("mysql", f"so {BAD} may be half applied"), ("pgsql", f"{BAD} itself was taken back")]
)
def test_a_half_applied_set_is_told_by_name(home, migrate, driver, told):
    sql = "insert into `users` (`a`) values (topsecret)"
    error = f"Duplicate entry 'ann@example.com' for key 'a' (Connection: mysql, SQL: {sql})"
    code, result = migrate(
        {"allow_destructive": True, "seeders": ["Countries"]}, failing_migration=BAD, error=error, driver=driver
    )
    assert (code, result["changed"], result["migrations"], result["seeded"]) == (1, True, [SAFE], [])
    assert result["msg"].startswith(f"{BAD} failed: artisan migrate exited 1")
    assert f"Applied before it, and staying: {SAFE}." in result["msg"]
    assert told in result["msg"]
    assert "insert into `users`" in result["msg"]
    assert "topsecret" not in json.dumps(result) and "ann@example.com" not in json.dumps(result)


def test_a_migration_that_skips_itself_is_not_what_failed(migrate):
    code, result = migrate(
        {"allow_destructive": True},
        migrations=["2026_01_01_000000_later", SAFE, BAD],
        skipped=["2026_01_01_000000_later"],
        failing_migration=BAD,
    )
    assert (code, result["migrations"]) == (1, [SAFE])
    assert result["msg"].startswith(f"{BAD} failed: ")


def test_a_seeder_that_fails(migrate):
    code, result = migrate({"seeders": ["One", "Two"]}, migrations=[SAFE], failing_seeders=["Two"])
    assert (code, result["changed"], result["migrations"], result["seeded"]) == (1, True, [SAFE], ["One"])
    assert result["msg"].startswith("seeder Two: ")


def test_a_database_that_cannot_be_reached(home, migrate):
    (home / "database_error").write_text("SQLSTATE[HY000] [2002] Connection refused")
    code, result = migrate()
    assert (code, result["changed"]) == (1, False)
    assert (
        "cannot tell its migrations: In Connection.php line 14: SQLSTATE[HY000] [2002] Connection refused"
        in result["msg"]
    )


def test_a_directory_without_an_application(run_module, tmp_path):
    code, result = run_module("artisan_migrate", release=str(tmp_path))
    assert code == 1
    assert "has no file 'artisan'" in result["msg"]


@pytest.mark.parametrize(
    "text, without",
    [
        ("gone (SQL: insert into a (b) values (secret))", "gone (SQL: insert into a …)"),
        ("gone (Connection: mysql, Host: h, SQL: update a set b = secret where 1)", "gone (SQL: update a …)"),
        ("gone (SQL: alter table a add b enum('x'))", "gone (SQL: alter table a add b enum('x')"),
        ("Duplicate entry 'secret' for key 'k'", "Duplicate entry *** for key 'k'"),
        ("Incorrect integer value: 'secret' for column a", "Incorrect integer value: *** for column a"),
        ("DETAIL: Key (email)=(secret) already exists.", "DETAIL: Key (email)=*** already exists."),
        ("DETAIL: Failing row contains (1, secret).", "DETAIL: Failing row contains ***."),
        ('ERROR: invalid input syntax for type integer: "secret"', "ERROR: invalid input syntax for type integer: ***"),
        ("Table 'a' already exists", "Table 'a' already exists"),
    ],
)
def test_errors_without_values(text, without):
    assert _migrate.without_values(text).startswith(without)
    assert "secret" not in _migrate.without_values(text)


@pytest.mark.parametrize(
    "text",
    [
        "gone (SQL: insert into a …). One (a) was applied; set it right where it is",
        "gone (SQL: create table a (b int)). One (a) was applied; set it right where it is",
        "Duplicate entry *** for key 'k'",
    ],
)
def test_errors_without_values_stay(text):
    assert _migrate.without_values(text) == text


def test_a_value_that_looks_as_if_it_were_cut():
    assert "secret" not in _migrate.without_values("gone (SQL: update a set b = 'secret …)' where 1)")
