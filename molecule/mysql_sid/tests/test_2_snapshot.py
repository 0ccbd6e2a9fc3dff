"""A snapshot by MySQL's own dumper with the application's account, and the database as it was after a restore."""

from __future__ import annotations

import re

import pytest

testinfra_hosts = ["ansible://role_hosts"]
FOLDER = "/var/www/shop"

# What a dump can get wrong: bytes, signs of all planes, values that come from others, and what is no table.
SCHEMA = """
create table parents (id int primary key auto_increment, code char(3) not null unique);
create table kinds (
    id bigint unsigned primary key auto_increment,
    parent_id int,
    words varchar(200) character set utf8mb4,
    bytes varbinary(64),
    flags bit(9),
    price decimal(30,10),
    share double,
    at datetime(6),
    seen timestamp null,
    papers json,
    place point,
    size set('s', 'm', 'l'),
    meaning vector(3),
    twice decimal(31,10) generated always as (price * 2) virtual,
    kept int default 7 invisible,
    constraint child foreign key (parent_id) references parents (id) on delete cascade,
    check (share is null or share < 10)
);
insert into parents (code) values ('one'), ('two');
insert into kinds (parent_id, words, bytes, flags, price, share, at, seen, papers, place, size, meaning, kept) values
    (1, 'h\u00e9llo \U0001f680 ''quoted'' \\\\ back\\nslash', x'00ff1a0d0a27', b'101010101',
     12345678901234567890.0123456789, 0.1, '2026-11-21 14:00:00.123456', '2026-03-29 01:30:00',
     '{"a": [1, null, "\u00fc"]}', point(1.5, -2.5), 's,l', to_vector('[1.5,-2.25,3]'), 9),
    (2, '', x'', b'0', -0.0000000001, null, null, null, null, null, '', null, 7);
create table many (id int primary key auto_increment, filler varchar(100));
insert into many (filler) with recursive n (i) as (select 1 union all select i + 1 from n where i < 900)
    select concat('row ', i, repeat('x', 60)) from n;
create view both_of as select kinds.id, code, words from kinds join parents on parents.id = parent_id;
create trigger upper_code before insert on parents for each row set new.code = upper(new.code);
create procedure add_parent (in given char(3)) insert into parents (code) values (given);
create function doubled (n int) returns int deterministic return n * 2;
create event forget on schedule every 1 day disable do delete from many where id < 0;
"""
TABLES = ("parents", "kinds", "many")


@pytest.fixture
def root(host):
    return lambda query: host.check_output("mysql --batch --skip-column-names --binary-as-hex shop --execute %s", query)


@pytest.fixture
def everything(root):
    """The whole database as text: what is in it, and how it is made."""

    def look():
        shown = {f"rows of {table}": root(f"select * from {table} order by id") for table in TABLES}  # noqa: S608  names of ours
        shown["hidden"] = root("select kept, hex(bytes), hex(words), st_astext(place) from kinds order by id")
        shown["sums"] = root(f"checksum table {', '.join(TABLES)} extended")
        made = [("table", name) for name in TABLES]
        made += [("view", "both_of"), ("trigger", "upper_code"), ("event", "forget")]
        made += [("procedure", "add_parent"), ("function", "doubled")]
        for kind, name in made:
            text = root(f"show create {kind} {name}")
            # Who restores owns what is restored; when a trigger was made is part of how it is shown, and so is whether
            # the character set of a column was told besides its collation.
            text = re.sub(r"CHARACTER SET utf8mb4 |DEFINER=\S+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+$", "", text)
            shown[f"{kind} {name}"] = text
        shown["names"] = root("show full tables")
        return shown

    return look


@pytest.fixture
def snapshot(host):
    """The module as the account of the application has it; the .env names nothing but that."""

    def run(state, **arguments):
        words = {"directory": f"{FOLDER}/snapshots", "env_file": f"{FOLDER}/.env", "state": state, **arguments}
        line = " ".join(f"{name}={value}" for name, value in words.items())
        return host.ansible("slipway.laravel.database_snapshot", line, check=False)

    return run


def test_a_restore_brings_back_every_row_and_definition(host, root, everything, snapshot):
    host.check_output("install -d %s", FOLDER)
    env = (
        "DB_CONNECTION=mysql\nDB_HOST=127.0.0.1\nDB_PORT=3306\nDB_DATABASE=shop\nDB_USERNAME=shop\n"
        'DB_PASSWORD="p\'a\\"s\\$s\\\\w"\n'
    )
    host.check_output("printf %%s %s >%s/.env", env, FOLDER)
    # As migrations do: by the application's account, which owns what it makes.
    login = "mysql --host=127.0.0.1 --user=shop --password=%s --default-character-set=utf8mb4 shop --execute %s"
    host.check_output(login, "p'a\"s$s\\w", SCHEMA)
    before = everything()
    assert "\U0001f680" in before["rows of kinds"]

    taken = snapshot("present", label="before")
    assert taken.get("snapshot"), taken
    file = host.file(taken["snapshot"]["path"])
    assert (file.mode, file.size) == (0o600, taken["snapshot"]["size"])
    assert "MySQL dump" in host.check_output("zcat %s", file.path)

    root("drop table kinds; update parents set code = 'xxx' where id = 1; delete from many where id > 10")
    root("drop procedure add_parent; drop view both_of; create table later (id int); create view after as select 1")
    # MySQL lets nobody but administrators drop what an administrator made.
    refused = snapshot("restored", id=taken["snapshot"]["id"])
    assert "no data was touched" in refused["msg"], refused
    assert "view after by root@localhost" in refused["msg"]
    assert root("select count(*) from many") == "10"
    root("drop view after")

    restored = snapshot("restored", id=taken["snapshot"]["id"])
    assert restored.get("changed") is True, restored
    for name, text in everything().items():
        assert text == before[name], name
    # It works as well, for the account of the application.
    root("call add_parent('abc')")
    assert root("select code, doubled(21) from parents order by id desc limit 1") == "ABC\t42"


def test_a_damaged_snapshot_is_not_restored(host, everything, snapshot):
    taken = snapshot("present", label="damaged")
    host.check_output("printf x >>%s", taken["snapshot"]["path"])
    before = everything()
    refused = snapshot("restored", id=taken["snapshot"]["id"])
    assert "so it is not what was written; nothing was changed" in refused["msg"]
    assert everything() == before
