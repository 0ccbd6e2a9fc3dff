# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_changes
short_description: What a database server lacks of wanted accounts
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Compares the accounts that a server has with those of a list, password and privileges included.
  - Returns what has to be made, changed or dropped. An account that is as it should be does not show up.
  - A listed account loses the hosts that its entry no longer has. Accounts that no entry names are left alone.
options:
  _input:
    description: Accounts, as in C(mysql_users).
    type: list
    elements: dict
    required: true
  found:
    description: The accounts of the server with C(user), C(host), C(plugin), C(ssl_type) and C(auth) in hexadecimal.
    type: list
    elements: dict
    required: true
  grants:
    description: The rows that C(SHOW GRANTS) answers with, by V(user@host).
    type: dict
    default: {}
  mariadb:
    description: The server is MariaDB, not MySQL.
    type: bool
    default: true
"""

EXAMPLES = r"""
accounts: "{{ mysql_users | slipway.laravel.mysql_changes(accounts, grants, mariadb=true) }}"
"""

RETURN = r"""
_value:
  description: The changes.
  type: dict
  contains:
    known:
      description: Wanted accounts that the server has, as V(user@host), so that their privileges can be asked for.
      type: list
      elements: str
    present:
      description: Accounts to make or change, with C(name), C(host), C(privileges), C(password), C(plugin) and C(tls).
      type: list
      elements: dict
    absent:
      description: Accounts to drop, with C(user) and C(host).
      type: list
      elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.mysql import granted, has_password, privileges

# MySQL calls these together ALL; MariaDB has more.
EVERY = frozenset(
    [
        *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX", "REFERENCES", "LOCK TABLES"),
        *("CREATE TEMPORARY TABLES", "CREATE VIEW", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"),
        *("CREATE ROUTINE", "ALTER ROUTINE"),
    ]
)


EVERYWHERE = EVERY | {"CREATE USER", "FILE", "PROCESS", "RELOAD", "SHUTDOWN"}


def plain(grants: dict[str, frozenset[str]], mariadb: bool) -> dict[str, frozenset[str]]:
    """MySQL says ALL for a list of everything in a database, and lists everything where ALL was granted globally."""
    if mariadb:
        return grants
    return {
        target: names & {"GRANT"} | {"ALL"}
        if "ALL" in names or names >= (EVERYWHERE if target == "*.*" else EVERY)
        else names
        for target, names in grants.items()
    }


def credentials(user: dict[str, Any], have: dict[str, Any] | None, mariadb: bool) -> dict[str, Any]:
    """How the account authenticates, where that is not so yet."""
    if user.get("socket", False):
        plugin = "unix_socket" if mariadb else "auth_socket"
        return {} if have and have["plugin"] == plugin else {"plugin": plugin}
    plugin = "mysql_native_password" if mariadb else "caching_sha2_password"
    if have and have["plugin"] == plugin and has_password(user["password"], plugin, have["auth"]):
        return {}
    return {"password": user["password"]} if mariadb else {"password": user["password"], "plugin": plugin}


def mysql_changes(
    users: list[dict[str, Any]],
    found: list[dict[str, Any]],
    grants: dict[str, list[dict[str, str]]] | None = None,
    mariadb: bool = True,
) -> dict[str, list[Any]]:
    """What has to be made, changed and dropped."""
    accounts = {(row["user"], row["host"]): row for row in found}
    changes: dict[str, list[Any]] = {"known": [], "present": [], "absent": []}
    for user in users:
        name = user["name"]
        hosts = user.get("hosts", ["localhost"]) if user.get("state", "present") == "present" else []
        for other in sorted(host for owner, host in accounts if owner == name and host not in hosts):
            changes["absent"].append({"user": name, "host": other})
        text = user.get("privileges", "*.*:USAGE")
        for host in hosts:
            have = accounts.get((name, host))
            if have:
                changes["known"].append(f"{name}@{host}")
            login = credentials(user, have, mariadb)
            tls = bool(user.get("require_tls", False))
            same_tls = have is not None and bool(have["ssl_type"]) == tls
            rows = (grants or {}).get(f"{name}@{host}", [])
            found_grants = granted([line for row in rows for line in row.values()])
            same_grants = plain(privileges(text), mariadb) == plain(found_grants, mariadb)
            if have and not login and same_tls and same_grants:
                continue
            changes["present"].append({"name": name, "host": host, "privileges": text, "tls": tls, **login})
    return changes


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"mysql_changes": mysql_changes}
