# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of an inventory: the chain of all of its records, ledger.jsonl, in the format of the records.

An entry holds how many entries a record had when it was closed, its last hash and its checksum, and the signature over
that. Whoever cuts the end of a record, or takes a whole one away, has to change the ledger as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import (
    ChainError,
    ChainFile,
    entries_of,
    lines_of,
    read,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import Signer

NAME = "ledger.jsonl"

# What each run begins with in a record.
BEGIN = ("run", "resumed")


def head_text(inventory: str, name: str, entries: int, head: str, sha256: str, signer: str, closed_by: str = "") -> str:
    """Return what is signed: it says what the file holds, and sha256sum --check understands it.

    :param closed_by: the run that closed the record of another one, which was killed; its signer did not make it
    """
    closed = f"# closed_by {closed_by}\n" if closed_by else ""
    return (
        f"# slipway-release 1\n# inventory {inventory}\n# entries {entries}\n# head {head}\n# signer {signer}\n"
        f"{closed}{sha256}  {name}\n"
    )


def text_of(data: dict[str, Any]) -> str:
    """Return what was signed for an entry of a ledger."""
    # Older entries have no closed_by.
    names = ("inventory", "record", "entries", "head", "sha256", "signer", "closed_by")
    return head_text(*(data.get(name, "") for name in names))


def unfinished(entries: list[dict[str, Any]]) -> bool:
    """Say whether a release was going on when its record ended: the last one has no outcome."""
    going_on = False
    for entry in entries:
        if entry["event"] == "outcome":
            going_on = False
        elif entry["event"] == "run" and not entry["data"].get("later"):
            going_on = True
    return going_on


def may_be_of_killed(known: list[dict[str, Any]], added: list[dict[str, Any]]) -> bool:
    """Say whether a run that was killed may have left this: whoever closes its record signs nothing else.

    :param known: the entries that the ledger has of the record, none of a new one
    :param added: those after them
    """
    events = [entry["event"] for entry in added]
    if "outcome" in events or (events and events[0] not in BEGIN):
        return False
    if not known:
        return unfinished(added) or "run" not in events
    # Nobody goes on with a release that ended, except to sign it off.
    return not unfinished(added) or summary(known)["outcome"] == "killed"


def summary(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return what a record tells in a word: the outcome and the release."""
    outcomes = [entry["data"] for entry in entries if entry["event"] == "outcome"]
    last = outcomes[-1] if outcomes else {"outcome": "unfinished"}
    return {"outcome": str(last["outcome"]), "release": str(last.get("release") or release_of(entries))}


def release_of(entries: list[dict[str, Any]]) -> str:
    """Return the release id that a record is about, empty before it is known."""
    found = [entry["data"]["release"] for entry in entries if entry["data"].get("release")]
    return str(found[-1]) if found else ""


def write(path: str, text: str) -> None:
    """Write a whole file or nothing."""
    beside = f"{path}.{os.getpid()}.new"
    with open(beside, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(beside, path)


def record_names(directory: str) -> list[str]:
    """Return the names of the records in a directory."""
    return sorted(name for name in os.listdir(directory) if name.endswith(".jsonl") and name != NAME)


class Ledger:
    """The ledger in a directory of records, and who signs there."""

    def __init__(self, directory: str, signer: Signer | None) -> None:
        self.directory, self.signer = directory, signer
        self.path = os.path.join(directory, NAME)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep the other runs on this machine waiting. The directory is locked: a file would be shared by git."""
        os.makedirs(self.directory, exist_ok=True)
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def entries(self) -> list[dict[str, Any]]:
        return read(self.path) if os.path.exists(self.path) else []

    def sign(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data of an entry with its signature, and leave both beside the file that it is about."""
        data = {**data, "signer": self.signer.identity if self.signer else ""}
        text = text_of(data)
        signature = self.signer.sign(text) if self.signer else ""
        base = os.path.join(self.directory, os.path.splitext(data["record"])[0])
        write(f"{base}.head", text)
        if signature:
            write(f"{base}.sig", signature)
        elif os.path.exists(f"{base}.sig"):
            os.unlink(f"{base}.sig")  # it was for fewer entries
        return {**data, "signature": signature}

    def describe(self, name: str, content: bytes, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what an entry says of the content of a file."""
        return {
            "record": name,
            "inventory": os.path.basename(self.directory),
            "entries": len(entries),
            "bytes": len(content),
            "head": entries[-1]["hash"],
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    def known(self, name: str, content: bytes, path: str) -> int:
        """Return how many entries of a record the ledger has.

        :raises ChainError: they are not those that were entered
        """
        entered = [entry["data"] for entry in self.entries() if entry["data"]["record"] == name]
        if not entered:
            return 0
        last = entered[-1]
        if hashlib.sha256(content[: last["bytes"]]).hexdigest() != last["sha256"]:
            raise ChainError(f"{path} is not the record that was entered in {NAME}")
        return int(last["entries"])

    def may_sign(self, name: str, content: bytes, path: str) -> list[dict[str, Any]]:
        """Return the entries of a record that is to be entered.

        :raises ChainError: it holds what no run has added
        """
        entries, known = entries_of(content, path), self.known(name, content, path)
        if entries[known:] and entries[known]["event"] not in BEGIN:
            raise ChainError(f"{path} line {known + 1} was added by no run: it is not signed")
        return entries

    def enter(self, record: RecordFile, closed_by: str = "") -> dict[str, Any]:
        """Sign a record, enter it, and sign the ledger.

        :param closed_by: the run that closes the record of another one
        :raises ChainError: it holds what no run has added
        """
        content, name = record.content(), os.path.basename(record.path)
        with self.lock():
            entries = self.may_sign(name, content, record.path)
            described = self.describe(name, content, entries)
            before = self.entries()
            previous = before[-1]["data"]["record"] if before else ""
            closed = {"closed_by": closed_by} if closed_by else {}
            data = self.sign({**described, **summary(entries), **closed, "previous": previous})
            self.add(data)
        return data

    def add(self, data: dict[str, Any], at: str = "") -> None:
        """Add an entry and sign the ledger anew."""
        file = ChainFile(self.path, create=not os.path.exists(self.path))
        try:
            file.append("record", data, at)
            content = file.content()
        finally:
            file.close()
        self.sign(self.describe(NAME, content, entries_of(content, self.path)))

    def open_ends(self) -> list[str]:
        """Return the records that hold something which the ledger does not know: a run is at work, or was killed."""
        known = {entry["data"]["record"]: entry["data"]["bytes"] for entry in self.entries()}
        paths = [os.path.join(self.directory, name) for name in record_names(self.directory)]
        return [path for path in paths if os.path.getsize(path) > known.get(os.path.basename(path), -1)]

    def is_of_killed(self, record: RecordFile) -> bool:
        """Say whether a run that was killed may have left what the ledger does not know of a record."""
        content, path = record.content(), record.path
        # An end that was not written to its end is moved aside later.
        whole = [line for line in lines_of(content) if line.endswith(b"\n")]
        try:
            entries = entries_of(b"".join(whole), path)
            known = self.known(os.path.basename(path), content, path)
        except ChainError:
            return False
        return may_be_of_killed(entries[:known], entries[known:])

    def close_killed(self, ours: str) -> list[str]:
        """Close the records of runs that were killed; return their paths.

        What no such run can have left is not touched: verification names it.

        :param ours: path of the record of this run; nothing may open that a second time, see chain.py
        """
        closed = []
        closed_by = os.path.splitext(os.path.basename(ours))[0]
        for path in self.open_ends():
            if os.path.abspath(path) == os.path.abspath(ours):
                continue
            record = RecordFile(path, create=False)
            try:
                if not record.keep() or not self.is_of_killed(record):
                    continue
                entries = record.mended()
                if not entries:
                    os.unlink(path)  # killed before it wrote anything
                    continue
                if unfinished(entries):
                    told = {"outcome": "killed", "release": release_of(entries), "closed_by": closed_by}
                    record.append("outcome", told)
                self.enter(record, closed_by)
                closed.append(path)
            finally:
                record.close()
        return closed
