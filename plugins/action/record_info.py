# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies records where they are, on the controller; no host is asked for anything."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import callback_loader
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import ChainError, read
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import records_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import SigningError
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import (
    Verification,
    verify_directory,
    verify_file,
)

SPEC = {
    "path": {"type": "path"},
    "records_dir": {"type": "path"},
    "allowed_signers": {"type": "path"},
    "signed": {"type": "bool"},
    "ledger_head": {"type": "str", "default": ""},
    "entries": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    spec: ClassVar[dict[str, Any]] = SPEC

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        dummy, args = self.validate_argument_spec(self.spec)
        # Where the callback writes, by its own options.
        callback = callback_loader.get("slipway.laravel.release_record")
        callback.set_options()
        records: str = args["records_dir"] or callback.get_option("records_dir")
        path = os.path.abspath(args["path"] or records_of(records, tuple(context.CLIARGS.get("inventory") or ())))
        root = os.path.dirname(path if os.path.isdir(path) else os.path.dirname(path))
        wanted: str = args["allowed_signers"] or callback.get_option("allowed_signers") or ""
        allowed = wanted or os.path.join(root, "allowed_signers")
        if wanted and not os.path.isfile(allowed):
            raise AnsibleActionFail(f"record_info: {allowed} is not there")
        listed = os.path.isfile(allowed)
        signed: bool = listed if args["signed"] is None else args["signed"]
        try:
            if os.path.isdir(path):
                found = verify_directory(path, allowed if listed else "", signed, args["ledger_head"])
            else:
                found = verify_file(path, allowed if listed else "", signed)
        except (OSError, SigningError) as exc:
            raise AnsibleActionFail(f"record_info: {exc}") from exc
        if not listed:
            found.notes.append(f"{allowed} is not there: signatures were checked, but not whose they are")
        return self.answer(path, args, found)

    def answer(self, path: str, args: dict[str, Any], found: Verification) -> dict[str, Any]:
        result: dict[str, Any] = {
            "changed": False,
            "path": path,
            "valid": not found.faults,
            "faults": found.faults,
            "notes": found.notes,
            "records": found.records,
        }
        if args["entries"]:
            result["entries"] = self.entries(path)
        return result

    def entries(self, path: str) -> list[dict[str, Any]]:
        """Return the entries of a single record."""
        if os.path.isdir(path):
            raise AnsibleActionFail(f"record_info: entries needs path to be a record, and {path} is a directory")
        try:
            return read(path)
        except (OSError, ChainError):
            return []  # the faults say why
