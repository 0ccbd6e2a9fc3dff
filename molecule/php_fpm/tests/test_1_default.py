"""PHP-FPM with the defaults: its pools, what a script may do, requests over a reload, what slipway-php-fpm notices."""

from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_the_service_runs_with_the_pools_alone(host, php):
    service = host.service(f"php{php}-fpm")
    assert service.is_running
    assert service.is_enabled
    files = host.check_output(f"ls /etc/php/{php}/fpm/pool.d").split()
    assert files == ["00-slipway.conf", "second.conf", "shop.conf"]
    for name in ("shop", "second"):
        for path in (f"/run/php/{name}.sock", f"/run/php/{name}-status.sock"):
            assert host.file(path).is_symlink
            socket = host.file(host.check_output(f"readlink {path}"))
            assert (socket.user, socket.group, socket.mode) == (name, "www-data", 0o660)
    assert host.file(f"/etc/php/{php}/fpm/pool.d/second.conf").mode == 0o640
    assert host.file("/var/log/php-fpm").mode == 0o750


def test_a_script_is_confined(probe, php):
    expected = {
        "opcache.validate_timestamps": "",
        "opcache.validate_permission": "1",
        "expose_php": "",
        "display_errors": "",
        "date.timezone": "UTC",
        "memory_limit": "256M",
        "post_max_size": "65M",
        "session.cookie_secure": "1",
    }
    told = probe(*expected)
    assert (told["user"], told["version"]) == ("shop", php)
    assert not any(told[name] for name in ("exec", "passthru", "system", "jit", "preloaded"))
    # The directory is open to everyone; systemd keeps the service out.
    assert told["etc"] is False
    assert told["new_privileges"] is True
    assert "TOKEN" not in told["env"]
    assert {name: value.lower().replace("off", "") for name, value in told["ini"].items()} == {
        name: value.lower() for name, value in expected.items()
    }


def test_each_pool_has_its_user_and_environment(probe):
    told = probe(socket="/run/php/second.sock")
    assert (told["user"], told["env"]["TOKEN"]) == ("second", "a b;c")


def test_the_command_line_keeps_its_functions(host, php):
    assert host.check_output("runuser -u shop -- php -r 'echo exec(\"echo a job\");'") == "a job"
    assert host.check_output("readlink -f /usr/bin/php") == f"/usr/bin/php{php}"
    assert host.run("composer --version --no-interaction").rc == 0


def test_a_user_may_reload_its_service_and_nothing_else(host, php):
    allowed = host.check_output("sudo -l -U second").split("commands on")[1].splitlines()[1:]
    assert [line.split("NOPASSWD: ")[1] for line in allowed] == [f"/usr/bin/systemctl reload php{php}-fpm.service"]


def test_status_answers_on_a_socket_of_its_own(ask):
    assert ask("/fpm-ping", "/run/php/shop-status.sock") == "pong"
    assert "process manager:      dynamic" in ask("/fpm-status", "/run/php/shop-status.sock")


def test_a_reload_finishes_the_requests_in_flight(host, slow, probe, php):
    host.check_output(f"runuser -u shop -- sudo -n /usr/bin/systemctl reload php{php}-fpm.service")
    assert probe()["user"] == "shop"
    assert "done by" in slow()


def test_what_overrides_the_role_is_noticed(host, php):
    assert host.run("slipway-php-fpm running").stderr == ""
    deprecated = "session.use_only_cookies = 0" if php == "8.4" else "allow_url_include = On"
    folder = f"/etc/php/{php}/fpm"
    for path, text, message in (
        (
            f"{folder}/conf.d/99-zz.ini",
            "memory_limit = 99M",
            "memory_limit is 99M and not 256M, another file overrides",
        ),
        (f"{folder}/conf.d/99-zz.ini", "memory_limit = abc", 'Invalid "memory_limit" setting'),
        (f"{folder}/conf.d/99-zz.ini", deprecated, "Deprecated"),
        (f"{folder}/pool.d/zz.conf", "[shop]\npm.max_requests = 5", "shop.conf: pm.max_requests is not in effect"),
        (f"{folder}/pool.d/zz.conf", "[shop]\npm = often", "invalid process manager"),
    ):
        done = host.run(f"echo %s >{path}; slipway-php-fpm check; rc=$?; rm {path}; exit $rc", text)
        assert done.rc == 1, text
        assert message in done.stderr, text


def test_logs_are_rotated(host):
    assert host.run("logrotate --force /etc/logrotate.d/slipway-php-fpm").rc == 0
