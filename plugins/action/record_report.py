# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies records as record_info does, and writes the reports that say so."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.slipway.laravel.plugins.action.record_info import SPEC
from ansible_collections.slipway.laravel.plugins.action.record_info import ActionModule as RecordInfo
from ansible_collections.slipway.laravel.plugins.plugin_utils.report_html import write_report, write_reports
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import Verification


class ActionModule(RecordInfo):
    spec: ClassVar[dict[str, Any]] = {name: option for name, option in SPEC.items() if name != "entries"}

    def answer(self, path: str, args: dict[str, Any], found: Verification) -> dict[str, Any]:
        result = super().answer(path, {**args, "entries": False}, found)
        if self._task.check_mode:
            return {**result, "changed": True}
        now = datetime.now(UTC)
        try:
            report = write_reports(path, now, found) if os.path.isdir(path) else write_report(path, now, found)
        except OSError as exc:
            raise AnsibleActionFail(f"record_report: {exc}") from exc
        return {**result, "changed": True, "report": report}
