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
  - A worker gets as long to stop as its longest job may run, and O(grace) seconds more.
options:
  _input:
    description:
      - The workers. V(name) is required; V(connection) (V(redis)), V(queue) (V(default)), V(processes) (1),
        V(tries) (3), V(timeout) (60), V(sleep) (1), V(memory) (256) and V(max_time) (3600) are not.
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
    description: User that the worker runs as.
    type: str
    required: true
  php:
    description: PHP interpreter.
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
    "connection": "redis",
    "queue": "default",
    "processes": 1,
    "tries": 3,
    "timeout": 60,
    "sleep": 1,
    "memory": 256,
    "max_time": 3600,
}


def program(worker: Mapping[str, Any], app: str, directory: str, user: str, php: str, grace: int) -> dict[str, Any]:
    """One worker as a supervisor program."""
    if not isinstance(worker, Mapping) or not worker.get("name"):
        raise AnsibleFilterError("queue_worker_programs needs a name for every worker")
    unknown = sorted(set(worker) - set(DEFAULTS) - {"name"})
    if unknown:
        raise AnsibleFilterError(f"queue worker {worker['name']} has unknown keys: {', '.join(unknown)}")
    value = {**DEFAULTS, **worker}
    flags = " ".join(
        f"--{flag.replace('_', '-')}={value[flag]}"
        for flag in ("queue", "tries", "timeout", "sleep", "memory", "max_time")
    )
    return {
        "name": f"{app}-queue-{value['name']}",
        "command": f"{php} artisan queue:work {value['connection']} {flags}",
        "directory": directory,
        "user": user,
        "numprocs": int(value["processes"]),
        "stopwaitsecs": int(value["timeout"]) + grace,
    }


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
