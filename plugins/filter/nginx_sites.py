# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_sites
short_description: Complete the sites of the nginx role with what the host has
version_added: 0.1.0
description:
  - Adds to each site what its templates need; the addresses that it listens on, the files of its certificate, and what
    of the site can be served before that certificate is there.
author:
  - The slipway.laravel authors (@slipway)
options:
  _input:
    description: The sites, as in O(nginx_sites) of the role.
    type: list
    elements: dict
    required: true
  found:
    description: Lines that tell what the host has; C(file PATH) and C(tls PATH) are of interest here.
    type: list
    elements: str
    default: []
  http_port:
    description: Port of sites that name no address.
    type: int
    default: 80
  https_port:
    description: The same for TLS.
    type: int
    default: 443
  ipv6:
    description: Listen on IPv6 as well.
    type: bool
    default: true
  body_size:
    description: Largest request body of a site that names none.
    type: str
    default: 1m
  upstreams:
    description: Names of upstreams that are defined apart; any other upstream of a site is an address.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
# https: ['443', '[::]:443'], tls: {certificate: /etc/letsencrypt/live/shop/fullchain.pem, ...}
- ansible.builtin.debug:
    msg: >-
      {{ [{'name': 'shop', 'kind': 'laravel', 'certificate': 'shop'}]
         | slipway.laravel.nginx_sites(found=['file /etc/letsencrypt/live/shop/fullchain.pem',
                                              'file /etc/letsencrypt/live/shop/privkey.pem']) }}
"""

RETURN = r"""
_value:
  description: The sites with the keys C(slug), C(names), C(http), C(https), C(tls), C(pending), C(port_suffix),
    C(body_size) and C(places).
  type: list
  elements: dict
"""

from typing import Any

# Where the certbot role links live certificates, and where own ones lie.
CERTIFICATES = ("/etc/letsencrypt/live", "/etc/ssl/slipway")


def addresses(port: int, ipv6: bool) -> list[str]:
    return [str(port), f"[::]:{port}"] if ipv6 else [str(port)]


def port_of(listen: str) -> str:
    """The port of 80, 10.0.0.1:80 and [::]:80."""
    return listen.rsplit(":", 1)[-1] if not listen.endswith("]") else "80"


def bytes_of(size: str) -> float:
    """What nginx reads in 512k, 64m and 1g; 0 sets no limit."""
    factor = {"k": 1024, "m": 1024**2, "g": 1024**3}.get(size[-1:].lower(), 1)
    digits = size.rstrip("kKmMgG")
    return (float(digits) * factor or float("inf")) if digits.isdigit() else -1


def certificate_of(site: dict[str, Any], files: set[str]) -> dict[str, str] | None:
    """The files of the site's certificate; without any that exists, those that certbot will make."""
    own = site.get("tls") or {}
    if own.get("certificate"):
        found = {"certificate": own["certificate"], "key": own.get("key", ""), "chain": own.get("chain", "")}
        found["own"] = "" if own["certificate"].startswith(CERTIFICATES[0]) else "yes"
        beside = own["certificate"].rsplit("/", 1)[0] + "/chain.pem"
    elif site.get("certificate"):
        folders = [f"{base}/{site['certificate']}" for base in CERTIFICATES]
        folder = next((name for name in folders if f"{name}/fullchain.pem" in files), folders[0])
        found = {"certificate": f"{folder}/fullchain.pem", "key": f"{folder}/privkey.pem", "chain": "", "own": ""}
        beside = f"{folder}/chain.pem"
    else:
        return None
    if not found["chain"] and beside in files:
        found["chain"] = beside
    return found


def proxied(place: dict[str, Any], name: str, upstreams: list[str]) -> dict[str, Any]:
    """A place of a site with the upstream that it is handed to, if it is."""
    target = place.get("upstream")
    if not target:
        return dict(place)
    pool = target if target in upstreams else f"slipway_{name}"
    return {**place, "pool": pool, "pool_address": "" if target in upstreams else target}


def complete(
    site: dict[str, Any],
    files: set[str],
    http_port: int,
    https_port: int,
    ipv6: bool,
    body_size: str,
    upstreams: list[str],
) -> dict[str, Any]:
    slug = str(site["name"]).replace("-", "_")
    names = list(site.get("server_names") or [])
    tls = certificate_of(site, files)
    pending = tls is not None and not {tls["certificate"], tls["key"]} <= files
    https = (site.get("tls_listen") or addresses(https_port, ipv6)) if tls else []
    port = port_of(https[0]) if https else "443"
    places = [
        proxied(place, f"{slug}_{number}", upstreams) for number, place in enumerate(site.get("paths") or [], start=1)
    ]
    sizes = [str(site.get("client_max_body_size") or body_size)]
    sizes += [str(place["client_max_body_size"]) for place in places if place.get("client_max_body_size")]
    return {
        **proxied(site, slug, upstreams),
        "slug": slug,
        "names": names,
        "http": site.get("listen") or addresses(http_port, ipv6),
        "https": [] if pending else https,
        "tls": tls,
        "pending": pending,
        "port_suffix": "" if port == "443" else f":{port}",
        # A request is measured again where PHP runs, whatever its path allowed.
        "body_size": max(sizes, key=bytes_of),
        "places": places,
    }


def nginx_sites(
    sites: list[dict[str, Any]],
    found: list[str] | None = None,
    http_port: int = 80,
    https_port: int = 443,
    ipv6: bool = True,
    body_size: str = "1m",
    upstreams: list[str] | None = None,
) -> list[dict[str, Any]]:
    files = {line.removeprefix("file ") for line in found or [] if line.startswith("file ")}
    return [
        complete(site, files, int(http_port), int(https_port), ipv6, body_size, list(upstreams or [])) for site in sites
    ]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"nginx_sites": nginx_sites}
