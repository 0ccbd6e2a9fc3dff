# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: certbot_certificates
short_description: Certificates with everything that they leave out, and how certbot is asked for them
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Completes the elements of C(certbot_certificates), and adds the arguments of C(certbot certonly).
  - Certificates and private keys that an element brings are left out, so that the result is no secret.
options:
  _input:
    description: Certificates, as in C(certbot_certificates).
    type: list
    elements: dict
    required: true
  settings:
    description:
      - Values of the role, namely C(directory), C(method), C(key_type), C(webroot), C(email), the names of the
        DNS providers in C(credentials), and C(eab), which says that certbot reads a file with the external account.
    type: dict
    required: true
"""

EXAMPLES = r"""
wanted: "{{ certbot_certificates | slipway.laravel.certbot_certificates(settings) }}"
"""

RETURN = r"""
_value:
  description:
    - The certificates. C(arguments) asks for one, C(method_arguments) prove by its own method that the names are
      under control.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.certbot import completed, is_address

ETC = "/etc/letsencrypt/slipway"


def arguments(item: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """What certbot needs to know besides the method."""
    argv: list[str] = ["certonly", "--non-interactive", "--cert-name", item["name"], "--server", item["directory"]]
    # What leads to this call is that the certificate is not as wanted; how long it has to go does not matter.
    argv += ["--force-renewal", "--renew-with-new-domains"]
    argv += ["--agree-tos", "--no-eff-email", "--email", settings["email"]]
    if settings["eab"]:
        argv += ["--config", f"{ETC}/eab.ini"]
    if item["key_type"].startswith("rsa"):
        argv += ["--key-type", "rsa", "--rsa-key-size", item["key_type"].removeprefix("rsa")]
    else:
        argv += ["--key-type", "ecdsa", "--elliptic-curve", item["key_type"]]
    for domain in item["domains"]:
        argv += ["--domain", domain]
    argv += item["options"]
    return argv


def method_arguments(item: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    if item["method"] == "webroot":
        return ["--webroot", "--webroot-path", item["webroot"]]
    if item["method"] != "dns":
        return [f"--{item['method']}"]
    plugin = f"--dns-{item['dns_provider']}"
    argv = [plugin]
    if item["dns_provider"] in settings["credentials"]:
        argv += [f"{plugin}-credentials", f"{ETC}/dns-{item['dns_provider']}.ini"]
    if item["dns_propagation_seconds"] is not None:
        argv += [f"{plugin}-propagation-seconds", str(item["dns_propagation_seconds"])]
    return argv


def certbot_certificates(certificates: list[dict[str, Any]], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """All certificates, completed."""
    found = []
    for item in (completed(item, settings) for item in certificates):
        if item["source"] == "acme":
            item["arguments"] = arguments(item, settings)
            item["method_arguments"] = method_arguments(item, settings)
        item["subject_alt_name"] = [f"{'IP' if is_address(domain) else 'DNS'}:{domain}" for domain in item["domains"]]
        found.append(item)
    return found


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"certbot_certificates": certbot_certificates}
