# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_drain
short_description: Upstreams of nginx without some of their servers
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Marks servers as down in the text of a file with C(upstream) blocks, or takes that mark away again. Servers that
    somebody else has marked stay as they are.
  - An upstream that would have no server left stays as it is, since all its requests would fail.
options:
  _input:
    description: Text of the file.
    type: str
    required: true
  servers:
    description: Addresses of the servers, with or without their port.
    type: list
    elements: string
    required: true
  down:
    description: Whether to mark them, or else to take the mark away.
    type: bool
    required: true
"""

EXAMPLES = r"""
# Lines of an upstream: "server 10.0.0.11:80 weight=1;" becomes "server 10.0.0.11:80 weight=1 down; # drained by a …"
text: "{{ lookup('file', 'upstreams.conf') | slipway.laravel.nginx_drain(['10.0.0.11'], true) }}"
"""

RETURN = r"""
_value:
  description: The text, changed in those places alone.
  type: str
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

# A variable may stand in braces: hash ${cookie_shop};
UPSTREAM = re.compile(r"(?m)^(\s*upstream\s+[^\s{]+\s*\{)((?:\$\{[^}]*\}|[^}])*)\}")
COMMENT = re.compile(r"#[^\n]*")
# Alone on its line, since our mark is a comment.
SERVER = re.compile(r"(?m)(^\s*server\s+)([^\s;]+)((?:\s[^;#]*)?);([ \t\r]*(?:#[^\n]*)?)(?=\n)")
MARK = " # drained by a release"


def is_one_of(address: str, servers: Sequence[str]) -> bool:
    return address in servers or re.sub(r":\d+$", "", address) in servers


def upstreams(text: str) -> list[tuple[int, int]]:
    """Where the insides of upstreams begin and end; braces in comments are none."""
    bare = COMMENT.sub(lambda found: " " * len(found[0]), text)
    return [found.span(2) for found in UPSTREAM.finditer(bare)]


def nginx_drain(text: str, servers: Sequence[str], down: bool) -> str:
    """The text with the servers marked as down, or without our mark."""

    def upstream(body: str) -> str:
        others = [
            server[2]
            for server in SERVER.finditer(body)
            if not is_one_of(server[2], servers) and "down" not in server[3].split()
        ]
        return body if down and not others else SERVER.sub(marked, body)

    def marked(server: re.Match[str]) -> str:
        start, address, options, rest = server.groups()
        if not is_one_of(address, servers):
            return server[0]
        if down and "down" not in options.split():
            return f"{start}{address}{options} down;{MARK}{rest}"
        if not down and rest.startswith(MARK):
            return f"{start}{address}{options.removesuffix(' down')};{rest.removeprefix(MARK)}"
        return server[0]

    done, changed = 0, ""
    for begin, end in upstreams(text):
        changed += text[done:begin] + upstream(text[begin:end])
        done = end
    return changed + text[done:]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_drain": nginx_drain}
