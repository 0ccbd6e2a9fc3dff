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

import os
from typing import Any

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
    "inventory_name",
    "markdown",
    "now",
    "problem",
    "read",
]


def inventory_name(sources: tuple[str, ...]) -> str:
    """Return the name that an inventory's records go under: of its directory, or of its file without the ending."""
    source = sources[-1] if sources else ""
    if not source or "," in source:
        return "adhoc"
    path = os.path.abspath(source)
    if os.path.isfile(path) and os.path.splitext(os.path.basename(path))[0] == "hosts":
        path = os.path.dirname(path)
    return os.path.splitext(os.path.basename(path))[0]


class RecordFile(ChainFile):
    """A record that is being written. Each entry is on disk when ``append`` returns, and holds no secret."""

    # Knows only what looks like a secret, until the callback tells it the secrets of the inventory.
    masker = Masker()

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


def current() -> RecordFile | None:
    """Return the record of this run, None when none is kept (the callback is off, check mode, no release)."""
    return _current


def problem() -> str:
    """Say why this run, which should have a record, cannot keep one; empty when all is well."""
    return _problem


def set_current(record: RecordFile | None, why_not: str = "") -> None:
    """Tell what the record of this run is, or why there is none."""
    global _current, _problem
    _current, _problem = record, why_not


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _of(entries: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [entry["data"] for entry in entries if entry["event"] == event]


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the report of a record, for a pull request or a chat."""
    # A record that was gone on with has several of both.
    run: dict[str, Any] = next(iter(_of(entries, "run")), {})
    outcome = (_of(entries, "outcome") or [{"outcome": "unfinished"}])[-1]
    phases = _of(entries, "phase")
    build: dict[str, Any] = next((phase for phase in phases if phase["phase"] == "build"), {})
    facts = {
        "Release": outcome.get("release") or "none",
        "Version": run.get("version") or "-",
        "Commit": build.get("commit", "-"),
        "Artifact": f"sha256 {build['sha256']}, {build['size']} bytes" if "sha256" in build else "-",
        "By": f"{run.get('user', '-')} on {run.get('controller', '-')}",
        "Inventory": run.get("inventory", "-"),
        "Hosts": ", ".join(run.get("hosts", [])),
        "Started": entries[0]["time"],
        "Ended": entries[-1]["time"],
        "Seconds": outcome.get("seconds", "-"),
    }
    kind = "Rollback" if outcome.get("outcome") == "rolled back" else f"Release {run.get('version') or ''}".strip()
    lines = [f"# {kind}: {outcome['outcome']}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    lines += ["", "## Phases", "", "| phase | host | seconds | changed | what |", "|---|---|---:|---|---|"]
    for phase in phases:
        what = phase.get("error") or _summary(phase)
        changed = "yes" if phase.get("changed") else "no"
        lines.append(f"| {phase['phase']} | {phase['host']} | {phase['seconds']} | {changed} | {_cell(what)} |")
    for title, items in (
        ("Migrations", [name for phase in phases for name in phase.get("migrations", [])]),
        ("Commits", build.get("commits", [])),
        ("Failures", [f"{entry['host']}, {entry['task']}: {entry['message']}" for entry in _of(entries, "failure")]),
    ):
        if items:
            lines += ["", f"## {title}", "", *[f"- {_cell(item)}" for item in items]]
    lines += ["", f"{len(entries)} entries, head {entries[-1]['hash']}", ""]
    return "\n".join(lines)


def _summary(phase: dict[str, Any]) -> str:
    """Return a few words of evidence of a phase."""
    name = phase["phase"]
    if name == "preflight":
        return f"live: {phase.get('current') or 'none'}"
    if name == "build":
        return (
            ", ".join(f"{step} {seconds} s" for step, seconds in phase.get("steps", {}).items()) or "nothing to build"
        )
    if name in ("stage", "probe"):
        return str(phase.get("probe", ""))
    if name == "migrate":
        return f"{len(phase.get('migrations', []))} applied"
    if name == "switch":
        return f"from {phase.get('previous') or 'none'}"
    if name == "restart":
        reloaded = f", PHP-FPM reloaded: {phase['fpm_reloaded']}" if phase.get("fpm_reloaded") else ""
        return f"{len(phase.get('stopped', []))} workers ended{reloaded}"
    if name == "verify":
        workers = [f"{worker['command']} {worker['pid']}" for worker in phase.get("workers", [])]
        return ", ".join([*([phase["url"]] if phase.get("url") else []), *workers])
    if name == "revert":
        return f"live: {phase.get('current') or 'none'}"
    return f"removed {', '.join(phase['removed'])}" if phase.get("removed") else ""
