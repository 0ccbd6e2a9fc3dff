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

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import DotenvError, render


def dotenv(values: Mapping[str, Any]) -> str:
    """Write a mapping as an .env file."""
    try:
        return render(values)
    except DotenvError as exc:
        raise AnsibleFilterError(f"dotenv: {exc}") from exc


class FilterModule:
    """The filter dotenv."""

    def filters(self) -> dict[str, Any]:
        return {"dotenv": dotenv}
