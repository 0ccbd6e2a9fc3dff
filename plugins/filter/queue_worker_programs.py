# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: queue_worker_programs
short_description: Supervisor programs of an application's queue workers
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Turns queue workers into the programs that the role C(slipway.laravel.supervisor) writes.
  - A worker gets as long to stop as its longest job may run, and O(grace) seconds more, unless it has C(stopwaitsecs).
options:
  _input:
    description:
      - The workers. C(name) is required; C(queue) (V(default)), C(processes) (1), C(tries) (3), C(timeout) (60),
        C(sleep) (1), C(memory) (256) and C(max_time) (3600) have defaults.
      - Without a C(connection) a worker works the application's default one, as C(QUEUE_CONNECTION) says.
      - C(backoff), C(max_jobs), C(rest), C(force), C(stopwaitsecs), C(php), C(user) and C(environment) may be set
        besides; C(retry_after) says what the application's configuration says and has no effect here.
    type: list
    elements: dictionary
    required: true
  app:
    description: Name of the application; a program is called V(<app>-queue-<name>).
    type: str
    required: true
  directory:
    description: Directory in which the worker starts.
    type: path
    required: true
  user:
    description: User that the worker runs as, unless it has one of its own.
    type: str
    required: true
  php:
    description: PHP interpreter, for workers that have none of their own.
    type: str
    default: php
  grace:
    description: Seconds that a worker gets on top of its timeout before it is killed.
    type: int
    default: 10
"""

EXAMPLES = r"""
supervisor_programs: >-
  {{ [{'name': 'mail', 'timeout': 120}]
     | slipway.laravel.queue_worker_programs(app='shop', directory='/var/www/shop/current', user='deploy') }}
"""

RETURN = r"""
_value:
  description: The programs, as C(supervisor_programs) takes them.
  type: list
  elements: dictionary
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

DEFAULTS: dict[str, Any] = {
    "queue": "default",
    "processes": 1,
    "tries": 3,
    "timeout": 60,
    "sleep": 1,
    "memory": 256,
    "max_time": 3600,
}
# In the order in which artisan gets them.
FLAGS = ("queue", "tries", "timeout", "sleep", "memory", "max_time", "backoff", "max_jobs", "rest")
KEYS = {"name", "connection", *DEFAULTS, *FLAGS, "force", "stopwaitsecs", "retry_after", "php", "user", "environment"}


def words(value: Any) -> str:
    """A value as artisan takes it: lists are separated by commas."""
    return str(value) if isinstance(value, str) or not isinstance(value, Sequence) else ",".join(map(str, value))


def program(worker: Mapping[str, Any], app: str, directory: str, user: str, php: str, grace: int) -> dict[str, Any]:
    """One worker as a supervisor program."""
    if not isinstance(worker, Mapping) or not worker.get("name"):
        raise AnsibleFilterError("queue_worker_programs needs a name for every worker")
    unknown = sorted(set(worker) - KEYS)
    if unknown:
        raise AnsibleFilterError(f"queue worker {worker['name']} has unknown keys: {', '.join(unknown)}")
    value = {**DEFAULTS, **{key: given for key, given in worker.items() if given is not None}}
    arguments = [str(value["connection"])] if value.get("connection") else []
    arguments += [f"--{flag.replace('_', '-')}={words(value[flag])}" for flag in FLAGS if flag in value]
    if value.get("force"):
        arguments.append("--force")
    found = {
        "name": f"{app}-queue-{value['name']}",
        "command": f"{value.get('php', php)} artisan queue:work {' '.join(arguments)}",
        "directory": directory,
        "user": value.get("user", user),
        "numprocs": int(value["processes"]),
        "stopwaitsecs": int(value.get("stopwaitsecs", int(value["timeout"]) + grace)),
    }
    return {**found, "environment": value["environment"]} if value.get("environment") else found


def queue_worker_programs(
    workers: Sequence[Mapping[str, Any]], app: str, directory: str, user: str, php: str = "php", grace: int = 10
) -> list[dict[str, Any]]:
    """All workers as supervisor programs."""
    if isinstance(workers, (str, Mapping)) or not isinstance(workers, Sequence):
        raise AnsibleFilterError(f"queue_worker_programs needs a list of workers, got {native_type_name(workers)}")
    return [program(worker, app, directory, user, php, grace) for worker in workers]


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"queue_worker_programs": queue_worker_programs}
