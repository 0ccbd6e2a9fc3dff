"""What the redis role writes, and what it makes of its lists."""

from __future__ import annotations

import pytest

CONF = "etc/redis/instance.conf.j2"
ACL = "etc/redis/instance.acl.j2"
CACHE = {"name": "cache", "port": 6380, "maxmemory_policy": "allkeys-lru", "appendonly": False, "save": ""}


def test_one_instance(role):
    redis = role("redis", laravel_redis_password='a"b\\c')  # noqa: S106
    (one,) = redis.value("__redis_instances")
    assert (one["unit"], one["config"]) == ("redis-server", "/etc/redis/slipway.conf")
    assert redis.render(CONF, item=one).splitlines()[3:] == [
        "aclfile /etc/redis/slipway-default.acl",
        "appendonly yes",
        "bind 127.0.0.1",
        "disable-thp yes",
        "maxmemory 428867584",
        "maxmemory-policy noeviction",
        "port 6379",
        "protected-mode yes",
        'save ""',
        "save 3600 1",
        "save 300 100",
        "save 60 10000",
    ]
    text = redis.render(ACL, item=one)
    assert text.startswith('user default on >a"b\\c ~* &* +@all -debug -flushall ')
    assert "flushdb" not in text


def test_without_a_password(role):
    redis = role("redis")
    assert redis.render(ACL, item=redis.value("__redis_instances")[0]).startswith("user default on nopass ~* ")


def test_before_redis_6_2_there_are_no_rules_for_channels(role):
    redis = role("redis", "jammy")
    (one,) = redis.value("__redis_instances")
    assert "&*" not in redis.render(ACL, item=one)
    assert "disable-thp" not in redis.render(CONF, item=one)


def test_instances_share_the_memory(role):
    redis = role("redis", redis_instances=[{"name": "default"}, {"name": "a"}, {**CACHE, "maxmemory": 67108864}])
    sizes = [one["settings"]["maxmemory"] for one in redis.value("__redis_instances")]
    assert sizes == ["180355072", "180355072", "67108864"]


def test_an_instance_of_its_own(role):
    redis = role("redis", redis_flavor="valkey", redis_socket=True, redis_instances=[CACHE])
    (one,) = redis.value("__redis_instances")
    assert (one["unit"], one["directory"]) == ("valkey-server@cache", "/var/lib/valkey/cache")
    lines = redis.render(CONF, item=one).splitlines()
    for line in (
        "dir /var/lib/valkey/cache",
        "logfile /var/log/valkey/valkey-server-cache.log",
        "maxmemory-policy allkeys-lru",
        "appendonly no",
        'save ""',
        "unixsocket /run/valkey-cache/valkey-server.sock",
    ):
        assert line in lines


def test_what_runs_and_is_no_longer_listed_is_stopped(role):
    saw = ["run redis-server", "boot redis-server", "run redis-server@old", "boot redis-server@old"]
    saw += ["run redis-server@cache", "run redis-server@theirs", "theirs redis-server@theirs"]
    redis = role("redis", redis_instances=[{"name": "default"}, CACHE], __redis_looked={"stdout_lines": saw})
    assert redis.value("__redis_left") == ["redis-server@old"]
    assert redis.value("__redis_asleep") == ["redis-server@cache"]
    fresh = role("redis", redis_instances=[CACHE], __redis_packages={"changed": True})
    assert fresh.value("__redis_left") == ["redis-server"]


def test_the_password_of_before_is_tried(role):
    saw = ["was default 6390 old"]
    redis = role("redis", redis_password="new", __redis_looked={"stdout_lines": saw})  # noqa: S106
    (target,) = redis.value("__redis_targets")
    assert (target["ports"], target["passwords"]) == ([6379, 6390], ["new", "old"])
    assert redis.value("__redis_rotated") == ["default"]
    same = role("redis", redis_password="old", __redis_looked={"stdout_lines": saw})  # noqa: S106
    assert same.value("__redis_rotated") == role("redis", redis_password="new").value("__redis_rotated") == []  # noqa: S106


@pytest.mark.parametrize(
    ("name", "file", "rotated"),
    [("redis", "configure", ["default", "cache"]), ("mysql", "content", ["shop@localhost"])],
)
def test_a_changed_password_is_warned_of_where_it_changes(role, name, file, rotated):
    loaded = role(name, **{f"__{name}_rotated": rotated})
    tasks = loaded.loader.load_from_file(str(loaded.path / f"tasks/{file}.yml"), trusted_as_template=True)
    (warning,) = (task for task in tasks if "Warn of passwords" in task["name"])
    message = warning["ansible.builtin.debug"]["msg"]
    assert "WARNING: this run changes the password of " in loaded.template(message)
    assert f" {', '.join(rotated)}: who logs in" in loaded.template(message)
    assert loaded.template(message, ansible_check_mode=True).startswith("WARNING: a run without --check changes the ")
