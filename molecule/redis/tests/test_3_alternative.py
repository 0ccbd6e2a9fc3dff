"""Three instances instead of one: other ports, a password that has changed, TLS, accounts, a cache and a queue."""

from __future__ import annotations

import shlex

import pytest

testinfra_hosts = ["ansible://role_hosts"]


@pytest.fixture
def cli(host):
    def ask(port, password, *words, user="default"):
        secret = shlex.quote(password)
        return host.check_output(f"REDISCLI_AUTH={secret} redis-cli -p {port} --user {user} {shlex.join(words)}")

    return ask


def test_the_first_one_kept_its_data(cli):
    assert cli(6378, "n3w", "get", "survivor") == "yes"


def test_it_is_reached_over_tls_and_over_the_socket(host):
    tls = "REDISCLI_AUTH=n3w redis-cli --tls --cacert /etc/ssl/certs/kv.pem --sni debian13.lab.test -p 6377"
    assert host.check_output(f"{tls} ping") == "PONG"
    socket = host.file("/run/redis/redis-server.sock")
    assert (socket.is_socket, socket.mode) == (True, 0o777)
    assert host.check_output("REDISCLI_AUTH=n3w runuser -u www-data -- redis-cli -s /run/redis/redis-server.sock ping")


def test_the_key_is_the_servers_alone(host):
    key = host.file("/etc/redis/tls/key.pem")
    assert (key.user, key.mode) == ("redis", 0o400)


@pytest.mark.parametrize(
    ("port", "password", "directive", "value"),
    [
        (6378, "n3w", "timeout", "600"),
        (6378, "n3w", "maxclients", "500"),
        (6378, "n3w", "save", "900 1"),
        (6378, "n3w", "maxmemory", "33554432"),
        (6380, "n3w", "maxmemory-policy", "allkeys-lru"),
        (6380, "n3w", "save", ""),
        (6380, "n3w", "appendonly", "no"),
        (6380, "n3w", "dir", "/var/lib/redis/cache"),
        (6381, "queue", "maxmemory-policy", "noeviction"),
        (6381, "queue", "appendonly", "yes"),
    ],
)
def test_settings(cli, port, password, directive, value):
    assert [*cli(port, password, "config", "get", directive).splitlines(), ""][1] == value


def test_units(host):
    for name in ("cache", "queue"):
        assert host.service(f"redis-server@{name}").is_running
        assert host.service(f"redis-server@{name}").is_enabled


def test_the_cache_evicts_and_the_queue_refuses(host, cli):
    fill = "head -c 1000000 /dev/zero | REDISCLI_AUTH={} redis-cli -p {} -x set shop_$i"
    said = host.check_output("for i in $(seq 100); do " + fill.format("n3w", 6380) + "; done")
    assert set(said.split()) == {"OK"}
    assert 20 < int(cli(6380, "n3w", "dbsize")) < 90
    said = host.check_output("for i in $(seq 60); do " + fill.format("queue", 6381) + "; done")
    assert "OOM command not allowed" in said
    cli(6381, "queue", "flushdb")


def test_the_application_has_no_more_than_it_needs(cli):
    secret = "a#b>c"  # noqa: S105  made up
    assert cli(6381, secret, "set", "shop_x", "1", user="app") == "OK"
    assert "NOPERM" in cli(6381, secret, "set", "other", "1", user="app")
    for command in ("config get dir", "keys *", "flushall", "acl list"):
        assert "NOPERM" in cli(6381, secret, *command.split(), user="app")
    assert cli(6381, secret, "flushdb", user="app") == "OK"


def test_other_commands_are_disabled(cli):
    assert "NOPERM" in cli(6378, "n3w", "keys", "*")
    assert cli(6378, "n3w", "debug", "sleep", "0").startswith("ERR DEBUG")
