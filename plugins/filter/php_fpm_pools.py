# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: php_fpm_pools
short_description: Complete settings of PHP-FPM pools
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Fills in what a pool does not name itself. Pools without a number of children share O(children) evenly.
options:
  _input:
    description: Pools, each with V(name), and if need be V(user), V(group), V(listen), V(max_children) and V(settings).
    type: list
    elements: dictionary
    required: true
  user:
    description: User of a pool that names none.
    type: str
    required: true
  web_group:
    description: Group of the web server, which may use the sockets.
    type: str
    required: true
  children:
    description: Children of all pools together that do not name a number.
    type: int
    required: true
  settings:
    description: Settings of every pool, by the names that PHP-FPM gives them.
    type: dict
    default: {}
"""

EXAMPLES = r"""
pools: "{{ [{'name': 'app'}] | slipway.laravel.php_fpm_pools(user='deploy', web_group='www-data', children=16) }}"
"""

RETURN = r"""
_value:
  description: The pools, each with V(name) and the complete V(settings).
  type: list
  elements: dictionary
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name


def process_manager(children: int) -> dict[str, Any]:
    """A dynamic process manager: a quarter of the children from the start, at most half of them idle."""
    start = max(1, min(8, children // 4))
    return {
        "pm": "dynamic",
        "pm.max_children": children,
        "pm.start_servers": start,
        "pm.min_spare_servers": max(1, start // 2),
        "pm.max_spare_servers": max(start, min(16, children // 2)),
    }


def php_fpm_pools(
    pools: Sequence[Mapping[str, Any]],
    user: str,
    web_group: str,
    children: int,
    settings: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Every pool with all its settings."""
    if isinstance(pools, (str, Mapping)) or not isinstance(pools, Sequence):
        raise AnsibleFilterError(f"php_fpm_pools needs a list of pools, got {native_type_name(pools)}")
    sharing = sum(1 for pool in pools if not pool.get("max_children"))
    result = []
    for pool in pools:
        if not pool.get("name"):
            raise AnsibleFilterError("php_fpm_pools needs a name for every pool")
        owner = pool.get("user") or user
        number = int(pool.get("max_children") or max(2, children // sharing))
        complete = {
            "user": owner,
            "group": pool.get("group") or owner,
            "listen": pool.get("listen") or f"/run/php/{pool['name']}.sock",
            "listen.owner": owner,
            "listen.group": web_group,
            "listen.mode": "0660",
            **process_manager(number),
            **(settings or {}),
            **(pool.get("settings") or {}),
        }
        result.append({"name": pool["name"], "settings": complete})
    return result


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"php_fpm_pools": php_fpm_pools}
