"""After the alternative, on one of the hosts: an instance leaves the list, a restart is named, and Valkey beside it."""

from __future__ import annotations

import json

testinfra_hosts = ["ansible://*-debian13"]


def test_an_instance_that_is_no_longer_listed_stops_and_keeps_its_data(host, converge_alternative):
    host.check_output("REDISCLI_AUTH=queue redis-cli -p 6381 rpush queues:default job")
    left = {"redis_instances": [{"name": "default"}, {"name": "cache", "port": 6380, "tls_port": 0}]}
    run = converge_alternative(f"--limit={host.backend.host}", f"--extra-vars={json.dumps(left)}")
    assert run.status == 0, run.errors
    assert not host.service("redis-server@queue").is_running
    assert not host.service("redis-server@queue").is_enabled
    assert not host.file("/etc/redis/redis-queue.conf").exists
    assert host.file("/var/lib/redis/queue/appendonlydir").is_directory


def test_what_needs_a_restart_is_named_and_waits(host, converge_alternative):
    process = host.check_output("systemctl show --property=MainPID redis-server")
    more = {"redis_instances": [{"name": "default", "settings": {"databases": 32}}], "redis_restart": False}
    refused = converge_alternative(f"--limit={host.backend.host}", f"--extra-vars={json.dumps(more)}")
    assert refused.status != 0
    assert "written about databases" in " ".join(refused.output.split())
    assert host.check_output("systemctl show --property=MainPID redis-server") == process


def test_valkey(host, play):
    run = play("molecule/redis/valkey.yml")
    assert run.status == 0, run.errors
    again = play("molecule/redis/valkey.yml")
    assert (again.status, again.changed) == (0, 0), again.changes
    assert host.service("valkey-server").is_running
    assert host.check_output("REDISCLI_AUTH=v valkey-cli -p 6390 config get maxmemory").splitlines()[1] == "67108864"
    assert not host.run("ss -Hltn | grep -q :6379").succeeded
