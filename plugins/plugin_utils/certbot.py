# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters of the certbot role know about certificates: how one is asked for, and what a given one holds."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

DIRECTORIES = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
# Their plugins find the credentials elsewhere, and one of them takes no file at all.
OWN_CREDENTIALS = ("google", "route53")


def completed(item: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """An element of certbot_certificates with everything that it may leave out, and without its key."""
    given = {key: value for key, value in item.items() if value is not None}
    method = str(given.get("method", settings["method"]))
    directory = str(given.get("directory", settings["directory"]))
    return {
        "name": str(given["name"]),
        "state": str(given.get("state", "present")),
        "source": str(given.get("source", "acme")),
        "domains": [str(domain) for domain in given.get("domains", [])],
        "directory": DIRECTORIES.get(directory, directory),
        "method": method,
        "authenticator": f"dns-{given.get('dns_provider', '')}" if method == "dns" else method,
        "webroot": str(settings["webroot"]),
        "key_type": str(given.get("key_type", settings["key_type"])),
        "dns_provider": str(given.get("dns_provider", "")),
        "dns_propagation_seconds": given.get("dns_propagation_seconds"),
        "options": [str(option) for option in given.get("options", [])],
    }


def own(item: Mapping[str, Any]) -> x509.Certificate:
    """The certificate of an element that brings its own; ValueError says in words what is wrong with it."""
    # ansible-core needs it on every controller. It takes longer to load than all filters of this collection, and who
    # asks for one of them by its name loads those that stand before it.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    pem, key_pem = str(item.get("certificate") or ""), str(item.get("private_key") or "")
    if not pem or not key_pem:
        raise ValueError("has the source own, which needs certificate and private_key, the contents of two PEM files")
    if "ENCRYPTED" in key_pem:
        raise ValueError("has a private_key with a passphrase, which nobody types when nginx starts; decrypt it")
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("has a private_key that is not a key in PEM; give the content of the file") from None
    try:
        # nginx sends the file as it is: the certificate itself first, those that vouch for it after it.
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ValueError("has a certificate that is not one in PEM; give the content of the file") from None
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != found.public_key().public_bytes(*spki):
        raise ValueError("has a private_key that does not belong to the first certificate; give the pair of one order")
    if expiry(found) <= datetime.datetime.now(datetime.UTC):
        raise ValueError(f"has a certificate that expired on {expiry(found):%Y-%m-%d}; give the renewed one")
    missing = [domain for domain in item.get("domains") or [] if not covers(names(found), domain)]
    if missing:
        has = ", ".join(names(found)) or "no name"
        raise ValueError(f"lists {', '.join(missing)}, which its certificate does not cover (it has {has})")
    return found


def expiry(certificate: x509.Certificate) -> datetime.datetime:
    try:
        return certificate.not_valid_after_utc
    except AttributeError:  # before cryptography 42
        return certificate.not_valid_after.replace(tzinfo=datetime.UTC)


def names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def covers(has: list[str], domain: str) -> bool:
    return domain in has or f"*.{domain.partition('.')[2]}" in has


def is_address(domain: str) -> bool:
    try:
        ipaddress.ip_address(domain)
    except ValueError:
        return False
    return True
