"""PHP-FPM with every knob moved: two versions, other pools, JIT, preloading, slow log, Composer by its installer."""

from __future__ import annotations

import json
import re

import pytest

testinfra_hosts = ["ansible://role_hosts"]
LEGACY = "127.0.0.1:9001"
SHOP = "/run/php/shop.sock"


def test_every_version_has_its_pools(host, php):
    for version, pools in ((php, ["admin", "shop"]), ("8.1", ["legacy"])):
        assert host.service(f"php{version}-fpm").is_running
        assert host.service(f"php{version}-fpm").is_enabled
        files = host.check_output(f"ls /etc/php/{version}/fpm/pool.d").split()
        assert files == sorted(["00-slipway.conf", *(f"{name}.conf" for name in pools)])


def test_a_pool_that_is_not_listed_any_more_is_gone(host):
    assert not host.file("/run/php/second.sock").exists
    assert not host.file("/run/php/second-status.sock").exists
    assert host.user("second").exists


def test_sockets_follow_their_pool(host):
    shop, admin = (host.file(host.check_output(f"readlink /run/php/{name}.sock")) for name in ("shop", "admin"))
    assert (shop.user, shop.group, shop.mode) == ("shop", "adm", 0o660)
    assert (admin.user, admin.group, admin.mode) == ("second", "adm", 0o600)
    assert host.socket(f"tcp://{LEGACY}").is_listening


def test_children_share_what_is_left(host, php):
    settings = {}
    for line in host.run(f"php-fpm{php} -tt").stderr.splitlines():
        found = re.search(r"NOTICE: (?:\[(\w+)\]|\t(\S+) = (.*))$", line)
        if found and found[1]:
            pool = found[1]
        elif found:
            settings[pool, found[2]] = found[3]
    assert (settings["shop", "pm"], settings["shop", "pm.max_children"]) == ("static", "5")
    assert (settings["admin", "pm"], settings["admin", "pm.max_children"]) == ("ondemand", "3")
    assert settings["shop", "pm.max_requests"] == "17"


def test_what_scripts_find(probe):
    names = ["max_execution_time", "memory_limit", "date.timezone", "upload_max_filesize"]
    shop = probe(*names)
    assert list(shop["ini"].values()) == ["99", "200M", "Europe/Berlin", "9M"]
    assert [shop[name] for name in ("jit", "preloaded", "exec", "system")] == [True, True, True, False]
    # Neither sandbox nor open_basedir lets it out.
    assert [shop[name] for name in ("etc", "outside")] == [False, False]
    admin = probe(*names, socket="/run/php/admin.sock")
    assert [admin[name] for name in ("exec", "passthru", "outside")] == [True, False, True]
    assert {"TOKEN": "it's ; $HOME"}.items() <= admin["env"].items()
    assert admin["ini"]["memory_limit"] == "300M"
    assert probe(socket=LEGACY)["user"] == "shop"


def test_the_sandbox_is_what_the_overrides_say(host, php):
    names = ["LimitNOFILE", "NoNewPrivileges", "PrivateTmp", "ProtectSystem"]
    shown = host.check_output(f"systemctl show php{php}-fpm --property={','.join(names)}").splitlines()
    assert sorted(shown) == ["LimitNOFILE=9999", "NoNewPrivileges=yes", "PrivateTmp=no", "ProtectSystem=strict"]


def test_slow_requests_leave_their_stack(host, slow):
    assert "done by" in slow()
    assert "wait_for_something() /srv/www/slow.php" in host.file("/var/log/php-fpm/shop.slow.log").content_string


def test_the_command_line_has_its_version(host):
    assert host.check_output("readlink -f /usr/bin/php") == "/usr/bin/php8.1"
    assert host.check_output('php -r \'echo ini_get("memory_limit"), ini_get("display_errors");\'') == "-1stderr"
    assert host.check_output("/usr/local/bin/composer").startswith("Composer version 2.99.1 ")


@pytest.fixture(name="converge_pools")
def converge_pools_fixture(host, converge_alternative):
    """Run the role on this host with other pools."""

    def converge(*pools, **variables):
        given = json.dumps({"php_fpm_pools": pools, **variables})
        return converge_alternative("--extra-vars", given, "--limit", f"*-{host.check_output('hostname')}")

    return converge


def test_a_pool_moves_to_another_version_while_visitors_come(host, php, converge_pools, visitors):
    others = [{"name": "admin", "max_children": 3}, {"name": "legacy", "version": "8.1", "listen": LEGACY}]
    with visitors() as came:
        done = converge_pools({"name": "shop", "version": "8.1"}, *others)
        assert done.status == 0, done.errors
        assert host.check_output(f"readlink {SHOP}") == "/run/php/shop-8.1.sock"
        assert sorted(host.check_output("ls /etc/php/8.1/fpm/pool.d").split())[1:] == ["legacy.conf", "shop.conf"]
        assert sorted(host.check_output(f"ls /etc/php/{php}/fpm/pool.d").split())[1:] == ["admin.conf"]
        assert not host.file(f"/run/php/shop-{php}.sock").exists
        assert host.service(f"php{php}-fpm").is_running
    assert came["failed"] == []
    assert came["answered"] > 0


def test_a_port_does_not_move(host, php, converge_pools):
    moved = {"name": "legacy", "version": php, "listen": LEGACY}
    done = converge_pools({"name": "shop", "version": "8.1"}, moved)
    assert f"pool legacy wants {LEGACY} for PHP {php}, where pool legacy of PHP 8.1 listens" in done.output
    assert host.socket(f"tcp://{LEGACY}").is_listening


def test_a_version_that_no_pool_wants_stops(host, php, converge_pools, visitors):
    with visitors() as came:
        done = converge_pools({"name": "shop"}, php_fpm_cli_version="{{ php_fpm_version }}")
    assert done.status == 0, done.errors
    assert came["failed"] == []
    assert came["answered"] > 0
    assert host.check_output(f"readlink {SHOP}") == f"/run/php/shop-{php}.sock"
    assert not host.service("php8.1-fpm").is_running
    assert not host.service("php8.1-fpm").is_enabled
    assert not host.file("/etc/php/8.1/fpm/pool.d/legacy.conf").exists
    assert not host.file("/etc/systemd/system/php8.1-fpm.service.d/slipway.conf").exists
    assert not host.socket(f"tcp://{LEGACY}").is_listening
    assert not host.file("/run/php/admin.sock").is_symlink
    assert converge_pools({"name": "shop"}, php_fpm_cli_version="{{ php_fpm_version }}").changed == 0


def test_links_come_back_with_the_host(host, php):
    host.check_output(f"rm {SHOP}; systemd-tmpfiles --create /etc/tmpfiles.d/slipway-php-fpm.conf")
    assert host.check_output(f"readlink {SHOP}") == f"/run/php/shop-{php}.sock"
