# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_overridden
short_description: Variables of a database server that are not as they should be
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns the names of the variables whose value is another one than wanted, whatever way each side spells it,
    such as V(ON) and V(1), V(64M) and V(67108864), or the modes of C(sql_mode) in another order.
options:
  _input:
    description: The wanted values by the name of the variable.
    type: dict
    required: true
  found:
    description: The values that the server has.
    type: dict
    required: true
  missing_ok:
    description: A variable that is not among O(found) is as it should be.
    type: bool
    default: false
"""

EXAMPLES = r"""
waiting: "{{ __mysql_settings | slipway.laravel.mysql_overridden(__mysql_state.query_result[0][0]) }}"
"""

RETURN = r"""
_value:
  description: Names of variables.
  type: list
  elements: str
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def plain(value: Any) -> str | float | frozenset[str]:
    """A value in one spelling."""
    text = str(value).strip()
    if text.lower() in ("on", "true", "yes"):
        return 1.0
    if text.lower() in ("off", "false", "no"):
        return 0.0
    number = re.fullmatch(r"(-?\d+(?:\.\d+)?)([kmgt]?)", text, re.IGNORECASE)
    if number:
        return float(number[1]) * SIZES[number[2].lower()]
    if re.fullmatch(r"\w+(,\w+)+", text):
        return frozenset(text.lower().split(","))
    return text.lower()


def mysql_overridden(wanted: Mapping[str, Any], found: Mapping[str, Any], missing_ok: bool = False) -> list[str]:
    """Names of the wanted variables that have another value."""
    return sorted(
        name
        for name, value in wanted.items()
        if (name in found or not missing_ok) and plain(found.get(name, "")) != plain(value)
    )


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"mysql_overridden": mysql_overridden}
