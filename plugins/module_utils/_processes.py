# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of this host that run a release, as /proc tells of them.

Private to this collection.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

# The commands of long-running artisan processes: they hold the code of the release that they were started in.
WORKER_COMMANDS = (
    "horizon",
    "horizon:supervisor",
    "horizon:work",
    "inertia:start-ssr",
    "octane:frankenphp",
    "octane:roadrunner",
    "octane:start",
    "octane:swoole",
    "pulse:check",
    "pulse:work",
    "queue:listen",
    "queue:work",
    "reverb:start",
    "schedule:work",
)

# Options with which a worker ends after a job or a moment, to be started anew by whoever runs it.
_SHORT = re.compile(r"--(once|stop-when-empty|max-jobs=[0-9])")

# The servers that Octane's commands run, by their program or script; Swoole gives its processes a title of its own.
_OCTANE = ("rr", "frankenphp", "swoole-server", "roadrunner-worker")
_OCTANE_TITLE = "swoole_http_server"
_JAVASCRIPT = ("node", "nodejs", "bun", "deno")

# The title of PM2 itself. It holds no code of a release, though it has the directory that it was first started in.
_PM2 = "PM2 v"


class _Process:
    """What /proc tells of one process to this user."""

    def __init__(self, pid: str) -> None:
        self.pid = int(pid)
        self._directory = f"/proc/{pid}"
        self.cwd = os.readlink(f"{self._directory}/cwd")
        self.words = command_line(pid)

    def link(self, name: str) -> str:
        try:
            return os.readlink(f"{self._directory}/{name}")
        except OSError:
            return ""

    def stat(self) -> tuple[int, int]:
        """Return its parent and its start, in ticks after the boot."""
        return _stat(self.pid)

    def maps(self) -> str:
        try:
            with open(f"{self._directory}/maps", encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except OSError:
            return ""


def command_line(pid: str | int) -> list[str]:
    """Return the words of a process; every user may see them."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            return handle.read().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return [""]


def _stat(pid: int) -> tuple[int, int]:
    """Return the parent of a process and its start, in ticks after the boot; every user may see them."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            # The name stands in brackets and may hold anything.
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[19])


def _processes() -> list[_Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.append(_Process(name))
            except OSError:
                continue  # It ended, or belongs to somebody else.
    return found


def _releases(root: str) -> str:
    """Return how paths of releases begin, where the kernel tells them: it knows no links."""
    return os.path.realpath(os.path.join(root, "releases")) + os.sep


def _release_of(path: str, releases: str) -> str:
    # A removed directory is shown as "<path> (deleted)".
    if not path.startswith(releases):
        return ""
    return path[len(releases) :].split(os.sep, maxsplit=1)[0].replace(" (deleted)", "")


def _booted() -> float:
    with open("/proc/stat", encoding="ascii") as handle:
        return next(float(line.split()[1]) for line in handle if line.startswith("btime "))


def _uptime() -> float:
    with open("/proc/uptime", encoding="ascii") as handle:
        return float(handle.read().split()[0])


def _supervisor(parent: int) -> str:
    title = " ".join(command_line(parent)).lower()
    return "supervisord" if "supervisord" in title else "pm2" if "pm2" in title else ""


def _artisan_command(words: list[str]) -> str:
    return next((b for a, b in zip(words, words[1:]) if os.path.basename(a) == "artisan"), "")


def _kind(process: _Process, parent: int, node: bool) -> tuple[str, str]:
    """Return what sort of worker a process is, '' for none, and what to call it; arguments may hold secrets."""
    words = process.words
    if words[0].startswith(_PM2):
        return "", ""
    command = _artisan_command(words)
    if command in WORKER_COMMANDS:
        return "artisan", command
    names = [os.path.basename(word) for word in words[:3]]
    octane = next((name for name in names if name in _OCTANE), "")
    if octane or words[0].startswith(_OCTANE_TITLE):
        return "octane", octane or _OCTANE_TITLE
    # The program, and its script.
    scripts = [name for word, name in zip(words[1:2], names[1:2]) if re.search("[./]", word) and word[:1] != "-"]
    program = command or " ".join([names[0], *scripts])
    supervisor = _supervisor(parent)
    if supervisor:
        return supervisor, program
    if node and os.path.basename(process.link("exe")) in _JAVASCRIPT:
        return "node", program
    return "", program


def is_octane(worker: dict[str, Any]) -> bool:
    """Say whether a worker answers requests, as a server of Octane or the command that runs one."""
    return bool(worker["kind"] == "octane" or worker["command"].startswith("octane:"))


def workers(root: str, node: bool = False) -> list[dict[str, Any]]:
    """Return the processes below a root that hold the code of a release for long.

    Those are the long-running artisan commands, the servers of Octane, what supervisor or PM2 runs with a release as
    its working directory, and with ``node`` every JavaScript process there. Each has its pid, what it is (``kind`` and
    ``command``), the release that it was started in, when (``started``, UTC) and how many seconds ago (``age``), and
    ``parent``, where that is such a process too, otherwise 0. With ``node`` that is the nearest such process which it
    comes from: npm starts its scripts in a shell. One that is ``once`` must not be signalled, and ends by itself; one
    that is ``short`` ends soon.

    Only processes whose working directory this user may see are found: those of the application's own user, or all for
    root.
    """
    releases = _releases(root)
    booted, up, ticks = _booted(), _uptime(), os.sysconf("SC_CLK_TCK")
    found: list[dict[str, Any]] = []
    for process in _processes():
        release = _release_of(process.cwd, releases)
        if not release:
            continue
        parent, start = process.stat()
        kind, command = _kind(process, parent, node)
        if kind:
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(booted + start / ticks))
            found.append(
                {
                    "pid": process.pid,
                    "kind": kind,
                    "command": command,
                    "release": release,
                    "started": moment,
                    "age": max(0.0, up - start / ticks),
                    "parent": parent,
                    # Laravel listens for signals only in the loop that these do not get to.
                    "once": "--once" in process.words or command == "schedule:run",
                    "short": any(_SHORT.fullmatch(word) for word in process.words),
                }
            )
    pids = {worker["pid"] for worker in found}
    for worker in found:
        while node and worker["parent"] not in {*pids, 0}:
            worker["parent"] = _stat(worker["parent"])[0]
    return [{**worker, "parent": worker["parent"] if worker["parent"] in pids else 0} for worker in found]


def stray_problem(root: str) -> str:
    """Name the long-running artisan commands of an application that work in none of its releases, '' for none.

    One that was started by the path of its artisan may have any working directory. What code it holds only that would
    tell: the path may lead to another release now than it did when the process was started.
    """
    root, releases = os.path.realpath(root), _releases(root)
    found = []
    for process in _processes():
        if _release_of(process.cwd, releases) or any(_SHORT.fullmatch(word) for word in process.words):
            continue
        for path, command in zip(process.words, process.words[1:]):
            if os.path.basename(path) == "artisan" and os.path.isabs(path) and command in WORKER_COMMANDS:
                # As a part of the application's root: another application may lie below it.
                place = os.path.realpath(os.path.dirname(path))
                inside = os.path.relpath(place, root).split(os.sep)[0] in (".", "current")
                found += [f"{command} (pid {process.pid})"] if inside or _release_of(place, releases) else []
    if not found:
        return ""
    return (
        f"{', '.join(sorted(found))} of this application work in none of its releases, so that they keep old code for "
        f"good; give their programs the working directory {root}/current, and restart them"
    )


def artisan(root: str, commands: tuple[str, ...]) -> dict[int, str]:
    """Return the processes of artisan commands that run in a release below a root, each with that release."""
    releases = _releases(root)
    found = {
        process.pid: _release_of(process.cwd, releases)
        for process in _processes()
        if _artisan_command(process.words) in commands
    }
    return {pid: release for pid, release in found.items() if release}


def fpm_processes(address: str) -> int:
    """Return how many processes the pool behind a socket has: those of its name, or all, where none is called so."""
    pool = os.path.splitext(os.path.basename(address))[0]
    lines = (command_line(name)[0].strip() for name in os.listdir("/proc") if name.isdigit())
    titles = [line for line in lines if line.startswith("php-fpm: pool ")]
    return len([title for title in titles if title == f"php-fpm: pool {pool}"] or titles)


def releases_in_use(root: str) -> set[str]:
    """Return the releases that a visible process needs: by its working directory, its program, or what it has mapped.

    Those break when the directory goes: relative paths lead nowhere, and more of the same code cannot be loaded. A
    request that PHP-FPM answers has the directory of its script as working directory. A file that is merely open stays
    readable without a name.
    """
    releases = _releases(root)
    used: set[str] = set()
    for process in _processes():
        # Its program is mapped as well.
        mapped = [line.split(None, 5)[-1] for line in process.maps().splitlines() if releases in line]
        used.update(_release_of(path, releases) for path in [process.cwd, *mapped])
    return used.difference({""})
