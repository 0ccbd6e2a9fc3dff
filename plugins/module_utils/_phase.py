# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all phases of a release have in common: their parameters, the lock, and how they run commands.

Private to this collection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan, take_environment
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class PhaseError(Exception):
    """A phase failed; the message says what, where and the remedy, the evidence what had been done by then."""

    def __init__(self, message: str, evidence: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence or {}


class PhaseBase:
    """One release on this host, with the parameters of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.layout = Layout(self.params["root"])
        self.release: str = self.params["release"]
        self.path = self.layout.release_path(self.release)
        self.environment = take_environment(module)
        self.host: str = self.params["health_host"]
        self.laravel: bool = self.params["kind"] == "laravel"

    def guard(self, what: str = "nothing further was done", **about: Any) -> None:
        """Stop before the next change when another run has taken the lock over; give its heartbeat otherwise."""
        run = self.params["run"]
        if self.module.check_mode or self.layout.holds_lock(run, **about):
            return
        holder = self.layout.lock_holder()
        by = f" ({holder.get('owner')} has it, run {holder.get('run')})" if holder else ""
        raise PhaseError(f"{self.layout.lock_path} is not held by run {run} any more{by}; {what}")

    def _artisan(self, path: str, **extra: str) -> Artisan:
        return Artisan(self.module, path, self.params["php"], {**self.environment, **extra})

    def _warn_without_values(self, text: str, error: Exception) -> None:
        """Warn of an error of the application, which may be one of its database and have values in its SQL."""
        from ansible_collections.slipway.laravel.plugins.module_utils._migrate import without_values  # noqa: PLC0415

        self.module.warn(f"{text}: {without_values(str(error))}")

    def _command(self, argv: list[str]) -> str:
        rc, out, err = self.module.run_command(argv, environ_update=self.environment, cwd="/")
        if rc != 0:
            raise PhaseError(f"{' '.join(argv)} exited {rc}: {' '.join((err or out).split())[:300]}")
        return str(out)
