# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking for whatever is not as it was written: in a record, or in all records of an inventory and their ledger."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import ChainFile, faults, lines_of, parse
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import (
    NAME,
    head_text,
    record_names,
    summary,
    text_of,
    unfinished,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import check
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoff_faults import signoff_faults

# What an entry of a ledger must have, or it cannot be compared with anything.
DESCRIPTION = {
    "record": str,
    "inventory": str,
    "entries": int,
    "bytes": int,
    "head": str,
    "sha256": str,
    "signer": str,
    "signature": str,
}


@dataclass
class Verification:
    """What was found. Without faults, everything is as it was written."""

    allowed_signers: str
    # Whether what nobody signed is a fault.
    signed: bool
    faults: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def fault(self, path: str, what: str, line: int = 0) -> None:
        place = f"{path} line {line}" if line else path
        self.faults.append({"file": path, "line": line, "what": what, "text": f"{place} {what}"})

    def check_signature(self, path: str, line: int, text: str, signature: str, signer: str, time: str) -> str:
        """Check who signed a text; return the key, empty when it is not signed well."""
        if not signature:
            if self.signed:
                self.fault(path, "is not signed", line)
            return ""
        problem, key = check(text, signature, signer, self.allowed_signers, time)
        if problem:
            self.fault(path, problem, line)
        return "" if problem else key

    def check_signoffs(self, path: str, entries: list[tuple[int, dict[str, Any]]], key: str) -> None:
        """Check whether those gave the sign-offs of a record whom they name.

        :param key: that signed the record when the release had ended, as check_signature returns it
        """
        listed = _text(self.allowed_signers) or "" if self.allowed_signers else ""
        for line, what in signoff_faults(entries, listed, key.rpartition(" ")[2]):
            self.fault(path, what, line)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def _text(path: str) -> str | None:
    content = _content(path)
    return None if content is None else content.decode(errors="replace")


def _valid_entries(content: bytes) -> list[tuple[int, dict[str, Any]]]:
    """The entries of a file, of which some lines may be spoilt, with their lines."""
    parsed = ((number, parse(line)) for number, line in enumerate(lines_of(content), 1))
    return [(number, entry) for number, entry in parsed if entry is not None]


def _told(path: str, content: bytes) -> dict[str, Any]:
    """Return what a record says of itself."""
    entries = [entry for _line, entry in _valid_entries(content)]
    if not entries:
        return {"record": os.path.basename(path), "entries": 0, "outcome": "unfinished", "release": "", "signers": []}
    run: dict[str, Any] = next((entry["data"] for entry in entries if entry["event"] == "run"), {})
    return {
        "record": os.path.basename(path),
        **summary(entries),
        "version": run.get("version", ""),
        "by": run.get("user", ""),
        "hosts": run.get("hosts", []),
        "began": entries[0]["time"],
        "ended": entries[-1]["time"],
        "entries": len(entries),
        "head": entries[-1]["hash"],
        "signers": [],
    }


def _is_kept(path: str) -> bool:
    """Say whether a run is at work that keeps this record."""
    try:
        file = ChainFile(path, create=False)
    except OSError:
        return False  # who may not write here cannot tell
    try:
        return not file.keep()
    finally:
        file.close()


def verify_file(path: str, allowed_signers: str, signed: bool) -> Verification:
    """Verify one record with what lies beside it, as it may have been sent to somebody."""
    result = Verification(allowed_signers, signed)
    content = _content(path)
    if content is None:
        result.fault(path, "is not there")
        return result
    for line, what in faults(content):
        result.fault(path, what, line)
    told, entries = _told(path, content), _valid_entries(content)
    result.records.append(told)
    base = os.path.splitext(path)[0]
    head, signature = _text(f"{base}.head"), _text(f"{base}.sig")
    if head is None:
        result.notes.append(f"{base}.head is not there: a cut end would not be found")
        if signed:
            result.fault(path, "is not signed")
        result.check_signoffs(path, entries, "")
        return result
    said = dict(line[2:].split(" ", 1) for line in head.splitlines() if line.startswith("# ") and line.count(" ") > 1)
    signer, closed_by = said.get("signer", ""), said.get("closed_by", "")
    _compare_head(result, path, content, head, said.get("inventory", ""), signer, closed_by)
    # Its time is that of the last entry: nothing was signed before it.
    key = result.check_signature(f"{base}.sig", 0, head, signature or "", signer, told.get("ended", ""))
    if key:
        told["signers"] = [] if closed_by else [signer]
    if closed_by:
        result.notes.append(_closed(path, closed_by, signer))
    # Whoever signs an item later also signs the record anew, and who closes it for a killed run did not make it.
    later = any(_said_by(entry, "run").get("later") for _line, entry in entries)
    result.check_signoffs(path, entries, "" if later or closed_by else key)
    return result


def _closed(path: str, closed_by: str, signer: str) -> str:
    """Say who closed the record of a run that was killed."""
    who = f"{signer} in {closed_by}, who" if signer else f"the run {closed_by}, which"
    return f"{path} was closed by {who} did not make it"


def _compare_head(
    result: Verification, path: str, content: bytes, head: str, inventory: str, signer: str, closed_by: str = ""
) -> None:
    """Compare a file with the text that says what it holds."""
    lines = lines_of(content)
    last = parse(lines[-1]) if lines else None
    sha256 = hashlib.sha256(content).hexdigest()
    last_hash = last["hash"] if last else ""
    if head == head_text(inventory, os.path.basename(path), len(lines), last_hash, sha256, signer, closed_by):
        return
    said = next((line.split(" ")[2] for line in head.splitlines() if line.startswith("# entries ")), "?")
    if said.isdigit() and int(said) > len(lines):
        what = f"its end was cut off: it has {len(lines)} entries, {said} were signed"
    elif said.isdigit() and int(said) < len(lines):
        what = f"has {len(lines)} entries, of which {said} were signed"
    else:
        what = "is not what was signed"
    result.fault(path, f"{what} ({os.path.splitext(os.path.basename(path))[0]}.head)", min(len(lines), _number(said)))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def verify_directory(directory: str, allowed_signers: str, signed: bool, ledger_head: str = "") -> Verification:
    """Verify all records of an inventory and their ledger.

    :param ledger_head: a last hash of the ledger that was noted elsewhere: it must still be in it
    """
    result = Verification(allowed_signers, signed)
    contents = {name: _content(os.path.join(directory, name)) or b"" for name in record_names(directory)}
    told = {name: _told(name, content) for name, content in contents.items()}
    entered = _verify_ledger(result, directory, ledger_head)
    whose = _owners(contents)
    for name, content in contents.items():
        path = os.path.join(directory, name)
        for line, what in faults(content):
            entry = parse(lines_of(content)[line - 1])
            others = [f"{o} line {n}" for o, n in whose.get(entry["hash"], []) if o != name] if entry else []
            taken = f"; the line is that of {' and '.join(others)}" if others else ""
            result.fault(path, what + taken, line)
        _compare_with_ledger(result, path, content, entered.get(name, []), told[name])
        _check_signoffs(result, path, content, entered.get(name, []))
    for name in sorted(set(entered) - set(contents)):
        line = entered[name][-1][0]
        result.fault(os.path.join(directory, name), f"is not there, but in {NAME} line {line}")
    result.records = list(told.values())
    return result


def verify_entered(path: str, allowed_signers: str, signed: bool) -> Verification:
    """Verify one record of a directory, and the ledger as far as it is about that."""
    result = Verification(allowed_signers, signed)
    directory, name = os.path.split(path)
    content = _content(path)
    if content is None:
        result.fault(path, "is not there")
        return result
    told = _told(path, content)
    entered = _verify_ledger(result, directory, "", only=name).get(name, [])
    for line, what in faults(content):
        result.fault(path, what, line)
    _compare_with_ledger(result, path, content, entered, told)
    _check_signoffs(result, path, content, entered)
    result.records.append(told)
    return result


def _owners(contents: dict[str, bytes]) -> dict[str, list[tuple[str, int]]]:
    """Say in which records, and in which lines of them, a line stands, by its hash."""
    owners: dict[str, list[tuple[str, int]]] = {}
    for name, content in contents.items():
        for line, entry in _valid_entries(content):
            owners.setdefault(entry["hash"], []).append((name, line))
    return owners


Entered = dict[str, list[tuple[int, dict[str, Any], str]]]


def _verify_ledger(result: Verification, directory: str, ledger_head: str, only: str = "") -> Entered:
    """Verify the ledger; return of each record what was entered: line, data, and the key that signed.

    :param only: the record whose signatures are checked; empty for those of all
    """
    path = os.path.join(directory, NAME)
    content = _content(path)
    if content is None:
        result.fault(path, "is not there")
        return {}
    for line, what in faults(content):
        result.fault(path, what, line)
    entered: Entered = {}
    entries = _valid_entries(content)
    for line, entry in entries:
        data = entry["data"]
        if not all(isinstance(data.get(name), kind) for name, kind in DESCRIPTION.items()):
            result.fault(path, "is no entry of a ledger", line)
            continue
        if data["inventory"] != os.path.basename(directory):
            result.fault(path, f"is about the inventory {data['inventory']}", line)
        key = ""
        if only in ("", data["record"]):
            key = result.check_signature(path, line, text_of(data), data["signature"], data["signer"], entry["time"])
        entered.setdefault(data["record"], []).append((line, data, key))
    if ledger_head and ledger_head not in [entry["hash"] for _line, entry in entries]:
        result.fault(path, f"does not hold the entry {ledger_head}, which it once ended with")
    base = os.path.splitext(path)[0]
    head = _text(f"{base}.head")
    if head is None:
        result.fault(f"{base}.head", "is not there")
        return entered
    signer = next((line[9:] for line in head.splitlines() if line.startswith("# signer ")), "")
    _compare_head(result, path, content, head, os.path.basename(directory), signer)
    time = entries[-1][1]["time"] if entries else ""
    result.check_signature(f"{base}.sig", 0, head, _text(f"{base}.sig") or "", signer, time)
    return entered


def _check_signoffs(
    result: Verification, path: str, content: bytes, entered: list[tuple[int, dict[str, Any], str]]
) -> None:
    entries = _valid_entries(content)
    ends = [line for line, entry in entries if _said_by(entry, "outcome").get("outcome", "killed") != "killed"]
    ended = max(ends, default=0)
    # Whoever closes the record of a killed run, or signs an item later, signs it as well.
    keys = [key for _line, data, key in entered if ended and data["entries"] >= ended]
    result.check_signoffs(path, entries, keys[0] if keys else "")


def _said_by(entry: dict[str, Any], event: str) -> dict[str, Any]:
    """Return the data of an entry when it is one of that event, else nothing: somebody may have written anything."""
    data = entry.get("data")
    return data if entry.get("event") == event and isinstance(data, dict) else {}


def _compare_with_ledger(
    result: Verification,
    path: str,
    content: bytes,
    entered: list[tuple[int, dict[str, Any], str]],
    told: dict[str, Any],
) -> None:
    """Compare a record with each entry that the ledger has of it, and with what lies beside it."""
    lines = lines_of(content)
    entries = [entry for _line, entry in _valid_entries(content)]
    at_work = bool(entries) and (not entered or entered[-1][1]["bytes"] < len(content)) and _is_kept(path)
    if at_work:
        result.notes.append(f"{path} is being written: a run is at work")
    elif not entered:
        state = "; its run was killed, and the next one closes it" if unfinished(entries) else ""
        result.fault(path, f"is not in {NAME}{state}")
    for line, data, key in entered:
        if len(lines) < data["entries"]:
            what = f"its end was cut off: it has {len(lines)} entries, {NAME} line {line} says {data['entries']}"
            result.fault(path, what, len(lines))
        elif hashlib.sha256(content[: data["bytes"]]).hexdigest() != data["sha256"]:
            result.fault(path, f"is not the record that was entered in {NAME} line {line}", data["entries"])
        elif data.get("closed_by"):
            result.notes.append(_closed(path, data["closed_by"], data["signer"]))
        elif key:
            told["signers"].append(data["signer"])
    if not entered:
        return
    last = entered[-1][1]
    if len(lines) > last["entries"] and not at_work:
        what = f"was added after the record was closed; {NAME} knows {last['entries']} entries"
        result.fault(path, what, last["entries"] + 1)
    base = os.path.splitext(path)[0]
    for file, wanted in ((f"{base}.head", text_of(last)), (f"{base}.sig", last["signature"])):
        if (_text(file) or "") != wanted:
            result.fault(file, f"is not what {NAME} has of it" if os.path.exists(file) else "is not there")
