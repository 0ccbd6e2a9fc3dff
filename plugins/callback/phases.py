# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: phases
type: stdout
short_description: Show a release as its phases
version_added: 0.1.0
description:
  - Of a release, a rollback and maintenance mode it shows one line for each phase, with its hosts, seconds and what it
    found or did, instead of some lines for each task and host. Everything else, site.yml for one, looks as
    P(ansible.builtin.default#callback) shows it.
  - On a terminal the phase that is at work has a line as well.
  - What fails is shown at once, with the message alone; tasks of hooks and load balancers that ran are shown by their
    names.
  - With C(-v) it is P(ansible.builtin.default#callback).
  - There is no recap of a run of which P(slipway.laravel.release_record#callback) tells the outcome.
author:
  - The slipway.laravel authors (@slipway)
requirements:
  - set with C(stdout_callback = slipway.laravel.phases) in C(ansible.cfg)
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.controls import visible
from ansible_collections.slipway.laravel.plugins.plugin_utils.failures import failure_text
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import summary_of

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.playbook.included_file import IncludedFile
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

ROLE = "slipway.laravel.release"
MODULES = ("slipway.laravel.release", "slipway.laravel.release_build")

FAIL = ("ansible.builtin.fail", "fail")
# Characters that the hosts of a phase may take.
WIDTH = 40
# Prepare or tell nothing that a phase does not: the lock and looks are part of preflight, sign-offs tell of themselves.
SILENT = {
    "assert",
    "include_tasks",
    "meta",
    "release_checks",
    "release_lock",
    "set_fact",
    "signoff",
    "slurp",
    "validate_argument_spec",
}


def is_release(task: Task) -> bool:
    """Say whether a task is part of a release; the place for one is seen to when a server is set up."""
    role = task._role
    if role is None or role.get_name(include_role_fqcn=True) != ROLE:
        return False
    return os.path.basename((task.get_path() or "").rpartition(":")[0]) not in ("layout.yml", "place.yml")


def masked(text: str) -> str:
    """Return a text without the secrets that the record knows of, or which look like some."""
    return str((record.current() or record.RecordFile).masker.text(text))


def name_of(task: Task) -> str:
    """Return the name of a task; that of a hook is its command, with what an operator may have put into it."""
    return masked(str(task.get_name(include_role_fqcn=False))).rpartition(" : ")[2].strip()


def shown(hosts: list[str]) -> str:
    """Return the names of hosts, or how many there are when that would be too long."""
    names = " ".join(hosts)
    return names if len(names) <= WIDTH or len(hosts) < 2 else f"{len(hosts)} hosts"


class CallbackModule(Default):  # type: ignore[misc]  # ansible-core ships no types
    """Shows the phases of a release, and everything else as Ansible does."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "slipway.laravel.phases"

    def __init__(self) -> None:
        super().__init__()
        self._task: Task | None = None
        self._began = 0.0
        self._released = self._waiting = False
        self._width = 0
        self._order: dict[str, int] = {}
        # Of the task at work: its phases, in order, and the hosts where it ran.
        self._phases: dict[str, list[dict[str, Any]]] = {}
        self._ran: dict[str, bool] = {}

    def _is_short(self, task: Task) -> bool:
        return self._display.verbosity == 0 and is_release(task)

    def _number(self, host: str) -> int:
        """The place of a host in the inventory's order."""
        return self._order.get(host, len(self._order))

    # Writing

    def _line(self, what: str, hosts: list[str], seconds: float, text: str, colour: str | None = None) -> None:
        hosts = sorted(hosts, key=self._number)
        where = shown(hosts)
        line = f"  {what:<9}  {where:<{self._width}}  {seconds:6.1f} s"
        self._display.display(f"{line}  {text}" if text else line, color=colour)

    def _wait(self, text: str) -> None:
        """Say on a terminal what is at work, in a line that the next one replaces."""
        if sys.stdout.isatty():
            self._waiting = True
            sys.stdout.write(f"\r\x1b[K  ... {text}, since {time.strftime('%H:%M:%S', time.localtime(self._began))}\r")
            sys.stdout.flush()

    def _clear(self) -> None:
        if self._waiting:
            self._waiting = False
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()

    def _flush(self) -> None:
        """Show what the last task did."""
        self._clear()
        # What Ansible and the network needed around the module counts for its first phase.
        took = {name: max(found["seconds"] for found in phases) for name, phases in self._phases.items()}
        around = max(time.time() - self._began - sum(took.values()), 0)
        for name, unordered in self._phases.items():
            phases = sorted(unordered, key=lambda phase: self._number(phase["host"]))
            found = dict.fromkeys(text for phase in phases if (text := summary_of(phase)))
            colour = C.COLOR_CHANGED if any(phase["changed"] for phase in phases) else C.COLOR_OK
            self._line(name, [phase["host"] for phase in phases], took[name] + around, "; ".join(found), colour)
            around = 0
        if self._task and self._ran and not self._phases:
            changed = any(self._ran.values())
            colour = C.COLOR_CHANGED if changed else C.COLOR_OK
            self._line("changed" if changed else "ok", list(self._ran), around, name_of(self._task), colour)
        self._task = None
        self._phases, self._ran = {}, {}

    def _failure(self, result: CallbackTaskResult, what: str, note: str = "") -> None:
        self._clear()
        self._handle_warnings(result.result)
        task = result.task
        label = "" if task.action in FAIL else f"{name_of(task)}: "
        if result.result.get("ansible_loop_var"):
            label += f"({masked(str(self._get_item_label(result.result)))}) "
        text = failure_text(result.result, masked)
        text = "\n    ".join(visible(text).split("\n"))
        self._display.display(
            f"  {what:<9}  {result.host.get_name()}  {label}{text}{note}",
            color=C.COLOR_ERROR,
            stderr=self.get_option("display_failed_stderr"),
        )

    def _debug(self, result: CallbackTaskResult) -> None:
        """Show what a task tells people as it is."""
        told = result.result.get("msg")
        texts = [told] if isinstance(told, str) else told
        if result.task.loop or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            super().v2_runner_on_ok(result)
            return
        self._flush()
        for text in texts:
            self._display.display(f"\n{text}", color=C.COLOR_WARN if text.startswith("WARNING") else None)

    # What happens in the run

    def v2_playbook_on_play_start(self, play: Play) -> None:
        self._flush()
        super().v2_playbook_on_play_start(play)
        hosts = [host.name for host in play.get_variable_manager()._inventory.get_hosts(play.hosts)]
        self._order = {host: number for number, host in enumerate(hosts)}
        self._width = max(map(len, [*hosts, shown(hosts)]), default=0)

    def _task_start(self, task: Task, prefix: str | None = None) -> None:
        self._flush()
        self._began = time.time()
        if not self._is_short(task):
            super()._task_start(task, prefix)
            return
        self._released = True
        self._task = task
        # Of a failure's banner, should there be a diff.
        self._last_task_name = name_of(task)
        if task.action in MODULES:
            self._wait(name_of(task))

    def _note_phases(self, result: CallbackTaskResult) -> None:
        for phase in result.result.get("phases") or [] if result.task.action in MODULES else []:
            if "error" not in phase:
                self._phases.setdefault(phase["phase"], []).append({**phase, "host": result.host.get_name()})

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        if not self._is_short(result.task):
            super().v2_runner_on_ok(result)
            return
        if result.task.action in C._ACTION_DEBUG:
            self._debug(result)
            return
        content, host = result.result, result.host.get_name()
        if content.get("warnings") or content.get("deprecations"):
            self._clear()
        self._handle_warnings_and_exception(result)
        self._note_phases(result)
        if isinstance(result.task, TaskInclude) or result.task.action.rpartition(".")[2] in SILENT:
            return
        results = content.get("results") if result.task.loop else None
        if results is None or not all(item.get("skipped") for item in results):
            self._ran[host] = bool(content.get("changed"))
        if self._phases:
            self._wait(f"{name_of(result.task)}, done on {' '.join(self._ran)}")

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        if not self._is_short(result.task):
            super().v2_runner_on_failed(result, ignore_errors)
        elif not (result.task.loop and "results" in result.result):
            if len(self._order) == 1 and result.task.action in MODULES:
                # A host that is alone has most phases in one task.
                self._note_phases(result)
                self._flush()
            self._failure(result, "FAILED", " (ignored)" if ignore_errors else "")

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        if self._is_short(result.task):
            self._failure(result, "FAILED")
        else:
            super().v2_runner_item_on_failed(result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        if self._is_short(result.task):
            self._failure(result, "AWAY")
        else:
            super().v2_runner_on_unreachable(result)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        if not self._is_short(result.task):
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        if not self._is_short(result.task):
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_skipped(self, result: CallbackTaskResult) -> None:
        if not self._is_short(result.task):
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: IncludedFile) -> None:
        if not self._is_short(included_file._task):
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._flush()
        if not self._released:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        self._flush()
        # The record tells how the release ended; where there is none, nothing else does.
        if self._display.verbosity > 0 or record.current() is None:
            super().v2_playbook_on_stats(stats)
