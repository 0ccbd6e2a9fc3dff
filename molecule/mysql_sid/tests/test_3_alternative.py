"""MySQL with other settings, fewer privileges and another password."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture
def root(host):
    return lambda query: host.check_output("mysql --batch --skip-column-names --execute %s", query)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("innodb_buffer_pool_size", "402653184"),
        ("innodb_redo_log_capacity", "134217728"),
        ("max_connections", "111"),
        ("open_files_limit", "9000"),
        ("log_bin", "0"),
        ("require_secure_transport", "1"),
        ("bind_address", "0.0.0.0"),
    ],
)
def test_settings(root, variable, value):
    assert root(f"select @@global.{variable}") == value


def test_the_new_password_holds_over_tls_alone(host):
    login = "mysql --host=127.0.0.1 --user=shop --password=another --batch --skip-column-names"
    assert "TLSv1.3" in host.check_output(f"{login} --execute \"show session status like 'Ssl_version'\"")
    assert host.run(f"{login} --ssl-mode=DISABLED --execute 'select 1'").rc != 0


def test_privileges_became_fewer(root):
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.* TO" in root("show grants for shop@localhost")
    assert "BACKUP_ADMIN" in root("show grants for nobody@localhost")
    assert "shop" not in root("show grants for nobody@localhost")
    assert root("select count(*) from mysql.user where user = 'report'") == "0"
