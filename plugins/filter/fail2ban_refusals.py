# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: fail2ban_refusals
short_description: What is wrong with a set of fail2ban's jails
version_added: 0.1.0
description:
  - Returns one sentence for each value that fail2ban would misread without a word, such as a time it cannot count or an
    address to ignore that is none.
author: The slipway.laravel authors (@slipway)
options:
  _input:
    description: Jails by name, each with its values.
    type: dict
    required: true
  defaults:
    description: Values of the section C([DEFAULT]).
    type: dict
    required: true
  ignoreip:
    description: Addresses, networks and names that are never banned.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
# ["base_fail2ban_ignoreip holds 0.0.0.0/0, so that nobody would ever be banned"]
- ansible.builtin.debug:
    msg: "{{ {} | slipway.laravel.fail2ban_refusals({}, ['0.0.0.0/0']) }}"
"""

RETURN = r"""
_value:
  description: Sentences; empty when nothing is wrong.
  type: list
  elements: str
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_TIME = re.compile(
    r"-?\d+|(\d+\s*(s|sec|m|mi|min|mins|h|hou|hour|hours|d|da|day|days|w|we|week|weeks|mo|mon|y|ye|year)\s*)+"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def _ignored(text: str) -> str:
    """What is wrong with one entry of the list of those never banned."""
    if re.search(r"\s", text):
        return "which holds a blank"
    if not re.fullmatch(r"[0-9./]+|[0-9A-Fa-f:./]*:[0-9A-Fa-f:./]*", text):
        return ""  # a name
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "which is neither an address nor a network"
    return "so that nobody would ever be banned" if network.prefixlen == 0 else ""


def _values(place: str, values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of one section."""
    for key in ("bantime", "findtime"):
        value = str(values.get(key, "1"))
        if not _TIME.fullmatch(value) and "%(" not in value:
            yield f"{place} has the {key} {value}, which is no time; write seconds, or 10m, 1h, 2d, 1w"
    retries = str(values.get("maxretry", 1))
    if "%(" not in retries and not re.fullmatch(r"[1-9]\d{0,5}", retries):
        yield f"{place} has the maxretry {retries}, which is no number from 1 on"


def fail2ban_refusals(
    jails: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any], ignoreip: Iterable[str]
) -> list[str]:
    """What is wrong with a set of fail2ban's jails."""
    found = [f"base_fail2ban_ignoreip holds {entry}, {wrong}" for entry in ignoreip if (wrong := _ignored(str(entry)))]
    found += _values("base_fail2ban_defaults", defaults)
    for name, values in jails.items():
        if not _NAME.fullmatch(name) or name in ("DEFAULT", "INCLUDES"):
            found.append(f"base_fail2ban_jails has the jail {name}, which is no name for one")
        found += _values(f"the jail {name}", values)
    return found


class FilterModule:
    """The filter fail2ban_refusals."""

    def filters(self) -> dict[str, Any]:
        return {"fail2ban_refusals": fail2ban_refusals}
