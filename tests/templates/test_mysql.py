"""What the mysql role writes, and what it makes of its lists."""

from __future__ import annotations

import pytest

CONF = "etc/mysql/conf.d/90-slipway.cnf.j2"
GIB = 1024**3


def test_mariadb(role):
    lines = role("mysql", mysql_settings={"skip_name_resolve": True}).render(CONF).splitlines()
    assert lines[3] == "[mysqld]"
    for line in (
        "bind_address = 127.0.0.1",
        "character_set_server = utf8mb4",
        "collation_server = utf8mb4_unicode_ci",
        "innodb_buffer_pool_size = 1073741824",
        "innodb_log_file_size = 268435456",
        "log_bin = binlog",
        "binlog_expire_logs_seconds = 604800",
        "max_connections = 200",
        "skip_name_resolve = ON",
        "slow_query_log_file = /var/log/mysql/slow.log",
        "tmp_table_size = 41943040",
        "loose_innodb_buffer_pool_size_max = 3355443200",
    ):
        assert line in lines
    assert "NO_AUTO_CREATE_USER" in next(line for line in lines if line.startswith("sql_mode"))


@pytest.mark.parametrize(("size", "instances"), [(GIB, 1), (8 * GIB, 8), (8 * GIB + 2**27, 1)])
def test_mysql(role, size, instances):
    given = {"mysql_flavor": "mysql", "mysql_innodb_buffer_pool_size": size}
    lines = role("mysql", "forky", **given).render(CONF).splitlines()
    assert f"innodb_buffer_pool_instances = {instances}" in lines
    assert "mysqlx_bind_address = 127.0.0.1" in lines
    assert not [line for line in lines if "innodb_log_file_size" in line or "NO_AUTO_CREATE_USER" in line]


def test_what_is_off_is_not_tuned(role):
    text = role("mysql", mysql_binlog=False, mysql_slow_log=False).render(CONF)
    assert "skip_log_bin\n" in text
    assert "slow_query_log = OFF\n" in text
    assert not [word for word in ("sync_binlog", "long_query_time", "ssl_cert") if word in text]


@pytest.mark.parametrize(
    ("platform", "repository", "packages"),
    [
        ("trixie", {}, []),
        ("noble", {}, ["mysql-server", "mysql-client"]),
        ("trixie", {"component": "mysql-8.4-lts"}, ["mysql-community-server", "mysql-community-client"]),
    ],
)
def test_packages_of_mysql(role, platform, repository, packages):
    mysql = role("mysql", platform, mysql_flavor="mysql", mysql_repository=repository)
    assert mysql.value("__mysql_server")["packages"] == packages


def test_source_of_the_vendor(role):
    given = {"mysql_flavor": "mysql", "mysql_repository": {"component": "mysql-8.4-lts"}}
    text = role("mysql", "noble", **given).render("etc/apt/sources.list.d/slipway-mysql.sources.j2")
    assert text.splitlines()[3:-1] == [
        "Types: deb",
        "URIs: https://repo.mysql.com/apt/ubuntu/",
        "Suites: noble",
        "Components: mysql-8.4-lts",
    ]


APP = {"laravel_db_name": "shop", "laravel_db_user": "web", "laravel_db_password": "x"}


def test_database_and_account_of_the_application(role):
    mysql = role("mysql", **APP)
    assert mysql.value("__mysql_databases") == [{"name": "shop"}]
    (account,) = mysql.value("__mysql_users")
    assert account["hosts"] == ["localhost", "127.0.0.1"]
    assert account["privileges"].startswith("shop.*:SELECT,INSERT,")
    assert "ALL" not in account["privileges"].split(":")[1].split(",")
    assert role("mysql").value("__mysql_users") == []


def test_the_list_wins_over_the_application(role):
    mysql = role("mysql", **APP, mysql_users=[{"name": "web", "password": "y"}, {"name": "backup", "socket": True}])
    assert mysql.value("__mysql_users") == [
        {"name": "web", "password": "y", "hosts": ["localhost", "127.0.0.1"]},
        {"name": "backup", "socket": True, "hosts": ["localhost"]},
    ]


def test_databases_that_differ(role):
    found = [
        {"name": "shop", "character_set": "latin1", "collation": "latin1_swedish_ci"},
        {"name": "logs", "character_set": "utf8mb4", "collation": "utf8mb4_unicode_ci"},
        {"name": "test", "character_set": "utf8mb4", "collation": "utf8mb4_unicode_ci"},
    ]
    mysql = role(
        "mysql",
        **APP,
        mysql_databases=[{"name": "logs", "state": "present"}, {"name": "old", "state": "absent"}],
        __mysql_state={"query_result": [[{"version": "11.8"}], found, []]},
    )
    assert [database["name"] for database in mysql.value("__mysql_other_databases")] == ["shop"]
    assert mysql.value("__mysql_absent_databases") == ["old", "test"]


def test_accounts_that_nobody_should_have(role):
    users = [
        {"user": "", "host": "%", "plugin": "mysql_native_password", "auth": ""},
        {"user": "root", "host": "%", "plugin": "mysql_native_password", "auth": ""},
        {"user": "root", "host": "localhost", "plugin": "mysql_native_password", "auth": ""},
    ]
    mysql = role("mysql", __mysql_state={"query_result": [[{"version": "11.8"}], [], users]})
    assert [(user["user"], user["host"]) for user in mysql.value("__mysql_strangers")] == [("", "%"), ("root", "%")]
    assert mysql.value("__mysql_open_root") == users[2:]
    users[2]["auth"] = b"invalid".hex().upper()
    mysql = role("mysql", __mysql_state={"query_result": [[{"version": "11.8"}], [], users]})
    assert mysql.value("__mysql_open_root") == []


@pytest.mark.parametrize(("password", "rotated"), [("x", []), ("new", ["web@localhost", "web@127.0.0.1"])])
def test_passwords_that_change_are_named(role, password, rotated):
    # What MariaDB keeps of the password x.
    auth = b"*B69027D44F6E5EDC07F1AEAD1477967B16F28227".hex().upper()
    row = {"user": "web", "plugin": "mysql_native_password", "ssl_type": "", "auth": auth}
    found = [{**row, "host": "localhost"}, {**row, "host": "127.0.0.1"}]
    state = {"query_result": [[{"version": "11.8-MariaDB"}], [], found]}
    app = {**APP, "laravel_db_password": password}
    assert role("mysql", **app, __mysql_state=state).value("__mysql_rotated") == rotated
    # An account that is made has no password that somebody uses.
    empty = {"query_result": [[{"version": "11.8-MariaDB"}], [], []]}
    assert role("mysql", **app, __mysql_state=empty).value("__mysql_rotated") == []
