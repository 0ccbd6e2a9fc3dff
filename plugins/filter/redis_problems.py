# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: redis_problems
short_description: What is wrong with instances of Redis
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns one sentence for each mistake in the completed instances, so that the role can refuse them before it changes
    anything.
options:
  _input:
    description: Instances, as the filter P(slipway.laravel.redis_instances#filter) completes them.
    type: list
    elements: dict
    required: true
  memory:
    description: Memory of the host in bytes.
    type: int
    required: true
  busy:
    description: Programs that listen already, by their port.
    type: dict
    default: {}
  server:
    description: Program that may have the ports of the instances.
    type: str
    default: redis-server
"""

EXAMPLES = r"""
problems: "{{ __redis_instances | slipway.laravel.redis_problems(memory=4294967296) }}"
"""

RETURN = r"""
_value:
  description: The mistakes.
  type: list
  elements: str
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

POLICIES = {
    "noeviction",
    *(f"{keys}-{how}" for keys in ("allkeys", "volatile") for how in ("lru", "lfu", "random")),
    "volatile-ttl",
}
LOOPBACK = re.compile(r"-?(127\..*|::1|localhost)")
SECRET = re.compile(r"[!-~]*")


def of_users(instance: dict[str, Any]) -> Iterator[str]:
    for user in instance["users"]:
        says = f"redis_users gives {user['name']}"
        if user["name"] == "default" or not re.fullmatch(r"[\w.-]+", user["name"]):
            yield f"redis_users names an account {user['name']!r}; take letters, digits, . _ and -, and not default"
        if not user.get("password") or not SECRET.fullmatch(user["password"]):
            yield f"{says} no password, or one that is not of printable ASCII characters without spaces; set one"
        if not user.get("rules", "").strip():
            yield f"{says} no rules; say what it may do, such as '~shop_* &* +@all -@admin'"


def of_instance(instance: dict[str, Any]) -> Iterator[str]:
    name, settings = instance["name"], instance["settings"]
    says = f"The instance {name} of Redis"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        yield f"redis_instances has the name {name!r}; take small letters, digits, _ and -"
    if not SECRET.fullmatch(instance["password"]):
        yield f"{says} has a redis_password that is not of printable ASCII characters without spaces; change it"
    far = [address for address in instance["bind"] if not LOOPBACK.fullmatch(address)]
    if far and not instance["password"]:
        yield f"{says} listens on {', '.join(far)} without a password; set redis_password, or leave redis_bind alone"
    if not instance["port"] and not instance["socket"]:
        yield f"{says} has port 0 and no socket, so nobody reaches it to configure it; set redis_socket"
    if settings["maxmemory-policy"] not in POLICIES:
        known = ", ".join(sorted(POLICIES))
        yield f"{says} has the redis_maxmemory_policy {settings['maxmemory-policy']}; take one of {known}"
    yield from of_users(instance)


def of_ports(instances: list[dict[str, Any]], busy: dict[str, str], server: str) -> Iterator[str]:
    ports = [port for instance in instances for port in (instance["port"], instance["tls_port"]) if port]
    for port in sorted({port for port in ports if ports.count(port) > 1}):
        yield f"Two instances of Redis have the port {port}; give each its own in redis_instances"
    for port in sorted(set(ports)):
        if busy.get(str(port), server) != server:
            yield f"Port {port} is in use by {busy[str(port)]}; stop that, or set another redis_port"


def redis_problems(
    instances: list[dict[str, Any]], memory: int, busy: dict[str, str] | None = None, server: str = "redis-server"
) -> list[str]:
    """One sentence for each mistake."""
    found = [problem for instance in instances for problem in of_instance(instance)]
    names = [instance["name"] for instance in instances]
    found += [f"redis_instances lists {name} twice; keep one" for name in sorted(set(names)) if names.count(name) > 1]
    found += of_ports(instances, busy or {}, server)
    sizes = [instance["settings"]["maxmemory"] for instance in instances]
    whole = sum(int(size) for size in sizes if size.isdigit())
    if whole > memory:
        found.append(
            f"The instances of Redis may take {whole} bytes, and the host has {memory}; lower redis_memory_share"
        )
    return found


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"redis_problems": redis_problems}
