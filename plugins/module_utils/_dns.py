# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A question to the DNS with its time to live, which the resolver of the system does not tell.

Private to this collection. The protocol: RFC 1035, section 4; AAAA: RFC 3596.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from typing import Any

_TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}
_RESOLV = "/etc/resolv.conf"
_REFUSALS = {1: "format error", 2: "server failure", 3: "there is no such name", 4: "not implemented", 5: "refused"}


class DnsError(Exception):
    """The question got no answer; the message says why."""


def resolver() -> str:
    """Return the first name server of this host.

    :raises DnsError: it has none
    """
    try:
        with open(_RESOLV, encoding="utf-8", errors="replace") as handle:
            for line in handle:
                words = line.split()
                if words[:1] == ["nameserver"] and len(words) > 1:
                    return words[1]
    except OSError as exc:
        raise DnsError(f"{_RESOLV} cannot be read: {exc.strerror}") from exc
    raise DnsError(f"{_RESOLV} names no server")


def _question(number: int, name: str, kind: str) -> bytes:
    labels = name.rstrip(".").encode("idna").split(b".")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    # One question, and recursion is wanted.
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + encoded + struct.pack("!2H", _TYPES[kind], 1)


def _name(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at a place of a message, and where it ends."""
    labels, end, seen = [], 0, 0
    while message[at]:
        if message[at] & 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            seen += 1
            if seen > len(message):
                raise DnsError("the answer is not what the DNS allows")
            continue
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii", "replace"))
        at += 1 + message[at]
    return ".".join(labels), end or at + 1


def _records(message: bytes) -> list[dict[str, Any]]:
    questions, answers = struct.unpack_from("!2H", message, 4)
    at = 12
    for dummy in range(questions):
        at = _name(message, at)[1] + 4
    names = {number: name for name, number in _TYPES.items()}
    found = []
    for dummy in range(answers):
        at = _name(message, at)[1]
        number, dummy, ttl, size = struct.unpack_from("!2HIH", message, at)
        at += 10
        kind, content = names.get(number), message[at : at + size]
        if kind == "CNAME":
            found.append({"type": kind, "value": _name(message, at)[0], "ttl": ttl})
        elif kind:
            family = socket.AF_INET if kind == "A" else socket.AF_INET6
            found.append({"type": kind, "value": socket.inet_ntop(family, content), "ttl": ttl})
        at += size
    return found


def _by_udp(message: bytes, server: str, port: int, timeout: float) -> bytes:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    deadline = time.monotonic() + timeout
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((server, port))
        sock.settimeout(timeout / 2)
        try:
            sock.send(message)
            answer = sock.recv(4096)
        except socket.timeout:
            # Nobody vouches for a datagram: once more.
            sock.send(message)
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            answer = sock.recv(4096)
    return answer


def _by_tcp(message: bytes, server: str, port: int, timeout: float) -> bytes:
    with socket.create_connection((server, port), timeout) as sock:
        sock.sendall(struct.pack("!H", len(message)) + message)
        stream = sock.makefile("rb")
        return stream.read(struct.unpack("!H", stream.read(2))[0])


def ask(name: str, kind: str, server: str, port: int = 53, timeout: float = 5) -> list[dict[str, Any]]:
    """Return the records that a server has for a name, each with type, value and ttl (seconds), aliases among them.

    :param kind: A or AAAA
    :raises DnsError: no answer, or a refusal
    """
    number = secrets.randbelow(2**16)
    try:
        message = _question(number, name, kind)
        answer = _by_udp(message, server, port, timeout)
        if answer[2] & 2:
            # It did not fit into a datagram.
            answer = _by_tcp(message, server, port, timeout)
        answered, flags = struct.unpack_from("!2H", answer)
        if answered != number:
            raise DnsError(f"{server} answered another question")
        if flags & 15:
            raise DnsError(f"{server} says: {_REFUSALS.get(flags & 15, f'error {flags & 15}')}")
        return _records(answer)
    except UnicodeError as exc:
        raise DnsError(f"{name} cannot be a name") from exc
    except (struct.error, IndexError, ValueError) as exc:
        raise DnsError(f"{server} gave an answer that cannot be read") from exc
    except socket.timeout as exc:
        raise DnsError(f"{server} gave no answer within {timeout:g} s") from exc
    except OSError as exc:
        raise DnsError(f"{server} cannot be asked: {exc}") from exc
