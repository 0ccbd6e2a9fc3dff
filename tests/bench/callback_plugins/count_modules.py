"""Counts what a play costs its hosts: appends a line "host module" to a file for each module run on a host.

Actions run in forked workers, so the count is in a file and not in memory.
"""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: count_modules
type: aggregate
short_description: Count the module runs of each host
description: Appends a line for each module run to the file that the environment variable SLIPWAY_BENCH_FILE names.
"""

FILE = os.environ.get("SLIPWAY_BENCH_FILE", "")
execute_module = ActionBase._execute_module


def counting(action: ActionBase, module_name: str | None = None, *args: Any, **kwargs: Any) -> Any:
    host = action._task.delegate_to or (kwargs.get("task_vars") or {}).get("inventory_hostname") or "?"
    where = "controller" if action._connection.transport == "local" else host
    with open(FILE, "a", encoding="utf-8") as counts:
        counts.write(f"{where} {module_name or action._task.action}\n")
    return execute_module(action, module_name, *args, **kwargs)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "count_modules"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if FILE:
            ActionBase._execute_module = counting
