# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: php_ini_value
short_description: A value as php.ini and the files of PHP-FPM's pools hold it
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns the value with the quotes that it needs, so that PHP reads just this value.
options:
  _input:
    description: A string, a number or a boolean.
    type: raw
    required: true
"""

EXAMPLES = r"""
line: "date.timezone = {{ 'Europe/Berlin' | slipway.laravel.php_ini_value }}"
"""

RETURN = r"""
_value:
  description: The value, quoted if need be.
  type: str
"""

import re
from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name


def php_ini_value(value: object) -> str:
    """On and Off for booleans, single quotes around what has a meaning for PHP's parser."""
    if isinstance(value, bool):
        return "On" if value else "Off"
    if not isinstance(value, (str, int, float)):
        raise AnsibleFilterError(f"php_ini_value needs a string, a number or a boolean, got {native_type_name(value)}")
    text = str(value)
    if re.search(r"[\r\n\0]", text):
        raise AnsibleFilterError("php_ini_value cannot hold a line break")
    if re.fullmatch(r"[\w.:,/@%+-]*", text):
        return text
    if "'" not in text:
        return f"'{text}'"
    # PHP replaces ${name} within double quotes, and has no way to write it there.
    if "${" in text:
        raise AnsibleFilterError("php_ini_value cannot hold both a single quote and ${")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"php_ini_value": php_ini_value}
