# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a staged server of its own for a moment, to see whether it answers before it gets traffic.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time

from ansible_collections.slipway.laravel.plugins.module_utils import _probe

_ADDRESS = "127.0.0.1"
# Seconds that it has to end by itself.
_PATIENCE = 5


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_ADDRESS, 0))
        return int(sock.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)


def start_problem(
    argv: list[str], directory: str, environment: dict[str, str], uri: str, host: str, timeout: float
) -> str | None:
    """Start a server, wait until it answers a page well, and end it; return what is wrong.

    :param argv: the command; ``{port}`` in it stands for a free port, which is also in ``PORT``
    :param timeout: seconds that it has to answer
    """
    port = _free_port()
    words = [word.replace("{port}", str(port)) for word in argv]
    variables = {**os.environ, **environment, "PORT": str(port), "HOST": _ADDRESS, "HOSTNAME": _ADDRESS}
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words,
                cwd=directory,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as exc:
            return f"{words[0]} cannot be started in {directory}: {exc.strerror}"
        problem: str | None = "it was not asked"
        try:
            while problem and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
                problem = _probe.http_problem(f"http://{_ADDRESS}:{port}{uri}", host, os.path.basename(directory))
        finally:
            _end(process)
        if not problem:
            return None
        output.seek(max(0, output.seek(0, os.SEEK_END) - 500))
        said = " ".join(output.read().decode("utf-8", "replace").split())
    return f"{' '.join(argv)} in {directory} did not come to answer {uri}: {problem}; it said: {said or 'nothing'}"
