# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sha512_crypt
short_description: Hash a password as crypt does with $6$
version_added: 0.1.0
description:
  - Needs nothing but Python on the controller, where M(ansible.builtin.password_hash#filter) needs passlib.
author:
  - The slipway.laravel authors (@slipway)
options:
  _input:
    description: The password.
    type: str
    required: true
  salt:
    description: Up to 16 characters that differ from one user to the next.
    type: str
    required: true
"""

EXAMPLES = r"""
# alice:$6$0123456789abcdef$...
- ansible.builtin.debug:
    msg: "alice:{{ 'open sesame' | slipway.laravel.sha512_crypt('0123456789abcdef') }}"
"""

RETURN = r"""
_value:
  description: The hash, as in /etc/shadow and in files of htpasswd.
  type: str
"""

import hashlib
import re
from typing import Any

from ansible.errors import AnsibleFilterError

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 5000


def _fill(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def _digest(key: bytes, salt: bytes) -> bytes:
    """The steps of https://www.akkadia.org/drepper/SHA-crypt.txt."""
    other = _sha512(key, salt, key)
    mixed, length = [key, salt, _fill(other, len(key))], len(key)
    while length:
        mixed.append(other if length & 1 else key)
        length >>= 1
    digest = _sha512(*mixed)
    p = _fill(_sha512(key * len(key)), len(key))
    s = _fill(_sha512(salt * (16 + digest[0])), len(salt))
    for number in range(ROUNDS):
        middle = (s if number % 3 else b"") + (p if number % 7 else b"")
        digest = _sha512(p if number & 1 else digest, middle, digest if number & 1 else p)
    return digest


def _encode(digest: bytes) -> str:
    words = []
    for number in range(21):
        trio = [number, number + 21, number + 42]
        # The trio is turned by one place more each time.
        first, second, third = (trio * 2)[number % 3 : number % 3 + 3]
        words.append((digest[first] << 16 | digest[second] << 8 | digest[third], 4))
    words.append((digest[63], 2))
    return "".join(ALPHABET[word >> 6 * place & 63] for word, places in words for place in range(places))


def sha512_crypt(password: Any, salt: str) -> str:
    if not isinstance(password, str) or not re.fullmatch(r"[A-Za-z0-9./]{1,16}", salt):
        raise AnsibleFilterError("sha512_crypt needs a text, and a salt of up to 16 letters, digits, dots and slashes")
    return f"$6${salt}${_encode(_digest(password.encode(), salt.encode()))}"


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"sha512_crypt": sha512_crypt}
