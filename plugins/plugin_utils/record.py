# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a release: a file of entries, each bound to the one before, see chain.py.

Of a run there is one record. The callback release_record opens it in the main process before any task begins that
needs it; Ansible's workers are forks of that process, so that action plugins find it here as well:

    from ansible_collections.slipway.laravel.plugins.plugin_utils import record

    if record.problem():
        raise AnsibleActionFail(...)  # the callback is on, but nothing can be recorded: nothing may be changed
    if record.current():
        record.current().append("signoff", {...})
"""

from __future__ import annotations

import getpass
import os
from typing import Any

from ansible import constants as C
from ansible import context
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import (
    FIRST,
    ChainError,
    ChainFile,
    entry_hash,
    now,
    read,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import Masker

__all__ = [
    "FIRST",
    "ChainError",
    "RecordFile",
    "current",
    "entry_hash",
    "failed_hosts",
    "inventory_name",
    "now",
    "problem",
    "read",
    "user",
]

CALLBACK = "slipway.laravel.release_record"


def inventory_name(sources: tuple[str, ...]) -> str:
    """Return the name that an inventory's records go under: of its directory, or of its file without the ending."""
    source = sources[-1] if sources else ""
    if not source or "," in source:
        return "adhoc"
    path = os.path.abspath(source)
    if os.path.isfile(path) and os.path.splitext(os.path.basename(path))[0] == "hosts":
        path = os.path.dirname(path)
    return os.path.splitext(os.path.basename(path))[0]


def user() -> str:
    """Return the name of whoever runs Ansible, or their number where that has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class RecordFile(ChainFile):
    """A record that is being written. Each entry is on disk when ``append`` returns, and holds no secret."""

    # Knows only what looks like a secret, until the callback tells it the secrets of the inventory.
    masker = Masker()
    # The file of those who may sign it, where there is one.
    allowed_signers = ""

    def append(self, event: str, data: dict[str, Any], at: str = "") -> dict[str, Any]:
        return super().append(event, self.masker.data(data), at)

    def rename(self, path: str) -> None:
        """Give the file its lasting name, unless that is taken."""
        if not os.path.lexists(path):
            os.rename(self.path, path)
            self.path = path

    def discard(self) -> None:
        """Remove the record of a run that did nothing."""
        self.close()
        os.unlink(self.path)


# Of this run. Only the main process sets them.
_current: RecordFile | None = None
_problem = ""
_failed: set[str] | None = None


def current() -> RecordFile | None:
    """Return the record of this run, None when none is kept (the callback is off, check mode, no release)."""
    return _current


def problem() -> str:
    """Say why this run, which should have a record, cannot keep one; empty when all is well."""
    if _problem or _current is not None or CALLBACK not in C.CALLBACKS_ENABLED or context.CLIARGS.get("check"):
        return _problem
    # Ansible goes on without a callback that it cannot set up, such as one with an option that is misspelt.
    return f"the callback {CALLBACK} is enabled, but is not at work; a warning at the start of the run says why"


def failed_hosts() -> set[str] | None:
    """Return the hosts whose last task failed, or could not be carried out; None when nobody knows (no callback)."""
    return _failed


def set_failed_hosts(hosts: set[str] | None) -> None:
    """Tell which hosts have failed; who tells changes the set as things happen."""
    global _failed  # noqa: PLW0603  only the main process tells
    _failed = hosts


def set_current(record: RecordFile | None, why_not: str = "") -> None:
    """Tell what the record of this run is, or why there is none."""
    global _current, _problem
    _current, _problem = record, why_not
