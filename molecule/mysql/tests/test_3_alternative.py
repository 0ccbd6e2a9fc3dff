"""MariaDB with every knob moved: other addresses, TLS, fewer privileges, and a client host that manages it."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture
def root(host):
    return lambda query: host.check_output("mariadb --batch --skip-column-names --execute %s", query)


@pytest.fixture
def client(host):
    def ask(user, password, query, *options):
        return host.run(
            "mariadb --host=127.0.0.1 --port=3307 --user=%s --password=%s --batch --skip-column-names --execute=%s %s",
            user,
            password,
            query,
            *(options or ["--ssl"]),
        )

    return ask


def test_it_listens_everywhere(host):
    assert host.socket("tcp://0.0.0.0:3307").is_listening


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("innodb_buffer_pool_size", "134217728"),
        ("innodb_log_file_size", "134217728"),
        ("max_connections", "111"),
        ("tmp_table_size", "33554432"),
        ("open_files_limit", "15000"),
        ("sql_mode", "STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER"),
        ("long_query_time", "0.500000"),
        ("log_bin", "0"),
        ("event_scheduler", "ON"),
        ("require_secure_transport", "1"),
        ("local_infile", "1"),
    ],
)
def test_settings(root, variable, value):
    assert root(f"select @@global.{variable}") == value


def test_nobody_connects_without_tls(client):
    assert client("shop", "p'a\"s$s\\w", "select 1", "--skip-ssl").rc != 0
    encrypted = client("shop", "p'a\"s$s\\w", "show session status like 'Ssl_version'")
    assert "TLSv1.3" in encrypted.stdout


def test_the_key_is_the_servers_alone(host):
    key = host.file("/etc/mysql/tls/key.pem")
    assert (key.user, key.mode) == ("mysql", 0o400)


def test_privileges_became_fewer(root):
    grants = root("show grants for shop@localhost")
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.* TO" in grants
    assert "shop" not in root("show grants for nobody@localhost")


def test_accounts(root):
    accounts = root("select concat(user, '@', host) from mysql.user order by 1").split()
    assert [name for name in accounts if "localhost" not in name] == ["admin@%", "logs@%", "shop@%"]
    assert "REQUIRE SSL" in root("show grants for logs")


def test_databases_have_their_own_character_sets(root):
    query = "select schema_name, default_collation_name from information_schema.schemata where schema_name in ({})"
    assert root(query.format("'logs', 'shop'")).split() == ["logs", "latin1_swedish_ci", "shop", "utf8mb4_general_ci"]
