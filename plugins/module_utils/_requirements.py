# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host has what a release asks for: PHP or Node, extensions, and the keys of its environment.

Private to this collection. What a host has is one thing, and what a release asks for another: so the host that builds
can compare all hosts with the commit before it builds it.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import hmac
import json
import os
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi, _fpm_scripts, _probe
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import compiled
from ansible_collections.slipway.laravel.plugins.module_utils._versions import satisfies

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

# PHP builds these into its command line alone, where they are no modules (config.m4 of each; so does Debian with pcntl,
# which Horizon requires). Composer's own check of the platform asks for them there only.
_COMMAND_LINE = ("pcntl", "readline")
_FPM = "PHP-FPM"

# How a file that was named gets a value. In laravel_env alone it would stand in the place of all that is kept by hand.
THERE = "there, or, where the inventory has laravel_env, to that, and run the site playbook"

_PHP = "echo \"\\nslipway:\" . json_encode(['version' => PHP_VERSION, 'extensions' => get_loaded_extensions()]);"


def is_node(module: AnsibleModule) -> bool:
    """Say whether the application is one of Node, which has neither PHP nor Laravel's names in its ``.env``."""
    return bool(module.params.get("kind") == "node")


def program_output(module: AnsibleModule, argv: list[str], environment: dict[str, str]) -> str:
    """Return what a program prints.

    :raises OSError: it cannot be run, or fails
    """
    rc, out, err = module.run_command(argv, environ_update=environment, handle_exceptions=False, cwd="/")
    if rc != 0:
        raise OSError(f"it exited {rc}: {' '.join((err or out).split())[:300]}")
    return str(out)


def read_env(layout: Layout) -> dict[str, str]:
    """Return the values of the shared ``.env``.

    :raises OSError: it cannot be read
    """
    with open(os.path.join(layout.shared_dir, ".env"), encoding="utf-8") as handle:
        return _probe.parse_dotenv(handle.read())


def offer_of(module: AnsibleModule, layout: Layout, environment: dict[str, str]) -> dict[str, Any]:
    """Return what this host has for a release.

    ``kind`` is that of the application. ``interpreters`` has by name the ``version`` of each, and the ``extensions`` of
    PHP, on the command line and by PHP-FPM, which may differ; ``problem`` says why there is none, and ``note`` why
    PHP-FPM is missing. ``env`` has the ``path`` of the shared ``.env``, its ``keys`` and what of it a ``front_end`` is
    built with, or the ``problem`` of reading it; None where it does not count. Its ``prints`` tell hosts with another
    value apart, and nobody what it is. ``optional`` and ``differing`` have the patterns of keys that need not be there,
    and that may differ. Nothing of it is secret.
    """
    offer: dict[str, Any] = {"kind": module.params["kind"], "interpreters": {}, "problem": "", "note": ""}
    offer.update(optional=module.params["optional_env"], differing=module.params["differing_env"])
    node = is_node(module)
    name = "node" if node else "php"
    program = module.params[name]
    try:
        told = program_output(module, [program, "--version"] if node else [program, "-r", _PHP], environment)
        offer["interpreters"]["Node" if node else program] = {"version": told.strip()} if node else _told(told)
    except (OSError, ValueError) as exc:
        offer["problem"] = f"{program} cannot be run: {exc}; install it, or correct release_{name}"
    if not node:
        _ask_fpm(module, layout, offer)
    # The environment of Node may be of the unit that runs it, which only root can read.
    own = not node or ".env" in module.params["shared_files"]
    offer["env"] = _env(layout, module.params["env_salt"]) if own else None
    # A driver in the environment may be called like an extension; blotted out here, it would count as missing.
    module.no_log_values -= {name for told in offer["interpreters"].values() for name in told.get("extensions", [])}
    return offer


def _ask_fpm(module: AnsibleModule, layout: Layout, offer: dict[str, Any]) -> None:
    address = module.params["fpm_socket"]
    code = f"<?php\n{_PHP}\n"
    script = _fpm_scripts.path_of(layout, "runtime", code)
    if not address or (module.check_mode and not os.path.isfile(script)):
        return
    try:
        _fpm_scripts.write(layout, "runtime", code)
        offer["interpreters"][_FPM] = _told(_fastcgi.get(address, script, timeout=_probe.PATIENCE).body)
    except (_fastcgi.FastCGIError, OSError, ValueError) as exc:
        # A pool of another user may not read it. The probe of the release will show what is missing there.
        offer["note"] = f"PHP-FPM does not tell its version and extensions: {exc}"


def _told(text: str) -> dict[str, Any]:
    answer = json.loads(text.rpartition("slipway:")[2])
    return {"version": answer["version"], "extensions": sorted(_name(extension) for extension in answer["extensions"])}


def _env(layout: Layout, salt: str) -> dict[str, Any]:
    path = os.path.join(layout.shared_dir, ".env")
    try:
        values = read_env(layout)
    except (OSError, ValueError) as exc:
        return {"path": path, "keys": [], "problem": str(exc), "front_end": "", "prints": {}}
    # Encoded: where a secret of the module is a part of a value, Ansible would put stars into it, and a build as well.
    front_end = base64.b64encode(json.dumps(compiled(values)).encode()).decode()
    prints = {key: _print(salt, key, value) for key, value in sorted(values.items()) if value} if salt else {}
    return {"path": path, "keys": sorted(values), "problem": "", "front_end": front_end, "prints": prints}


def _print(salt: str, key: str, value: str) -> str:
    """Return what is the same for the same value, in one run: whoever does not know its salt learns nothing."""
    return hmac.new(salt.encode(), f"{key}={value}".encode(), hashlib.sha256).hexdigest()[:16]


def front_end_values(layout: Layout, offers: dict[str, Any]) -> dict[str, str]:
    """Return what a front end is built with of the application's ``.env``.

    :param layout: of the host that builds, whose own ``.env`` counts if it has one
    :param offers: what the hosts of the release have; where the build host has no ``.env``, the first one's counts
    """
    with contextlib.suppress(OSError, ValueError):
        return compiled(read_env(layout))
    for offer in offers.values():
        encoded = ((offer or {}).get("env") or {}).get("front_end")
        if encoded:
            values: dict[str, str] = json.loads(base64.b64decode(encoded))
            return values
    return {}


def different(offers: dict[str, Any]) -> tuple[str, str]:
    """Return what stops a release where hosts have another value of a key of ``.env``, and what is only told.

    An APP_KEY that some hosts get in another way than by ``.env`` is not known here.
    """
    told = {host: offer for host, offer in offers.items() if offer and (offer["env"] or {}).get("prints")}
    meant = {pattern for offer in told.values() for pattern in offer["differing"]}
    parted: dict[tuple[str, ...], list[str]] = {}
    problem = ""
    for key in sorted({key for offer in told.values() for key in offer["env"]["prints"]}):
        alike: dict[str, list[str]] = {}
        for host, offer in told.items():
            alike.setdefault(offer["env"]["prints"].get(key, ""), []).append(host)
        is_key = key == "APP_KEY" and all(offer["kind"] == "laravel" for offer in told.values())
        if is_key:
            alike.pop("", None)
        if len(alike) < 2 or key == "APP_PREVIOUS_KEYS" or any(fnmatch.fnmatchcase(key, name) for name in meant):
            continue
        groups = tuple(", ".join(hosts) for hosts in alike.values())
        if is_key:
            problem = (
                f"the hosts have another APP_KEY each ({' / '.join(groups)}): what one of them has encrypted, such as "
                f"sessions, another cannot read; run the site playbook on all of them, or correct their .env; or name "
                f"it in release_differing_env, when they have nothing in common"
            )
        else:
            parted.setdefault(groups, []).append(key)
    if not parted:
        return problem, ""
    listed = "; ".join(f"{', '.join(keys)} ({' / '.join(groups)})" for groups, keys in parted.items())
    return problem, (
        f"the hosts have another .env each: {listed}; run the site playbook on all of them, or correct it; or name "
        f"what is meant to differ in release_differing_env"
    )


def unmet(offer: dict[str, Any], requires: dict[str, Any], warn: Callable[[str], None]) -> list[str]:
    """Return everything that a release asks for and a host does not have.

    :param offer: what the host has, by ``offer_of``
    :param requires: ``php``, a constraint or a list of them; ``extensions``; ``env_keys``; ``node``
    :param warn: gets what cannot be compared
    """
    node = offer["kind"] == "node"
    wanted = requires.get("node" if node else "php") or []
    constraints = [wanted] if isinstance(wanted, str) else [str(constraint) for constraint in wanted]
    extensions = [] if node else [_name(extension) for extension in requires.get("extensions") or []]
    found = []
    if constraints or extensions:
        if offer["note"]:
            warn(offer["note"])
        found = [offer["problem"]] if offer["problem"] else []
    for where, told in offer["interpreters"].items():
        for constraint in constraints:
            if not _met(constraint, told["version"], node, warn):
                remedy = f"install another {'Node' if node else 'PHP'}, or another release_version"
                found.append(f"{where} is {told['version']}, the release asks for {constraint}; {remedy}")
    for extension in extensions:
        lacking = [
            where
            for where, told in offer["interpreters"].items()
            if extension not in told["extensions"] and not (where == _FPM and extension in _COMMAND_LINE)
        ]
        if lacking:
            found.append(
                f"{' and '.join(lacking)} {'have' if lacking[1:] else 'has'} no extension {extension}, which "
                f"the release asks for; install and enable it"
            )
    return found + _missing_keys(offer, requires.get("env_keys") or [])


def _name(extension: str) -> str:
    """Return the name of an extension as Composer writes it, without its ``ext-``."""
    name = extension.lower().replace(" ", "-")
    return name[len("ext-") :] if name.startswith("ext-") else name


def _met(constraint: str, version: str, npm: bool, warn: Callable[[str], None]) -> bool:
    try:
        return satisfies(constraint, version, npm)
    except ValueError as exc:
        # Composer or npm accepts it, or the build will tell.
        warn(f"the constraint {constraint!r} is not checked: {exc}")
        return True


def _missing_keys(offer: dict[str, Any], keys: list[str]) -> list[str]:
    env = offer["env"]
    wanted = [key for key in keys if not any(fnmatch.fnmatchcase(key, pattern) for pattern in offer["optional"])]
    if not env or not wanted:
        return []
    if env["problem"]:
        return [f"{env['path']} cannot be read: {env['problem']}; the release asks for {', '.join(wanted)}; write it"]
    missing = [key for key in wanted if key not in env["keys"]]
    if not missing:
        return []
    return [
        f"{env['path']} has no {', '.join(missing)}, which .env.example of the release names; add them "
        f"{THERE}; or to release_optional_env, when they need not be there"
    ]
