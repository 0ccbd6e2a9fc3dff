# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: release_record
type: notification
short_description: Keep a record of every release
version_added: 0.1.0
description:
  - Writes one JSON-lines file for each release or rollback on the controller, while it happens, and a Markdown report
    at
    its end. Each line is bound to the line before by its hash, so that a later change shows.
  - The record holds who released what, when and onto which hosts, each phase with its evidence, failures, and the
    outcome,
    which is one of V(success), V(rolled back), V(reverted), V(aborted) (before anything was live) or V(partial) (hosts
    differ, or what is live on one of them is not known); besides what is live on each host, and how many modules the
    run of the playbook carried out there.
  - A run that found nothing to do, and a run in check mode, leave no record. Playbooks without a release are left
    alone.
  - It never stops or changes a run; when it cannot write, it warns once.
author:
  - The slipway.laravel authors (@slipway)
requirements:
  - enabled with C(callbacks_enabled = slipway.laravel.release_record) in C(ansible.cfg)
options:
  records_dir:
    description:
      - Directory of the records; each inventory has a directory of its own in it.
    type: path
    default: records
    ini:
      - section: callback_release_record
        key: records_dir
    env:
      - name: SLIPWAY_RECORDS_DIR
"""

import getpass
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile, markdown

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.playbook import Playbook
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

PREFIX = "slipway.laravel."
RELEASE_ACTIONS = (PREFIX + "release", PREFIX + "release_build")
# The record must be there before the first of these changes or signs anything.
RECORDED = (*RELEASE_ACTIONS, PREFIX + "signoff")

# The phases that a release has and a rollback has not.
BROUGHT = ("build", "stage")

# Actions of ansible-core that run nothing on a host. All others run a module there.
ON_CONTROLLER = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "import_playbook",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "pause",
    "set_fact",
    "set_stats",
    "validate_argument_spec",
}


def inventory_name(sources: tuple[str, ...]) -> str:
    """Return the name that an inventory's records go under: of its directory, or of its file without the ending."""
    source = sources[-1] if sources else ""
    if not source or "," in source:
        return "adhoc"
    path = os.path.abspath(source)
    if os.path.isfile(path) and os.path.splitext(os.path.basename(path))[0] == "hosts":
        path = os.path.dirname(path)
    return os.path.splitext(os.path.basename(path))[0]


def runs_no_module(action: str) -> bool:
    """Say whether a task does its work on the controller alone."""
    return action.rpartition(".")[2] in ON_CONTROLLER


def outcome_of(phases: list[dict[str, Any]], failed: bool, lost: bool = False) -> str:
    """Say in one word how a run ended, from its phases in order.

    :param lost: a host went away when or after it may have switched, so that nobody knows what is live there
    """
    switched = {phase["host"] for phase in phases if phase["phase"] == "switch" and phase["changed"]}
    if failed:
        reverted = {phase["host"] for phase in phases if phase["phase"] == "revert" and phase.get("reverted")}
        if lost:
            return "partial"
        if not switched:
            return "aborted"
        return "reverted" if switched <= reverted else "partial"
    if any(phase["phase"] in BROUGHT for phase in phases):
        return "success" if switched else "unchanged"
    return "rolled back" if switched else "unchanged"


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """Writes the record of a release."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "slipway.laravel.release_record"
    CALLBACK_NEEDS_ENABLED = True
    ANSIBLE_SUPPORTS_MASKING = True

    def __init__(self) -> None:
        super().__init__()
        self._playbook = ""
        self._version = ""
        self._hosts: list[str] = []
        self._record: RecordFile | None = None
        self._started = self._task_started = 0.0
        self._phases: list[dict[str, Any]] = []
        self._release = ""
        self._failed = self._named = False
        self._module_runs: dict[str, int] = {}
        self._live: dict[str, str | None] = {}
        self._lost: set[str] = set()

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        sources = tuple(context.CLIARGS.get("inventory") or ())
        self._directory = os.path.join(os.path.abspath(self.get_option("records_dir")), inventory_name(sources))

    # Writing

    def _give_up(self, exc: OSError) -> None:
        self._display.warning(f"release_record: {exc}; this run leaves no complete record")
        self.disabled = True
        self._record = None

    def _append(self, event: str, data: dict[str, Any]) -> None:
        if self._record is None:
            return
        try:
            self._record.append(event, data)
        except OSError as exc:
            self._give_up(exc)

    def _rename(self, name: str) -> None:
        if self._record is None:
            return
        try:
            self._record.rename(os.path.join(self._directory, f"{name}.jsonl"))
        except OSError as exc:
            self._give_up(exc)

    def _open(self) -> None:
        """Begin a record under a name for the time being: a release gets its id after the build."""
        self._started = time.time()
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._started))
        try:
            self._record = RecordFile(os.path.join(self._directory, f"{self._stamp}-{os.getpid()}.jsonl"))
        except OSError as exc:
            record.set_current(None, str(exc))
            self._give_up(exc)
            return
        record.set_current(self._record)
        self._append(
            "run",
            {
                "playbook": self._playbook,
                "version": self._version,
                "inventory": os.path.basename(self._directory),
                "hosts": self._hosts,
                "user": getpass.getuser(),
                "controller": socket.gethostname(),
                "ansible_core": ansible_version,
            },
        )

    # What happens in the run

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        self._playbook = os.path.basename(playbook._file_name)

    def v2_playbook_on_play_start(self, play: Play) -> None:
        variables = play.get_variable_manager()
        # Extra variables may be secrets: of them only the version is taken.
        self._version = str(variables.extra_vars.get("release_version", ""))
        # There is no public way from a callback to the inventory.
        self._hosts = [host.name for host in variables._inventory.get_hosts(play.hosts)]

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        if self._record is None and task.action in RECORDED and not context.CLIARGS.get("check"):
            self._open()
        self._task_started = time.time()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._count(result)
        self._note(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._count(result)
        self._note(result)
        if not ignore_errors:
            self._note_failure(result, str(result.result.get("msg", "no message")))

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        self._count(result, item=True)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        self._count(result, item=True)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        # The role lets hosts that went away take part to the end, where it fails for them.
        message = f"unreachable: {result.result.get('msg', '')}"
        self._note_failure(result, message, passed_over=result.task.ignore_unreachable)
        host = result.host.get_name()
        phases = (result.task_fields.get("args") or {}).get("phases") or []
        switched = any((phase["host"], phase["phase"]) == (host, "switch") for phase in self._phases)
        if "switch" in phases or (switched and "finish" not in phases):
            # Until a later run of the module says otherwise.
            self._lost.add(host)
            self._live[host] = "unknown"

    def _count(self, result: CallbackTaskResult, item: bool = False) -> None:
        """Count a module that ran on a host: of a loop, each of its items."""
        if bool(result.task.loop) != item or runs_no_module(result.task.action):
            return
        delegated = result.result.get("_ansible_delegated_vars") or {}
        host = delegated.get("ansible_delegated_host") or result.host.get_name()
        if host != "localhost" or "localhost" in self._hosts:
            self._module_runs[host] = self._module_runs.get(host, 0) + 1

    def _note_failure(self, result: CallbackTaskResult, message: str, passed_over: bool = False) -> None:
        self._failed = self._failed or not passed_over
        if result.task.action == "ansible.builtin.fail":
            return  # the role tells how it ended; the failure itself has an entry
        self._append("failure", {"host": result.host.get_name(), "task": result.task.get_name(), "message": message})

    def _note(self, result: CallbackTaskResult) -> None:
        if self._record is None or not result.task.action.startswith(PREFIX):
            return
        content = dict(result.result)
        host = content.get("_ansible_delegated_vars", {}).get("inventory_hostname") or result.host.get_name()
        phases = [dict(phase) for phase in content.get("phases", [])]
        # What Ansible and the network needed around the module counts for the first phase of the run.
        around = time.time() - self._task_started - sum(phase["seconds"] for phase in phases)
        for phase in phases:
            self._phases.append({**phase, "host": host, "wall": round(phase["seconds"] + max(around, 0), 3)})
            self._append("phase", self._phases[-1])
            around = 0
        if result.task.action == RELEASE_ACTIONS[0]:
            self._lost.discard(host)
            if "current" in content:
                self._live[host] = content["current"]
        if content.get("release"):
            self._release = str(content["release"])
            if any(phase["phase"] in BROUGHT for phase in phases):
                self._named = True
                self._rename(self._release)

    # The end

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        if self._record is None:
            return
        failed = self._failed or bool(stats.failures or stats.dark)
        outcome = outcome_of(self._phases, failed, bool(self._lost))
        try:
            if outcome == "unchanged":
                self._record.discard()
                return
            if not self._named:
                # The release that a rollback returns to has a record of its own, under its id.
                self._rename(f"{self._stamp}-{outcome.replace(' ', '-')}")
            seconds: dict[str, float] = {}
            for phase in self._phases:
                seconds[phase["phase"]] = max(seconds.get(phase["phase"], 0), phase["wall"])
            total = round(time.time() - self._started, 1)
            self._record.append(
                "outcome",
                {
                    "outcome": outcome,
                    "release": self._release,
                    "seconds": total,
                    "phases": seconds,
                    "live": self._live,
                    "module_runs": self._module_runs,
                },
            )
            report = os.path.splitext(self._record.path)[0] + ".md"
            with open(report, "w", encoding="utf-8") as handle:
                handle.write(markdown(self._record.entries))
            self._record.close()
        except OSError as exc:
            self._give_up(exc)
            return
        colour = "green" if outcome in ("success", "rolled back") else "red"
        self._display.banner("RELEASE")
        self._display.display(f"{outcome}: {self._release or 'no release'} in {total} s", color=colour)
        self._display.display("  " + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()))
        runs = ", ".join(f"{host} {count}" for host, count in self._module_runs.items())
        self._display.display(f"  module runs: {runs}")
        self._display.display(f"  record {self._record.path}\n  report {report}")
