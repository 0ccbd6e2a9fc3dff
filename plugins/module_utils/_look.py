# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a browser would find out about an address, as evidence.

Private to this collection; the module ``endpoint_info`` and the checks of a release share it.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any, Mapping

from ansible_collections.slipway.laravel.plugins.module_utils import _endpoint
from ansible_collections.slipway.laravel.plugins.module_utils._endpoint import Exchange, Target, shown

# The encodings in which the standard library can look for a text.
READABLE = ("", "identity", "gzip", "deflate")


def _names_of(url: str) -> dict[str, Any]:
    """Return what the DNS has for the name of an address."""
    try:
        return {"addresses": _endpoint.resolve(Target(url).name), "error": ""}
    except OSError as exc:
        return {"addresses": [], "error": str(exc)}


def _follow(
    url: str, address: str, method: str, headers: Mapping[str, str], redirects: int, timeout: float, verify: bool
) -> tuple[Exchange, list[dict[str, Any]]]:
    """Ask an address and those that it leads to; return the last exchange and the answers that led there."""
    target = Target(url)
    name = target.name
    chain: list[dict[str, Any]] = []
    while True:
        sent = {"accept-encoding": "gzip", **(headers if target.name == name else {})}
        exchange = Exchange(target, address, timeout).run(method, sent, verify)
        location = exchange.header("location")
        if exchange.error or exchange.status not in _endpoint.REDIRECTS or not location:
            return exchange, chain
        if len(chain) == redirects:
            return exchange, chain
        chain.append({"url": shown(target.url), "status": exchange.status, "location": shown(location)})
        try:
            target = Target(urllib.parse.urljoin(target.url, location))
        except ValueError as exc:
            exchange.error = f"the redirect to {shown(location)} cannot be followed: {exc}"
            return exchange, chain
        # The port is told by the redirect: it may lead from HTTP to HTTPS.
        address = _endpoint.join_host(exchange.connect_to, None) if address and target.name == name else ""


def _visible(exchange: Exchange) -> dict[str, str]:
    """Return the headers of an answer without what may be secret in them."""
    found = {name: exchange.header(name) for name, dummy in exchange.headers}
    for name in ("location", "content-location", "refresh"):
        if name in found:
            found[name] = shown(found[name])
    if "set-cookie" in found:
        found["set-cookie"] = re.sub(r"(?m)^([^=;]*)=[^;\n]*", r"\1=...", found["set-cookie"])
    return found


def look(
    url: str,
    address: str = "",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    contains: str = "",
    redirects: int = 5,
    timeout: float = 10,
    tls_versions: bool = False,
    validate_certs: bool = True,
) -> dict[str, Any]:
    """Ask an address and tell what was found on the way, as the module ``endpoint_info`` documents it.

    :raises ValueError: the address is none; the message does not repeat it
    """
    exchange, chain = _follow(url, address, method, headers or {}, redirects, timeout, validate_certs)
    target = exchange.target
    tls = target.scheme == "https"
    where = (exchange.peer_address, exchange.connect_port, target.server_name, timeout)
    certificate = None
    if tls:
        unseen = {"verified": False, "error": exchange.error}
        certificate = _endpoint.certificate(*where) if exchange.peer else unseen
    compression = exchange.header("content-encoding")
    searched = contains and not exchange.error and compression in READABLE
    return {
        "url": shown(url),
        "final_url": shown(target.url),
        "reachable": exchange.status > 0,
        "error": exchange.error,
        "dns": _names_of(url),
        "peer": exchange.peer,
        "status": exchange.status or None,
        "headers": _visible(exchange),
        "redirects": chain,
        "contains": contains in exchange.text if searched else None,
        "compression": compression,
        "milliseconds": exchange.milliseconds,
        "tls": exchange.tls,
        "certificate": certificate,
        "tls_versions": _endpoint.tls_versions(*where) if tls and exchange.peer and tls_versions else None,
        "hsts": _endpoint.hsts(exchange.header("strict-transport-security")) if tls else None,
    }
