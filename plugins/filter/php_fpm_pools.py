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
  - Fills in what a pool does not name itself. Pools without a number of children share evenly what the others leave of
    O(children), over all versions of PHP.
  - A socket that is a file gets the version into its name, and a link of the wanted name leads there, so that a pool
    can move to another version by one rename, while both versions listen.
options:
  _input:
    description:
      - Pools, each with V(name), and if need be V(version), V(user), V(group), V(listen), V(pm), V(max_children),
        V(env), V(php_values), V(open_basedir), V(disable_functions) and V(settings).
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
    description: Children of all pools together.
    type: int
    required: true
  version:
    description: Version of PHP of a pool that names none.
    type: str
    default: ""
  pm:
    description: Process manager of a pool that names none.
    type: str
    default: dynamic
  settings:
    description: Settings of every pool, by the names that PHP-FPM gives them; V({name}) stands for that of the pool.
    type: dict
    default: {}
  status:
    description: Give every pool a status and a ping page, on a socket of their own where the version has that.
    type: bool
    default: false
  open_basedir:
    description: Directories to which PHP is confined in a pool that names none.
    type: list
    elements: str
    default: []
  disable_functions:
    description: Functions that a pool that names none does without.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
pools: "{{ [{'name': 'app'}] | slipway.laravel.php_fpm_pools(user='deploy', web_group='www-data', children=16) }}"
"""

RETURN = r"""
_value:
  description:
    - The pools, each with V(name), V(version), V(user), V(sockets) (where others find it), V(links) (those of them that
      are links, and where they lead), V(groups), V(secret) (it has an environment of its own) and the complete
      V(settings).
  type: list
  elements: dictionary
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

STATUS_PATH = "/fpm-status"
PING_PATH = "/fpm-ping"
LISTEN_KEYS = ("listen", "pm.status_listen")


def process_manager(pm: str, children: int) -> dict[str, Any]:
    """Static keeps all children; dynamic starts a quarter, at most half of them idle; ondemand starts none."""
    settings: dict[str, Any] = {"pm": pm, "pm.max_children": children}
    if pm == "ondemand":
        settings["pm.process_idle_timeout"] = "10s"
    if pm == "dynamic":
        start = max(1, min(8, children // 4))
        settings |= {
            "pm.start_servers": start,
            "pm.min_spare_servers": max(1, start // 2),
            "pm.max_spare_servers": max(start, min(16, children // 2)),
        }
    return settings


def status_pages(name: str, version: str) -> dict[str, str]:
    """The pages, with a socket of their own since PHP 8.0: a busy pool answers there too."""
    pages = {"pm.status_path": STATUS_PATH, "ping.path": PING_PATH}
    if not version.startswith(("5.", "7.")):
        pages["pm.status_listen"] = f"/run/php/{name}-status.sock"
    return pages


def of_version(path: str, version: str) -> str:
    """The socket that a version makes, which a link of the given path leads to."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}-{version}{suffix}"


def php_values(
    pool: Mapping[str, Any], open_basedir: Sequence[str], disable_functions: Sequence[str]
) -> dict[str, Any]:
    """What the pool's php.ini says that its scripts cannot change."""
    values: dict[str, Any] = {}
    basedir = pool.get("open_basedir", open_basedir)
    functions = pool.get("disable_functions", disable_functions)
    if basedir:
        values["open_basedir"] = ":".join(basedir)
    if functions:
        values["disable_functions"] = ",".join(functions)
    values |= pool.get("php_values") or {}
    on_off = {True: "On", False: "Off"}
    return {
        f"php_admin_value[{key}]": on_off[value] if isinstance(value, bool) else value for key, value in values.items()
    }


def php_fpm_pools(
    pools: Sequence[Mapping[str, Any]],
    user: str,
    web_group: str,
    children: int,
    version: str = "",
    pm: str = "dynamic",
    settings: Mapping[str, Any] | None = None,
    status: bool = False,
    open_basedir: Sequence[str] = (),
    disable_functions: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Every pool with all its settings."""
    if isinstance(pools, (str, Mapping)) or not isinstance(pools, Sequence):
        raise AnsibleFilterError(f"php_fpm_pools needs a list of pools, got {native_type_name(pools)}")
    if any(not pool.get("name") for pool in pools):
        raise AnsibleFilterError("php_fpm_pools needs a name for every pool")
    fixed = [int(pool["max_children"]) for pool in pools if pool.get("max_children")]
    sharing = len(pools) - len(fixed)
    share = max(1, (children - sum(fixed)) // sharing) if sharing else 0
    result = []
    for pool in pools:
        name, owner = pool["name"], pool.get("user") or user
        its_version = str(pool.get("version") or version)
        common = {
            key: value.replace("{name}", name) if isinstance(value, str) else value
            for key, value in (settings or {}).items()
        }
        own = pool.get("settings") or {}
        manager = pool.get("pm") or own.get("pm") or common.get("pm") or pm
        number = int(pool.get("max_children") or share)
        listen = str(pool.get("listen") or f"/run/php/{name}.sock")
        complete = {
            "user": owner,
            "group": pool.get("group") or owner,
            "listen": listen,
            **(
                {"listen.owner": owner, "listen.group": web_group, "listen.mode": "0660"}
                if listen.startswith("/")
                else {"listen.allowed_clients": "127.0.0.1"}
            ),
            **(status_pages(name, its_version) if status else {}),
            **process_manager(manager, number),
            **common,
            "pm": manager,
            **({"pm.max_children": number} if pool.get("max_children") else {}),
            **php_values(pool, open_basedir, disable_functions),
            **{f"env[{key}]": value for key, value in (pool.get("env") or {}).items()},
            **own,
        }
        sockets = {key: str(complete[key]) for key in LISTEN_KEYS if complete.get(key)}
        links = {path: of_version(path, its_version) for path in sockets.values() if path.startswith("/")}
        complete |= {key: links.get(path, complete[key]) for key, path in sockets.items()}
        result.append(
            {
                "name": name,
                "version": its_version,
                "user": complete["user"],
                "sockets": list(sockets.values()),
                "links": links,
                "groups": [str(complete[key]) for key in ("group", "listen.group") if complete.get(key)],
                "secret": bool(pool.get("env")),
                "settings": complete,
            }
        )
    return result


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"php_fpm_pools": php_fpm_pools}
