# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a release: one JSON object a line, each bound to the line before by its hash.

An entry has ``seq`` (from 1), ``time`` (UTC), ``event``, ``data``, ``prev`` (hash of the line before, 64 zeros in the
first) and ``hash``: SHA-256 of the entry without ``hash``, as JSON with sorted keys and without spaces, in UTF-8.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from typing import Any

FIRST = "0" * 64


def entry_hash(entry: dict[str, Any]) -> str:
    """Return the hash that an entry must have."""
    body = {key: value for key, value in entry.items() if key != "hash"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """Return the time as records write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class RecordFile:
    """A record that is being written. Each entry is on disk when ``append`` returns."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Never continues or overwrites what another run wrote.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self.path = path
        self.entries: list[dict[str, Any]] = []

    def append(self, event: str, data: dict[str, Any]) -> None:
        """Add an entry and wait until it is on disk."""
        previous = self.entries[-1]["hash"] if self.entries else FIRST
        entry: dict[str, Any] = {
            "seq": len(self.entries) + 1,
            "time": now(),
            "event": event,
            "data": data,
            "prev": previous,
        }
        entry["hash"] = entry_hash(entry)
        line = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
        os.write(self._descriptor, line.encode())
        os.fsync(self._descriptor)
        self.entries.append(entry)

    def rename(self, path: str) -> None:
        """Give the file its lasting name, unless that is taken."""
        if not os.path.lexists(path):
            os.rename(self.path, path)
            self.path = path

    def close(self) -> None:
        """Stop writing."""
        os.close(self._descriptor)

    def discard(self) -> None:
        """Remove the record of a run that did nothing."""
        self.close()
        os.unlink(self.path)


def read(path: str) -> list[dict[str, Any]]:
    """Return the entries of a record.

    :raises ValueError: a line is not what was written; the message names it
    """
    entries: list[dict[str, Any]] = []
    previous = FIRST
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            try:
                entry = json.loads(line)
            except ValueError as exc:
                raise ValueError(f"{path} line {number} is not valid JSON") from exc
            if not isinstance(entry, dict) or entry.get("hash") != entry_hash(entry):
                raise ValueError(f"{path} line {number} was changed: its hash does not fit")
            if entry.get("prev") != previous or entry.get("seq") != number:
                raise ValueError(f"{path} line {number} does not follow the line before it")
            previous = entry["hash"]
            entries.append(entry)
    return entries


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _of(entries: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [entry["data"] for entry in entries if entry["event"] == event]


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the report of a record, for a pull request or a chat."""
    run, outcome = _of(entries, "run")[0], (_of(entries, "outcome") or [{"outcome": "unfinished"}])[0]
    phases = _of(entries, "phase")
    build: dict[str, Any] = next((phase for phase in phases if phase["phase"] == "build"), {})
    facts = {
        "Release": outcome.get("release") or "none",
        "Version": run.get("version") or "-",
        "Commit": build.get("commit", "-"),
        "Artifact": f"sha256 {build['sha256']}, {build['size']} bytes" if "sha256" in build else "-",
        "By": f"{run['user']} on {run['controller']}",
        "Inventory": run["inventory"],
        "Hosts": ", ".join(run["hosts"]),
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
