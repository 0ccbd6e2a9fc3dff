# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: certbot_problems
short_description: What is wrong with a list of certificates
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns one sentence for each mistake in the variables of the certbot role, so that it can refuse them before it
    changes anything or asks a certificate authority.
  - Looks into the certificates and keys that elements bring, and never tells what is in a key.
options:
  _input:
    description: Certificates, as in C(certbot_certificates).
    type: list
    elements: dict
    required: true
  settings:
    description: Values of the role, as for P(slipway.laravel.certbot_certificates#filter), and C(terms_agreed).
    type: dict
    required: true
"""

EXAMPLES = r"""
problems: "{{ certbot_certificates | slipway.laravel.certbot_problems(settings) }}"
"""

RETURN = r"""
_value:
  description: The mistakes.
  type: list
  elements: str
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.certbot import (
    DIRECTORIES,
    OWN_CREDENTIALS,
    completed,
    is_address,
    own,
)

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# A certificate authority knows names with a dot; a private network may do with less.
PUBLIC = re.compile(rf"(\*\.)?({LABEL}\.)+(?!\d+$){LABEL}")
PRIVATE = re.compile(rf"(\*\.)?({LABEL}\.)*{LABEL}")


def of_names(item: dict[str, Any], says: str) -> Iterator[str]:
    if not item["domains"]:
        yield f"{says} needs domains, the names that it is for"
    for domain in sorted({domain for domain in item["domains"] if item["domains"].count(domain) > 1}):
        yield f"{says} lists {domain} twice; keep one"
    public = item["source"] == "acme"
    for domain in item["domains"]:
        well = len(domain) <= 253 and (PUBLIC if public else PRIVATE).fullmatch(domain)
        if not well and (public or not is_address(domain)):
            yield f"{says} lists {domain!r}, which is no DNS name in small letters{' with a dot' if public else ''}"


def of_acme(item: dict[str, Any], settings: dict[str, Any], says: str) -> Iterator[str]:
    if not re.fullmatch(r"https://[^\s/]+\S*", item["directory"]):
        yield f"{says} has the directory {item['directory']!r}; use {', '.join(DIRECTORIES)} or a URL with https"
    if item["method"] != "dns":
        for domain in item["domains"]:
            if domain.startswith("*."):
                yield f"{says} lists {domain}, which only the method dns proves, not {item['method']}"
        return
    provider = item["dns_provider"]
    if not re.fullmatch(r"[a-z0-9]+", provider):
        yield f"{says} has the method dns and needs dns_provider, such as cloudflare, not {provider!r}"
    elif provider not in settings["credentials"] and provider not in OWN_CREDENTIALS:
        yield f"{says} is proven by {provider}, for which certbot_dns_credentials has nothing"


def of_certificate(given: dict[str, Any], settings: dict[str, Any]) -> Iterator[str]:
    item = completed(given, settings)
    says = f"certificate {item['name']}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", item["name"]) or ".." in item["name"]:
        yield f"certbot_certificates names {item['name']!r}; use small letters, digits and . _ -"
    if item["state"] == "absent":
        return
    yield from of_names(item, says)
    if item["source"] == "acme":
        yield from of_acme(item, settings, says)
    elif item["source"] == "own":
        try:
            own(given)
        except ValueError as error:
            yield f"{says} {error}"


def certbot_problems(certificates: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """One sentence for each mistake."""
    all_names = [str(item["name"]) for item in certificates]
    found = [
        f"certbot_certificates lists {name} twice; keep one"
        for name in sorted(set(all_names))
        if all_names.count(name) > 1
    ]
    items = [completed(item, settings) for item in certificates]
    if any(item["source"] == "acme" and item["state"] == "present" for item in items):
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(settings["email"])):
            found.append(
                f"certbot_email has to be an address to which the authority can write, not {settings['email']!r}"
            )
        if not settings["terms_agreed"]:
            found.append(
                "certbot_terms_agreed has to be true: the certificate authority issues to those who agree to its terms"
            )
    return found + [problem for item in certificates for problem in of_certificate(item, settings)]


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"certbot_problems": certbot_problems}
