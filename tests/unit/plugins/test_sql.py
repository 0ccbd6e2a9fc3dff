from __future__ import annotations

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _sql

COLUMNS = {
    "id": {"type": "bigint unsigned", "nullable": False, "default": False},
    "name": {"type": "varchar(100)", "nullable": False, "default": False},
    "note": {"type": "text", "nullable": True, "default": False},
    "state": {"type": "enum('new','old (b)')", "nullable": False, "default": True},
    "price": {"type": "decimal(8,2)", "nullable": True, "default": False},
    "seen_at": {"type": "timestamp", "nullable": True, "default": False},
}
PG_COLUMNS = {
    "id": {"type": "bigint", "nullable": False, "default": True},
    "name": {"type": "character varying(100)", "nullable": False, "default": False},
    "note": {"type": "text", "nullable": True, "default": False},
    "state": {"type": "integer", "nullable": False, "default": True},
}


def facts(columns, **values):
    return {"rows": 5, "bytes": 16384, "empty": False, "columns": columns, **values}


def classifier(dialect="mysql"):
    """One that knows the tables users (a few rows), big, empty and posts."""
    columns = PG_COLUMNS if dialect == "pgsql" else COLUMNS
    tables = {
        "users": facts(columns),
        "big": facts(columns, rows=2_000_000),
        "empty": facts(columns, rows=0, empty=True),
        "posts": facts(columns),
    }
    schemas = {"mysql": ["app"], "pgsql": ["public"], "sqlite": ["main"]}[dialect]
    return _sql.Classifier(dialect, tables, ["users", "big", "empty", "posts", "unseen"], schemas)


def kinds(dialect, *queries):
    known = classifier(dialect)
    return [(risk["kind"], risk["table"]) for query in queries for risk in known.classify(query)]


@pytest.mark.parametrize(
    ("query", "deleted"),
    [
        ("delete a from n a inner join n b on a.x = b.x", []),
        ("delete `a` from `n` as `a` inner join (select max(id) as id from `n`) as `b` on `a`.`id` < `b`.`id`", []),
        ("delete n from n join users on 1", []),
        ("delete app.n from n join users on 1", []),
        ("delete from a using app.n as a join users u", []),
        ("delete a, u from n a join users u on 1", ["users"]),
        ("delete n from users n", ["users"]),
        ("delete n from users n join n x on 1", ["n"]),
        ("delete n from users partition (p0) as n", ["n"]),
        ("delete other.n from other.n", ["other.n"]),
    ],
)
def test_rows_that_a_join_deletes_from_a_new_table_are_no_loss(query, deleted):
    assert kinds("mysql", "create table n (id int, x int)", query) == [("delete_data", name) for name in deleted]


@pytest.mark.parametrize(
    ("dialect", "default", "heavy"),
    [
        ("mysql", "default (uuid())", True),
        ("mysql", "default (rand())", True),
        ("mysql", "null default (json_array()) after `name`", True),
        ("mysql", "default uuid()", True),
        ("mysql", "not null default current_timestamp(3) on update current_timestamp(3)", False),
        ("mysql", "not null default now()", False),
        ("mysql", "not null default 'f()' comment 'default (uuid())'", False),
        ("mysql", "default null check (length(`x`) > 0)", False),
        ("pgsql", "default gen_random_uuid()", True),
        ("pgsql", "not null default random()", True),
        ("pgsql", "default (clock_timestamp() at time zone 'utc')", True),
        ("pgsql", "default nextval('numbers'::regclass) not null", True),
        ("pgsql", 'default public."uuid_generate_v4"()', True),
        ("pgsql", "default 'x'::text || f('y')", True),
        ("pgsql", "default CURRENT_TIMESTAMP(0) not null", False),
        ("pgsql", "default (now() at time zone 'utc')", False),
        ("pgsql", "default timezone('utc', now())", False),
        ("pgsql", "default 'x'::character varying(9) check (length(x) > 0)", False),
        ("pgsql", "default ('0'::numeric(8, 2))", False),
        ("pgsql", "default (-1)", False),
        ("pgsql", "default '{}'::jsonb", False),
        ("pgsql", "default array[1]::int[]", False),
    ],
)
def test_default_that_may_differ_from_row_to_row_writes_the_table_anew(dialect, default, heavy):
    quote = "`" if dialect == "mysql" else '"'
    query = f"alter table {quote}big{quote} add column {quote}x{quote} varchar(9) {default}"
    assert kinds(dialect, query) == ([("long_lock", "big")] if heavy else [])


# Statements as Laravel's grammars write them, and as people do by hand: those of MySQL


@pytest.mark.parametrize(
    "query, expected",
    [
        # What adds
        ("create table `tags` (`id` bigint unsigned not null auto_increment primary key)", []),
        ("alter table `users` add `age` int null", []),
        ("alter table `users` add `age` int not null default '0'", []),
        ("alter table `users` add `no` bigint unsigned not null auto_increment primary key", []),
        ("alter table `users` add `full` varchar(9) as (concat(name)) stored not null", []),
        ("alter table `empty` add `age` int not null", []),
        ("insert into `users` (`name`) values (?)", []),
        ("create or replace view v as select * from users", []),
        ("create or replace table tags (id int)", []),
        ("create or replace temporary table users (id int)", []),
        ("create or replace table users (id int)", [("drop_table", "users")]),
        ("create or replace table `users` as select 1 as id", [("drop_table", "users")]),
        ("select release_lock('x'), version()", []),
        ("select purge_old()", [("unknown", "")]),
        ("set foreign_key_checks=0;", []),
        ("SELECT * FROM users WHERE name = 'drop table users'", []),
        ("-- drop table users\n", []),
        ("# drop table users", []),
        ("/* drop table users */ select 1", []),
        ("", []),
        # What loses or breaks
        ("drop table `users`", [("drop_table", "users")]),
        ("DROP TABLE IF EXISTS users, `posts` CASCADE", [("drop_table", "users"), ("drop_table", "posts")]),
        ("drop table if exists `nothing`", []),
        ("drop table `app`.`users`", [("drop_table", "users")]),
        ("drop table other.users", [("drop_table", "other.users")]),
        ("drop temporary table users", [("drop_table", "users")]),
        ("drop table `unseen`", [("drop_table", "unseen")]),
        ("/*!50000 drop table users */", [("drop_table", "users")]),
        ("/*M!100100 drop table users */", [("drop_table", "users")]),
        ("select 1; drop table users; select 2", [("drop_table", "users")]),
        ("select 'a;b\\'c'; drop table users", [("drop_table", "users")]),
        ("select 1 --1; drop table users", [("drop_table", "users")]),
        ("alter table `users` drop `note`", [("drop_column", "users")]),
        ("alter table users drop column note, drop column name", [("drop_column", "users")] * 2),
        ("ALTER TABLE users DROP COLUMN IF EXISTS nothing", []),
        ("alter table `users` drop column `index`", []),
        ("rename table `users` to `people`", [("rename_table", "users")]),
        ("rename table users to a, posts to b", [("rename_table", "users"), ("rename_table", "posts")]),
        ("alter table users rename to people", [("rename_table", "users")]),
        ("alter table users rename people", [("rename_table", "users")]),
        ("alter table `users` rename column `name` to `title`", [("rename_column", "users")]),
        ("alter table users change `name` `title` varchar(100) not null", [("rename_column", "users")]),
        ("alter table users change name name varchar(100) not null", []),
        ("alter table users rename index a to b", []),
        ("truncate table `users`", [("truncate", "users")]),
        ("truncate users", [("truncate", "users")]),
        ("truncate `empty`", []),
        ("delete from `users` where `id` = ?", [("delete_data", "users")]),
        ("delete from `empty`", []),
        ("delete from users as u where u.id = 1", [("delete_data", "users")]),
        # Of several tables, by their aliases.
        ("DELETE t1 FROM users t1 INNER JOIN users t2 WHERE t1.id < t2.id", [("delete_data", "users")]),
        ("delete `u` from `users` as `u` inner join `posts` as `p` on `u`.`id` = `p`.`id`", [("delete_data", "users")]),
        ("delete low_priority quick u from users u", [("delete_data", "users")]),
        ("DELETE FROM u USING users AS u JOIN posts p", [("delete_data", "users")]),
        ("DELETE u.*, p.* FROM users u JOIN posts p ON 1", [("delete_data", "users"), ("delete_data", "posts")]),
        ("delete users.* from users join posts on 1", [("delete_data", "users")]),
        ("delete `app`.`users` from `users`", [("delete_data", "users")]),
        ("delete a from users partition (p0) as a", [("delete_data", "a")]),
        ("delete a from users a where a.id in (select a from posts a)", [("delete_data", "a")]),
        ("with d as (select 1) delete u from users u", [("delete_data", "")]),
        ("SET STATEMENT max_statement_time=1 FOR DELETE FROM users", [("delete_data", "users")]),
        ("select 1 as a from users where `delete` = 1", []),
        ("alter table `users` add `age` int not null", [("not_null_without_default", "users")]),
        ("alter table users add column (a int, b int not null)", [("not_null_without_default", "users")]),
        ("alter table `users` add `age` int not null comment 'default'", [("not_null_without_default", "users")]),
        ("drop view v", [("drop_object", "")]),
        ("drop database app", [("drop_object", "")]),
        ("alter table users drop partition p1", [("drop_table", "users")]),
        ("alter table users convert to character set latin1", [("narrow_column", "users")]),
        ("alter table users convert to character set utf8mb4 collate utf8mb4_unicode_ci", []),
        # What is told, and destroys nothing
        ("alter table users drop index users_name_index", [("drop_index", "users")]),
        ("alter table `users` drop foreign key `users_team_id_foreign`", [("drop_index", "users")]),
        ("alter table users drop primary key", [("drop_index", "users")]),
        ("drop index a on users", [("drop_index", "users")]),
        ("alter table `users` add unique `users_name_unique`(`name`)", [("add_constraint", "users")]),
        ("alter table `users` add index `users_name_index`(`name`)", []),
        ("alter table `big` add index `big_name_index`(`name`)", [("long_lock", "big")]),
        ("alter table `big` add `age` int null", []),
        ("alter table `big` add `age` int not null default '0' after `name`, add `born` date null", []),
        ("alter table `big` add column (a int null, b int null)", []),
        ("alter table `big` add `twice` int as (id * 2) stored", [("long_lock", "big")]),
        ("alter table `big` add column (a int, `no` int auto_increment unique)", [("long_lock", "big")]),
        ("alter table `big` drop index x", [("drop_index", "big")]),
        ("alter table big comment = 'it', algorithm=inplace, lock=none", []),
        ("alter table big engine=InnoDB", [("long_lock", "big")]),
        ("create index a on big (name)", [("long_lock", "big")]),
        ("create unique index a using btree on big (name)", [("long_lock", "big")]),
        ("create index a on users (name)", []),
        # A size that nobody knows is large.
        ("alter table other.big add index (name)", [("long_lock", "other.big")]),
        ("create index a on unseen (name)", [("long_lock", "unseen")]),
        ("create index a on nothing (name)", []),
        ("optimize table big", [("long_lock", "big")]),
        ("update `users` set `name` = ?", [("update_data", "users")]),
        ("replace into users values (1)", [("update_data", "users")]),
        ("insert into users (a) values (1) on duplicate key update a = 1", [("update_data", "users")]),
        # What nobody can know
        ("call tidy_up()", [("unknown", "")]),
        ("grant all on app.* to app", [("unknown", "")]),
        ("set global max_connections = 1", [("unknown", "")]),
        (
            "create definer=`a`@`b` trigger t before insert on users for each row begin delete from x; end",
            [("unknown", "")],
        ),
        ("create procedure p() select 1", [("unknown", "")]),
        ("drop everything", [("unknown", "")]),
        ("alter table users frobnicate", [("unknown", "users")]),
        ("alter database app charset latin1", [("unknown", "")]),
        ("select 'it", [("unknown", "")]),
        ("load data infile 'x' into table users", [("unknown", "")]),
    ],
)
def test_mysql(query, expected):
    assert kinds("mysql", query) == expected


@pytest.mark.parametrize(
    "query, expected",
    [
        ('create table "tags" ("id" bigserial not null primary key)', []),
        ('alter table "users" add column "age" integer null', []),
        ('alter table "users" add column "no" bigserial not null', []),
        ('alter table "users" add column "age" integer not null', [("not_null_without_default", "users")]),
        ('alter table "users" add column "n" int not null generated always as (1) stored', []),
        ('drop table if exists "users" cascade', [("drop_table", "users")]),
        ('drop table public."users"', [("drop_table", "users")]),
        ('drop table "audit"."users"', [("drop_table", "audit.users")]),
        ('alter table "users" drop column "note", drop column "name"', [("drop_column", "users")] * 2),
        ('alter table only "users" drop constraint "users_team_id_foreign"', [("drop_index", "users")]),
        ('drop index "users_name_index"', [("drop_index", "")]),
        ('drop index concurrently if exists "users_name_index"', [("drop_index", "")]),
        ('alter table "users" rename to "people"', [("rename_table", "users")]),
        ('alter table "users" rename "name" to "title"', [("rename_column", "users")]),
        ('alter table "users" rename constraint a to b', []),
        ('alter table "users" set schema archive', [("rename_table", "users")]),
        ('alter table "users" alter column "name" type varchar(50)', [("narrow_column", "users")]),
        ('alter table "users" alter column "name" type varchar(200)', []),
        ('alter table "users" alter column "name" type text', []),
        ('alter table "users" alter column "note" type varchar(100)', [("narrow_column", "users")]),
        ('alter table "users" alter column "state" set data type bigint using state::bigint', []),
        ('alter table "users" alter column "state" type smallint', [("narrow_column", "users")]),
        ('alter table "users" alter column "note" set not null', [("narrow_column", "users")]),
        ('alter table "users" alter column "name" set not null', []),
        ('alter table "users" alter column "name" drop not null', []),
        ('alter table "users" alter column "state" drop default', [("not_null_without_default", "users")]),
        ('alter table "users" alter column "name" drop default', []),
        ('alter table "unseen" alter column "name" type text', [("narrow_column", "unseen"), ("long_lock", "unseen")]),
        ('create index "a" on "billing"."inv" ("no")', [("long_lock", "billing.inv")]),
        ('alter table "billing"."inv" add column "no" bigserial not null', [("long_lock", "billing.inv")]),
        ("delete from users u using posts p where u.id = p.id", [("delete_data", "users")]),
        (
            'alter table "users" alter column "name" type varchar(50), alter column "name" drop not null',
            [("narrow_column", "users")],
        ),
        ('create index "a" on "users" ("name")', [("long_lock", "users")]),
        ('create index "a" on "empty" ("name")', []),
        ('create unique index concurrently if not exists "a" on only "big" ("name")', []),
        ('alter table "users" add constraint "u" unique ("name")', [("add_constraint", "users")]),
        ('alter table "big" add constraint f foreign key (a) references x (id) not valid', [("add_constraint", "big")]),
        ('alter table "big" add column "age" integer null', []),
        ('alter table "big" add column "no" bigserial not null', [("long_lock", "big")]),
        ('truncate "users" restart identity cascade', [("truncate", "users")]),
        ("truncate table only users, posts", [("truncate", "users"), ("truncate", "posts")]),
        ("with gone as (delete from users returning *) select * from gone", [("delete_data", "")]),
        ("with x as (select 1) update users set name = 'a'", [("update_data", "")]),
        ("select * from users for update", []),
        ("select setval(pg_get_serial_sequence('users', 'id'), coalesce((select max(id) from users), 1), false)", []),
        ("select set_config('search_path', '', false), 1::numeric(8, 2) in (1), exists (select 1 from users)", []),
        ("select drop_chunks('x', interval '3 months')", [("unknown", "")]),
        ('SELECT public."Purge"((select max(id) from users))', [("unknown", "")]),
        ("select purge(id) from users", []),
        ("comment on column users.name is 'drop table users'", []),
        ("alter type mood add value 'x'", []),
        ("alter type mood rename value 'x' to 'y'", [("unknown", "")]),
        ("drop type mood", [("drop_object", "")]),
        ("do $$ begin drop table users; end $$", [("unknown", "")]),
        ("create function f() returns int as $x$ drop table a; $x$ language sql", [("unknown", "")]),
        ("select $$ ; $$ ; drop table users", [("drop_table", "users")]),
        ("select E'it\\'s; '; drop table users", [("drop_table", "users")]),
        ("select 'it\\'; drop table users; --'", [("drop_table", "users")]),
        ("/* a /* nested */ drop table users */ select 1", []),
        ("vacuum full big", [("long_lock", "big")]),
        ("insert into users values (1) on conflict (id) do update set a = 1", [("update_data", "users")]),
        ("insert into users values (1) on conflict do nothing", []),
    ],
)
def test_postgresql(query, expected):
    assert kinds("pgsql", query) == expected


@pytest.mark.parametrize(
    "queries, expected",
    [
        (['alter table "users" add column "age" integer not null'], [("not_null_without_default", "users")]),
        (['alter table "users" drop column "note"'], [("drop_column", "users")]),
        (["pragma foreign_keys = off"], []),
        (["pragma writable_schema = on"], [("unknown", "")]),
        (["insert or replace into users values (1)"], [("update_data", "users")]),
        (["drop table [users]"], [("drop_table", "users")]),
        # A column is changed: Laravel 11 and later, then 8 to 10.
        (
            [
                'create table "__temp__users" ("id" integer, "name" text, "note" text, "state" text, "seen_at" text)',
                'insert into "__temp__users" ("id") select "id" from "users"',
                'drop table "users"',
                'alter table "__temp__users" rename to "users"',
                'drop table "users"',
            ],
            [("drop_column", "users"), ("drop_table", "users")],
        ),
        (
            [
                "CREATE TEMPORARY TABLE __temp__users AS SELECT id, name, note, state, price, seen_at FROM users",
                "DROP TABLE users",
                "CREATE TABLE users (id INTEGER NOT NULL, name VARCHAR(255) NOT NULL)",
                "INSERT INTO users (id) SELECT id FROM __temp__users",
                "DROP TABLE __temp__users",
                "DROP TABLE users",
            ],
            [("drop_table", "users")],
        ),
    ],
)
def test_sqlite(queries, expected):
    assert kinds("sqlite", *queries) == expected


@pytest.mark.parametrize(
    "queries, expected",
    [
        # What this plan makes is its own.
        (["create table tags (a int)", "alter table tags drop a", "drop table tags"], []),
        (["create table tags (a int)", "alter table tags rename to labels", "drop table labels"], []),
        (["create table if not exists users (a int)", "drop table users"], [("drop_table", "users")]),
        (["alter table users add a int null", "alter table users drop a"], []),
        # A new column that must be given in the end.
        (
            ["alter table users add a int null", "update users set a = 1", "alter table users modify a int not null"],
            [("update_data", "users"), ("not_null_without_default", "users")],
        ),
        (
            [
                "alter table users add a int null",
                "alter table users change a b int not null",
                "alter table users add c int",
            ],
            [("not_null_without_default", "users")],
        ),
        (
            [
                "alter table users add a int null",
                "alter table users rename column a to b",
                "alter table users modify b int not null",
            ],
            [("not_null_without_default", "users")],
        ),
        (
            ["alter table users add a int not null", "alter table users modify a bigint not null"],
            [("not_null_without_default", "users")],
        ),
        (["alter table users add a int null", "alter table users modify a int not null default '0'"], []),
        (["alter table users add a int null", "alter table users modify a bigint null"], []),
        (["alter table empty add a int null", "alter table empty modify a int not null"], []),
        (["create table tags (a int null)", "alter table tags modify a int not null"], []),
        (
            ["alter table users add a int null", "alter table users rename column a to b", "alter table users drop b"],
            [],
        ),
        (["drop table users", "create table users (a int)", "alter table users drop a"], [("drop_table", "users")]),
        # A renamed table is still the same.
        (
            ["rename table users to people", "alter table people drop note"],
            [("rename_table", "users"), ("drop_column", "people")],
        ),
        (["drop view if exists v", "create view w as select 1"], [("drop_object", "")]),
    ],
)
def test_statements_after_one_another(queries, expected):
    known = classifier()
    risks = [risk for query in queries for risk in known.classify(query)]
    assert [(risk["kind"], risk["table"]) for risk in risks] == expected
    assert all(risk["destructive"] is (risk["kind"] in _sql.DESTRUCTIVE) for risk in risks)


@pytest.mark.parametrize(
    "old, new, fits",
    [
        ("varchar(100)", "varchar(100)", True),
        ("varchar(100)", "varchar(99)", False),
        ("varchar(100)", "text", True),
        ("text", "varchar(255)", False),
        ("mediumtext", "text", False),
        ("text", "longtext", True),
        ("int", "bigint", True),
        ("bigint(20)", "int(11)", False),
        ("int unsigned", "int", False),
        ("int", "int unsigned", False),
        ("int unsigned", "bigint", True),
        ("tinyint(1)", "tinyint(1)", True),
        ("tinyint(1)", "int", True),
        ("int", "tinyint(1)", False),
        ("int", "varchar(20)", True),
        ("int", "varchar(5)", False),
        ("int", "decimal(10,0)", True),
        ("int", "decimal(10,2)", False),
        ("int", "date", False),
        ("decimal(8,2)", "decimal(10,2)", True),
        ("decimal(8,2)", "decimal(8,3)", False),
        ("decimal(8,2)", "decimal(10,1)", False),
        ("double", "float", False),
        ("double", "float(53)", True),
        ("double", "float(24)", False),
        ("double", "float(30,2)", False),
        ("float(53)", "double", True),
        ("longtext", "json", True),
        ("mediumtext", "json", False),
        ("enum('it''s')", "enum('it''s','b')", True),
        ("enum('it''s')", "varchar(4)", True),
        ("float", "double", True),
        ("double", "decimal(8,2)", False),
        ("enum('a','b')", "enum('a','b','c')", True),
        ("enum('a','b')", "enum('a')", False),
        ("enum('a (x)','b')", "enum('a (x)','b')", True),
        ("enum('abc')", "varchar(3)", True),
        ("enum('abc')", "varchar(2)", False),
        ("datetime", "date", False),
        ("date", "datetime", True),
        ("datetime(6)", "datetime", False),
        ("timestamp", "datetime", True),
        ("datetime", "timestamp", False),
        ("json", "json", True),
        ("text", "json", False),
        ("geometry", "geometry", True),
        ("geometry", "point", False),
        ("varbinary(16)", "blob", True),
        ("longblob", "blob", False),
        ("uuid", "char(36)", True),
        ("uuid", "char(32)", False),
    ],
)
def test_narrowing_on_mysql(old, new, fits):
    assert (_sql.narrowing(old, new, "mysql") == "") is fits


@pytest.mark.parametrize(
    "old, new, fits",
    [
        ("character varying(100)", "varchar(255)", True),
        ("character varying", "varchar(255)", False),
        ("character varying(100)", "text", True),
        ("integer", "bigint", True),
        ("bigint", "int4", False),
        ("numeric", "numeric(8,2)", False),
        ("timestamp(0) without time zone", "timestamp(0) without time zone", True),
        ("timestamp without time zone", "timestamp(0) without time zone", False),
        ("timestamp(0) without time zone", "timestamptz(0)", False),
        ("jsonb", "json", True),
        ("boolean", "smallint", True),
        ("smallint", "boolean", False),
        ("date", "timestamp(0) without time zone", True),
        ("double precision", "real", False),
        ("double precision", "float", True),
        ("double precision", "float(53)", True),
        ("double precision", "float(24)", False),
        ("double precision", "float4", False),
        ("text", "json", False),
    ],
)
def test_narrowing_on_postgresql(old, new, fits):
    assert (_sql.narrowing(old, new, "pgsql") == "") is fits


@pytest.mark.parametrize(
    "query, reason",
    [
        ("alter table users modify `name` varchar(50) not null", "does not hold every value"),
        ("alter table users modify column price decimal(6, 2) null", "from decimal(8,2) to decimal(6,2)"),
        ("alter table users modify note text not null", "note becomes NOT NULL"),
        ("alter table users modify state enum('new', 'old (b)') not null", "state loses its default"),
        ("alter table users modify state enum('new') not null default 'new'", "to enum('new'), which does not hold"),
        ("alter table users change note body varchar(9) character set latin1 null", "from text to varchar(9), which"),
        ("alter table users modify id int unsigned not null auto_increment", "from bigint unsigned to int unsigned"),
        ("alter table users modify seen_at timestamp null default current_timestamp on update current_timestamp", ""),
        ("alter table users modify state enum('new','old (b)') not null default 'new'", ""),
        ("alter table users modify `name` varchar(100) collate utf8mb4_bin not null after `id`", ""),
    ],
)
def test_what_a_column_becomes(query, reason):
    risks = classifier().classify(query)
    assert reason in risks[-1]["reason"] if reason else risks == []
    assert all(risk["destructive"] for risk in risks)


@pytest.mark.parametrize(
    "dialect, query, kind, reason",
    [
        ("mysql", "rename user a to b", "unknown", "what it renames is not known"),
        (
            "mysql",
            "alter table users add column if not exists age int not null",
            "not_null_without_default",
            "age must",
        ),
        ("mysql", "alter table users drop foreign key if exists x", "drop_index", "drops the foreign x"),
        ("mysql", "alter table users drop column if exists note", "drop_column", "the column note"),
        (
            "mysql",
            "alter table users modify column if exists name varchar(9) not null",
            "narrow_column",
            "name changes",
        ),
        (
            "mysql",
            "alter table users change column if exists name name varchar(9) null",
            "narrow_column",
            "name changes",
        ),
        ("mysql", "alter table users alter column name frobnicate", "unknown", "does to name"),
        ("pgsql", 'create index if not exists "a" on only "users" ("name")', "long_lock", "until the index is built"),
        ("pgsql", "drop index concurrently if exists x", "drop_index", "drops the index x"),
        ("pgsql", "delete from only users", "delete_data", "deletes every row"),
        ("pgsql", "alter table if exists users drop note", "drop_column", "the column note"),
        ("pgsql", "alter index if exists a rename to b", "", ""),
        ("sqlite", "update or ignore users set name = ''", "update_data", "changes rows"),
    ],
)
def test_words_that_may_stand_between(dialect, query, kind, reason):
    risks = classifier(dialect).classify(query)
    assert [risk["kind"] for risk in risks] == ([kind] if kind else [])
    assert all(reason in risk["reason"] and risk["table"] in ("users", "") for risk in risks)


@pytest.mark.parametrize("what", ["view v", "definer=`a`@`b` view v", "definer=a@b view if not exists v"])
def test_what_comes_back_is_replaced(what):
    known = classifier()
    (risk,) = known.classify("drop view v")
    known.classify(f"create {what} as select 1")
    assert (risk["kind"], risk["destructive"], risk["reason"]) == ("replace_object", False, "replaces the view")


@pytest.mark.parametrize(
    "query, expected",
    [("enum('it''s', 'fine')", []), ("enum('it\\'s','fine','new')", []), ("enum('its','fine')", ["narrow_column"])],
)
def test_values_of_an_enumeration_may_have_quotes(query, expected):
    columns = {"mood": {"type": "enum('it''s','fine')", "nullable": True, "default": False}}
    known = _sql.Classifier("mysql", {"users": facts(columns)}, ["users"])
    risks = known.classify(f"alter table users modify mood {query} null")
    assert [risk["kind"] for risk in risks] == expected


def test_what_is_not_known_of_a_column_is_told():
    risks = classifier().classify("alter table unseen modify name varchar(50)")
    assert [risk["reason"] for risk in risks] == [
        "name becomes varchar(50); what it is now is not known",
        "changes a table of unknown size",
    ]


@pytest.mark.parametrize(
    "queries, expected",
    [
        (["alter column a set not null"], ["not_null_without_default"]),
        (["alter column a set not null, alter column a set default 1"], []),
        (["alter column a set default 1", "alter column a set not null"], []),
        (["alter column a set not null, alter column a drop not null"], []),
        (["alter column a set not null, alter column a add generated by default as identity"], []),
        (
            ["alter column a set default 1", "alter column a set not null", "alter column a drop default"],
            ["not_null_without_default"],
        ),
        (["alter column a drop default", "alter column a type bigint"], []),
    ],
)
def test_a_new_column_that_must_be_given_on_postgresql(queries, expected):
    queries = ["add column a integer null", *queries]
    assert kinds("pgsql", *[f'alter table "users" {query}' for query in queries]) == [
        (kind, "users") for kind in expected
    ]
    # What was added with a default loses it.
    queries = ["add column a integer not null default 0", "alter column a drop default"]
    assert kinds("pgsql", *[f"alter table users {query}" for query in queries]) == [
        ("not_null_without_default", "users")
    ]


def test_a_risk_says_what_it_is_about():
    (risk,) = classifier().classify("alter table\n  `big`  drop `note`")[:1]
    assert risk == {
        "kind": "drop_column",
        "table": "big",
        "statement": "alter table `big` drop `note`",
        "rows": 2_000_000,
        "bytes": 16384,
        "reason": "drops the column note and its values",
        "destructive": True,
    }


def test_without_knowledge_nothing_is_safe():
    known = _sql.Classifier("mysql", {})
    found = [
        known.classify(query)[0]["kind"]
        for query in ("drop table a", "alter table a add b int not null", "optimize table a")
    ]
    assert found == ["drop_table", "not_null_without_default", "long_lock"]


@pytest.mark.parametrize(
    "dialect, query, text",
    [
        ("mysql", "update users set password = 'se\\'cret', n = 5", "update users set password = '***', n = 5"),
        ("mysql", 'insert into users values ("secret")', "insert into users values ('***')"),
        ("mysql", "insert into users values (?)", "insert into users values (?)"),
        ("mysql", "create user app identified by 'secret'", "create user app identified by '***'"),
        ("mysql", "alter table a add s enum('x') default 'x'", "alter table a add s enum('x') default 'x'"),
        ("mysql", "create table a as select 'secret'", "create table a as select '***'"),
        ("mysql", "create table a (x int) connection='mysql://u:secret@h'", "create table a (x int) connection='***'"),
        ("mysql", "select 'secret", "select '***'"),
        ("pgsql", 'update "users" set a = $$secret$$', "update \"users\" set a = '***'"),
        ("pgsql", "create server s options (password 'secret')", "create server s options (password '***')"),
    ],
)
def test_values_are_masked(dialect, query, text):
    (statement,) = _sql.split(query, dialect)
    assert (_sql.masked(statement), _sql.shown(statement)) == (text, text)


def test_a_long_statement_is_shortened():
    (statement,) = _sql.split("insert into a values (" + "?, " * 500 + "?)", "mysql")
    assert len(_sql.shown(statement)) == 300
    assert _sql.shown(statement).endswith("…")


def test_split_keeps_the_body_of_a_trigger_together():
    text = "drop table a; create trigger t before insert on a for each row begin set @x = 1; delete from b; end; "
    assert [part.text[:12] for part in _sql.split(text, "mysql")] == ["drop table a", "create trigg"]
