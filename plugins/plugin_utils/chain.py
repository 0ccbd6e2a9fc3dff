# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of JSON lines, each bound to the line before by its hash: records and ledgers.

An entry has ``seq`` (from 1), ``time`` (UTC), ``event``, ``data``, ``prev`` (hash of the line before, 64 zeros in the
first) and ``hash``: SHA-256 of the entry without ``hash``, as JSON with sorted keys and without spaces, in UTF-8. A
line is the entry in that same form, so that not one byte of it can be written in another way.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

FIRST = "0" * 64

# Bytes far behind the end of every file, which serve as locks: one is held while an entry is added, the other one by
# the process that keeps the file, for as long as it lives. Locks of this kind belong to the process, so that a forked
# worker, which shares the descriptor, competes for them like any other process.
APPENDING = 2**62
KEEPING = APPENDING + 1


class ChainError(ValueError):
    """A file is not what was written; the message names file and line."""


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def entry_hash(entry: dict[str, Any]) -> str:
    """Return the hash that an entry must have."""
    body = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def now() -> str:
    """Return the time as entries have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_entry(number: int, previous: str, event: str, data: dict[str, Any], at: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"seq": number, "time": at or now(), "event": event, "data": data, "prev": previous}
    entry["hash"] = entry_hash(entry)
    return entry


def line_of(entry: dict[str, Any]) -> bytes:
    return (canonical(entry) + "\n").encode()


class ChainFile:
    """A file that entries are added to, by several processes if need be. It is followed when it is renamed."""

    def __init__(self, path: str, create: bool = True) -> None:
        """Make the file, which must not be there yet, or open one that is there."""
        if create:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT | os.O_EXCL if create else 0)
        self._descriptor = os.open(path, flags, 0o644)
        self.path = path

    def append(self, event: str, data: dict[str, Any], at: str = "") -> dict[str, Any]:
        """Add an entry and wait until it is on disk.

        :param at: the time at which it happened, where that is not now
        :raises OSError: it could not be written, and nothing of it is left
        :raises ChainError: the file does not end in an entry
        """
        with self._lock():
            number, previous = self._mend()
            return self._write(make_entry(number + 1, previous, event, data, at))

    def _write(self, entry: dict[str, Any]) -> dict[str, Any]:
        line = line_of(entry)
        before = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise
        return entry

    def _mend(self) -> tuple[int, str]:
        """Return number and hash of the last entry; an end that was not written to its end makes room, and is kept."""
        size = os.fstat(self._descriptor).st_size
        start, tail = size, b""
        # The last whole line, and what may follow it.
        while start and tail.count(b"\n") < 2:
            start = max(0, start - 65536)
            tail = os.pread(self._descriptor, size - start, start)
        whole, newline, partial = tail.rpartition(b"\n")
        number, previous = 0, FIRST
        if newline:
            entry = parse(whole.rpartition(b"\n")[2] + b"\n")
            if entry is None:
                raise ChainError(f"{self.path} does not end in an entry that was written here: nothing can be added")
            number, previous = entry["seq"], entry["hash"]
        if not partial:
            return number, previous
        os.ftruncate(self._descriptor, size - len(partial))
        lost = {"partial": partial.decode(errors="backslashreplace"), "bytes": len(partial)}
        entry = self._write(make_entry(number + 1, previous, "resumed", lost))
        return entry["seq"], entry["hash"]

    def content(self) -> bytes:
        """Return what the file holds now, whoever wrote it."""
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries as they are on disk now."""
        return entries_of(self.content(), self.path)

    def mended(self) -> list[dict[str, Any]]:
        """Return the entries, after an end that was not written to its end was moved aside."""
        with self._lock():
            self._mend()
            return self.entries

    @contextmanager
    def _lock(self) -> Iterator[None]:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, APPENDING)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, APPENDING)

    def keep(self) -> bool:
        """Become the process that keeps this file until it ends; False when another one does."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, KEEPING)
        except OSError as exc:
            if exc.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def close(self) -> None:
        """Stop writing."""
        os.close(self._descriptor)


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the entry that a line is, None when it is not, byte for byte, as it was written."""
    try:
        entry = json.loads(line)
        fits = isinstance(entry, dict) and entry["hash"] == entry_hash(entry) and line_of(entry) == line
        return entry if fits and isinstance(entry["seq"], int) else None
    except (ValueError, KeyError, RecursionError):
        return None


def lines_of(content: bytes) -> list[bytes]:
    """The lines with their ends. Nothing but a line feed ends a line."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def faults(content: bytes) -> Iterator[tuple[int, str]]:
    """Name each line that is not what was written: its number, and what is the matter."""
    previous: str | None = FIRST
    expected = 0
    seen: dict[str, int] = {}
    for number, line in enumerate(lines_of(content), 1):
        expected += 1
        entry = parse(line)
        if entry is None:
            yield number, _what_is_wrong(line)
            previous = None  # nobody can say what the next line has to follow
            continue
        if entry["seq"] != expected or previous not in (None, entry["prev"]):
            yield number, f"does not follow the line before it: {_misplaced(entry, expected, seen)}"
            expected = entry["seq"]
        previous = entry["hash"]
        seen.setdefault(entry["hash"], number)


def _what_is_wrong(line: bytes) -> str:
    if not line.endswith(b"\n"):
        return "was not written to its end"
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return "is not valid JSON"
    if not isinstance(entry, dict) or "hash" not in entry:
        return "was changed: it is no entry"
    try:
        fits = entry["hash"] == entry_hash(entry)
    except ValueError:
        fits = False
    return "was changed: it is written in another form" if fits else "was changed: its hash does not fit"


def _misplaced(entry: dict[str, Any], expected: int, seen: dict[str, int]) -> str:
    if entry["hash"] in seen:
        return f"it is line {seen[entry['hash']]} once more"
    place = f"it is entry {entry['seq']} where {expected} belongs, and" if entry["seq"] != expected else "it"
    if entry["prev"] in seen:
        return f"{place} follows line {seen[entry['prev']]}: the chain forks there"
    missing = f": entry {expected} is missing" if entry["seq"] > expected else ""
    return f"{place} follows a line that is not here{missing}"


def entries_of(content: bytes, path: str) -> list[dict[str, Any]]:
    """Return the entries of a file.

    :raises ChainError: a line is not what was written; the message names the first one
    """
    for number, fault in faults(content):
        raise ChainError(f"{path} line {number} {fault}")
    return [json.loads(line) for line in lines_of(content)]


def read(path: str) -> list[dict[str, Any]]:
    """Return the entries of a file, which must be whole."""
    with open(path, "rb") as handle:
        return entries_of(handle.read(), path)
