# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host has what a release asks for: PHP or Node, extensions, and the keys of its environment.

Private to this collection.
"""

from __future__ import annotations

import fnmatch
import json
import os
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi
from ansible_collections.slipway.laravel.plugins.module_utils._layout import write_atomic
from ansible_collections.slipway.laravel.plugins.module_utils._preflight import is_node, program_output, read_env
from ansible_collections.slipway.laravel.plugins.module_utils._versions import satisfies

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

_PHP = "echo \"\\nslipway:\" . json_encode(['version' => PHP_VERSION, 'extensions' => get_loaded_extensions()]);"


def requirement_problems(
    module: AnsibleModule, layout: Layout, environment: dict[str, str], requires: dict[str, Any]
) -> list[str]:
    """Return everything that a release asks for and this host does not have.

    :param requires: ``php``, a constraint or a list of them; ``extensions``; ``env_keys``; ``node``
    """
    if is_node(module):
        found = _node_problems(module, environment, requires.get("node") or "")
    else:
        found = _php_problems(module, layout, environment, requires)
    return found + _missing_keys(module, layout, requires.get("env_keys") or [])


def _php_problems(
    module: AnsibleModule, layout: Layout, environment: dict[str, str], requires: dict[str, Any]
) -> list[str]:
    wanted = requires.get("php") or []
    constraints = [wanted] if isinstance(wanted, str) else [str(constraint) for constraint in wanted]
    extensions = requires.get("extensions") or []
    if not constraints and not extensions:
        return []
    places, found = _places(module, layout, environment)
    for where, told in places.items():
        for constraint in constraints:
            if not _met(module, constraint, told["version"]):
                remedy = "install another PHP, or another release_version"
                found.append(f"{where} is {told['version']}, the release asks for {constraint}; {remedy}")
    for extension in extensions:
        lacking = [where for where, told in places.items() if _name(extension) not in told["extensions"]]
        if lacking:
            found.append(
                f"{' and '.join(lacking)} {'have' if lacking[1:] else 'has'} no extension {_name(extension)}, which "
                f"the release asks for; install and enable it"
            )
    return found


def _name(extension: str) -> str:
    """Return the name of an extension as Composer writes it, without its ``ext-``."""
    name = extension.lower().replace(" ", "-")
    return name[len("ext-") :] if name.startswith("ext-") else name


def _places(
    module: AnsibleModule, layout: Layout, environment: dict[str, str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return what PHP says of itself on the command line and by PHP-FPM, which may differ."""
    places: dict[str, dict[str, Any]] = {}
    problems = []
    program = module.params["php"]
    try:
        places[program] = _told(program_output(module, [program, "-r", _PHP], environment))
    except (OSError, ValueError) as exc:
        problems.append(f"{program} cannot be asked for its version: {exc}; install it, or correct release_php")
    if module.params["fpm_socket"] and not module.check_mode:
        script = os.path.join(layout.private_dir, "runtime.php")
        code = f"<?php\n{_PHP}\n"
        # Written when it is not there, or of another version of this collection.
        if not os.path.isfile(script) or os.path.getsize(script) != len(code):
            write_atomic(script, code)
        try:
            places["PHP-FPM"] = _told(_fastcgi.get(module.params["fpm_socket"], script).body)
        except (_fastcgi.FastCGIError, ValueError) as exc:
            # A pool of another user may not read it. The probe of the release will show what is missing there.
            module.warn(f"PHP-FPM does not tell its version and extensions: {exc}")
    return places, problems


def _told(text: str) -> dict[str, Any]:
    answer = json.loads(text.rpartition("slipway:")[2])
    return {"version": answer["version"], "extensions": {_name(extension) for extension in answer["extensions"]}}


def _met(module: AnsibleModule, constraint: str, version: str, npm: bool = False) -> bool:
    try:
        return satisfies(constraint, version, npm)
    except ValueError as exc:
        # Composer or npm has accepted it when the release was built.
        module.warn(f"the constraint {constraint!r} is not checked: {exc}")
        return True


def _node_problems(module: AnsibleModule, environment: dict[str, str], constraint: str) -> list[str]:
    if not constraint:
        return []
    program = module.params["node"]
    try:
        version = program_output(module, [program, "--version"], environment).strip()
    except OSError as exc:
        return [f"{program} cannot be asked for its version: {exc}; install it, or correct release_node"]
    if _met(module, constraint, version, npm=True):
        return []
    return [f"Node is {version}, the release asks for {constraint}; install another Node, or another release_version"]


def _missing_keys(module: AnsibleModule, layout: Layout, keys: list[str]) -> list[str]:
    if is_node(module) and ".env" not in module.params["shared_files"]:
        return []  # Its environment is of the unit that runs it, which only root can read.
    optional = module.params["optional_env"]
    wanted = [key for key in keys if not any(fnmatch.fnmatchcase(key, pattern) for pattern in optional)]
    if not wanted:
        return []
    path = os.path.join(layout.shared_dir, ".env")
    try:
        env = read_env(layout)
    except (OSError, ValueError) as exc:
        return [f"{path} cannot be read: {exc}; the release asks for {', '.join(wanted)}; write it"]
    missing = [key for key in wanted if key not in env]
    if not missing:
        return []
    return [
        f"{path} has no {', '.join(missing)}, which .env.example of the release names; add them to laravel_env, or "
        f"to release_optional_env when they need not be there"
    ]
