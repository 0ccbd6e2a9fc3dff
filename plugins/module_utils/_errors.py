# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of what a release loads only where it needs it: to catch them must not cost its loading.

Private to this collection. A module comes to the host as source in a zip, which Python compiles in each run anew.
"""

from __future__ import annotations

from typing import Any


class SnapshotError(Exception):
    """A snapshot could not be taken or restored; the message says what the database is like now."""


class BrokenDatabaseError(SnapshotError):
    """A restore failed, and so did going back from it: the database is not whole. ``safety`` has what it was."""

    def __init__(self, message: str, safety: str) -> None:
        super().__init__(message)
        self.safety = safety


class NoDumperError(SnapshotError):
    """This host has no program that dumps the database."""


class MigrationError(Exception):
    """Migrating failed; ``evidence`` says what was applied."""

    def __init__(self, message: str, evidence: dict[str, Any]) -> None:
        super().__init__(message)
        self.evidence = evidence
