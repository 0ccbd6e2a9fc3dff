# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the logs of nginx and Laravel say of a span of time, by counting.

Private to this collection. Of a line nothing is told but time, level, status and duration: the rest may be secret.
Times are seconds since 1970. Both kinds of log are in the order of time, so that where a span begins is found by
halving: of a log of gigabytes a few blocks are read.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from array import array
from typing import Any, BinaryIO, Callable, Iterator, Optional

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_Time = Callable[[bytes], Optional[float]]

# Bytes in which a line that has a time surely comes; a stack trace is shorter.
_NEAR = 2**20
_NGINX_TIME = re.compile(rb'"time":"([^"]+)"')
_LARAVEL = re.compile(rb"\[(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?\] [\w.-]+\.([A-Z]+):")


def nginx_time(line: bytes) -> float | None:
    """Return the time of a line of the log that the role nginx sets up."""
    found = _NGINX_TIME.search(line)
    if not found:
        return None
    try:
        return datetime.datetime.fromisoformat(found[1].decode("ascii", "replace")).timestamp()
    except ValueError:
        return None


def laravel_time(offset: int) -> _Time:
    """Return a function for the time of a line of Laravel's log.

    :param offset: seconds that the clock of the application is ahead of UTC, where the line does not tell
    """

    def time_of(line: bytes) -> float | None:
        found = _LARAVEL.match(line)
        if found:
            day, clock, zone = (part.decode() if part else "" for part in found.groups()[:3])
            text = f"{day}T{clock}{zone}"
        else:
            text = str(_json_entry(line).get("datetime", ""))
        try:
            moment = datetime.datetime.fromisoformat(re.sub("Z$", "+00:00", text))
        except ValueError:
            return None
        if moment.tzinfo:
            return moment.timestamp()
        return moment.replace(tzinfo=datetime.timezone.utc).timestamp() - offset

    return time_of


def _json_entry(line: bytes) -> dict[str, Any]:
    """Return what a line of Monolog's JsonFormatter holds, nothing of any other line."""
    if not line.startswith(b"{"):
        return {}
    try:
        entry = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def laravel_level(line: bytes) -> str:
    """Return the level of a line of Laravel's log, empty when it has none."""
    found = _LARAVEL.match(line)
    return found[4].decode().lower() if found else str(_json_entry(line).get("level_name", "")).lower()


def _first_time(log: BinaryIO, at: int, time_of: _Time) -> float | None:
    """Return the time of the first line that has one behind a place, None when the log ends before."""
    log.seek(at)
    if at:
        log.readline()  # the rest of a line
    end = log.tell() + _NEAR
    for line in iter(log.readline, b""):
        moment = time_of(line)
        if moment is not None:
            return moment
        if log.tell() > end:
            break
    return None


def lines_since(log: BinaryIO, since: float, time_of: _Time) -> Iterator[tuple[float, bytes]]:
    """Yield the lines that have a time, from a moment on."""
    low, high = 0, log.seek(0, os.SEEK_END)
    while high - low > 4096:
        middle = (low + high) // 2
        moment = _first_time(log, middle, time_of)
        if moment is None or moment >= since:
            high = middle
        else:
            low = middle
    log.seek(low)
    for line in log:
        moment = time_of(line)
        if moment is not None and moment >= since:
            yield moment, line


def count_requests(paths: list[str], since: float, until: float, server: str = "") -> dict[str, float]:
    """Count the requests of a span in nginx's log, and those that the server failed (5xx).

    :param paths: the log and older parts of it, in any order
    :param server: count only those of this server_name or Host
    :raises OSError: a log cannot be read
    """
    failed = unreadable = 0
    times = array("f")
    for path in paths:
        with open(path, "rb") as log:
            for moment, line in lines_since(log, since, nginx_time):
                if moment >= until:
                    break
                try:
                    entry = json.loads(line.decode("utf-8", "replace"))
                    if server and server not in (entry.get("server"), entry.get("host")):
                        continue
                    times.append(float(entry["request_time"]))
                    failed += int(entry["status"]) >= 500
                except (ValueError, KeyError, TypeError, AttributeError):
                    unreadable += 1
    ordered = sorted(times)
    count = len(ordered)
    # The nearest rank: 95 of 100 requests took no longer.
    p95 = ordered[-(-count * 95 // 100) - 1] if count else 0.0
    return {"requests": count, "failed": failed, "p95_ms": round(p95 * 1000), "unreadable": unreadable}


def count_levels(paths: list[str], since: float, offset: int) -> tuple[dict[str, int], list[str]]:
    """Count the entries of Laravel's logs since a moment, by level.

    :return: the counts, and the logs that were written since, though nothing in them can be read as of that time
    :raises OSError: a log cannot be read
    """
    counts = dict.fromkeys(LEVELS, 0)
    unreadable = []
    for path in paths:
        read = False
        with open(path, "rb") as log:
            for dummy, line in lines_since(log, since, laravel_time(offset)):
                level = laravel_level(line)
                if level in counts:
                    counts[level] += 1
                    read = True
            state = os.fstat(log.fileno())
        # An entry has whole seconds: it may be written up to one later.
        if state.st_size and state.st_mtime >= since + 1 and not read:
            unreadable.append(path)
    return counts, unreadable
