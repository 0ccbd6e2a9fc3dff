# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: openpgp_fingerprints
short_description: Fingerprints of the primary keys in an armoured OpenPGP key file
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Reads the keys themselves, so neither the controller nor the host needs GnuPG.
  - Of a text that is no key, or whose keys are older than version 4, the list is empty.
options:
  _input:
    description: The key file, ASCII-armoured.
    type: str
    required: true
"""

EXAMPLES = r"""
fingerprints: "{{ lookup('ansible.builtin.file', 'key.asc') | slipway.laravel.openpgp_fingerprints }}"
"""

RETURN = r"""
_value:
  description: Fingerprints in capital hexadecimal digits.
  type: list
  elements: str
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

BLOCK = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*\n(?:[\w-]+: [^\n]*\n)*\s*\n?(.*?)-----END PGP", re.DOTALL)
PUBLIC_KEY = 6


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 9580, section 4.2); it ends where the data is no packet any more."""
    at = 0
    while at + 1 < len(data) and data[at] & 0x80:
        head = data[at]
        if head & 0x40:
            tag, first = head & 0x3F, data[at + 1]
            if first < 192:
                size, length = 1, first
            elif first < 224:
                size, length = 2, ((first - 192) << 8) + data[at + 2] + 192
            else:
                size, length = 5, int.from_bytes(data[at + 2 : at + 6], "big")
        else:
            tag, size = head >> 2 & 0x0F, 1 << (head & 3)
            length = int.from_bytes(data[at + 1 : at + 1 + size], "big")
        start = at + 1 + size
        yield tag, data[start : start + length]
        at = start + length


def fingerprint(body: bytes) -> str | None:
    if body[:1] == b"\x04":
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324
    if body[:1] == b"\x06":
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    return None


def openpgp_fingerprints(text: str) -> list[str]:
    """Fingerprints of all primary keys."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"openpgp_fingerprints needs a text, got {native_type_name(text)}")
    found: list[str] = []
    for block in BLOCK.findall(text.replace("\r\n", "\n")):
        lines = [line for line in block.split() if not line.startswith("=")]
        try:
            data = base64.b64decode("".join(lines), validate=True)
        except binascii.Error:
            continue
        prints = [fingerprint(body) for tag, body in packets(data) if tag == PUBLIC_KEY]
        found += [one for one in prints if one]
    return found


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"openpgp_fingerprints": openpgp_fingerprints}
