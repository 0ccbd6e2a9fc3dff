# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of records for people: one file each, which needs nothing else, no script and no network.

What a record holds is not trusted: every text is escaped, and stands in an element of its own, whose direction is that
of its own letters, so that neither markup nor Arabic or Hebrew can rearrange what stands around it.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import lines_of, parse
from ansible_collections.slipway.laravel.plugins.plugin_utils.controls import visible
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import record_names, write
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import (
    STAGES,
    Entry,
    languages,
    mapping,
    moment,
    report,
    title,
    words,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.report_style import PHASES, STYLE
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import Verification

INDEX = "index.html"
# Of phases, the index needs none.
INDEXED = (b'"event":"run"', b'"event":"outcome"', b'"event":"checklist"', b'"event":"signoff"')

GOOD, BAD, OPEN = "good", "bad", "open"
OUTCOMES = {"success": GOOD, "rolled back": OPEN, "unfinished": OPEN}
STATUSES = {"signed": GOOD, "waived": OPEN, "failed": BAD}
METHODS = {"check": "by its check", "approval": "by an approval", "prompt": "at the terminal"}
# With more hosts, their rows in the picture are thin and have no names.
NAMED_ROWS = 40


# Texts


def text(value: Any) -> str:
    """Escape a text; control characters, also those that turn the direction of what follows, show as such."""
    return html.escape(visible(words(value)))


def bdi(value: Any, tag: str = "bdi", language: str = "", kind: str = "") -> str:
    """Return a text that keeps its direction for itself."""
    named = f' lang="{language}"' if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language) else ""
    classed = f' class="{kind}"' if kind else ""
    return f'<{tag} dir="auto"{named}{classed}>{text(value)}</{tag}>' if words(value) else ""


def in_languages(value: Any) -> str:
    return "".join(bdi(told, "div", language) for language, told in languages(value).items())


def time_of(value: str) -> str:
    at = moment(value)
    if at is None:
        return bdi(value)
    shown = f"<span>{at:%Y-%m-%d}</span> <span>{at:%H:%M:%S} UTC</span>"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{shown}</time>'


def seconds_of(value: float) -> str:
    return f"{value:.3g} s" if value < 100 else f"{int(value // 60)} min {int(value % 60)} s"


def mark(value: str, kind: str) -> str:
    return f'<span class="mark {kind}">{text(value)}</span>'


def evidence_of(value: Any) -> str:
    """Show what proves a sign-off: names and values, one below the other."""
    if isinstance(value, dict):
        rows = [f"<div><dt>{bdi(key)}</dt><dd>{bdi(words(told))}</dd></div>" for key, told in value.items()]
        return f'<dl class="evidence">{"".join(rows)}</dl>' if rows else ""
    return bdi(value, "div")


# Parts of a page


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a table of cells that are HTML already.

    On a phone a row becomes a card, and each cell says what it is; the roles let it stay a table for who listens to it.
    """
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in headers)
    lines = []
    for row in rows:
        cells = [f'<th role="rowheader" scope="row" data-label="{headers[0]}">{row[0]}</th>']
        cells += [
            f'<td role="cell" data-label="{name}">{cell}</td>' for name, cell in zip(headers[1:], row[1:], strict=True)
        ]
        lines.append(f'<tr role="row">{"".join(cells)}</tr>')
    return (
        f'<table role="table" class="{kind}"><caption>{caption}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">\n{chr(10).join(lines)}\n</tbody></table>'
    )


def section(heading: str, *content: str) -> str:
    body = "\n".join(filter(None, content))
    return f"<section>\n<h2>{heading}</h2>\n{body}\n</section>" if body else ""


def bullets(items: Iterable[str]) -> str:
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def document(name: str, body: str) -> str:
    """Return the whole page. It may load nothing, not even if a text of the record were to get through as markup."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(name)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


# A release


def _facts(told: Entry) -> str:
    artifact = told["artifact"]
    checklist = told["checklist"]
    facts = {
        "Release": bdi(told["release"]) or "none",
        "Version": bdi(told["version"]),
        "Commit": bdi(told["commit"], "code"),
        "Artifact": f"{artifact['size']:,} bytes, sha256 {bdi(artifact['sha256'], 'code')}" if artifact else "",
        "By": f"{bdi(told['by'])} on {bdi(told['controller'])}" if told["by"] else "",
        "Inventory": bdi(told["inventory"]),
        "Hosts": _hosts(told["hosts"]),
        "Left out by --limit": _hosts(told["left_out"]),
        "Checklist": " ".join([bdi(checklist["name"]), bdi(checklist["version"])]).strip(),
        "Began": time_of(told["began"]),
        "Ended": time_of(told["ended"]),
        "Took": seconds_of(told["seconds"]) if told["seconds"] else "",
    }
    return f'<dl class="facts">{"".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in facts.items() if v)}</dl>'


def _hosts(hosts: list[str]) -> str:
    names = ", ".join(bdi(host) for host in hosts)
    if len(hosts) <= 12:
        return names
    return f"<details><summary>{len(hosts)} hosts</summary>{names}</details>"


def _verification(found: Entry | None, as_of: str, what: str = "record") -> str:
    """Say what is known of the record: a page is no proof, and ages."""
    when = time_of(as_of)
    if found is None:
        return (
            f'<p class="verification open">Not verified when this page was made, {when}. '
            "<code>playbooks/report.yml</code> verifies the record and makes the page anew.</p>"
        )
    notes = bullets(bdi(note) for note in found["notes"])
    if found["faults"]:
        faults = bullets(bdi(fault) for fault in found["faults"])
        return (
            f'<div class="verification bad"><p><strong>Not as it was written</strong>, as of {when}:</p>'
            f"{faults}{notes}</div>"
        )
    signers = ", ".join(bdi(signer) for signer in found.get("signers", []))
    signed = f", signed by {signers}" if signers else ", not signed" if "signers" in found else ""
    return (
        f'<div class="verification good"><p><strong>As it was written</strong>{signed}, as of {when}. '
        f"What happened to the {what} since, only <code>playbooks/verify_record.yml</code> can tell.</p>{notes}</div>"
    )


def _timeline(told: Entry) -> str:
    """Draw each run: a row for each host, with its phases where they were in time.

    Places are in percent, so that the picture fits any width and its letters keep their size.
    """
    pictures = []
    for index, run in enumerate(told["runs"]):
        phases = [phase for phase in told["phases"] if phase["run"] == index]
        times = [moment(at) for at in (run["began"], run["ended"])]
        times += [moment(phase[key]) for phase in phases for key in ("began", "ended")]
        known = [at.timestamp() for at in times if at]
        if phases and known:
            pictures.append(_picture(told, phases, min(known), max(known), index))
    if not pictures:
        return ""
    found = {phase["phase"] for phase in told["phases"]}
    names = sorted(found & set(PHASES), key=list(PHASES).index) + (["other"] if found - set(PHASES) else [])
    legend = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true">{_bar(name)}</svg> {name}</li>' for name in names
    )
    return section("Timeline", *pictures, f'<ul class="legend">{legend}</ul>')


def _bar(phase: str) -> str:
    return f'<rect class="{_colour(phase)}" width="12" height="12"/>'


def _colour(phase: str) -> str:
    return f"p-{phase}" if phase in PHASES else "p-other"


def _picture(told: Entry, phases: list[Entry], began: float, ended: float, index: int) -> str:
    span = max(ended - began, 0.001)

    def place(at: str) -> float:
        found = moment(at)
        share = (found.timestamp() - began) / span if found else 0
        return round(min(max(share, 0), 1) * 100, 2)

    hosts = list(dict.fromkeys(phase["host"] for phase in phases))
    named = len(hosts) <= NAMED_ROWS
    thin = max(2, min(6, 600 // len(hosts)))
    height, thick, gap = (34, 14, 17) if named else (thin, thin - 1, 0)
    marks = [item for item in told["signoffs"] if item["at"] and began <= _seconds(item["at"], -1) <= ended]
    top = 22 + (34 if marks else 0)
    bottom = top + height * len(hosts)
    shapes = []
    for quarter in range(5):
        anchor = {0: "start", 4: "end"}.get(quarter, "middle")
        shapes.append(f'<line class="axis" x1="{quarter * 25}%" x2="{quarter * 25}%" y1="16" y2="{bottom}"/>')
        shapes.append(f'<text x="{quarter * 25}%" y="11" text-anchor="{anchor}">{_offset(span * quarter / 4)}</text>')
    if marks:
        shapes.append(f'<text x="0" y="{top - 22}">sign-offs</text>')
    for item in marks:
        kind = STATUSES.get(item["status"], OPEN)
        tip = text(f"{item['item']}: {item['status']} {item['by']}")
        shapes.append(
            f'<circle class="{kind}" cx="{place(item["at"])}%" cy="{top - 10}" r="5"><title>{tip}</title></circle>'
        )
    for row, host in enumerate(hosts):
        y = top + row * height
        if named:
            # As much as a phone has room for. Marks isolate it: dir would also turn the side that it starts from.
            shown = host if len(host) <= 48 else f"{host[:47]}…"
            shapes.append(f'<text x="0" y="{y + 13}">\u2068{text(shown)}\u2069</text>')
        for phase in phases:
            if phase["host"] != host:
                continue
            left = place(phase["began"])
            width = round(place(phase["ended"]) - left, 2)
            kind = _colour(phase["phase"]) + (" failed" if phase["error"] else "")
            tip = text(f"{host}: {phase['phase']} {seconds_of(phase['seconds'])}{', failed' if phase['error'] else ''}")
            shapes.append(
                f'<rect class="{kind}" x="{left}%" y="{y + gap}" width="{width}%" height="{thick}">'
                f"<title>{tip}</title></rect>"
            )
    what = (
        f"{len(hosts)} host{'s' if len(hosts) > 1 else ''}, {seconds_of(span)}; the table of phases below says the same"
    )
    when = time_of(_iso(began))
    return (
        f'<figure><svg class="timeline" role="img" aria-label="Phases of {what}" width="100%" height="{bottom + 4}">'
        f"{''.join(shapes)}</svg>\n"
        f"<figcaption>{'Resumed' if index else 'Run'} from {when}, {what}.</figcaption></figure>"
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _seconds(at: str, otherwise: float) -> float:
    found = moment(at)
    return found.timestamp() if found else otherwise


def _offset(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 180 else f"{int(seconds // 60)}:{int(seconds % 60):02d} min"


def _who(item: Entry) -> str:
    role = f" as {bdi(item['role'])}" if item["role"] not in ("", "anyone") else ""
    how = METHODS.get(item["method"], "")
    key = f"key {bdi(item['key'], 'code')}" if item["key"] else ""
    lines = [f"{bdi(item['by'])}{role}" if item["by"] else "", how, key]
    return "".join(f"<div>{line}</div>" for line in lines if line)


def _status(item: Entry) -> str:
    state = BAD if item["doubted"] else STATUSES.get(item["status"], OPEN)
    shown = mark(f"{item['status']}, not proven" if item["doubted"] else item["status"], state)
    lines = [bdi(item["reason"], "div")]
    if item["overdue"]:
        lines.append(f"<div>{mark('overdue', BAD)} since {time_of(item['until'])}</div>")
    elif item["until"] and item["status"] == "open":
        lines.append(f"<div>until {time_of(item['until'])}</div>")
    for before in item["before"]:
        lines.append(
            f'<div class="minor">before: {bdi(before["status"])} {bdi(before["by"])} {time_of(before["at"])} '
            f"{bdi(before['reason'])}</div>"
        )
    return shown + "".join(lines)


def _checklist(told: Entry) -> str:
    parts = []
    for stage in [*STAGES, *sorted({item["stage"] for item in told["signoffs"]} - set(STAGES))]:
        rows = []
        for item in told["signoffs"]:
            if item["stage"] == stage:
                what = (in_languages(item["text"]) or bdi(item["item"], "div")) + (
                    "" if item["required"] else '<div class="minor">optional</div>'
                )
                area = f'<div class="minor">{in_languages(item["section"])}</div>' if item["section"] else ""
                when = time_of(item["at"]) if item["status"] not in ("open", "not asked") else ""
                rows.append((area + what, _status(item), _who(item), when, evidence_of(item["evidence"])))
        if rows:
            headers = ("Item", "Status", "Who, how", "When", "Evidence")
            parts.append(table(STAGES.get(stage) or bdi(stage), headers, rows, "checklist"))
    if not parts:
        return ""
    heading = in_languages(told["checklist"]["title"])
    owed = f"{told['open']} required open, {told['overdue']} of them overdue, as of {time_of(told['as_of'])}."
    return section("Checklist", f'<div class="lead">{heading}</div>' if heading else "", f"<p>{owed}</p>", *parts)


def _phases(told: Entry) -> str:
    rows = []
    for phase in told["phases"]:
        what = bdi(phase["error"], "div", kind="error") or bdi(phase["summary"], "div")
        changed = "yes" if phase["changed"] else "no"
        rows.append((bdi(phase["phase"]), bdi(phase["host"]), seconds_of(phase["seconds"]), changed, what))
    headers = ("Phase", "Host", "Time", "Changed", "What")
    return section("Phases", table("In the order in which they ended", headers, rows, "phases")) if rows else ""


def _migrations(told: Entry) -> str:
    lines = []
    for found in told["migrations"]:
        statements = told["sql"].get(found["migration"], [])
        sql = "".join(f'<pre dir="ltr">{text(statement)}</pre>' for statement in statements)
        lines.append(f"{bdi(found['migration'], 'code')} on {bdi(found['host'])}{sql}")
    snapshots = [
        f"Snapshot before: {bdi(found['id'], 'code')} on {bdi(found['host'])}, {bdi(found['size'])} bytes, "
        f"sha256 {bdi(found['sha256'], 'code')}"
        for found in told["snapshots"]
    ]
    return section("Migrations", bullets(lines), bullets(snapshots))


def _failures(told: Entry) -> str:
    lines = [
        f"{time_of(found['time'])} {bdi(found['host'])}, {bdi(found['task'])}:"
        f"{bdi(found['message'], 'pre', kind='error')}"
        for found in told["failures"]
    ]
    gaps = f"<p>{told['gaps']} entries could not be written; the record is not complete.</p>" if told["gaps"] else ""
    return section("Failures", bullets(lines), gaps)


def _live(told: Entry) -> str:
    rows = [(bdi(host), bdi(release, "code") or "nothing") for host, release in told["live"].items()]
    return section("Live afterwards", table("What each host serves", ("Host", "Release"), rows)) if rows else ""


def _form(told: Entry) -> str:
    """Return the form that ends a deployment checklist on paper, as far as the record can fill it in."""
    signed = {item["item"]: item for item in told["signoffs"] if item["status"] == "signed" and not item["doubted"]}
    deployed, verified = signed.get("deployed-by", {}), signed.get("verified-by", {})
    by = deployed.get("by") or told["checklist"]["deployed_by"] or told["by"]
    at, checked = moment(deployed.get("at") or told["ended"]), moment(verified.get("at"))

    def line(name: str, value: str = "") -> str:
        return f'<div><dt>{name}</dt><dd class="line">{value or "&nbsp;"}</dd></div>'

    ticked = {"success": "Success", "rolled back": "Rolled Back", "reverted": "Rolled Back", "partial": "Partial"}
    outcome = ticked.get(told["outcome"], "")
    boxes = [(name, name == outcome) for name in ("Success", "Rolled Back", "Partial")]
    boxes += [] if outcome else [(told["outcome"].capitalize(), True)]
    status = " ".join(
        f'<span class="box"><span aria-hidden="true">{"☒" if yes else "☐"}</span> {text(name)}'
        f'<span class="unseen">: {"yes" if yes else "no"}</span></span>'
        for name, yes in boxes
    )
    return section(
        "Sign-off",
        '<dl class="form">'
        + line("Deployed by", bdi(by))
        + line("Date", f"{at:%Y-%m-%d}" if at else "")
        + line("Time", f"{at:%H:%M:%S} UTC" if at else "")
        + line("Signature")
        + line("Verified by", bdi(verified.get("by")))
        + line("Date", f"{checked:%Y-%m-%d}" if checked else "")
        + line("Time", f"{checked:%H:%M:%S} UTC" if checked else "")
        + line("Signature")
        + f'</dl><p class="status">Status: {status}</p>',
    )


def told_of(entries: list[Entry], as_of: datetime, verification: Entry | None) -> Entry:
    """Return what a record tells, with the sign-offs that its verification found fault with."""
    told = report(entries, as_of)
    lines = verification["lines"] if verification else []
    faulty = [entry for entry in entries if entry.get("event") == "signoff" and entry.get("seq") in lines]
    doubted = {words(mapping(entry.get("data")).get("item")) for entry in faulty}
    for item in told["signoffs"]:
        item["doubted"] = item["item"] in doubted
    return told


def page(
    entries: list[Entry], as_of: datetime, name: str, verification: Entry | None = None, indexed: bool = True
) -> str:
    """Return the page of a record.

    :param name: of the record's file
    :param verification: what of_record returns, where the record was verified right now
    :param indexed: whether there is an index beside it
    """
    told = told_of(entries, as_of, verification)
    where = f' <span class="minor">{bdi(told["inventory"])}</span>' if told["inventory"] else ""
    outcome = mark(told["outcome"], OUTCOMES.get(told["outcome"], BAD))
    kind = "Rollback" if told["kind"] == "rollback" else f"Release {bdi(told['version'])}"
    nav = f'<nav><a href="./{INDEX}">All releases</a></nav>\n' if indexed else ""
    parts = [
        f"<header>{nav}<h1>{kind} {outcome}{where}</h1>\n{_facts(told)}</header>",
        "<main>",
        section("Verification", _verification(verification, told["as_of"])),
        _failures(told),
        _timeline(told),
        _checklist(told),
        _migrations(told),
        section("Commits since the last release", bullets(bdi(commit) for commit in told["commits"])),
        _live(told),
        _phases(told),
        _form(told),
        "</main>",
        f"<footer>{told['entries']} entries of {bdi(name)}, head {bdi(told['head'], 'code')}</footer>",
    ]
    return document(f"{title(told)} {told['inventory']}", "\n".join(filter(None, parts)))


# All releases


def brief(content: bytes) -> list[Entry]:
    """Return the entries that the index needs: without the phases, which are most of a record."""
    lines = lines_of(content)
    ends = (0, len(lines) - 1)
    wanted = [line for at, line in enumerate(lines) if at in ends or any(event in line for event in INDEXED)]
    # Whether they are as they were written is for the verification to say.
    return [entry for entry in map(_loaded, wanted) if entry]


def _loaded(line: bytes) -> Entry:
    try:
        return mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _row(name: str, told: Entry, page_of: str, verification: Entry | None) -> tuple[str, ...]:
    owed = f"{told['open']} open" if told["open"] else ""
    late = f"<div>{mark(str(told['overdue']) + ' overdue', BAD)}</div>" if told["overdue"] else ""
    if verification is None:
        state = "not verified"
    elif verification["faults"]:
        state = mark("not as it was written", BAD)
    else:
        signers = ", ".join(bdi(signer) for signer in verification["signers"])
        signed = f"signed by {signers}" if signers else "not signed"
        state = f"{mark('as it was written', GOOD)}<div>{signed}</div>"
    link = quote(page_of, errors="surrogateescape")
    done = f"{len(told['signoffs']) - told['open']} of {len(told['signoffs'])}" if told["signoffs"] else ""
    return (
        f'<a href="./{link}">{time_of(told["began"]) or bdi(name)}</a>',
        mark(told["outcome"], OUTCOMES.get(told["outcome"], BAD)),
        bdi(told["version"] or told["release"]),
        bdi(told["by"]),
        str(len(told["hosts"])),
        owed + late or done,
        state,
    )


def index(records: dict[str, list[Entry]], inventory: str, as_of: datetime, verified: Entry | None = None) -> str:
    """Return the page with all records of an inventory, the newest first.

    :param records: of each file, what brief() returns
    :param verified: faults of all, and of each record what page() takes
    """
    told = {name: report(entries, as_of) for name, entries in records.items()}
    of_each = verified["records"] if verified else {}
    newest = sorted(told, key=lambda name: (told[name]["began"], name), reverse=True)
    rows = [_row(name, told[name], f"{os.path.splitext(name)[0]}.html", of_each.get(name)) for name in newest]
    still, late = (sum(one[key] for one in told.values()) for key in ("open", "overdue"))
    heading = bdi(inventory)
    when = time_of(as_of.isoformat())
    lead = f"{len(rows)} records; {still} required sign-offs open, {late} of them overdue, as of {when}."
    headers = ("When", "Outcome", "Version", "By", "Hosts", "Sign-offs", "Verification")
    return document(
        f"Releases of {inventory}",
        f"<header><h1>Releases of {heading}</h1>\n<p>{lead}</p></header>\n<main>\n"
        + section("Verification", _verification(verified, as_of.isoformat(), "records") if verified else "")
        + section("Records", table("The newest first", headers, rows, "short"))
        + "\n</main>",
    )


# Files


def of_record(found: Verification, name: str) -> Entry:
    """Return what a verification says of a record, and of the ledger, without which it proves little."""
    base = os.path.splitext(name)[0]
    faults = [
        fault["text"]
        for fault in found.faults
        if os.path.splitext(os.path.basename(fault["file"]))[0] in (base, "ledger")
    ]
    signers = [signer for told in found.records if told["record"] == name for signer in told["signers"]]
    lines = [fault["line"] for fault in found.faults if os.path.basename(fault["file"]) == name]
    return {"faults": faults, "lines": lines, "notes": found.notes, "signers": list(dict.fromkeys(signers))}


def beside(path: str, ending: str) -> str:
    return f"{os.path.splitext(path)[0]}.{ending}"


def readable(path: str) -> list[Entry]:
    """Return the entries of a record, of which some lines may be spoilt: the verification names those."""
    with open(path, "rb") as handle:
        return [entry for entry in map(parse, lines_of(handle.read())) if entry]


def is_stale(path: str) -> bool:
    try:
        return os.stat(beside(path, "html")).st_mtime_ns <= os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return True


def write_pages(directory: str, as_of: datetime) -> None:
    """Write the index, and the pages of records that changed since theirs were made; nothing is verified."""
    for name in record_names(directory):
        path = os.path.join(directory, name)
        if is_stale(path):
            write(beside(path, "html"), page(readable(path), as_of, name))
    write_index(directory, as_of)


def write_index(directory: str, as_of: datetime, verified: Entry | None = None) -> str:
    records = {}
    for name in record_names(directory):
        with open(os.path.join(directory, name), "rb") as handle:
            records[name] = brief(handle.read())
    path = os.path.join(directory, INDEX)
    write(path, index(records, os.path.basename(os.path.abspath(directory)), as_of, verified))
    return path


def write_report(path: str, as_of: datetime, found: Verification, indexed: bool = False) -> str:
    """Write page and JSON of a record that was verified; return the path of the page."""
    name, entries, verified = os.path.basename(path), readable(path), of_record(found, os.path.basename(path))
    told = {**told_of(entries, as_of, verified), "record": name, "verification": verified}
    write(beside(path, "json"), json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    write(beside(path, "html"), page(entries, as_of, name, verified, indexed))
    return beside(path, "html")


def write_reports(directory: str, as_of: datetime, found: Verification) -> str:
    """Write all pages and JSON of a directory that was verified; return the path of the index."""
    names = record_names(directory)
    for name in names:
        write_report(os.path.join(directory, name), as_of, found, indexed=True)
    faults = [fault["text"] for fault in found.faults]
    of_each = {name: of_record(found, name) for name in names}
    return write_index(directory, as_of, {"faults": faults, "notes": found.notes, "records": of_each})
