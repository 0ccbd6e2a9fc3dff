"""One Redis with the defaults: who gets in, what it keeps, and what a run repairs."""

from __future__ import annotations

import shlex

import pytest

testinfra_hosts = ["ansible://role_hosts"]
PASSWORD = "s3'c\"r\\et#"  # noqa: S105  made up


@pytest.fixture
def cli(host):
    def ask(*words, password=PASSWORD):
        login = f"REDISCLI_AUTH={shlex.quote(password)} " if password else ""
        return host.check_output(f"{login}redis-cli {shlex.join(words)}")

    return ask


def test_it_listens_on_the_loopback_alone(host):
    assert host.service("redis-server").is_running
    assert host.service("redis-server").is_enabled
    addresses = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    assert [line.split()[3] for line in addresses if ":6379" in line] == ["127.0.0.1:6379"]


def test_the_password_is_needed_and_on_no_file_for_others(host, cli):
    assert "NOAUTH" in cli("ping", password="")
    assert cli("ping") == "PONG"
    acl = host.file("/etc/redis/slipway-default.acl")
    assert (acl.user, acl.group, acl.mode) == ("root", "redis", 0o640)
    assert host.run("grep -rlF s3\\'c /etc/redis --include=*.conf").stdout == ""


def test_the_cache_is_cleared_and_accidents_are_not(cli):
    cli("set", "survivor", "yes")
    cli("-n", "1", "set", "cached", "x")
    assert cli("-n", "1", "flushdb") == "OK"
    assert cli("-n", "1", "dbsize") == "0"
    for command in ("flushall", "shutdown", "replicaof no one"):
        assert "NOPERM" in cli(*command.split())


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("maxmemory", "134217728"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("protected-mode", "yes"),
        ("disable-thp", "yes"),
        ("save", "3600 1 300 100 60 10000"),
    ],
)
def test_settings(cli, directive, value):
    assert cli("config", "get", directive).splitlines()[1] == value


def test_overcommit_is_wanted(host):
    assert host.file("/etc/sysctl.d/60-slipway-redis.conf").contains("^vm.overcommit_memory = 1$")


def test_a_run_repairs_without_a_restart(host, cli, converge):
    """What was set by hand goes; the append-only file that was switched off is written anew before anything else."""
    for directive, value in (("maxmemory-policy", "allkeys-lru"), ("appendonly", "no"), ("maxmemory", "1gb")):
        cli("config", "set", directive, value)
    cli("acl", "setuser", "default", "+flushall")
    cli("acl", "setuser", "stranger", "on", "nopass", "+@all", "~*")
    process = host.check_output("systemctl show --property=MainPID redis-server")
    repaired = converge(f"--limit={host.backend.host}")
    assert repaired.status == 0, repaired.errors
    assert host.check_output("systemctl show --property=MainPID redis-server") == process
    test_settings(cli, "maxmemory-policy", "noeviction")
    test_settings(cli, "appendonly", "yes")
    assert "NOPERM" in cli("flushall")
    assert "stranger" not in cli("acl", "list")


def test_data_outlives_a_kill(host, cli):
    cli("rpush", "queues:default", "job")
    host.check_output("sleep 1.2; systemctl kill --signal=KILL redis-server; systemctl restart redis-server")
    assert cli("lrange", "queues:default", "0", "-1") == "job"
    assert cli("get", "survivor") == "yes"
