# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process on the controller carries a run, and whether it still does.

Private to this collection. Linux has it in /proc, macOS tells it by ps and sysctl.
"""

from __future__ import annotations

import os
import subprocess

PROC = "/proc"


def _said(*argv: str) -> str:
    """Return what a program prints, in English and in one line; '' when it is not there or fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        answer = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return " ".join(answer.stdout.split()) if answer.returncode == 0 else ""


def _started(pid: str) -> str:
    """Return when a process started, a word, or that it has ended; '' when this user may not know."""
    if not os.path.isdir(PROC):
        state, _space, began = _said("ps", "-o", "stat=", "-o", "lstart=", "-p", pid).partition(" ")
        return "ended" if state.startswith("Z") else began.replace(" ", "-")
    try:
        with open(f"{PROC}/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            # The name stands in brackets and may hold anything.
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def _exists(pid: str) -> bool:
    # The processes of others may be hidden in /proc, but not from this.
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _here() -> str:
    """Return what tells this boot of this machine, and the process numbers of this container, from all others."""
    if not os.path.isdir(PROC):
        boot = _said("sysctl", "-n", "kern.bootsessionuuid")
        return f"{boot} macos" if boot else ""
    try:
        with open(f"{PROC}/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return f"{handle.read().strip()} {os.readlink(f'{PROC}/self/ns/pid')}"
    except OSError:
        return ""


def identity(pid: int) -> str:
    """Return what a process can be known by for good; '' where that is not told."""
    here, started = _here(), _started(str(pid))
    return f"{here} {pid} {started}" if here and started else ""


def gone(known: str) -> bool:
    """Say whether a process was one of this controller and has ended; of others nobody here can tell."""
    place, _space, started = known.rpartition(" ")
    here, _space, process = place.rpartition(" ")
    if not here or here != _here() or not process.isdigit():
        return False
    return not _exists(process) or _started(process) not in ("", started)
