"""What the role php_fpm writes."""

from __future__ import annotations

import base64
import json
from fnmatch import fnmatchcase

import pytest
from ansible_collections.slipway.laravel.plugins.filter.php_fpm_problems import php_fpm_problems


def pool_file(php, number=0):
    return php.render("etc/php/fpm/pool.d/pool.conf.j2", item=php.value("__php_fpm_pools")[number])


def test_pool(role):
    php = role("php_fpm", laravel_app="shop", laravel_user="shop")
    text = pool_file(php)
    assert text.startswith(";\n; Ansible managed\n;\n[shop]\n")
    for line in (
        "user = shop",
        "listen = /run/php/shop-8.4.sock",
        "listen.owner = shop",
        "listen.group = www-data",
        "listen.mode = 0660",
        "clear_env = yes",
        "pm = dynamic",
        "pm.max_children = 32",
        "pm.status_listen = /run/php/shop-status-8.4.sock",
        "request_slowlog_timeout = 5s",
        "slowlog = /var/log/php-fpm/shop.slow.log",
    ):
        assert f"{line}\n" in text
    assert "php_admin_value[disable_functions] = dl,exec," in text


def test_others_find_a_pool_whatever_its_version(role):
    pools = [{"name": "shop"}, {"name": "old", "version": "8.2", "listen": "/srv/old"}, {"name": "a", "listen": "9001"}]
    php = role("php_fpm", php_fpm_pools=pools)
    assert "listen = /srv/old-8.2\n" in pool_file(php, 1)
    told = json.loads(php.render("etc/slipway/php-fpm.json.j2"))["pools"]
    assert [pool["sockets"] for pool in told] == [
        ["/run/php/shop.sock", "/run/php/shop-status.sock"],
        ["/srv/old", "/run/php/old-status.sock"],
        ["9001", "/run/php/a-status.sock"],
    ]
    assert told[1]["links"] == {"/srv/old": "/srv/old-8.2", "/run/php/old-status.sock": "/run/php/old-status-8.2.sock"}


def test_a_pool_that_moves_keeps_the_files_of_its_old_version(role):
    php = role("php_fpm", php_fpm_pools=[{"name": "shop"}, {"name": "old", "version": "8.2"}])
    kept = php.value("__php_fpm_kept_files")
    for path in ("pool.d/shop.conf", "pool.d/old.conf", "pool.d/00-slipway.conf", "conf.d/99-slipway.ini"):
        assert any(fnmatchcase(f"/etc/php/8.1/fpm/{path}", pattern) for pattern in kept)
    assert not any(fnmatchcase("/etc/php/8.1/fpm/pool.d/gone.conf", pattern) for pattern in kept)


def test_a_port_cannot_move_to_another_version(role):
    before = [
        {"name": "a", "version": "8.2", "sockets": ["127.0.0.1:9001"]},
        {"name": "b", "version": "8.2", "sockets": ["/run/php/b.sock"]},
    ]
    told = base64.b64encode(json.dumps({"pools": before}).encode()).decode()
    pools = [{"name": "a", "listen": "127.0.0.1:9001"}, {"name": "b"}]
    php = role("php_fpm", php_fpm_pools=pools, __php_fpm_asked={"stdout_lines": ["program", f"before {told}"]})
    pools, children = php.value("__php_fpm_pools"), int(php.value("__php_fpm_children"))
    (problem,) = php_fpm_problems(pools, children, php.value("__php_fpm_before"))
    assert "pool a wants 127.0.0.1:9001 for PHP 8.4, where pool a of PHP 8.2 listens" in problem
    assert php_fpm_problems(pools, children, [{**pool, "version": "8.4"} for pool in before]) == []
    assert role("php_fpm").value("__php_fpm_before") == []


def test_pools_of_all_versions_share_the_children(role):
    pools = [{"name": "a"}, {"name": "b", "version": "8.3"}, {"name": "c", "max_children": 6}]
    php = role("php_fpm", php_fpm_pools=pools)
    assert [pool["settings"]["pm.max_children"] for pool in php.value("__php_fpm_pools")] == [13, 13, 6]
    assert php.value("__php_fpm_versions") == ["8.3", "8.4"]
    assert {"php8.3-fpm", "php8.3-redis", "php8.4-fpm"} <= set(php.value("__php_fpm_packages"))


def test_a_pool_says_what_is_its_own(role):
    pool = {
        "name": "a",
        "pm": "ondemand",
        "max_children": 3,
        "listen": "127.0.0.1:9000",
        "env": {"TOKEN": "a b;c"},
        "php_values": {"memory_limit": "1G", "display_errors": False},
        "open_basedir": ["/srv/a", "/srv/shared"],
        "disable_functions": [],
        "settings": {"pm.max_requests": 7},
    }
    php = role("php_fpm", php_fpm_pools=[pool], php_fpm_slowlog_timeout=0, php_fpm_status_enabled=False)
    text = pool_file(php)
    for line in (
        "env[TOKEN] = 'a b;c'",
        "listen.allowed_clients = 127.0.0.1",
        "php_admin_value[display_errors] = Off",
        "php_admin_value[memory_limit] = 1G",
        "php_admin_value[open_basedir] = /srv/a:/srv/shared",
        "pm = ondemand",
        "pm.max_requests = 7",
        "pm.process_idle_timeout = 10s",
    ):
        assert f"{line}\n" in text
    for absent in ("disable_functions", "listen.owner", "pm.status", "slowlog", "start_servers"):
        assert absent not in text
    # Nothing of the environment is told to the program that compares.
    told = json.loads(php.render("etc/slipway/php-fpm.json.j2"))
    assert "a b;c" not in json.dumps(told)
    assert php.value("__php_fpm_pools")[0]["secret"] is True


def test_php_ini(role):
    values = {"memory_limit": "1G", "display_errors": False, "error_log": "a b", "zend.assertions": -1}
    lines = role("php_fpm").render("etc/php/conf.d/99-slipway.ini.j2", directives=values).splitlines()
    assert lines[3:] == ["display_errors = Off", "error_log = 'a b'", "memory_limit = 1G", "zend.assertions = -1"]


def test_code_is_never_looked_at_twice_and_a_reload_waits(role):
    php = role("php_fpm")
    text = php.render("etc/php/conf.d/99-slipway.ini.j2", directives=php.value("__php_fpm_ini"))
    for line in (
        "opcache.validate_timestamps = Off",
        "expose_php = Off",
        "opcache.jit = disable",
        "cgi.fix_pathinfo = 0",
    ):
        assert f"{line}\n" in text
    assert "disable_functions" not in text
    assert "process_control_timeout = 10s\n" in php.render("etc/php/fpm/pool.d/00-slipway.conf.j2")


def test_jit_preload_and_overrides(role):
    php = role(
        "php_fpm",
        php_fpm_jit="tracing",
        php_fpm_preload="/srv/preload.php",
        php_fpm_ini_overrides={"memory_limit": "1G"},
        php_fpm_pools=[{"name": "a", "user": "anna"}, {"name": "b", "user": "ben"}],
    )
    ini = php.value("__php_fpm_ini")
    assert (ini["opcache.jit"], ini["opcache.jit_buffer_size"]) == ("tracing", "64M")
    assert (ini["opcache.preload"], ini["opcache.preload_user"]) == ("/srv/preload.php", "anna")
    assert (ini["memory_limit"], ini["opcache.validate_permission"]) == ("1G", "On")


def test_sudo_allows_each_user_the_reload_of_its_versions(role):
    text = role("php_fpm", "bookworm", laravel_user="shop").render("etc/sudoers.d/php-fpm.j2")
    assert text.splitlines()[3:] == ["shop ALL=(root) NOPASSWD: /usr/bin/systemctl reload php8.2-fpm.service"]
    pools = [{"name": "a"}, {"name": "b"}, {"name": "c", "version": "8.3"}, {"name": "d", "user": "dora"}]
    text = role("php_fpm", php_fpm_pools=pools).render("etc/sudoers.d/php-fpm.j2")
    assert [line.split()[0] + line.split()[-1] for line in text.splitlines()[3:]] == [
        "deployphp8.3-fpm.service",
        "deployphp8.4-fpm.service",
        "doraphp8.4-fpm.service",
    ]


def test_sandbox(role):
    text = role("php_fpm", laravel_root="/home/shop/app").render("etc/systemd/system/php-fpm.service.d/slipway.conf.j2")
    assert "ProtectHome=no\n" in text
    given = {"ProtectSystem": "", "LimitNOFILE": 65535}
    text = role("php_fpm", php_fpm_sandbox_overrides=given).render(
        "etc/systemd/system/php-fpm.service.d/slipway.conf.j2"
    )
    assert "ProtectSystem" not in text
    assert "LimitNOFILE=65535\n" in text
    assert "ProtectHome=yes\n" in text
    text = role("php_fpm", php_fpm_sandbox_enabled=False).render("etc/systemd/system/php-fpm.service.d/slipway.conf.j2")
    assert text.splitlines()[3:] == ["[Service]", "KillSignal=SIGQUIT", "TimeoutStopSec=30s"]


@pytest.mark.parametrize(
    ("platform", "line"),
    [
        ("bookworm", "URIs: https://packages.sury.org/php/"),
        ("trixie", "Suites: trixie"),
        ("jammy", "URIs: https://ppa.launchpadcontent.net/ondrej/php/ubuntu/"),
        ("noble", "Suites: noble"),
    ],
)
def test_repository(role, platform, line):
    text = role("php_fpm", platform).render("etc/apt/sources.list.d/slipway-php.sources.j2")
    assert f"{line}\n" in text
    assert text.endswith("Signed-By: /etc/apt/keyrings/slipway-php.asc\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"php_fpm_pools": []}, "php_fpm_pools is empty"),
        ({"php_fpm_pools": [{"name": "a"}, {"name": "a"}]}, "names a twice"),
        ({"php_fpm_pools": [{"name": "A"}]}, "php_fpm_pools has 'A'"),
        ({"php_fpm_pools": [{"name": "global"}]}, "is not global"),
        (
            {"php_fpm_pools": [{"name": "a"}, {"name": "b", "listen": "/run/php/a.sock"}]},
            "both listen on /run/php/a.sock",
        ),
        (
            {"php_fpm_pools": [{"name": "a", "version": "8.2"}, {"name": "b", "listen": "/run/php/a-8.2.sock"}]},
            "both listen on /run/php/a-8.2.sock",
        ),
        ({"php_fpm_pools": [{"name": "a", "listen": "a.sock"}]}, "cannot listen on 'a.sock'"),
        ({"php_fpm_pools": [{"name": "a", "version": "8"}]}, "wants PHP '8'"),
        ({"php_fpm_pools": [{"name": "a", "user": "root"}]}, "would run as root"),
        ({"php_fpm_pools": [{"name": "a", "env": {"A": "b\nc"}}]}, "line break in env[A]"),
        ({"php_fpm_pm": "fast"}, "has pm 'fast'"),
        ({"php_fpm_pools": [{"name": "a", "settings": {"pm.start_servers": 30}}]}, "pm.start_servers (30)"),
        ({"php_fpm_pools": [{"name": "a", "settings": {"pm.max_children": 0}}]}, "pm.max_children 0"),
        ({"php_fpm_pools": [{"name": "a", "max_children": 33}]}, "need 33 children, but the memory"),
    ],
)
def test_problems(role, given, message):
    php = role("php_fpm", **given)
    found = php_fpm_problems(php.value("__php_fpm_pools"), int(php.value("__php_fpm_children")))
    assert [text for text in found if message in text], found


@pytest.mark.parametrize("pm", ["static", "dynamic", "ondemand"])
@pytest.mark.parametrize("children", [1, 2, 3, 7, 32])
def test_what_the_role_chooses_is_no_problem(role, pm, children):
    php = role("php_fpm", php_fpm_pm=pm, php_fpm_max_children=children)
    assert php_fpm_problems(php.value("__php_fpm_pools"), children) == []
