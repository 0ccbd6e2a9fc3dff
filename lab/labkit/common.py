"""What every part of the lab shares: paths of the checkout, progress lines, running programs, one error type."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".lab"
# Part of every name and label, so that two checkouts on one machine never touch each other's hosts.
CHECKOUT = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]


class LabError(Exception):
    """Something the user can put right; the text says what and how."""


def say(text: str) -> None:
    print(text, flush=True)


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    data: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its output; a failure becomes a LabError with the last lines of what it said."""
    command = [str(part) for part in argv]
    try:
        done = subprocess.run(
            command,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as exc:
        raise LabError(f"{command[0]} is not installed or not on PATH.") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{' '.join(command[:4])} did not end within {timeout:.0f} s.") from exc
    result = subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    if check and result.returncode != 0:
        said = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
        raise LabError(f"{' '.join(command[:6])} exited {result.returncode}:\n  " + "\n  ".join(said[-15:]))
    return result


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write atomically, and only when the content differs."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.touch(mode=mode)
    beside.chmod(mode)
    beside.write_text(text)
    beside.replace(path)


def wait_for(ready: Callable[[], bool], seconds: float, pause: float = 0.2) -> bool:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One lab command that changes something at a time. It is on the directory itself: no file stays behind."""
    handle = os.open(ROOT / "lab", os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another lab command in this checkout ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main(entry: Callable[[list[str]], int]) -> None:
    """Run a command line and turn errors that a user can put right into one plain message."""
    try:
        sys.exit(entry(sys.argv[1:]))
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("lab: interrupted; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
