# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop a release on this host, found before anything is changed.

Private to this collection. Each function returns sentences that name what is wrong and the remedy.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from ansible_collections.slipway.laravel.plugins.module_utils import _probe

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout


def problems(module: AnsibleModule, layout: Layout, environment: dict[str, str]) -> list[str]:
    """Return everything that is missing on this host, at once, so that one run tells it all."""
    found = layout.problems()
    if found:
        return found
    return [
        *_space(module, layout),
        *_runtime(module, environment),
        *_services(module, layout, environment),
    ]


def _space(module: AnsibleModule, layout: Layout) -> list[str]:
    current = layout.current()
    needed = module.params["min_free_mb"] * 1024 * 1024
    if current and os.path.isdir(layout.release_path(current)):
        rc, out, dummy = module.run_command(["du", "-sk", layout.release_path(current)])
        needed = max(needed, 2 * 1024 * int(out.split()[0])) if rc == 0 else needed
    free = shutil.disk_usage(layout.root).free
    if free >= needed:
        return []
    return [
        f"{layout.root} has {free // 2**20} MiB free, two releases need {needed // 2**20} MiB; "
        f"free space, or lower release_keep"
    ]


def _runtime(module: AnsibleModule, environment: dict[str, str]) -> list[str]:
    problems = []
    try:
        module.run_command([module.params["php"], "-v"], environ_update=environment, handle_exceptions=False)
    except OSError as exc:
        problems.append(f"{module.params['php']} cannot be run: {exc}; install PHP, or correct release_php")
    address = module.params["fpm_socket"]
    if address.startswith("/") and not os.path.exists(address):
        problems.append(f"PHP-FPM has no socket {address}; start PHP-FPM, or correct release_fpm_socket")
    return problems


def _services(module: AnsibleModule, layout: Layout, environment: dict[str, str]) -> list[str]:
    path = os.path.join(layout.shared_dir, ".env")
    try:
        with open(path, encoding="utf-8") as handle:
            env = _probe.parse_dotenv(handle.read())
    except FileNotFoundError:
        return [f"{path} does not exist; put the application's environment into laravel_env and run the site playbook"]
    problems = [
        f"{name} is empty in {path}; set it in laravel_env" for name in ("APP_KEY", "APP_ENV") if not env.get(name)
    ]
    php = module.params["php"]
    if shutil.which(php, path=environment.get("PATH")):
        problems.append(_probe.database_problem(module, php, env, environment) or "")
    problems.append(_probe.redis_problem(env) or "")
    return [problem for problem in problems if problem]
