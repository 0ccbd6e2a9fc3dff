# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing ``.env`` files so that phpdotenv, and with it Laravel, reads back exactly the same values.

Private to this collection; the filter ``dotenv``, the module ``dotenv`` and the checks before a release share it. No
message holds a value: they are secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.datatag import native_type_name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What phpdotenv takes without quotes; everything else is put into double quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@,+=-]*\Z")
# In double quotes phpdotenv knows these after a backslash, and replaces ${NAME}.
_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What it knows there when it reads, besides the character itself.
_ESCAPED = {"f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NESTED = r"\$\{(?P<name>[A-Za-z0-9_.]+)\}"
# Not splitlines(), which also ends a line at characters that a value may hold.
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
# phpdotenv passes over a byte order mark at the beginning, too.
_START = re.compile(r"\ufeff?\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=[^\S\r\n]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


# Words that Laravel's env() makes nothing of.
NOTHING = frozenset(("null", "(null)", "empty", "(empty)"))
# What is compiled into a front end (Vite, Laravel Mix, laravel-vite-plugin), so that every visitor gets it.
_COMPILED = re.compile(r"(?:VITE|MIX)_|ASSET_URL\Z")


class DotenvError(ValueError):
    """A name or value cannot stand in an ``.env`` file."""


def value_text(name: str, value: Any) -> str:
    """Return what Laravel's ``env()`` is to find under a name; booleans and nothing have words of their own."""
    if not _NAME.match(str(name)):
        raise DotenvError(f"{str(name)!r} is no name of an environment variable")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise DotenvError(f"{name} must be text, a number or a boolean, not {native_type_name(value)}")
    return str(value)


def _quoted(text: str) -> str:
    if _PLAIN.match(text):
        return text
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


def render(values: Mapping[str, Any]) -> str:
    """Return the text of a file that holds these values, in their order."""
    if not isinstance(values, Mapping):
        raise DotenvError(f"a mapping is needed, not {native_type_name(values)}")
    return "".join(f"{name}={_quoted(value_text(name, value))}\n" for name, value in values.items())


def _entries(text: str) -> list[str]:
    """Split a file into its lines, each with its end; a value in double quotes may go over several lines."""
    entries: list[str] = []
    lines = _LINES.findall(text)
    while lines:
        entry = lines.pop(0)
        start = _START.match(entry)
        if start and entry.startswith('"', start.end()):
            for count in range(len(lines) + 1):
                longer = entry + "".join(lines[:count])
                if _QUOTED.match(longer, start.end()):
                    entry, lines = longer, lines[count:]
                    break
        entries.append(entry)
    return entries


def _value_end(entry: str, begin: int) -> int:
    """Return where the value ends that begins there: before blanks, a comment and the end of the line."""
    quoted = _QUOTED.match(entry, begin)
    if quoted:
        return quoted.end()
    if entry.startswith("'", begin) and "'" in entry[begin + 1 :]:
        return entry.index("'", begin + 1) + 1
    return begin + len(entry[begin:].partition("#")[0].rstrip())


def parse_dotenv(text: str) -> dict[str, str]:
    """Return the values of an ``.env`` file as Laravel reads them.

    Single quotes keep everything, double quotes know backslashes, elsewhere a ``#`` begins a comment, and ``${NAME}``
    stands for an earlier value.
    """
    values: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        if found["name"]:
            return values.get(found["name"], found[0])
        return _ESCAPED.get(found["escaped"], found["escaped"])

    for entry in _entries(text):
        start = _START.match(entry)
        if not start:
            continue
        raw = entry[start.end() : _value_end(entry, start.end())]
        if raw.startswith("'"):
            values[start[1]] = raw[1:].partition("'")[0]
        elif _QUOTED.match(raw):
            # In one go: a dollar that was escaped begins no name.
            values[start[1]] = re.sub(r"\\(?P<escaped>.)|" + _NESTED, replace, raw[1:-1], flags=re.DOTALL)
        else:
            values[start[1]] = re.sub(_NESTED, replace, raw)
    return values


def compiled(values: Mapping[str, str]) -> dict[str, str]:
    """Return what of the values of an ``.env`` file a front end is built with.

    What is left of ``${NAME}`` in these is meant as a reference, too: Vite also takes a later value for it, and in
    ``laravel_env`` it was written as it stands in ``.env.example``. A word for nothing is empty, as it is where
    developers leave it out: to JavaScript ``null`` would be a text, and a name of a host.
    """

    def replace(found: re.Match[str]) -> str:
        return values.get(found["name"], found[0])

    meant = {name: re.sub(_NESTED, replace, value) for name, value in values.items() if _COMPILED.match(name)}
    return {name: "" if value.lower() in NOTHING else value for name, value in meant.items()}


def _put(text: str, values: dict[str, str]) -> str:
    """Write values into a file: in place of the last line of a name, which counts, or at the end."""
    entries = _entries(text)
    starts = [_START.match(entry) for entry in entries]
    last = {start[1]: number for number, start in enumerate(starts) if start}
    for name, value in values.items():
        if name in last:
            entry, start = entries[last[name]], starts[last[name]]
            begin = start.end() if start else 0
            entries[last[name]] = entry[:begin] + _quoted(value) + entry[_value_end(entry, begin) :]
        else:
            if entries and not entries[-1].endswith(("\n", "\r")):
                entries[-1] += "\n"
            entries.append(f"{name}={_quoted(value)}\n")
    return "".join(entries)


def merge(text: str, values: Mapping[str, Any]) -> str:
    """Return an ``.env`` file with these values in it; its order, comments and other names stay as they are."""
    wanted = {str(name): value_text(name, value) for name, value in values.items()}
    # A second time, since a value that was right by ${NAME} may be another once NAME has changed.
    for dummy in range(2):
        found = parse_dotenv(text)
        text = _put(text, {name: value for name, value in wanted.items() if found.get(name) != value})
    return text
