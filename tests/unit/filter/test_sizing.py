from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.memory_share import memory_share
from ansible_collections.slipway.laravel.plugins.filter.php_fpm_max_children import php_fpm_max_children
from ansible_collections.slipway.laravel.plugins.filter.php_fpm_pools import php_fpm_pools
from ansible_collections.slipway.laravel.plugins.filter.queue_worker_programs import queue_worker_programs

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("memory", "options", "mib"),
    [
        (4000, {"share": 0.25}, 1000),
        (4000, {"share": 0.25, "step": 128}, 896),
        (400, {"share": 0.25, "step": 128, "minimum": 128}, 128),
        (64000, {"share": 0.5, "maximum": 8192}, 8192),
    ],
)
def test_memory_share(memory, options, mib):
    assert memory_share(memory, **options) == mib * MIB


@pytest.mark.parametrize(("memory", "share"), [("4000", 0.5), (True, 0.5), (4000, "0.5"), (4000, 0), (4000, 1.5)])
def test_memory_share_refuses(memory, share):
    with pytest.raises(AnsibleFilterError, match="memory_share needs"):
        memory_share(memory, share)


@pytest.mark.parametrize(
    ("memory", "share", "children"),
    [(100, 0.5, 2), (1024, 0.5, 8), (4096, 0.5, 32), (4096, 0.8, 51), (262144, 0.5, 100)],
)
def test_php_fpm_max_children(memory, share, children):
    assert php_fpm_max_children(memory, 64, share=share) == children


@pytest.mark.parametrize(("memory", "child", "share"), [(4096, 0, 0.5), (4096, 64, 2), ("4096", 64, 0.5)])
def test_php_fpm_max_children_refuses(memory, child, share):
    with pytest.raises(AnsibleFilterError, match="php_fpm_max_children needs"):
        php_fpm_max_children(memory, child, share=share)


@pytest.mark.parametrize("children", range(2, 101))
def test_a_pool_is_one_that_php_fpm_accepts(children):
    settings = php_fpm_pools([{"name": "app"}], "deploy", "www-data", children)[0]["settings"]
    low, start, high = (settings[f"pm.{name}_servers"] for name in ("min_spare", "start", "max_spare"))
    assert 1 <= low <= start <= high <= settings["pm.max_children"] == children


def test_what_a_pool_says_itself_wins():
    pool = {"name": "a", "user": "u", "group": "g", "listen": "127.0.0.1:9000", "settings": {"pm": "static"}}
    settings = php_fpm_pools([pool], "deploy", "www-data", 10, settings={"pm": "ondemand", "pm.max_requests": 5})[0][
        "settings"
    ]
    assert (settings["user"], settings["group"], settings["listen"]) == ("u", "g", "127.0.0.1:9000")
    assert (settings["pm"], settings["pm.max_requests"]) == ("static", 5)


@pytest.mark.parametrize("pools", ["app", {"name": "app"}, [{"user": "u"}]])
def test_php_fpm_pools_refuses(pools):
    with pytest.raises(AnsibleFilterError, match="php_fpm_pools needs"):
        php_fpm_pools(pools, "deploy", "www-data", 10)


def programs(*workers):
    return queue_worker_programs(list(workers), app="shop", directory="/srv/current", user="deploy")


def test_worker_with_a_name_only():
    assert programs({"name": "default"}) == [
        {
            "name": "shop-queue-default",
            "command": (
                "php artisan queue:work --queue=default --tries=3 --timeout=60 --sleep=1 --memory=256 --max-time=3600"
            ),
            "directory": "/srv/current",
            "user": "deploy",
            "numprocs": 1,
            "stopwaitsecs": 70,
        }
    ]


@pytest.mark.parametrize(
    ("connection", "words"), [("sqs", "queue:work sqs --queue="), ("", "queue:work --queue="), (None, "queue:work --q")]
)
def test_a_worker_without_a_connection_works_the_applications_default(connection, words):
    assert words in programs({"name": "default", "connection": connection})[0]["command"]


def test_a_worker_has_as_long_to_stop_as_a_job_may_run():
    assert programs({"name": "slow", "timeout": 900})[0]["stopwaitsecs"] == 910


@pytest.mark.parametrize(
    ("worker", "message"), [({"queue": "x"}, "needs a name"), ({"name": "a", "tires": 3}, "a has unknown keys: tires")]
)
def test_queue_worker_programs_refuses(worker, message):
    with pytest.raises(AnsibleFilterError, match=message):
        programs(worker)


def test_queue_worker_programs_needs_a_list():
    with pytest.raises(AnsibleFilterError, match="needs a list of workers, got dict"):
        queue_worker_programs({"name": "a"}, app="shop", directory="/", user="deploy")
