#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates_info
short_description: Tell how certificates on a host differ from those that are wanted
version_added: 0.1.0
description:
  - Reads all certificates of a host in one run, those of certbot and those below C(/etc/ssl/slipway), with the settings
    by which certbot renews them, and says for each what has to be done and what is wrong.
  - A certificate that is not there is no failure, nor is a host without certbot.
author:
  - The slipway.laravel authors (@slipway)
options:
  certificates:
    description: The certificates, as P(slipway.laravel.certbot_certificates#filter) completes them.
    type: list
    elements: dict
    required: true
  valid_days:
    description: Days that every certificate has to be valid for.
    type: int
    default: 14
  etc:
    description: Directory in which the configuration of the services lies.
    type: path
    default: /etc
  https_port:
    description: Port on which nginx is asked for the certificates that its configuration names; 0 asks nobody.
    type: int
    default: 443
requirements:
  - python3-cryptography, on hosts that have a certificate
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Read the certificates
  slipway.laravel.certificates_info:
    certificates: "{{ certbot_certificates | slipway.laravel.certbot_certificates(settings) }}"
  register: found
"""

RETURN = r"""
certificates:
  description: What was found, in the order in which it was asked for.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the certificate.
      type: str
      returned: always
    source:
      description: Where it comes from.
      type: str
      returned: always
    exists:
      description: Whether there is one.
      type: bool
      returned: always
    path:
      description: Directory of fullchain.pem and privkey.pem.
      type: str
      returned: always
    domains:
      description: Names that it is valid for.
      type: list
      elements: str
      returned: when there is one
    expires:
      description: Until when it is valid, in UTC.
      type: str
      returned: when there is one
    days_left:
      description: For how many days that is.
      type: int
      returned: when there is one
    differs:
      description: Why it has to be issued again.
      type: list
      elements: str
      returned: always
    refused:
      description: Why that must not be done, and how to go on.
      type: list
      elements: str
      returned: always
    faults:
      description: What users of the certificate would suffer from.
      type: list
      elements: str
      returned: always
port80_free:
  description: Whether no process listens on port 80.
  returned: success
  type: bool
nginx_valid:
  description: Whether nginx is there and accepts its configuration.
  returned: success
  type: bool
"""

import datetime
import glob
import os
import re
import socket
import ssl
import stat
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.hazmat.backends import default_backend
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

NGINX = "/usr/sbin/nginx"


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


class Found:
    """A certificate file with its key."""

    def __init__(self, folder: str) -> None:
        self.key_path = os.path.join(folder, "privkey.pem")
        self.certificate = x509.load_pem_x509_certificate(
            read(os.path.join(folder, "fullchain.pem")), default_backend()
        )
        self.starts = self._utc("not_valid_before")
        self.expires = self._utc("not_valid_after")
        self.now = datetime.datetime.now(datetime.timezone.utc)

    def _utc(self, name: str) -> datetime.datetime:
        # The first is of cryptography 42 and newer.
        found: datetime.datetime = getattr(self.certificate, name + "_utc", None) or getattr(self.certificate, name)
        return found.replace(tzinfo=datetime.timezone.utc)

    @property
    def days_left(self) -> int:
        return (self.expires - self.now).days

    @property
    def names(self) -> list[str]:
        try:
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
        return list(found.get_values_for_type(x509.DNSName)) + addresses

    @property
    def key_type(self) -> str:
        key = self.certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            return f"rsa{key.key_size}"
        return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__

    @property
    def key_fits(self) -> bool:
        spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        try:
            key = serialization.load_pem_private_key(read(self.key_path), None, default_backend())
        except (OSError, ValueError, TypeError):
            return False
        return key.public_key().public_bytes(*spki) == self.certificate.public_key().public_bytes(*spki)

    @property
    def open_to_others(self) -> bool:
        found = os.stat(self.key_path)
        # certbot lets a group in that an operator has given the key to; nobody else may.
        return bool(stat.S_IMODE(found.st_mode) & 0o007) or found.st_uid != os.geteuid()

    def is_due(self, days: float) -> bool:
        """Less than that to go, where it was issued for so long; a short-lived one has until its last third."""
        third = (self.expires - self.starts) / 3
        return self.expires - self.now < min(datetime.timedelta(days=days), third)


def covers(has: list[str], domain: str) -> bool:
    return domain in has or "*." + domain.partition(".")[2] in has


def renewal(path: str) -> dict[str, str]:
    """How certbot renews a certificate."""
    try:
        text = read(path).decode()
    except OSError:
        return {}
    found = {key: value.strip().strip(",") for key, value in re.findall(r"^(\w+) = (.*)$", text, re.M)}
    of_map = text.partition("[[webroot_map]]")[2]
    roots = set(re.findall(r"^\S+ = (.+)$", of_map, re.M)) or {found.get("webroot_path", "")}
    return {
        "directory": found.get("server", ""),
        "authenticator": found.get("authenticator", ""),
        "webroot": ",".join(sorted(roots)),
    }


def users(etc: str, folder: str) -> list[str]:
    """Files of nginx that name the certificate."""
    patterns = ("nginx/nginx.conf", "nginx/sites-enabled/*", "nginx/conf.d/*.conf")
    found = []
    for path in sorted(path for pattern in patterns for path in glob.glob(os.path.join(etc, pattern))):
        try:
            if (folder + "/").encode() in read(path):
                found.append(path)
        except OSError:
            continue
    return found


def listens(port: int) -> bool:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = read(table).decode().splitlines()[1:]
        except OSError:
            continue
        # Local address and state; 0A is LISTEN.
        if any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines):
            return True
    return False


def served(port: int, name: str) -> bytes | None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=5)
        with plain, context.wrap_socket(plain, server_hostname=name) as connection:
            return connection.getpeercert(binary_form=True)
    except OSError:
        return None


class Certificate:
    """One certificate: what is wanted, what is there, and the difference in words."""

    def __init__(self, wanted: dict[str, Any], module: AnsibleModule) -> None:
        self.wanted = wanted
        self.etc = module.params["etc"]
        self.valid_days = module.params["valid_days"]
        self.port = module.params["https_port"]
        self.acme = wanted["source"] == "acme"
        above = "letsencrypt/live" if self.acme else "ssl/slipway"
        self.folder = os.path.join(self.etc, above, wanted["name"])
        self.exists = os.path.exists(os.path.join(self.folder, "fullchain.pem"))
        self.says = "certificate {}".format(wanted["name"])
        self.renewal = (
            renewal(os.path.join(self.etc, "letsencrypt/renewal", wanted["name"] + ".conf")) if self.acme else {}
        )
        self.broken = ""
        self.found: Found | None = None
        if self.exists:
            if not HAS_CRYPTOGRAPHY:
                module.fail_json(msg=missing_required_lib("cryptography"))
            try:
                self.found = Found(self.folder)
            except (OSError, ValueError) as error:
                self.broken = f"it cannot be read ({error})"

    def differs(self) -> list[str]:
        wanted, found = self.wanted, self.found
        if wanted["state"] == "absent":
            return []
        if not found:
            return [self.broken or "there is none"]
        reasons = []
        has, wants = sorted(found.names), sorted(wanted["domains"])
        if has != wants:
            reasons.append("it is for {}, not {}".format(", ".join(has), ", ".join(wants)))
        if found.key_type != wanted["key_type"]:
            reasons.append("its key is {}, not {}".format(found.key_type, wanted["key_type"]))
        if not found.key_fits:
            reasons.append("its key does not belong to it")
        # certbot's timer renews long before; a self-signed one is renewed by nobody else.
        if found.is_due(self.valid_days if self.acme else 36500):
            reasons.append(f"it expires on {found.expires:%Y-%m-%d}")
        return reasons + (self.renewal_differs() if self.acme else [])

    def renewal_differs(self) -> list[str]:
        words = {"directory": "it is renewed from", "authenticator": "it is renewed by", "webroot": "it is proven in"}
        keys = ["directory", "authenticator"] + (["webroot"] if self.wanted["method"] == "webroot" else [])
        return [
            "{} {}, not {}".format(words[key], self.renewal.get(key) or "nothing", self.wanted[key])
            for key in keys
            if self.renewal.get(key) != self.wanted[key]
        ]

    def refused(self) -> list[str]:
        if self.acme and self.wanted["authenticator"] == "standalone" and self.differs() and listens(80):
            text = "{0} has the method standalone, for which port 80 has to be free; use webroot beside a web server"
            return [text.format(self.says)]
        if not self.exists:
            return []
        if self.wanted["state"] == "absent":
            named = users(self.etc, self.folder)
            text = "{0} is absent in certbot_certificates, but {1} uses it; take it out of nginx first"
            return [text.format(self.says, ", ".join(named))] if named else []
        before, after = self.renewal.get("directory", ""), self.wanted["directory"]
        if self.acme and "staging" in after and before and "staging" not in before:
            text = "{} comes from {}; staging would replace it by one that no browser trusts (make it absent first)"
            return [text.format(self.says, before)]
        return []

    def faults(self) -> list[str]:
        if self.wanted["state"] == "absent":
            return [f"{self.says} is still in {self.folder}"] if self.exists else []
        if not self.found:
            return ["{} is not in {}: {}".format(self.says, self.folder, self.broken or "there is none")]
        found, faults = self.found, []
        missing = [domain for domain in self.wanted["domains"] if not covers(found.names, domain)]
        if missing:
            faults.append("{} does not cover {}".format(self.says, ", ".join(missing)))
        if not found.key_fits:
            faults.append(f"{self.says} has a key that does not belong to it")
        elif found.open_to_others:
            faults.append(f"{self.says} has a key that others than root may read ({found.key_path})")
        if found.days_left < self.valid_days:
            text = "{0} expires on {1:%Y-%m-%d}, in {2} days, and {3} are wanted (certbot_valid_days); {4}"
            remedy = "see journalctl --unit certbot" if self.acme else "renew it"
            faults.append(text.format(self.says, found.expires, found.days_left, self.valid_days, remedy))
        return faults + self.stale()

    def stale(self) -> list[str]:
        """nginx names the certificate, but serves another: it was not reloaded."""
        if not self.port or not self.found or not users(self.etc, self.folder):
            return []
        wanted = self.found.certificate.public_bytes(serialization.Encoding.DER)
        asked = [domain.replace("*", "www", 1) for domain in self.wanted["domains"]]
        # A reload is not awaited by those who ask for it, and old workers answer until the new ones do.
        for pause in (0, 0.2, 0.5, 1, 2):
            time.sleep(pause)
            answers = [served(self.port, name) for name in asked]
            if not any(answers) or wanted in answers:
                return []
        return ["{} is on disk, but nginx serves another for {}; reload it".format(self.says, ", ".join(asked))]

    def state(self) -> dict[str, Any]:
        found = self.found
        more = (
            {}
            if not found
            else {
                "domains": found.names,
                "expires": found.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "days_left": found.days_left,
            }
        )
        # What others bring has no settings to compare with; it is written, and then judged.
        differs = [] if self.wanted["source"] == "own" else self.differs()
        return dict(
            more,
            name=self.wanted["name"],
            source=self.wanted["source"],
            exists=self.exists,
            path=self.folder,
            differs=differs,
            refused=self.refused(),
            faults=self.faults(),
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "dict", "required": True},
            "valid_days": {"type": "int", "default": 14},
            "etc": {"type": "path", "default": "/etc"},
            "https_port": {"type": "int", "default": 443},
        },
        supports_check_mode=True,
    )
    module.exit_json(
        certificates=[Certificate(wanted, module).state() for wanted in module.params["certificates"]],
        port80_free=not listens(80),
        nginx_valid=os.path.exists(NGINX) and module.run_command([NGINX, "-t", "-q"])[0] == 0,
    )


if __name__ == "__main__":
    main()
