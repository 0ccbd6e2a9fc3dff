# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the commands of a build, with their time and without their secrets.

Private to this collection.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils._artisan import (
    console_exception,
    error_text,
    telling_lines,
)
from ansible_collections.slipway.laravel.plugins.module_utils._masking import Masker

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class BuildError(Exception):
    """The build cannot go on; the message says why, and ``details`` has what the command printed."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


# What package managers print beside a reason: advice, warnings, frames of a stack, and that a script has failed.
_BESIDE = re.compile(
    r"npm (?:notice|warn|WARN)\b"
    r"|npm (?:error|ERR!)\s*(?:\d*$|\}|(?:code|errno|syscall|address|port|type)\b|A complete log|Clean install a )"
    r"|(?:npm (?:error|ERR!) +)?at .*(?:\(|:\d+:\d+)"
    r"|(?:warning|info|WARN|ELIFECYCLE) |Note that in CI environments|\(node:\d+\)|\(Use `node |➤ YN0000"
    r"|(?:error )?Command failed with exit code \d+|Script .* returned with error code \d+$"
)
_USAGE = re.compile(r"npm (?:error|ERR!) Usage:$")
_PREFIX = re.compile(r"npm (?:error|ERR!) *|➤ YN\d{4}: [│┌└·]? *")
# How lines begin to give a reason: those of npm and pnpm, of Composer about its lock, and of all others.
_REASON = re.compile(
    r"npm (?:error|ERR!)|ERR_|Your lock file|- Required (?:\(in require-dev\) )?package"
    r"|.*(?:^|[\s\[(])(?:\w*error|failed|fatal)(?![\w@/.(-])",
    re.IGNORECASE,
)
_LINES_TOLD = 3


def build_error_text(stdout: str, stderr: str) -> str:
    """Return what a failed command of a build says was wrong, as one line.

    That is an exception; or what begins with the first line that reads as an error, since advice and frames of a stack
    come below it; or the last lines of both streams that say something.
    """
    streams = [telling_lines(stream) for stream in (stderr, stdout)]
    exception = next(filter(None, map(console_exception, streams)), "")
    if exception:
        return exception
    kept: list[str] = []
    for stream in streams:
        usage = next((number for number, line in enumerate(stream) if _USAGE.match(line)), None)
        lines = [line for line in stream[:usage] if not _BESIDE.match(line)]
        reason = next((number for number, line in enumerate(lines) if _REASON.match(line)), None)
        # A package that several others lack is told several times.
        lines = list(dict.fromkeys(_PREFIX.sub("", line) for line in lines[reason:]))
        if reason is not None:
            return "; ".join(lines[:_LINES_TOLD])
        # The reason may be in either.
        kept += lines[-2:]
    return "; ".join(kept) or error_text(stdout, stderr)


def both_ends(text: str, most: int = 4000) -> str:
    """Return a text without its middle when it is long: some tools begin with what is wrong, some end with it."""
    return text if len(text) <= most else f"{text[: most // 2]}\n…\n{text[-most // 2 :]}"


# Some tools write them into a pipe, too.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def without_password(text: str) -> str:
    """Return a text without what stands before the @ of web addresses in it: that is a password or a token."""
    return re.sub(r"(https?://)[^/\s]*@", r"\1", text)


class Runner:
    """Runs commands with the environment of the build; ``steps`` has the seconds of each step."""

    def __init__(self, module: AnsibleModule, environment: dict[str, str], secrets: list[str]) -> None:
        self.module = module
        self.environment = {"LC_ALL": "C.UTF-8", **environment}
        self.steps: dict[str, float] = {}
        # The longest first: one may be a part of another.
        self._secrets = sorted(secrets, key=len, reverse=True)

    def shown(self, text: str) -> str:
        """Return a text without colours and without the secrets of the build."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return Masker().text(without_password(_COLOURS.sub("", text)))

    def error(self, message: str, **details: Any) -> BuildError:
        shown = {key: self.shown(value) if isinstance(value, str) else value for key, value in details.items()}
        return BuildError(self.shown(message), shown)

    def attempt(self, step: str, argv: list[str], cwd: str | None = None, **environment: str) -> tuple[int, str, str]:
        """Run a command of a step, which may fail; its time counts for the step."""
        started = time.monotonic()
        try:
            rc, out, err = self.module.run_command(
                argv, cwd=cwd, environ_update={**self.environment, **environment}, handle_exceptions=False
            )
        except OSError as exc:
            raise self.error(
                f"build: {step} needs {argv[0]}, which cannot be run on this host ({exc}); install it there"
            ) from exc
        self.steps[step] = round(self.steps.get(step, 0) + time.monotonic() - started, 3)
        return rc, out, err

    def run(self, step: str, argv: list[str], cwd: str | None = None, **environment: str) -> str:
        """Run a command of a step and return what it printed."""
        rc, out, err = self.attempt(step, argv, cwd, **environment)
        if rc != 0:
            out, err = _COLOURS.sub("", out), _COLOURS.sub("", err)
            told = build_error_text(out, err)
            raise self.error(
                f"build: {step} failed, {os.path.basename(argv[0])} exited {rc}: {told}", rc=rc, stderr=both_ends(err)
            )
        return out

    def read_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object of a file of the commit."""
        name = os.path.basename(path)
        try:
            with open(path, encoding="utf-8") as handle:
                content = json.load(handle)
        except ValueError as exc:
            raise self.error(f"build: {name} of the commit is not valid JSON ({exc}); correct it") from exc
        if not isinstance(content, dict):
            raise self.error(f"build: {name} of the commit does not hold a JSON object; correct it")
        return content
