# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: redis_targets
short_description: Instances of Redis as redis_config takes them
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Adds the port and the password that an instance had before the run, since they hold until they are changed.
options:
  _input:
    description: Instances, as the filter P(slipway.laravel.redis_instances#filter) completes them.
    type: list
    elements: dict
    required: true
  saw:
    description: Lines of the form C(was NAME PORT PASSWORD), among others.
    type: list
    elements: str
    required: true
  reload:
    description: Directives that are to be set again.
    type: list
    elements: str
    default: []
  host:
    description: Address of instances elsewhere, which are only looked at.
    type: str
  tls_ca:
    description: File with the authority of their certificate.
    type: str
"""

EXAMPLES = r"""
targets: "{{ __redis_instances | slipway.laravel.redis_targets(['was default 6379 secret']) }}"
"""

RETURN = r"""
_value:
  description: What O(slipway.laravel.redis_config#module:instances) takes.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any


def elsewhere(instance: dict[str, Any], host: str, tls_ca: str) -> dict[str, Any]:
    return {
        "name": instance["name"],
        "host": host,
        "ports": [instance["port"]],
        "tls_ca": tls_ca or None,
        "passwords": [instance["password"]] if instance["password"] else [],
        "policy": instance["settings"]["maxmemory-policy"],
    }


def redis_targets(
    instances: list[dict[str, Any]],
    saw: list[str],
    reload: list[str] | None = None,
    host: str = "",
    tls_ca: str = "",
) -> list[Any]:
    """The instances for redis_config."""
    if host:
        return [elsewhere(instance, host, tls_ca) for instance in instances]
    before = {words[1]: words[2:] for words in (line.split(" ", 3) for line in saw if line.startswith("was "))}
    targets = []
    for instance in instances:
        port, password = ([*before.get(instance["name"], []), "", ""])[:2]
        old = port or ("6379" if instance["name"] == "default" else "0")
        targets.append(
            {
                "name": instance["name"],
                "host": instance["host"],
                "ports": [number for number in dict.fromkeys([instance["port"], int(old)]) if number],
                "socket": instance["socket"] or None,
                "passwords": [secret for secret in dict.fromkeys([instance["password"], password]) if secret],
                "settings": instance["settings"],
                "reload": list(reload or []) if instance["tls_port"] else [],
                "load_acl": True,
            }
        )
    return targets


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"redis_targets": redis_targets}
