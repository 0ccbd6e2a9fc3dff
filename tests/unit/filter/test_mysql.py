from __future__ import annotations

import pytest
from ansible_collections.slipway.laravel.plugins.filter.mysql_changes import EVERY, EVERYWHERE, mysql_changes
from ansible_collections.slipway.laravel.plugins.filter.mysql_overridden import mysql_overridden
from ansible_collections.slipway.laravel.plugins.filter.mysql_problems import mysql_problems
from ansible_collections.slipway.laravel.plugins.plugin_utils.mysql import granted, has_password, privileges

# As both servers keep the password "secret".
NATIVE = b"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7".hex()
SHA2 = "24412430303524"


@pytest.mark.parametrize(
    ("wanted", "found", "differs"),
    [
        ("ON", 1, False),
        (True, "ON", False),
        ("OFF", 1, True),
        ("64M", 67108864, False),
        (1.0, "1.000000", False),
        ("B_MODE,A_MODE", "A_MODE,B_MODE", False),
        ("TLSv1.3", "TLSv1.2", True),
        ("/etc/a", None, True),
    ],
)
def test_mysql_overridden(wanted, found, differs):
    assert mysql_overridden({"x": wanted}, {"x": found}) == (["x"] if differs else [])


def test_mysql_overridden_where_nothing_is_said():
    assert mysql_overridden({"x": 1}, {}) == ["x"]
    assert mysql_overridden({"x": 1}, {}, missing_ok=True) == []


def test_privileges_are_compared_whatever_their_spelling():
    text = "shop.*:select, Insert/shop.orders:SELECT (a, b),UPDATE/*.*:USAGE/FUNCTION shop.f:EXECUTE"
    assert privileges(text) == {
        "shop.*": {"SELECT", "INSERT"},
        "shop.orders": {"SELECT(a,b)", "UPDATE"},
        "FUNCTION shop.f": {"EXECUTE"},
    }


def test_granted():
    lines = [
        "GRANT USAGE ON *.* TO `web`@`%` IDENTIFIED BY PASSWORD '*14E6'",
        "GRANT SELECT, CREATE TEMPORARY TABLES ON `shop`.* TO `web`@`%` WITH GRANT OPTION",
        "GRANT SELECT (`a`, `b`), UPDATE ON `shop`.`orders` TO `web`@`%`",
        "GRANT EXECUTE ON FUNCTION `shop`.`f` TO `web`@`%`",
        "GRANT ALL PRIVILEGES ON `logs`.* TO `web`@`%`",
        "GRANT `reader`@`%` TO `web`@`%`",
    ]
    assert granted(lines) == {
        "shop.*": {"SELECT", "CREATE TEMPORARY TABLES", "GRANT"},
        "shop.orders": {"SELECT(a,b)", "UPDATE"},
        "FUNCTION shop.f": {"EXECUTE"},
        "logs.*": {"ALL"},
    }


def test_passwords():
    assert has_password("secret", "mysql_native_password", NATIVE)
    assert not has_password("other", "mysql_native_password", NATIVE)
    assert not has_password("secret", "caching_sha2_password", SHA2)
    assert not has_password("secret", "unix_socket", "")


WEB = {"name": "web", "password": "secret", "hosts": ["10.0.0.1"], "privileges": "shop.*:SELECT"}
ROW = {"user": "web", "host": "10.0.0.1", "plugin": "mysql_native_password", "ssl_type": "", "auth": NATIVE}
GRANTS = {"web@10.0.0.1": [{"Grants for web@10.0.0.1": "GRANT SELECT ON `shop`.* TO `web`@`10.0.0.1`"}]}


def test_nothing_to_change():
    assert mysql_changes([WEB], [ROW], GRANTS) == {"known": ["web@10.0.0.1"], "present": [], "absent": []}


@pytest.mark.parametrize(
    ("user", "keys"),
    [
        ({"password": "other"}, {"password"}),
        ({"privileges": "shop.*:SELECT,INSERT"}, set()),
        ({"privileges": "*.*:USAGE"}, set()),
        ({"require_tls": True}, set()),
        ({"socket": True}, {"plugin"}),
    ],
)
def test_one_thing_to_change(user, keys):
    (change,) = mysql_changes([WEB | user], [ROW], GRANTS)["present"]
    assert set(change) - {"name", "host", "privileges", "tls"} == keys


def test_hosts_that_left_and_accounts_that_go():
    others = [ROW, ROW | {"host": "10.0.0.2"}, ROW | {"user": "old"}, ROW | {"user": "theirs"}]
    changes = mysql_changes([WEB, {"name": "old", "state": "absent"}], others, GRANTS)
    assert changes["present"] == []
    assert [(one["user"], one["host"]) for one in changes["absent"]] == [("web", "10.0.0.2"), ("old", "10.0.0.1")]


def test_mysql_gets_its_own_plugin():
    (change,) = mysql_changes([WEB], [ROW], GRANTS, mariadb=False)["present"]
    assert change["plugin"] == "caching_sha2_password"


def test_all_privileges_everywhere_are_a_list_to_mysql():
    user = WEB | {"socket": True, "privileges": "*.*:ALL,GRANT"}
    rows = [
        {"x": f"GRANT {', '.join(sorted(EVERYWHERE))} ON *.* TO `web`@`10.0.0.1` WITH GRANT OPTION"},
        {"x": "GRANT BACKUP_ADMIN ON *.* TO `web`@`10.0.0.1` WITH GRANT OPTION"},
    ]
    row = ROW | {"plugin": "auth_socket"}
    assert mysql_changes([user], [row], {"web@10.0.0.1": rows}, mariadb=False)["present"] == []


def test_all_privileges_by_name_are_what_mysql_calls_all():
    user = WEB | {"socket": True, "privileges": f"shop.*:{','.join(sorted(EVERY))},GRANT"}
    rows = [{"x": "GRANT ALL PRIVILEGES ON `shop`.* TO `web`@`10.0.0.1` WITH GRANT OPTION"}]
    row = ROW | {"plugin": "auth_socket"}
    assert mysql_changes([user], [row], {"web@10.0.0.1": rows}, mariadb=False)["present"] == []
    assert mysql_changes([user], [ROW | {"plugin": "unix_socket"}], {"web@10.0.0.1": rows})["present"] != []


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"password": ""}, "gives web no password"),
        ({"privileges": "shop.*:SELEKT"}, "grants web SELEKT, which neither MariaDB nor MySQL knows"),
        ({"privileges": "shop:SELECT"}, "is not of the form"),
        ({"privileges": "SELECT"}, "is not of the form"),
        ({"hosts": ["10.0.0.*"]}, "gives web the host '10.0.0.*'"),
        ({"name": "root"}, "lists root, which the server needs"),
        ({"name": "we'b"}, "quotes, slashes"),
        ({"socket": True}, "works from localhost only"),
    ],
)
def test_problems_of_an_account(user, says):
    assert says in " ".join(mysql_problems([WEB | user], []))


def test_problems_of_the_lists():
    assert mysql_problems([WEB], [{"name": "shop"}]) == []
    assert mysql_problems([{"name": "gone", "state": "absent"}], []) == []
    assert "lists web twice" in mysql_problems([WEB, WEB], [])[0]
    assert "belongs to the server" in mysql_problems([], [{"name": "mysql"}])[0]
    assert "cannot be in a name" in mysql_problems([], [{"name": "a`b"}])[0]
    assert mysql_problems([WEB | {"privileges": "*.*:BACKUP_ADMIN,ALL PRIVILEGES,GRANT OPTION"}], []) == []
