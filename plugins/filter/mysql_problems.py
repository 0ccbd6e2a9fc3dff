# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_problems
short_description: What is wrong with lists of databases and accounts
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns one sentence for each mistake in the lists of the mysql role, so that it can refuse them before it changes
    anything.
options:
  _input:
    description: Accounts, as in C(mysql_users).
    type: list
    elements: dict
    required: true
  databases:
    description: Databases, as in C(mysql_databases).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
problems: "{{ mysql_users | slipway.laravel.mysql_problems(mysql_databases) }}"
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

from ansible_collections.slipway.laravel.plugins.plugin_utils.mysql import privileges, unknown

NAME = re.compile(r"[^'\"`\\/\x00-\x1f]{1,64}")
HOST = re.compile(r"[A-Za-z0-9_.:%/-]+")
OWN = {"root", "mysql", "mariadb.sys", "debian-sys-maint", "mysql.sys", "mysql.session", "mysql.infoschema"}
SYSTEM = {"mysql", "sys", "information_schema", "performance_schema"}


def of_account(user: dict[str, Any]) -> Iterator[str]:
    name = user["name"]
    if not NAME.fullmatch(name):
        yield f"mysql_users has an account named {name!r}; quotes, slashes and backslashes cannot be in a name"
    if name in OWN:
        yield f"mysql_users lists {name}, which the server needs for itself; give the account another name"
    if user.get("state", "present") == "absent":
        return
    if not user.get("socket", False) and not user.get("password"):
        yield f"mysql_users gives {name} no password; set one (mysql_app_password is the application's)"
    if user.get("socket", False) and user.get("hosts", ["localhost"]) != ["localhost"]:
        yield f"mysql_users lets {name} log in over the socket, which works from localhost only; leave out its hosts"
    for host in user.get("hosts", []):
        if not HOST.fullmatch(host):
            yield f"mysql_users gives {name} the host {host!r}; use an address, a name, or a pattern such as 10.0.0.%"
    try:
        privileges(user.get("privileges", "*.*:USAGE"))
    except ValueError as error:
        yield f"mysql_users gives {name} privileges of which {error}"
        return
    strange = unknown(user.get("privileges", "*.*:USAGE"))
    if strange:
        yield f"mysql_users grants {name} {', '.join(strange)}, which neither MariaDB nor MySQL knows"


def of_all(users: list[dict[str, Any]], databases: list[dict[str, Any]]) -> Iterator[str]:
    for variable, names in (
        ("mysql_users", [user["name"] for user in users]),
        ("mysql_databases", [database["name"] for database in databases]),
    ):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{variable} lists {name} twice; keep one"
    for database in databases:
        if not NAME.fullmatch(database["name"]):
            yield f"mysql_databases names {database['name']!r}; quotes and slashes cannot be in a name"
        if database["name"].lower() in SYSTEM:
            yield f"mysql_databases lists {database['name']}, which belongs to the server; take it out"


def mysql_problems(users: list[dict[str, Any]], databases: list[dict[str, Any]]) -> list[str]:
    """One sentence for each mistake."""
    return [*of_all(users, databases), *(problem for user in users for problem in of_account(user))]


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"mysql_problems": mysql_problems}
