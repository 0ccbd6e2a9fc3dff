from __future__ import annotations

import pytest
from ansible_collections.slipway.laravel.plugins.filter.redis_instances import reach, redis_instances
from ansible_collections.slipway.laravel.plugins.filter.redis_problems import redis_problems
from ansible_collections.slipway.laravel.plugins.filter.redis_targets import redis_targets

COMMON = {
    "port": 6379,
    "bind": ["127.0.0.1"],
    "socket": False,
    "socket_mode": "770",
    "tls_port": 0,
    "password": "secret",
    "users": [],
    "disabled_commands": [],
    "maxmemory": 256 * 1024**2,
    "maxmemory_policy": "noeviction",
    "appendonly": True,
    "save": "",
    "settings": {},
}
GIB = 1024**3


def problems(*instances, busy=None, **common):
    return " ".join(redis_problems(redis_instances(list(instances), COMMON | common), GIB, busy))


@pytest.mark.parametrize(
    ("bind", "host"),
    [(["-10.0.0.1", "127.0.0.1"], "10.0.0.1"), (["*"], "127.0.0.1"), (["::"], "::1"), ([], "127.0.0.1")],
)
def test_where_an_instance_is_reached(bind, host):
    assert reach(bind) == host


def test_nothing_is_wrong():
    own = {"name": "app", "password": "x", "rules": "~* +@all"}
    assert problems({"name": "default"}, {"name": "cache", "port": 6380, "users": [own]}) == ""
    assert problems({"name": "default"}, busy={"6379": "redis-server"}) == ""


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        ({"name": "A b"}, "has the name 'A b'"),
        ({"password": "a b"}, "printable ASCII characters without spaces"),
        ({"password": "", "bind": ["127.0.0.1", "10.0.0.1"]}, "listens on 10.0.0.1 without a password"),
        ({"port": 0}, "has port 0 and no socket"),
        ({"maxmemory_policy": "allkeys"}, "has the redis_maxmemory_policy allkeys; take one of allkeys-lfu"),
        ({"maxmemory": 2 * GIB}, "may take 2147483648 bytes, and the host has 1073741824"),
        ({"users": [{"name": "default", "password": "x", "rules": "+@all"}]}, "and not default"),
        ({"users": [{"name": "app", "password": "", "rules": "+@all"}]}, "gives app no password"),
        ({"users": [{"name": "app", "password": "x", "rules": " "}]}, "gives app no rules"),
    ],
)
def test_problems_of_an_instance(instance, says):
    assert says in problems({"name": "default"} | instance)


def test_problems_of_ports_and_names():
    assert "have the port 6379" in problems({"name": "default"}, {"name": "cache"})
    assert "lists cache twice" in problems({"name": "cache"}, {"name": "cache", "port": 1})
    assert "Port 6379 is in use by nginx" in problems({"name": "default"}, busy={"6379": "nginx"})


def test_targets_elsewhere():
    (target,) = redis_targets(redis_instances([{"name": "queue"}], COMMON), [], host="cache.example.com")
    assert target == {
        "name": "queue",
        "host": "cache.example.com",
        "ports": [6379],
        "tls_ca": None,
        "passwords": ["secret"],
        "policy": "noeviction",
    }
