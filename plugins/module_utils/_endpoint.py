# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an HTTP endpoint, and telling what was found on the way there.

Private to this collection. What an address has before its ``@`` and behind its ``?`` may be a secret and is never told.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import re
import socket
import ssl
import time
import urllib.parse
import warnings
import zlib
from typing import Any

from ansible_collections.slipway.laravel.plugins.module_utils import _x509

# Of a body; what is searched for stands in the first MiB of a page, or nowhere.
_LIMIT = 2**20
_DAY = 86400
REDIRECTS = (301, 302, 303, 307, 308)


def shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    return re.sub(r"([?#]).*", r"\1...", re.sub(r"//[^/?#]*@", "//", url), flags=re.DOTALL)


def join_host(host: str, port: int | None) -> str:
    """Return host and port as one word; an IPv6 address has brackets."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name


class Target:
    """An address taken apart.

    :raises ValueError: it is none; the message does not repeat it
    """

    def __init__(self, url: str, host: str = "") -> None:
        """Take an address apart.

        :param host: what the server is asked for, instead of the name in the address
        """
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError:
            # Python's message would repeat a part of it.
            parts, port = urllib.parse.urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\x00-\x20\x7f]", url):
            raise ValueError("it has to be like https://shop.example.com/up, without spaces")
        self.url = url
        self.scheme = parts.scheme
        self.name: str = parts.hostname
        usual = 443 if parts.scheme == "https" else 80
        self.port = port or usual
        # What the server is asked for: the header Host and, without its port, the name that TLS asks for.
        self.host = host or join_host(self.name, None if self.port == usual else self.port)
        query = f"?{parts.query}" if parts.query else ""
        self.path = urllib.parse.quote((parts.path or "/") + query, safe="/?%:@!$&'()*+,;=~[]")
        login = parts.netloc.rpartition("@")[0]
        encoded = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
        self.authorization = f"Basic {encoded}" if login else ""

    @property
    def server_name(self) -> str:
        return self.host.rpartition("]")[0].lstrip("[") or self.host.partition(":")[0]


def _reason(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    text = re.sub(r" \(_\w+\.c:\d+\)$", "", str(error))
    return text or type(error).__name__


def resolve(host: str) -> list[str]:
    """Return the addresses of a name.

    :raises OSError: it has none
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError(f"{host} cannot be a name") from exc
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def tls_context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Exchange:
    """One request and its answer, as far as it came: ``error`` is empty when it came to its end.

    ``milliseconds`` has the parts ``dns``, ``connect``, ``tls``, ``first_byte`` and, from the beginning, ``total``.
    """

    def __init__(self, target: Target, address: str = "", timeout: float = 10) -> None:
        """Prepare a request.

        :param address: name or address, and maybe port, to connect to instead of those of the target
        :param timeout: seconds for all of it, the lookup of the name left out
        """
        self.target = target
        self.timeout = timeout
        self.connect_to, self.connect_port = address_of(address, target.port) if address else (target.name, target.port)
        self.error = ""
        self.peer = self.peer_address = ""
        self.tls: dict[str, Any] | None = None
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.milliseconds: dict[str, float] = {}

    def run(self, method: str = "GET", headers: dict[str, str] | None = None, verify: bool = True) -> Exchange:
        """Do it. That something does not answer is told by ``error`` and raises nothing."""
        started = time.monotonic()
        try:
            with self._connect() as sock:
                if self.target.scheme == "https":
                    with self._encrypt(sock, verify) as encrypted:
                        self._ask(encrypted, method, headers or {})
                else:
                    self._ask(sock, method, headers or {})
        except (OSError, http.client.HTTPException, zlib.error) as exc:
            self.error = _reason(exc)
        except ValueError:
            # Python's message would repeat the header, which may be a secret.
            self.error = "the name or a header has characters that HTTP does not allow"
        self.milliseconds["total"] = _milliseconds(started)
        return self

    def header(self, name: str) -> str:
        """Return a header of the answer; several of one name are one to a line."""
        return "\n".join(value for key, value in self.headers if key == name)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def _connect(self) -> socket.socket:
        started = time.monotonic()
        addresses = resolve(self.connect_to)
        self.milliseconds["dns"] = _milliseconds(started)
        started = time.monotonic()
        self._deadline = started + self.timeout
        for number, address in enumerate(addresses, 1):
            try:
                # An address that swallows everything leaves time for the others.
                left = (self._deadline - time.monotonic()) / (len(addresses) - number + 1)
                sock = socket.create_connection((address, self.connect_port), max(0.1, left))
            except OSError:
                if number == len(addresses):
                    raise
                continue
            self.peer, self.peer_address = join_host(address, self.connect_port), address
            self.milliseconds["connect"] = _milliseconds(started)
            return sock
        raise OSError(f"{self.connect_to} has no address")

    def _left(self, sock: socket.socket) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout
        sock.settimeout(left)

    def _encrypt(self, sock: socket.socket, verify: bool) -> ssl.SSLSocket:
        started = time.monotonic()
        self._left(sock)
        encrypted = tls_context(verify).wrap_socket(sock, server_hostname=self.target.server_name)
        self.milliseconds["tls"] = _milliseconds(started)
        self.tls = {"version": encrypted.version(), "cipher": (encrypted.cipher() or [None])[0]}
        return encrypted

    def _ask(self, sock: socket.socket, method: str, headers: dict[str, str]) -> None:
        target, started = self.target, time.monotonic()
        sent = {"host": target.host, "user-agent": "slipway", "connection": "close"}
        if target.authorization:
            sent["authorization"] = target.authorization
        sent.update((name.lower(), value) for name, value in headers.items())
        connection = http.client.HTTPConnection(target.name, target.port)
        connection.sock = sock
        self._left(sock)
        connection.request(method, target.path, headers=sent)
        response = connection.getresponse()
        self.milliseconds["first_byte"] = _milliseconds(started)
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.getheaders()]
        # A response that was read to its end has closed the socket; one without a body never does.
        part = b"begin"
        while part and len(self.body) < _LIMIT and not response.isclosed():
            self._left(sock)
            part = response.read1(65536)
            self.body += part
        if self.header("content-encoding") in ("gzip", "deflate"):
            # 47: either of the two formats; never more than the limit, however well it was packed.
            self.body = zlib.decompressobj(47).decompress(self.body, _LIMIT)


def address_of(address: str, port: int) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port`` or ``[IPv6 address]:port``; the port is the given one if none."""
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", address)
    if not found:
        return address, port
    return found[1] or found[3], int(found[2] or found[4] or port)


def _milliseconds(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)


# Certificates and versions of TLS


def certificate(address: str, port: int, name: str, timeout: float) -> dict[str, Any]:
    """Return what certificate is served for a name at an address, and whether it is to be trusted.

    ``verified`` is whether chain, name and dates are well, ``error`` why not. An address without TLS has an error only.
    """

    def handshake(verify: bool) -> bytes:
        plain = socket.create_connection((address, port), timeout)
        with plain, tls_context(verify).wrap_socket(plain, server_hostname=name) as encrypted:
            return encrypted.getpeercert(binary_form=True) or b""

    try:
        found = _x509.parse(handshake(False))
    except (OSError, ValueError) as exc:
        return {"verified": False, "error": _reason(exc)}
    left = found["not_after"] - datetime.datetime.now(datetime.timezone.utc)
    facts = {
        **found,
        "not_before": f"{found['not_before']:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{found['not_after']:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": int(left.total_seconds() // _DAY),
    }
    try:
        handshake(True)
    except ssl.SSLCertVerificationError as exc:
        return {**facts, "verified": False, "error": exc.verify_message}
    except OSError as exc:
        return {**facts, "verified": False, "error": _reason(exc)}
    return {**facts, "verified": True, "error": ""}


def tls_versions(address: str, port: int, name: str, timeout: float) -> dict[str, bool | None]:
    """Say for each version of TLS whether it is accepted; None where that cannot be found out from this host."""
    versions = {
        "TLSv1.0": (ssl.TLSVersion.TLSv1, ssl.HAS_TLSv1),
        "TLSv1.1": (ssl.TLSVersion.TLSv1_1, ssl.HAS_TLSv1_1),
        "TLSv1.2": (ssl.TLSVersion.TLSv1_2, ssl.HAS_TLSv1_2),
        "TLSv1.3": (ssl.TLSVersion.TLSv1_3, ssl.HAS_TLSv1_3),
    }
    return {
        label: _accepts(address, port, name, timeout, version) if known else None
        for label, (version, known) in versions.items()
    }


def _accepts(address: str, port: int, name: str, timeout: float, version: ssl.TLSVersion) -> bool | None:
    context = tls_context(False)
    try:
        with warnings.catch_warnings():
            # Python finds the old versions deprecated; that is why they are asked for.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        # Otherwise OpenSSL itself refuses the old versions before the server is asked.
        context.set_ciphers("ALL:@SECLEVEL=0")
    except (ValueError, ssl.SSLError):
        return None
    try:
        sock = socket.create_connection((address, port), timeout)
    except OSError:
        return None
    with sock:
        try:
            with context.wrap_socket(sock, server_hostname=name):
                return True
        except socket.timeout:
            return None
        except OSError as exc:
            # OpenSSL of this host, not the server, has no way to speak it.
            return None if getattr(exc, "reason", "") in ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE") else False


def hsts(value: str) -> dict[str, Any] | None:
    """Return a Strict-Transport-Security header (RFC 6797) taken apart, None when there is none that is valid."""
    directives = {}
    for directive in value.partition("\n")[0].split(";"):
        key, dummy, text = directive.partition("=")
        directives[key.strip().lower()] = text.strip().strip('"')
    age = directives.get("max-age", "")
    if not age.isdigit():
        return None
    flags = {"include_subdomains": "includesubdomains" in directives, "preload": "preload" in directives}
    return {"max_age": int(age), **flags}
