"""MySQL with the defaults of the role."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://role_hosts"]

CLIENT = """
import json, pymysql, sys
user, password, *queries = json.loads(sys.argv[1])
with pymysql.connect(host="127.0.0.1", user=user, password=password, database="shop",
                     ssl={"check_hostname": False}) as connection, connection.cursor() as cursor:
    for query in queries:
        cursor.execute(query)
    print(json.dumps(cursor.fetchall(), default=str))
"""


@pytest.fixture
def root(host):
    return lambda query: host.check_output("mysql --batch --skip-column-names --execute %s", query)


@pytest.fixture
def client(host):
    return lambda *words: host.run("python3 -c %s %s", CLIENT, json.dumps(words))


def test_it_is_mysql_on_the_loopback_alone(host, root):
    assert root("select @@version").startswith("9.")
    lines = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    assert sorted(line.split()[3] for line in lines if "3306" in line) == ["127.0.0.1:3306", "127.0.0.1:33060"]


def test_the_application_migrates_and_works(client):
    done = client(
        "shop",
        "p'a\"s$s\\w",
        "create table notes (id int primary key auto_increment, text varchar(255), at datetime default now())",
        "create trigger shout before insert on notes for each row set new.text = upper(new.text)",
        "insert into notes (text) values ('h\u00e9llo \U0001f680')",
        "select text from notes",
    )
    assert done.rc == 0, done.stderr
    assert json.loads(done.stdout) == [["H\u00c9LLO \U0001f680"]]


@pytest.mark.parametrize(
    ("user", "password", "query", "error"),
    [
        ("shop", "p'a\"s$s\\w", "create database other", 1044),
        ("shop", "wrong", "select 1", 1045),
        ("report", "report", "insert into notes (text) values ('x')", 1142),
    ],
)
def test_others_are_kept_out(client, user, password, query, error):
    done = client(user, password, query)
    assert f"({error}, " in done.stderr


def test_accounts(host, root):
    accounts = root("select concat(user, '@', host), plugin from mysql.user order by 1").splitlines()
    assert [line.split() for line in accounts if "mysql." not in line] == [
        ["debian-sys-maint@localhost", "auth_socket"],
        ["nobody@localhost", "auth_socket"],
        ["report@10.0.0.%", "caching_sha2_password"],
        ["report@127.0.0.1", "caching_sha2_password"],
        ["root@localhost", "auth_socket"],
        ["shop@127.0.0.1", "caching_sha2_password"],
        ["shop@localhost", "caching_sha2_password"],
    ]
    assert host.check_output("runuser -u nobody -- mysql -BNe 'select current_user()'") == "nobody@localhost"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("innodb_buffer_pool_size", "268435456"),
        ("innodb_redo_log_capacity", "100663296"),
        ("log_bin", "1"),
        ("binlog_expire_logs_seconds", "604800"),
        ("collation_server", "utf8mb4_unicode_ci"),
        ("slow_query_log_file", "/var/log/mysql/slow.log"),
        ("local_infile", "0"),
    ],
)
def test_settings(root, variable, value):
    assert root(f"select @@global.{variable}") == value


def test_slow_statements_are_logged_and_the_log_is_rotated(host, root):
    root("select sleep(1.1)")
    assert host.file("/var/log/mysql/slow.log").contains(r"sleep(1\.1)")
    assert "/var/log/mysql/slow.log" in host.run("logrotate --debug /etc/logrotate.d/mysql-server").stderr


def test_a_run_repairs_without_a_restart(host, root, converge):
    root(
        "set global max_connections = 99; grant delete on shop.* to report@'127.0.0.1';"
        "create user shop@'10.9.9.9' identified by 'x'; alter user shop@localhost identified by 'y'"
    )
    process = host.check_output("systemctl show --property=MainPID mysql")
    repaired = converge()
    assert repaired.status == 0, repaired.errors
    assert host.check_output("systemctl show --property=MainPID mysql") == process
    assert root("select @@global.max_connections") == "200"
    assert "DELETE" not in root("show grants for report@'127.0.0.1'")
    test_accounts(host, root)
