# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An artifact that is there already: fetched by its address, checked, and read for what it needs of a host.

Private to this collection.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import tarfile
import time
import urllib.error
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import parse_dotenv
from ansible_collections.slipway.laravel.plugins.module_utils._layout import MANIFEST

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Seconds without any data.
_TIMEOUT = 30
_ATTEMPTS = 3
_BLOCK = 1024 * 1024

# By Composer, from all packages together: the lock may need more than composer.json says.
_PLATFORM_CHECK = "vendor/composer/platform_check.php"
# What of a commit says what it needs; a build adds the rest.
SOURCES = ("composer.json", "composer.lock", "package.json", ".env.example")
_READ = (*SOURCES, MANIFEST, "REVISION", _PLATFORM_CHECK)
# A constraint of one lower bound, as nearly all applications have it.
_LOWER_BOUND = re.compile(r"\s*(?:\^|~|>=)\s*v?(\d+)(?:\.(\d+))?(?:\.(\d+))?\s*")


class ArtifactError(Exception):
    """The artifact cannot be had or is not what it must be; the message says what, where and the remedy."""


def shown_address(address: str) -> str:
    """Return an address without what may be secret in it: user, password, and the query that signs it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(not an address)"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def take_address(module: AnsibleModule) -> str:
    """Return the parameter ``artifact_url``, and replace it by what may be shown of it."""
    address: str = module.params["artifact_url"]
    shown = shown_address(address)
    module.params["artifact_url"] = shown
    if shown == address:
        # Nothing secret is in it: it may be named in messages.
        module.no_log_values.discard(address)
    return address


def check_sha256(sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256 or ""):
        raise ArtifactError(f"sha256 {sha256 or '(none given)'} is not 64 hexadecimal digits; take it from the build")
    return sha256.lower()


def download(address: str, path: str, sha256: str) -> None:
    """Fetch an artifact by HTTP or HTTPS into a file, which is there only when its checksum is right.

    A connection that breaks is tried again, up to three times in all.
    """
    shown, expected = shown_address(address), check_sha256(sha256)
    if urlsplit(shown).scheme not in ("http", "https") or not urlsplit(shown).hostname:
        raise ArtifactError(
            f"release_artifact_url {shown} is no address of a web server; it begins with http:// or https://"
        )
    part = f"{path}.part"
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                found = _stream(address, part)
                break
            except urllib.error.HTTPError as exc:
                problem = f"{shown} answered {exc.code} {exc.reason}"
                if exc.code < 500:
                    raise ArtifactError(f"{problem}; check release_artifact_url and its credentials") from exc
            except (OSError, http.client.HTTPException) as exc:
                if isinstance(exc, OSError) and (exc.filename or exc.errno in (errno.ENOSPC, errno.EDQUOT)):
                    raise ArtifactError(f"{part} cannot be written: {exc.strerror}") from exc
                problem = f"{shown} cannot be read from this host: {getattr(exc, 'reason', None) or exc}"
            if attempt == _ATTEMPTS:
                raise ArtifactError(f"{problem} (tried {_ATTEMPTS} times); check that this host reaches it")
            time.sleep(attempt)
        if found != expected:
            raise ArtifactError(
                f"{shown} has sha256 {found}, not {expected}: it is another artifact, or was damaged; "
                f"nothing was unpacked"
            )
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _stream(address: str, path: str) -> str:
    """Write what an address gives to a file and return its sha256."""
    # Most artifacts come otherwise, and to load it takes as long as half of all the rest.
    from ansible.module_utils.urls import open_url  # noqa: PLC0415

    parts = urlsplit(address)
    userinfo, dummy, server = parts.netloc.rpartition("@")
    headers = {}
    if userinfo:
        user, dummy, password = userinfo.partition(":")
        token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    digest, received = hashlib.sha256(), 0
    url = parts._replace(netloc=server, fragment="").geturl()
    # The login is not for the server that this one may send us to.
    stream = open_url(url, headers=headers, unredirected_headers=["Authorization"], timeout=_TIMEOUT)
    with contextlib.closing(stream) as answer, open(path, "wb") as handle:
        length = answer.headers.get("Content-Length")
        while True:
            block = answer.read(_BLOCK)
            if not block:
                break
            digest.update(block)
            handle.write(block)
            received += len(block)
    if length is not None and received != int(length):
        raise http.client.HTTPException(f"it broke off after {received} of {length} bytes")
    return digest.hexdigest()


def obtain(module: AnsibleModule, address: str, path: str, sha256: str) -> str:
    """Return the path of an artifact on this host, fetched by its address if it is not there yet."""
    if not os.path.isfile(path) or module.sha256(path) != check_sha256(sha256):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        download(address, path, sha256)
    return path


def read_tree(tree: str) -> dict[str, str]:
    """Return the text of the files of a built tree that say what it needs."""
    found = {}
    for name in _READ:
        path = os.path.join(tree, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as handle:
                found[name] = handle.read()
    return found


def read_artifact(path: str) -> dict[str, str]:
    """Return the text of the files in an artifact that say what it is and needs."""
    found = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name[2:] if member.name.startswith("./") else member.name
                handle = archive.extractfile(member) if name in _READ and member.isfile() else None
                if handle:
                    found[name] = handle.read().decode("utf-8", "replace")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise ArtifactError(f"{path} is no tar compressed by gzip that can be read: {exc}") from exc
    return found


def manifest(path: str, files: dict[str, str]) -> dict[str, Any]:
    """Return what an artifact says of itself: at least its commit, which other tools write to REVISION."""
    if MANIFEST in files:
        known: dict[str, Any] = _parse(MANIFEST, files[MANIFEST])
    else:
        known = {"commit": files.get("REVISION", "").strip()}
    if not re.fullmatch(r"[0-9a-f]{40}", str(known.get("commit", ""))):
        raise ArtifactError(
            f"{path} does not say which commit it was built from; make it by release_build, or put the 40 digits "
            f"of the commit into a file REVISION at its top"
        )
    return known


def _mapping(value: Any) -> dict[str, Any]:
    """Return a part of a file that others write, nothing where it has another form than it should."""
    return value if isinstance(value, dict) else {}


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError as exc:
        raise ArtifactError(f"{name} of the release is not valid JSON ({exc}); correct it") from exc
    return _mapping(content)


def requirements(files: dict[str, str], kind: str) -> dict[str, Any]:
    """Return what a release needs of the hosts that it runs on.

    :param files: the files of the release, by name
    :param kind: Node is needed at run time by applications of kind ``node`` alone
    """
    env_keys = list(parse_dotenv(files.get(".env.example", "")))
    if kind == "node":
        engines = _parse("package.json", files.get("package.json", "")).get("engines")
        return {"php": "", "extensions": [], "env_keys": env_keys, "node": str(_mapping(engines).get("node") or "")}
    composer = _parse("composer.json", files.get("composer.json", ""))
    listed = _parse("composer.lock", files.get("composer.lock", "")).get("packages")
    locked = [package for package in listed if isinstance(package, dict)] if isinstance(listed, list) else []
    own = _mapping(composer.get("require"))
    needed = {name for package in locked for name in _mapping(package.get("require")) if name.startswith("ext-")}
    # A polyfill stands in for an extension; the application itself may still ask for the real one.
    for package in locked:
        needed -= {*_mapping(package.get("provide")), *_mapping(package.get("replace"))}
    needed |= {name for name in own if name.startswith("ext-")}
    return {
        "php": _php(str(own.get("php") or ""), _least(locked, files.get(_PLATFORM_CHECK, ""))),
        "extensions": sorted(name[len("ext-") :] for name in needed),
        "env_keys": env_keys,
        "node": "",
    }


def _least(locked: list[dict[str, Any]], platform_check: str) -> tuple[int, int, int]:
    """Return the lowest PHP of all packages together, as Composer has worked it out, or as the lock lets it be seen."""
    found = re.search(r"PHP_VERSION_ID >= (\d+)", platform_check)
    if found:
        number = int(found[1])
        return number // 10000, number // 100 % 100, number % 100
    wanted = (str(_mapping(package.get("require")).get("php") or "") for package in locked)
    # Of several choices any may be the one.
    return max([(0, 0, 0), *(_bound(single) for single in map(_LOWER_BOUND.fullmatch, wanted) if single)])


def _bound(single: re.Match[str]) -> tuple[int, int, int]:
    major, minor, patch = (int(digits or 0) for digits in single.groups())
    return major, minor, patch


def _php(constraint: str, least: tuple[int, int, int]) -> str:
    """Return the constraint of composer.json, and the lowest PHP of all packages together where that is higher."""
    single = _LOWER_BOUND.fullmatch(constraint)
    if not any(least) or (single and _bound(single) >= least):
        return constraint
    bound = f">={least[0]}.{least[1]}.{least[2]}"
    # A space means "and" and binds more strongly than "or".
    return " || ".join(f"{choice.strip()} {bound}".strip() for choice in re.split(r"\|\|?", constraint))
