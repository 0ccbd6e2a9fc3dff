"""A terminal with somebody at it: runs a program on a pseudo-terminal and answers what it asks."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time


class Terminal:
    """A program that believes to have a person before it."""

    def __init__(self, argv, directory, environment):
        self.output, self._seen = "", 0
        self._master, slave = pty.openpty()
        # A fork of Python's own would be one of a process with threads; setsid makes the terminal the program's own.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, argv)],
            cwd=directory,
            env={**environment, "TERM": "dumb", "COLUMNS": "400"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def _read(self, seconds):
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program has ended
            data = b""
        self.output += data.decode(errors="replace").replace("\r", "")
        return bool(data)

    def until(self, pattern, seconds=120):
        """Wait for what the program says next, and return what it said since it was waited for the last time."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.output[self._seen :])
            if found:
                said = self.output[self._seen : self._seen + found.end()]
                self._seen += found.end()
                return said
            more = self._read(0.2)
            if not more or time.monotonic() > deadline:
                rest = self.output[self._seen :]
                raise AssertionError(f"{pattern!r} was not said, but: {rest[-3000:]}")

    def say(self, text):
        # What is typed before the question is thrown away, as that of a person in a hurry is.
        time.sleep(0.3)
        os.write(self._master, text.encode() + b"\r")

    def end(self, seconds=180):
        """Wait for the end and return the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < deadline, self.output[-3000:]
        return self._process.wait(timeout=30)
