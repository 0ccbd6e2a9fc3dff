"""MariaDB with the defaults: who gets in, what each may do, what the server runs with, and what a run repairs."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://role_hosts"]

# As PHP connects: over TCP, with nothing but what .env holds.
CLIENT = """
import json, pymysql, sys
given = json.loads(sys.argv[1])
with pymysql.connect(host=given["host"], port=given["port"], user=given["user"], password=given["password"],
                     database=given["database"]) as connection, connection.cursor() as cursor:
    for query in given["queries"]:
        cursor.execute(query)
    print(json.dumps(cursor.fetchall(), default=str))
"""
PASSWORD = "p'a\"s$s\\w"  # noqa: S105  made up


@pytest.fixture
def root(host):
    return lambda query: host.check_output("mariadb --batch --skip-column-names --execute %s", query)


@pytest.fixture
def client(host):
    def ask(user, password, *queries, database="shop", port=3306):
        given = {"host": "127.0.0.1", "port": port, "user": user, "password": password, "database": database}
        return host.run("python3 -c %s %s", CLIENT, json.dumps(given | {"queries": queries}))

    return ask


def test_it_listens_on_the_loopback_alone(host):
    assert host.service("mariadb").is_running
    assert host.service("mariadb").is_enabled
    addresses = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    assert [line.split()[3] for line in addresses if ":3306" in line] == ["127.0.0.1:3306"]


def test_the_application_migrates_and_works(client):
    done = client(
        "shop",
        PASSWORD,
        "create table notes (id int primary key auto_increment, text varchar(255), at datetime default now())",
        "create trigger shout before insert on notes for each row set new.text = upper(new.text)",
        "alter table notes add index (at)",
        "insert into notes (text) values ('h\u00e9llo \U0001f680')",
        "select text, @@collation_connection like 'utf8mb4%%' from notes",
    )
    assert done.rc == 0, done.stderr
    assert json.loads(done.stdout) == [["H\u00c9LLO \U0001f680", 1]]


@pytest.mark.parametrize(
    ("user", "password", "query", "error"),
    [
        ("shop", PASSWORD, "select * from mysql.user", 1142),
        ("shop", PASSWORD, "create database other", 1044),
        ("shop", PASSWORD, "load data local infile '/etc/passwd' into table notes", 4166),
        ("shop", "wrong", "select 1", 1045),
        ("report", "report", "insert into notes (text) values ('x')", 1142),
        ("root", "", "select 1", 1045),
        ("", "", "select 1", 1045),
    ],
)
def test_others_are_kept_out(client, user, password, query, error):
    done = client(user, password, query)
    assert done.rc != 0
    assert f"({error}, " in done.stderr


def test_the_report_reads(client):
    assert client("report", "report", "select count(*) from notes").rc == 0


def test_accounts(root):
    accounts = root("select concat(user, '@', host) from mysql.user order by 1").split()
    assert accounts == [
        "mariadb.sys@localhost",
        "mysql@localhost",
        "nobody@localhost",
        "report@10.0.0.%",
        "report@127.0.0.1",
        "root@localhost",
        "shop@127.0.0.1",
        "shop@localhost",
    ]
    assert root("select schema_name from information_schema.schemata where schema_name = 'test'") == ""


def test_the_socket_knows_users_of_the_host(host):
    nobody = host.run("runuser -u nobody -- mariadb --batch --skip-column-names --execute 'select current_user()'")
    assert nobody.stdout.strip() == "nobody@localhost"
    assert host.run("runuser -u nobody -- mariadb --user=root --execute 'select 1'").rc != 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("innodb_buffer_pool_size", "268435456"),
        ("innodb_log_file_size", "100663296"),
        ("log_bin", "1"),
        ("binlog_expire_logs_seconds", "604800"),
        ("local_infile", "0"),
        ("skip_name_resolve", "1"),
        ("collation_server", "utf8mb4_unicode_ci"),
    ],
)
def test_settings(root, variable, value):
    assert root(f"select @@global.{variable}") == value


def test_modes_of_sql(root):
    assert "ONLY_FULL_GROUP_BY" in root("select @@global.sql_mode")


def test_slow_statements_are_logged_and_the_log_is_rotated(host, root):
    root("select sleep(1.1)")
    log = host.file("/var/log/mysql/slow.log")
    assert log.contains(r"sleep(1\.1)")
    assert (log.user, log.mode & 0o007) == ("mysql", 0)
    assert "/var/log/mysql/slow.log" in host.run("logrotate --debug /etc/logrotate.d/mariadb").stderr


def test_changes_are_logged(host):
    assert host.check_output("ls /var/lib/mysql").split().count("binlog.000001") == 1


def test_no_password_is_left_on_the_host(host):
    assert host.run("grep -rlF 's$s' /etc/mysql /var/lib/slipway /var/log/mysql").stdout == ""


def test_a_run_repairs_without_a_restart(host, root, converge):
    """What somebody has set and granted by hand goes, and the clients stay connected."""
    root(
        "set global max_connections = 99; grant delete on shop.* to report@'127.0.0.1';"
        "create user shop@'10.9.9.9' identified by 'x'; alter user shop@localhost identified by 'y';"
        "create user ''@localhost; create user root@'%' identified by 'z'; create database test;"
        "alter database shop character set latin1"
    )
    process = host.check_output("systemctl show --property=MainPID mariadb")
    repaired = converge(f"--limit={host.backend.host}")
    assert repaired.status == 0, repaired.errors
    assert host.check_output("systemctl show --property=MainPID mariadb") == process
    assert root("select @@global.max_connections") == "200"
    assert "DELETE" not in root("show grants for report@'127.0.0.1'")
    assert root("select default_character_set_name from information_schema.schemata where schema_name='shop'") == (
        "utf8mb4"
    )
    test_accounts(root)
