# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_problems
short_description: Say what keeps the sites of the nginx role from being served
version_added: 0.1.0
description:
  - Gives one sentence for each thing that argument specs cannot see and that nginx would refuse, or would take and
    serve wrongly.
author:
  - The slipway.laravel authors (@slipway)
options:
  _input:
    description: The sites as the filter P(slipway.laravel.nginx_sites#filter) completes them.
    type: list
    elements: dict
    required: true
  found:
    description:
      - Lines that tell what the host has; C(file PATH) for a certificate or key, C(tls PATH) for a site that nginx
        serves by TLS already, C(listen ADDRESS PROCESSES) for a socket.
    type: list
    elements: str
    default: []
  kinds:
    description: Kinds of site, each with the options that it needs.
    type: dict
    default: {}
  zones:
    description: Names of the rate limits.
    type: list
    elements: str
    default: []
  listens:
    description: Addresses that nginx listens on besides those of the sites.
    type: list
    elements: str
    default: []
  users:
    description: Names of the lists of users.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ nginx_sites | slipway.laravel.nginx_sites | slipway.laravel.nginx_problems(kinds=kinds) }}"
    kinds: {static: [root]}
"""

RETURN = r"""
_value:
  description: The sentences, none when all is well.
  type: list
  elements: str
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9_-]*")
ADDRESS = re.compile(r"unix:/[^\s;]+|[^\s;/{}]+")
WILDCARDS = ("", "*", "0.0.0.0", "[::]")  # noqa: S104  compared, not bound


def of_shape(site: dict[str, Any], kinds: dict[str, list[str]], zones: list[str], users: list[str]) -> Iterator[str]:
    name, kind = site["name"], site["kind"]
    if not NAME.fullmatch(str(name)):
        yield f"nginx_sites: {name} needs a name of small letters, digits, - and _ that begins with a letter"
    if kind not in kinds:
        yield f"nginx_sites: {name} has the kind {kind}; take one of {', '.join(kinds)}"
    for option in kinds.get(kind, []):
        if not site.get(option):
            yield f"nginx_sites: {name} needs {option}, since its kind is {kind}"
    if site.get("redirect_names") and not site["names"]:
        yield f"nginx_sites: {name} has redirect_names and needs server_names, to whose first they lead"
    if site["tls"] and not site["tls"]["key"]:
        yield f"nginx_sites: {name} needs both certificate and key in tls"
    for place in [site, *site["places"]]:
        where = f"{name} {place['path']}" if "path" in place else name
        if place.get("rate_limit") and place["rate_limit"] not in zones:
            yield f"nginx_sites: {where} has the rate_limit {place['rate_limit']}, which nginx_rate_limits lacks"
        if place.get("basic_auth") and place["basic_auth"] not in users:
            yield f"nginx_sites: {where} has the basic_auth {place['basic_auth']}, which nginx_basic_auth lacks"
        if place.get("upstream") and not ADDRESS.fullmatch(str(place["upstream"])):
            yield (
                f"nginx_sites: {where} has the upstream {place['upstream']}; take host:port, unix:/path or a name of"
                " nginx_upstreams, and upstream_scheme for https"
            )


def of_names(sites: list[dict[str, Any]]) -> Iterator[str]:
    """One site for each name: nginx only warns and serves the first."""
    for name, times in Counter(str(site["name"]) for site in sites).items():
        if times > 1:
            yield f"nginx_sites: {name} is listed {times} times; give each site a name of its own"
    claims: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        every = [*site["names"], *(site.get("redirect_names") or [])] or ["any name"]
        for listen in {*site["http"], *site["https"]}:
            for name in every:
                claims.setdefault((listen, name), []).append(str(site["name"]))
    seen: set[str] = set()
    for (_listen, name), owners in claims.items():
        text = f"nginx_sites: {' and '.join(owners)} answer to {name} on the same address; leave it to one of them"
        if len(owners) > 1 and text not in seen:
            seen.add(text)
            yield text


def of_certificates(sites: list[dict[str, Any]], found: list[str]) -> Iterator[str]:
    files = {line.removeprefix("file ") for line in found if line.startswith("file ")}
    served = {line.removeprefix("tls ").rsplit("/", 1)[-1] for line in found if line.startswith("tls ")}
    for site in sites:
        tls = site["tls"] or {}
        missing = [tls[part] for part in ("certificate", "key") if tls and tls[part] not in files]
        if missing and f"{site['name']}.conf" in served:
            yield (
                f"nginx_sites: {' and '.join(missing)} of {site['name']} are gone while the site is served by TLS;"
                " put them back, or take the certificate out of the site"
            )
        elif missing and tls["own"]:
            yield f"nginx_sites: {' and '.join(missing)} of {site['name']} do not exist on the host; put them there"


def split(listen: str) -> tuple[str, str]:
    address, _colon, port = listen.rpartition(":") if not listen.isdigit() else ("", ":", listen)
    return address, port


def of_ports(listens: list[str], found: list[str]) -> Iterator[str]:
    wanted = {split(listen) for listen in listens}
    seen: set[str] = set()
    for line in found:
        word, _blank, rest = line.partition(" ")
        local, _blank, processes = rest.partition(" ")
        holder = re.search(r'\("([^"]+)",pid=(\d+)', processes)
        if word != "listen" or not holder or holder[1] == "nginx":
            continue
        there, port = split(local)
        clash = [a for a, p in wanted if p == port and (a == there or a in WILDCARDS or there in WILDCARDS)]
        text = (
            f"port {port} is in use by {holder[1]} (process {holder[2]}); stop it, or let nginx listen on another port"
        )
        if clash and text not in seen:
            seen.add(text)
            yield text


def nginx_problems(
    sites: list[dict[str, Any]],
    found: list[str] | None = None,
    kinds: dict[str, list[str]] | None = None,
    zones: list[str] | None = None,
    users: list[str] | None = None,
    listens: list[str] | None = None,
) -> list[str]:
    every = [*(listens or []), *(listen for site in sites for listen in [*site["http"], *site["https"]])]
    problems = [problem for site in sites for problem in of_shape(site, kinds or {}, zones or [], users or [])]
    # What follows would only repeat it in other words.
    return problems or [*of_names(sites), *of_certificates(sites, found or []), *of_ports(every, found or [])]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"nginx_problems": nginx_problems}
