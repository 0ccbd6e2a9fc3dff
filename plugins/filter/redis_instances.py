# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: redis_instances
short_description: Instances of Redis with everything that was left out
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Completes the entries of C(redis_instances) from the variables of the role, places them on the host, and divides the
    memory among those that name no size of their own.
options:
  _input:
    description: Instances.
    type: list
    elements: dict
    required: true
  common:
    description: Values for what an instance leaves out, among them C(maxmemory) for all of them together.
    type: dict
    required: true
  word:
    description: What the server is called, V(redis) or V(valkey).
    type: str
    default: redis
  modern:
    description: The server knows what Redis does since 6.2, as rules for channels.
    type: bool
    default: true
"""

EXAMPLES = r"""
instances: "{{ redis_instances | slipway.laravel.redis_instances({'port': 6379, 'maxmemory': 268435456}) }}"
"""

RETURN = r"""
_value:
  description: >-
    The instances, each with its place on the host (C(unit), C(config), C(acl), C(directory), C(socket)), where it is
    reached (C(host), C(port)), its directives (C(settings)) and its access list (C(lines)).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

STEP = 1024 * 1024


def memory(instances: list[dict[str, Any]], whole: int) -> int:
    """What is left for each of the instances without a size of their own, in whole MiB."""
    own = [int(instance["maxmemory"]) for instance in instances if "maxmemory" in instance]
    others = len(instances) - len(own)
    return max(whole - sum(own), STEP) // others // STEP * STEP if others else 0


def yes(value: Any) -> str:
    return "yes" if str(value).lower() in ("true", "yes", "on", "1") else "no"


def reach(bind: list[str]) -> str:
    """An address of this host at which the server answers."""
    first = bind[0].lstrip("-") if bind else "127.0.0.1"
    return {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "::*": "::1"}.get(first, first)  # noqa: S104


def access(instance: dict[str, Any], modern: bool) -> list[str]:
    """Lines of the access list. Without one of its own the account default would need no password."""
    every = "~* &* +@all" if modern else "~* +@all"
    secret = f">{instance['password']}" if instance["password"] else "nopass"
    denied = "".join(f" -{command.lower()}" for command in instance["disabled_commands"])
    lines = [f"user default on {secret} {every}{denied}"]
    return lines + [f"user {user['name']} on >{user['password']} {user['rules']}" for user in instance["users"]]


def complete(given: dict[str, Any], common: Mapping[str, Any], size: int, word: str, modern: bool) -> dict[str, Any]:
    instance: dict[str, Any] = {**common, "maxmemory": size, **given}
    name, default = instance["name"], instance["name"] == "default"
    run = f"/run/{word}" if default else f"/run/{word}-{name}"
    socket = f"{run}/{word}-server.sock" if yes(instance["socket"]) == "yes" else ""
    settings: dict[str, Any] = {
        "bind": " ".join(instance["bind"]),
        "port": instance["port"],
        "protected-mode": "yes",
        "maxmemory": instance["maxmemory"],
        "maxmemory-policy": instance["maxmemory_policy"],
        "appendonly": yes(instance["appendonly"]),
        "save": instance["save"],
        "aclfile": f"/etc/{word}/slipway-{name}.acl",
    }
    if modern:
        settings["disable-thp"] = "yes"
    if not default:
        settings |= {
            "dir": f"/var/lib/{word}/{name}",
            "logfile": f"/var/log/{word}/{word}-server-{name}.log",
            "pidfile": f"{run}/{word}-server.pid",
        }
    if socket:
        settings |= {"unixsocket": socket, "unixsocketperm": instance["socket_mode"]}
    if int(instance["tls_port"]):
        settings |= {
            "tls-port": instance["tls_port"],
            "tls-cert-file": f"/etc/{word}/tls/certificate.pem",
            "tls-key-file": f"/etc/{word}/tls/key.pem",
            "tls-ca-cert-file": f"/etc/{word}/tls/ca.pem",
            "tls-auth-clients": "no",
        }
    settings |= {**common["settings"], **given.get("settings", {})}
    return {
        "name": name,
        "unit": f"{word}-server" if default else f"{word}-server@{name}",
        "config": f"/etc/{word}/slipway.conf" if default else f"/etc/{word}/{word}-{name}.conf",
        "acl": settings["aclfile"],
        "directory": "" if default else settings["dir"],
        "socket": socket,
        "bind": list(instance["bind"]),
        "host": reach(instance["bind"]),
        "port": int(instance["port"]),
        "tls_port": int(instance["tls_port"]),
        "password": str(instance["password"]),
        "users": list(instance["users"]),
        "settings": {key: str(value) for key, value in settings.items()},
        "lines": access(instance, modern),
    }


def redis_instances(
    instances: list[dict[str, Any]], common: Mapping[str, Any], word: str = "redis", modern: bool = True
) -> list[dict[str, Any]]:
    """The instances with everything that they leave out."""
    size = memory(instances, int(common["maxmemory"]))
    return [complete(instance, common, size, word, modern) for instance in instances]


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"redis_instances": redis_instances}
