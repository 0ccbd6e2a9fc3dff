"""The provisioned host, before anything was released onto it."""

from __future__ import annotations

import re

import pytest

testinfra_hosts = ["ansible://laravel"]


@pytest.fixture(name="php", scope="module")
def php_version(host):
    return host.check_output("php -r 'echo PHP_MAJOR_VERSION . \".\" . PHP_MINOR_VERSION;'")


def test_check_mode_reports_no_change_on_a_configured_host(play):
    checked = play("site.yml", "--check", "--diff")
    assert checked.status == 0, checked.errors
    assert checked.changed == 0, checked.changes


@pytest.mark.parametrize("service", ["nginx", "mariadb", "redis-server", "supervisor", "cron", "fail2ban"])
def test_service_runs_and_comes_back_after_a_boot(host, service):
    assert host.service(service).is_running
    assert host.service(service).is_enabled


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


@pytest.mark.parametrize(
    ("port", "addresses"), [(80, {"0.0.0.0", "[::]"}), (3306, {"127.0.0.1"}), (6379, {"127.0.0.1"})]
)
def test_port_listens_only_where_it_should(host, port, addresses):
    listening = host.check_output(f"ss -Hltn 'sport = :{port}'")
    assert {line.split()[3].rsplit(":", 1)[0] for line in listening.splitlines()} == addresses


@pytest.mark.parametrize(
    ("path", "owner", "group", "mode"),
    [
        ("/var/www/logbook", "deploy", "deploy", 0o755),
        ("/var/www/logbook/releases", "deploy", "deploy", 0o755),
        ("/var/www/logbook/.slipway", "deploy", "deploy", 0o700),
        ("/var/www/logbook/shared/.env", "deploy", "deploy", 0o600),
        ("/run/php/logbook.sock", "deploy", "www-data", 0o660),
        ("/etc/sudoers.d/logbook-queue", "root", "root", 0o440),
        ("/etc/sudoers.d/logbook-php-fpm", "root", "root", 0o440),
    ],
)
def test_owner_and_mode(host, path, owner, group, mode):
    # A socket of PHP-FPM is a link to that of its version.
    found = host.file(host.check_output(f"readlink -f {path}"))
    assert found.exists
    assert (found.user, found.group, found.mode) == (owner, group, mode)


def test_code_owner_may_start_workers_and_reload_php_and_nothing_else(host, php):
    allowed = host.check_output("sudo -l -U deploy").split("commands on")[1].splitlines()[1:]
    assert sorted(line.split("NOPASSWD: ")[1].replace("\\", "") for line in allowed) == [
        "/usr/bin/supervisorctl start logbook-queue-default:*",
        f"/usr/bin/systemctl reload php{php}-fpm.service",
    ]


def test_nginx_serves_by_the_resolved_path(host):
    effective = host.check_output("nginx -T")
    assert "fastcgi_param SCRIPT_FILENAME $slipway_root$fastcgi_script_name;" in effective
    assert "fastcgi_param DOCUMENT_ROOT $slipway_root;" in effective
    assert "server_tokens off;" in effective


def test_php_fpm_finishes_requests_in_flight(host, php):
    # php-fpm writes its settings to its log stream
    effective = host.run(f"php-fpm{php} -tt").stderr
    assert "process_control_timeout = 10s" in effective
    assert "user = deploy" in effective
    assert f"listen = /run/php/logbook-{php}.sock" in effective


def test_php_ini_of_the_pool(host, php):
    values = host.check_output(f"php-fpm{php} -i")
    for name, value in {"opcache.validate_timestamps": "Off", "expose_php": "Off", "display_errors": "Off"}.items():
        assert re.search(rf"^{re.escape(name)} => {value}", values, re.MULTILINE), name


def test_redis_wants_the_password_and_loses_no_jobs(host):
    assert "NOAUTH" in host.run("redis-cli ping").stdout
    password = re.search(
        r"^REDIS_PASSWORD=\"?([^\"\n]+)", host.file("/var/www/logbook/shared/.env").content_string, re.M
    )[1]
    settings = host.check_output(
        "REDISCLI_AUTH=%s sh -c 'for s in maxmemory-policy appendonly; do redis-cli config get $s; done'", password
    )
    assert settings.split() == ["maxmemory-policy", "noeviction", "appendonly", "yes"]


def test_database_of_the_application_is_its_own(host):
    query = (
        "select concat(user, '@', host) from mysql.user where user not in ('root', 'mysql', 'mariadb.sys') order by 1"
    )
    assert host.check_output("mysql --batch --skip-column-names --execute %s", query).split() == [
        "logbook@127.0.0.1",
        "logbook@localhost",
    ]
    grants = host.check_output("mysql --batch --skip-column-names --execute \"show grants for 'logbook'@'localhost'\"")
    assert "ON `logbook`.*" in grants
    assert "ALL PRIVILEGES ON *.*" not in grants
    assert host.check_output("mysql -BNe 'select @@skip_name_resolve, @@character_set_server'").split() == [
        "1",
        "utf8mb4",
    ]


def test_ssh_is_hardened(host):
    effective = host.check_output("sshd -T").splitlines()
    assert "permitemptypasswords no" in effective
    assert "x11forwarding no" in effective
    assert "maxauthtries 3" in effective


def test_firewall_lets_in_ssh_and_the_web(host):
    status = host.check_output("ufw status verbose")
    assert "Status: active" in status
    assert "deny (incoming)" in status
    assert set(re.findall(r"^(\d+)(?:/tcp)? ", status, re.MULTILINE)) == {"22", "80", "443"}


def test_scheduler_waits_for_the_first_release(host):
    entry = host.file("/etc/cron.d/logbook")
    assert entry.mode == 0o644
    assert "test ! -f /var/www/logbook/current/artisan ||" in entry.content_string


def test_without_a_release_the_site_says_that_it_is_not_there(http):
    answer = http("/up")
    assert answer.status == 503
    assert "x-release-id" not in answer.headers
