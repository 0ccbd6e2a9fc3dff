# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dotenv
short_description: Write a mapping as an .env file
version_added: 0.1.0
description:
  - Writes one C(NAME=value) line for each entry, in the order of the mapping, quoted so that Laravel reads back exactly
    the same value.
  - Booleans become C(true) and C(false), nothing becomes C(null), as Laravel's C(env()) understands them.
author:
  - The slipway.laravel authors (@slipway)
options:
  _input:
    description: Names and values; values are text, numbers, booleans or nothing.
    type: dict
    required: true
"""

EXAMPLES = r"""
# APP_NAME="The shop"
# APP_DEBUG=false
- ansible.builtin.debug:
    msg: "{{ {'APP_NAME': 'The shop', 'APP_DEBUG': false} | slipway.laravel.dotenv }}"
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What phpdotenv takes without quotes; everything else is put into double quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@,+=-]*\Z")
# In double quotes phpdotenv knows these after a backslash, and replaces ${NAME}.
_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _value(name: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise AnsibleFilterError(f"dotenv: {name} must be text, a number or a boolean, not {native_type_name(value)}")
    text = str(value)
    if _PLAIN.match(text):
        return text
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


def dotenv(values: Mapping[str, Any]) -> str:
    """Write a mapping as an .env file."""
    if not isinstance(values, Mapping):
        raise AnsibleFilterError(f"dotenv needs a mapping, got {native_type_name(values)}")
    lines = []
    for name, value in values.items():
        if not _NAME.match(str(name)):
            raise AnsibleFilterError(f"dotenv: {str(name)!r} is no name of an environment variable")
        lines.append(f"{name}={_value(str(name), value)}\n")
    return "".join(lines)


class FilterModule:
    """The filter dotenv."""

    def filters(self) -> dict[str, Any]:
        return {"dotenv": dotenv}
