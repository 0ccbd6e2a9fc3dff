# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version constraints as Composer and npm write them.

Private to this collection. Composer: https://getcomposer.org/doc/articles/versions.md; npm:
https://github.com/npm/node-semver#ranges. Stability suffixes and flags (``-RC1``, ``@dev``) are left out of account,
since no interpreter of a production host has one.
"""

from __future__ import annotations

import re
from typing import Callable, Tuple

Version = Tuple[int, ...]
Test = Callable[[Version], bool]

_NUMBER = r"v?((?:\d+|[xX*])(?:\.(?:\d+|[xX*])){0,3})(?:[-+@#_.]?[a-zA-Z@#+-].*)?"
_WORD = re.compile(rf"(\^|~>?|>=|<=|<>|!=|={{1,2}}|>|<)?{_NUMBER}")
_HYPHEN = re.compile(r"([^\s,]+)\s+-\s+([^\s,]+)")
_SIZE = 4


def version_of(text: str) -> Version:
    """Return the numbers that a version begins with, such as ``v20.11.0`` or ``8.2.7-1+deb12u1``.

    :raises ValueError: it begins with none
    """
    found = re.match(r"\s*v?(\d+(?:\.\d+){0,3})", text)
    if not found:
        raise ValueError(f"{text!r} is no version")
    return _padded(tuple(int(part) for part in found[1].split(".")))


def satisfies(constraint: str, version: str, npm: bool = False) -> bool:
    """Say whether a version meets a constraint.

    :param npm: read it as npm does: ``1.2`` is ``1.2.x``, and ``~1.2`` ends before 1.3 where Composer's ends before 2
    :raises ValueError: the constraint or the version cannot be read
    """
    # All alternatives are read, so that a mistake in the last one is found whatever the version.
    alternatives = [_tests(alternative, npm) for alternative in re.split(r"\|\|?", constraint)]
    found = version_of(version)
    return any(all(test(found) for test in tests) for tests in alternatives)


def _padded(parts: Version) -> Version:
    return (*parts, *(0,) * (_SIZE - len(parts)))


def _after(parts: Version, index: int) -> Version:
    """Return the first version in which the number at an index is greater."""
    return _padded((*parts[:index], parts[index] + 1))


def _tests(alternative: str, npm: bool) -> list[Test]:
    tests: list[Test] = []

    def take(found: re.Match[str]) -> str:
        tests.extend(_test(">=" + found[1], npm) + _test("<=" + found[2], npm, partial=True))
        return " "

    rest = _HYPHEN.sub(take, alternative)
    words = re.sub(r"([\^~<>=!])\s+(?=[\dvxX*])", r"\1", rest).replace(",", " ").split()
    if not words and not tests and not npm:
        raise ValueError("a part of the constraint is empty")
    for word in words:
        tests.extend(_test(word, npm))
    return tests


def _test(word: str, npm: bool, partial: bool = False) -> list[Test]:
    """Return what one word asks for.

    :param partial: ``2.0`` stands for all of 2.0, as the end of a hyphen range does with Composer, too
    """
    found = _WORD.fullmatch(word)
    if not found:
        raise ValueError(f"{word!r} is no constraint")
    operator, numbers = found[1] or "=", re.split(r"\.?[xX*]", found[2])
    if not numbers[0]:
        return []
    parts = tuple(int(part) for part in numbers[0].split("."))
    partial = len(numbers) > 1 or (len(parts) < 3 and (npm or partial))
    first, last = _padded(parts), len(parts) - 1
    end = _after(parts, last) if partial else (*first, 0)
    if operator in ("^", "~", "~>"):
        if operator == "^":
            index = next((index for index, part in enumerate(parts) if part), last)
        else:
            index = min(1, last) if npm else max(last - 1, 0)
        end = _after(parts, index)
        operator = "="
    tests: dict[str, Test] = {
        "=": lambda version: first <= version < end,
        ">=": lambda version: version >= first,
        "<=": lambda version: version < end,
        ">": lambda version: version >= end,
        "<": lambda version: version < first,
        "!=": lambda version: not first <= version < end,
    }
    return [tests[{"==": "=", "<>": "!="}.get(operator, operator)]]
