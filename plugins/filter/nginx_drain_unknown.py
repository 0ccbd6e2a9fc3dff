# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_drain_unknown
short_description: Servers that stand in no upstream of nginx
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns the servers for which P(slipway.laravel.nginx_drain#filter) would find nothing to mark in any of the texts.
options:
  _input:
    description: Texts of the files of all load balancers.
    type: list
    elements: string
    required: true
  servers:
    description: Addresses of the servers, with or without their port.
    type: list
    elements: string
    required: true
"""

EXAMPLES = r"""
unknown: "{{ [lookup('file', 'upstreams.conf')] | slipway.laravel.nginx_drain_unknown(['10.0.0.11']) }}"
"""

RETURN = r"""
_value:
  description: Those of the servers that are in none of the texts.
  type: list
  elements: string
"""

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.slipway.laravel.plugins.filter.nginx_drain import SERVER, is_one_of, upstreams


def nginx_drain_unknown(texts: Sequence[str], servers: Sequence[str]) -> list[str]:
    """The servers that stand in no upstream."""
    known = [
        server[2] for text in texts for begin, end in upstreams(text) for server in SERVER.finditer(text[begin:end])
    ]
    return [name for name in servers if not any(is_one_of(address, [name]) for address in known)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_drain_unknown": nginx_drain_unknown}
