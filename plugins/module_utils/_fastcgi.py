# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FastCGI client for one request to PHP-FPM, enough to probe a release before it takes traffic.

Private to this collection. The protocol: https://fastcgi-archives.github.io/FastCGI_Specification.html
"""

from __future__ import annotations

import os
import socket
import struct

_VERSION = 1
_BEGIN_REQUEST, _END_REQUEST, _PARAMS, _STDIN, _STDOUT, _STDERR = 1, 3, 4, 5, 6, 7
_RESPONDER = 1
_REQUEST_ID = 1
_MAX_CONTENT = 65535


class FastCGIError(Exception):
    """PHP-FPM could not be reached, or did not answer as the protocol says."""


class Response:
    """The answer of one request: status, headers (lower-case names), body, and what PHP wrote to its error stream."""

    def __init__(self, stdout: bytes, stderr: bytes) -> None:
        head, _separator, body = stdout.partition(b"\r\n\r\n")
        self.headers: dict[str, str] = {}
        for line in head.decode("utf-8", "replace").splitlines():
            name, _colon, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        # CGI leaves the status out when it is 200.
        self.status = int(self.headers.get("status", "200").split()[0])
        self.body = body.decode("utf-8", "replace")
        self.stderr = stderr.decode("utf-8", "replace").strip()


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBx", _VERSION, kind, _REQUEST_ID, len(content), 0) + content


def _length(size: int) -> bytes:
    return struct.pack("!B", size) if size < 128 else struct.pack("!I", size | 0x80000000)


def _encode(params: dict[str, str]) -> bytes:
    out = b""
    for name, value in params.items():
        key, val = name.encode(), value.encode()
        out += _length(len(key)) + _length(len(val)) + key + val
    return out


def _connect(address: str, timeout: float) -> socket.socket:
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock
    host, dummy, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout)


def _receive(sock: socket.socket) -> Response:
    stream = sock.makefile("rb")
    stdout, stderr = b"", b""
    while True:
        header = stream.read(8)
        if len(header) < 8:
            raise FastCGIError("PHP-FPM closed the connection in the middle of an answer")
        dummy, kind, dummy, size, padding = struct.unpack("!BBHHBx", header)
        content = stream.read(size)
        stream.read(padding)
        if kind == _STDOUT:
            stdout += content
        elif kind == _STDERR:
            stderr += content
        elif kind == _END_REQUEST:
            return Response(stdout, stderr)


def get(
    address: str, script: str, uri: str = "/", host: str = "localhost", timeout: float = 10, cookie: str = ""
) -> Response:
    """Ask PHP-FPM to run one script, as nginx would for a GET request.

    :param address: path of the unix socket, or ``host:port``
    :param script: absolute path of the PHP file
    :param uri: path (and query) that the script sees as the request
    :param host: value of the Host header
    :param timeout: seconds for each network operation
    :param cookie: value of the Cookie header, if any
    :raises FastCGIError: PHP-FPM is not reachable or breaks off
    """
    path, dummy, query = uri.partition("?")
    params = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "slipway",
        "REQUEST_METHOD": "GET",
        "SCRIPT_FILENAME": script,
        "SCRIPT_NAME": "/" + os.path.basename(script),
        "DOCUMENT_ROOT": os.path.dirname(script),
        "REQUEST_URI": uri,
        "DOCUMENT_URI": path,
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": "80",
        "SERVER_ADDR": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "0",
        "HTTP_HOST": host,
        "HTTP_USER_AGENT": "slipway",
        "HTTP_ACCEPT": "*/*",
        **({"HTTP_COOKIE": cookie} if cookie else {}),
    }
    encoded = _encode(params)
    if len(encoded) > _MAX_CONTENT:
        raise FastCGIError(f"the request for {uri} is too long for one FastCGI record")
    message = _record(_BEGIN_REQUEST, struct.pack("!HB5x", _RESPONDER, 0))
    message += _record(_PARAMS, encoded) + _record(_PARAMS, b"") + _record(_STDIN, b"")
    try:
        sock = _connect(address, timeout)
        try:
            sock.sendall(message)
            return _receive(sock)
        finally:
            sock.close()
    except (OSError, ValueError) as exc:
        raise FastCGIError(f"PHP-FPM does not answer on {address}: {exc}") from exc
