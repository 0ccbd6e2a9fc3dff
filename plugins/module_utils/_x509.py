# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a certificate, whether or not it is to be trusted.

Private to this collection. Python's own ssl module tells what is in a certificate only after it was found valid, and
the question here is mostly why it is not. The format: RFC 5280, section 4.1, in DER (X.690).
"""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any, Iterator

_NAMES = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_DNS, _ADDRESS = 0x82, 0x87
_UTC_TIME, _BMP_STRING, _VERSION, _EXTENSIONS, _OCTETS = 0x17, 0x1E, 0xA0, 0xA3, 0x04


def parse(der: bytes) -> dict[str, Any]:
    """Return subject, issuer, names, and from when until when (in UTC) a certificate is valid.

    :raises ValueError: this is no certificate
    """
    try:
        certificate = next(_values(der))[1]
        fields = list(_values(next(_values(certificate))[1]))
        if fields[0][0] == _VERSION:
            fields.pop(0)
        dummy, dummy, issuer, validity, subject = (content for dummy, content in fields[:5])
        not_before, not_after = (_time(tag, content) for tag, content in _values(validity))
        return {
            "subject": _name(subject),
            "issuer": _name(issuer),
            "names": [name for tag, content in fields if tag == _EXTENSIONS for name in _alternative_names(content)],
            "not_before": not_before,
            "not_after": not_after,
        }
    except (IndexError, StopIteration) as exc:
        raise ValueError("this is no certificate") from exc


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of the values that follow each other."""
    position = 0
    while position < len(data):
        tag, size = data[position], data[position + 1]
        position += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[position : position + count], "big")
            position += count
        if position + size > len(data):
            raise IndexError
        yield tag, data[position : position + size]
        position += size


def _time(tag: int, content: bytes) -> datetime.datetime:
    # UTCTime has two digits of the year: 50 to 99 are of the 20th century.
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    found = datetime.datetime.strptime(content.decode("ascii"), form).replace(tzinfo=datetime.timezone.utc)
    return found.replace(year=found.year - 100) if tag == _UTC_TIME and found.year >= 2050 else found


def _name(content: bytes) -> str:
    parts = []
    for dummy, group in _values(content):
        for dummy, pair in _values(group):
            (dummy, kind), (tag, text) = _values(pair)
            value = text.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace")
            parts.append(f"{_NAMES[kind]}={value}" if kind in _NAMES else f"{kind.hex()}={value}")
    return ", ".join(parts)


def _first(content: bytes) -> bytes:
    return next(_values(content))[1]


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for dummy, extension in _values(_first(extensions)):
        fields = list(_values(extension))
        if fields[0][1] != _ALTERNATIVE_NAMES or fields[-1][0] != _OCTETS:
            continue
        for tag, content in _values(_first(fields[-1][1])):
            if tag == _DNS:
                yield content.decode("ascii", "replace")
            elif tag == _ADDRESS:
                yield str(ipaddress.ip_address(content))
