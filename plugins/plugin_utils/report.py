# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a record tells, put together for people and machines; report_html.py makes pages of it.

A record may come from anybody, and be of another version of the collection: nothing here takes the shape of an entry's
data for granted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Entry = dict[str, Any]

STAGES = {"pre_deploy": "Before the release", "during": "During the release", "post_deploy": "After the release"}
DONE = ("signed", "waived")


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def number(value: Any) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12
    return value if fits else 0


def words(value: Any) -> str:
    """Return a value as text: what is no text, as JSON."""
    if value is None:
        return ""
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"


def moment(text: Any) -> datetime | None:
    """Return a time as records have it, None when it is none."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _tidy(entry: Entry) -> Entry:
    return {**{key: words(entry.get(key)) for key in ("event", "time", "hash")}, "data": mapping(entry.get("data"))}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(entry: Entry) -> float:
    at = moment(entry["time"])
    return at.timestamp() if at else 0


def _runs(entries: list[Entry]) -> list[list[Entry]]:
    """Split a record that was gone on with into its runs, without what was signed off later."""
    runs: list[list[Entry]] = []
    later = False
    for entry in entries:
        data = entry["data"]
        if entry["event"] == "run":
            later = bool(data.get("later"))
            if not later:
                runs.append([])
        # The next release closes the record of a run that was killed; that is no part of this run.
        if runs and not later and entry["event"] != "resumed" and "closed_by" not in data:
            runs[-1].append(entry)
    return runs


def _phases(run: list[Entry], number_of_run: int) -> Iterator[Entry]:
    """Return the phases of a run with their times: several that one module run did are entered at the same moment."""
    found = []
    next_began: dict[str, float] = {}
    for entry in reversed(run):
        data = entry["data"]
        if entry["event"] != "phase":
            continue
        host, seconds = words(data.get("host")), number(data.get("seconds"))
        ended = min(_time(entry), next_began.get(host, _time(entry)))
        next_began[host] = max(ended - seconds, 0)
        found.append(
            {
                "run": number_of_run,
                "phase": words(data.get("phase")),
                "host": host,
                "began": _stamp(next_began[host]),
                "ended": _stamp(ended),
                "seconds": seconds,
                "changed": bool(data.get("changed")),
                "error": words(data.get("error")),
                "summary": summary_of(data),
            }
        )
    return reversed(found)


def _signoffs(entries: list[Entry], as_of: datetime) -> list[Entry]:
    """Return all items of the checklist with the last word on each, then what is signed and not in it."""
    checklist: Entry = {}
    last: dict[str, Entry] = {}
    before: dict[str, list[Entry]] = {}
    for entry in entries:
        data = entry["data"]
        if entry["event"] == "checklist":
            checklist = data
        if entry["event"] == "signoff":
            item = words(data.get("item"))
            if item in last and last[item].get("status") != "open":
                before.setdefault(item, []).append(last[item])
            last[item] = data
    content = mapping(checklist.get("content"))
    stages, order = mapping(content.get("stages")), listed(content.get("languages"))
    items = {
        words(item.get("id")): {**item, "stage": stage}
        for stage in STAGES
        for item in map(mapping, listed(stages.get(stage)))
    }
    found = []
    for name in [*items, *[name for name in last if name not in items]]:
        told = {**items.get(name, {}), **last.get(name, {})}
        status = words(told.get("status")) or "not asked"
        until = moment(told.get("until"))
        found.append(
            {
                "item": name,
                "stage": words(told.get("stage")),
                "section": _ordered(told.get("section"), order),
                "text": _ordered(told.get("text"), order),
                "required": told.get("required") is not False,
                "status": status,
                "overdue": status not in DONE and until is not None and until < as_of,
                **{key: words(told.get(key)) for key in ("by", "role", "method", "at", "reason", "until", "key")},
                "evidence": told.get("evidence"),
                "before": [
                    {key: words(data.get(key)) for key in ("status", "by", "at", "reason")}
                    for data in before.get(name, [])
                ],
            }
        )
    return found


def owed(signoffs: list[Entry], outcome: str) -> tuple[int, int]:
    """Say how many required sign-offs are open, and how many of them overdue; only what is live owes any."""
    still = [item for item in signoffs if item["required"] and item["status"] not in DONE]
    return (len(still), sum(item["overdue"] for item in still)) if outcome == "success" else (0, 0)


def _of(entries: list[Entry], event: str) -> list[Entry]:
    return [entry["data"] for entry in entries if entry["event"] == event]


def report(entries: list[Entry], as_of: datetime) -> Entry:
    """Return what a record tells.

    :param as_of: what is overdue depends on the time
    """
    entries = [_tidy(entry) for entry in entries]
    runs = _runs(entries)
    # A record that was gone on with has several of both.
    run = next(iter(_of(entries, "run")), {})
    outcome = (_of(entries, "outcome") or [{}])[-1]
    phases = [phase for index, run_entries in enumerate(runs) for phase in _phases(run_entries, index)]
    evidence = _of(entries, "phase")
    build = next((phase for phase in evidence if phase.get("phase") == "build" and "commit" in phase), {})
    checklist = (_of(entries, "checklist") or [{}])[-1]
    content = mapping(checklist.get("content"))
    signoffs = _signoffs(entries, as_of)
    result = words(outcome.get("outcome")) or "unfinished"
    still_open, overdue = owed(signoffs, result)
    releases = [data["release"] for data in _of(entries, "phase") if data.get("release")]
    return {
        "outcome": result,
        "kind": "rollback" if result == "rolled back" else "release",
        "release": words(outcome.get("release")) or words((releases or [""])[-1]),
        "version": words(run.get("version")),
        "commit": words(build.get("commit")),
        "artifact": {"sha256": words(build["sha256"]), "size": number(build.get("size"))} if "sha256" in build else {},
        "by": words(run.get("user")),
        "controller": words(run.get("controller")),
        "playbook": words(run.get("playbook")),
        "ansible_core": words(run.get("ansible_core")),
        "inventory": words(run.get("inventory")),
        "hosts": [words(host) for host in listed(run.get("hosts"))],
        "left_out": [words(host) for host in listed(run.get("left_out"))],
        "live": {words(host): words(release) for host, release in mapping(outcome.get("live")).items()},
        "began": entries[0]["time"] if entries else "",
        "ended": (runs[-1] if runs else entries)[-1]["time"] if entries else "",
        "seconds": number(outcome.get("seconds")),
        "runs": [{"began": run_entries[0]["time"], "ended": run_entries[-1]["time"]} for run_entries in runs],
        "phases": phases,
        "checklist": {
            "name": words(checklist.get("checklist")),
            "version": words(checklist.get("checklist_version")),
            "title": _ordered(content.get("title"), listed(content.get("languages"))),
            "deployed_by": words(checklist.get("deployed_by")),
        },
        "signoffs": signoffs,
        "open": still_open,
        "overdue": overdue,
        "migrations": [
            {"host": words(phase.get("host")), "migration": words(name)}
            for phase in evidence
            for name in listed(phase.get("migrations"))
        ],
        "sql": {
            words(name): [words(statement) for statement in listed(statements)]
            for phase in evidence
            for name, statements in mapping(phase.get("sql")).items()
        },
        "snapshots": [
            {key: words(phase.get(key)) for key in ("host", "id", "path", "sha256", "size")}
            for phase in evidence
            if phase.get("phase") == "snapshot" and phase.get("id")
        ],
        "commits": [words(line) for line in listed(build.get("commits"))],
        "failures": [
            {"time": entry["time"], **{key: words(entry["data"].get(key)) for key in ("host", "task", "message")}}
            for entry in entries
            if entry["event"] == "failure"
        ],
        "gaps": int(sum(number(data.get("entries")) for data in _of(entries, "gap"))),
        "entries": len(entries),
        "head": entries[-1]["hash"] if entries else "",
        "as_of": as_of.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def title(told: Entry) -> str:
    kind = "Rollback" if told["kind"] == "rollback" else f"Release {told['version']}".strip()
    return f"{kind}: {told['outcome']}"


def _cell(value: Any) -> str:
    """Return what stays in its place in Markdown: one line, no end of a cell, no tag."""
    text = re.sub(r"[\r\n\v\f\x85\u2028\u2029]+", " ", words(value))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def languages(text: Any) -> dict[str, str]:
    """Return a text of a checklist in each of its languages; one that is not told is empty."""
    if isinstance(text, dict):
        return {words(language): words(value) for language, value in text.items()}
    return {"": words(text)}


def _ordered(text: Any, order: list[Any]) -> Any:
    """Return a text with its languages in the order of the checklist: a record sorts them."""
    if not isinstance(text, dict):
        return text or ""
    return {language: text[language] for language in sorted(text, key=[*order, *text].index)}


def markdown(entries: list[Entry]) -> str:
    """Return the report of a record, for a pull request or a chat. Of the same record it is always the same."""
    told = report(entries, datetime.fromtimestamp(0, UTC))
    artifact = told["artifact"]
    facts = {
        "Release": told["release"] or "none",
        "Version": told["version"] or "-",
        "Commit": told["commit"] or "-",
        "Artifact": f"sha256 {artifact['sha256']}, {artifact['size']} bytes" if artifact else "-",
        "By": f"{told['by'] or '-'} on {told['controller'] or '-'}",
        "Inventory": told["inventory"] or "-",
        "Hosts": ", ".join(told["hosts"]),
        **({"Left out by --limit": ", ".join(told["left_out"])} if told["left_out"] else {}),
        "Started": told["began"],
        "Ended": told["ended"],
        "Seconds": told["seconds"] or "-",
    }
    lines = [f"# {_cell(title(told))}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    lines += ["", "## Phases", "", "| phase | host | seconds | changed | what |", "|---|---|---:|---|---|"]
    for phase in told["phases"]:
        what = phase["error"] or phase["summary"]
        changed = "yes" if phase["changed"] else "no"
        name, host = _cell(phase["phase"]), _cell(phase["host"])
        lines.append(f"| {name} | {host} | {phase['seconds']} | {changed} | {_cell(what)} |")
    if told["signoffs"]:
        checklist = told["checklist"]
        lines += ["", f"## Sign-offs: {_cell(checklist['name'])} {_cell(checklist['version'])}".rstrip(), ""]
        lines += ["| item | status | by | how | when | evidence |", "|---|---|---|---|---|---|"]
    for item in told["signoffs"]:
        text = " / ".join(languages(item["text"]).values()) or item["item"]
        evidence = ", ".join(filter(None, [item["reason"], words(item["evidence"] or "")]))
        row = (text, item["status"], item["by"], item["method"], item["at"], evidence)
        lines.append(f"| {' | '.join(map(_cell, row))} |")
    for heading, items in (
        ("Migrations", [found["migration"] for found in told["migrations"]]),
        ("Commits", told["commits"]),
        ("Failures", [f"{found['host']}, {found['task']}: {found['message']}" for found in told["failures"]]),
    ):
        if items:
            lines += ["", f"## {heading}", "", *[f"- {_cell(item)}" for item in items]]
    lines += ["", f"{told['entries']} entries, head {told['head']}", ""]
    return "\n".join(lines)


def summary_of(phase: Entry) -> str:
    """Return a few words of evidence of a phase."""
    name = phase.get("phase")
    text = {key: words(value) for key, value in phase.items()}
    if name in ("preflight", "revert"):
        return f"live: {text.get('current') or 'none'}"
    if name == "build":
        steps = [f"{step} {words(seconds)} s" for step, seconds in mapping(phase.get("steps")).items()]
        return ", ".join(steps) or "nothing to build"
    if name in ("stage", "probe"):
        return text.get("probe", "")
    if name == "load":
        return f"loaded by {text['by']}" if text.get("by") else ""
    if name == "plan":
        return f"{len(listed(phase.get('pending')))} pending{', destructive' if phase.get('destructive') else ''}"
    if name == "snapshot":
        return f"{text['id']}, {text.get('size', '?')} bytes" if text.get("id") else ""
    if name == "migrate":
        return f"{len(listed(phase.get('migrations')))} applied"
    if name == "switch":
        return f"from {text.get('previous') or 'none'}"
    if name == "restart":
        reloaded = f", PHP-FPM reloaded: {text['fpm_reloaded']}" if text.get("fpm_reloaded") else ""
        return f"{len(listed(phase.get('stopped')))} workers ended{reloaded}"
    if name == "verify":
        workers = [mapping(worker) for worker in listed(phase.get("workers"))]
        late = [mapping(worker).get("pid") for worker in listed(phase.get("finishing"))]
        told = [
            f"{words(worker.get('command'))} {words(worker.get('pid'))}"
            + (f" (with a job of {words(worker.get('release'))})" if worker.get("pid") in late else "")
            for worker in workers
        ]
        return ", ".join(filter(None, [text.get("url"), *told]))
    removed = [words(release) for release in listed(phase.get("removed"))]
    return f"removed {', '.join(removed)}" if removed else ""
