# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task that failed has to say, for the screen and for the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Where a command that failed has said why, and how much of that is told.
PRINTED = ("stderr", "stdout", "module_stderr", "module_stdout")
LINES = 20


def failure_text(content: dict[str, Any], masked: Callable[[str], str]) -> str:
    """Return the message of a result, and of a command the last lines that it printed, which say why.

    :param masked: takes the secrets out of a text; before anything is cut, since of a part nobody can tell
    """
    message = masked(str(content.get("msg") or content.get("censored") or "no message")).strip()
    printed = next((text for name in PRINTED if (text := masked(str(content.get(name) or "").strip()))), "")
    # Some modules have it in their message already.
    return "\n".join([message, *(line for line in printed.splitlines()[-LINES:] if line.strip() not in message)])
