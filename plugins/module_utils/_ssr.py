# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bundle imports by which Inertia's server renders pages: `vite build --ssr` leaves packages where they are.

Private to this collection.
"""

from __future__ import annotations

import os
import re

# Where inertia:start-ssr looks for it; the directory is that of laravel-vite-plugin.
_PLACES = ("bootstrap/ssr", "public/js/ssr.js")
_VITE = tuple(f"vite.config.{suffix}" for suffix in ("js", "mjs", "cjs", "ts", "mts", "cts"))
_DIRECTORY = re.compile(r"""\bssrOutputDirectory\s*:\s*["'`]([^"'`$]+)["'`]""")
_MODULES = (".js", ".mjs", ".cjs")

# Statements: at the beginning of a line, or after another one where the bundle is minified.
_STATEMENT = re.compile(
    r"""(?:^|[;}]|\*/)[ \t]*(?:import|export)(?:\s*["']|[\s{*][\w$*{}\s,]*?\bfrom\s*["'])([^"'\n]+)["']""", re.MULTILINE
)
# Rolldown calls what it has made of require so.
_CALL = re.compile(
    r"""(?<![\w$])(?<![\w$)\]?]\.)(?:import|(?:__)?require)\s*\(\s*(?:/\*.*?\*/\s*)?["'`]([^"'`$\n]+)["'`]\s*[,)]"""
)
# What is tried is done without, such as supports-color by debug.
_TRIED = re.compile(r"\btry\s*\{[^{}]*$")
_COMMENT = re.compile(r"\s*(?://|/?\*)")

_NAME = re.compile(r"((?:@[\w.~-]+/)?[\w-][\w.~-]*)(?:/.*)?")
_BUILTIN = frozenset(
    (
        *("assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants", "crypto", "dgram"),
        *("diagnostics_channel", "dns", "domain", "events", "fs", "http", "http2", "https", "inspector", "module"),
        *("net", "os", "path", "perf_hooks", "process", "punycode", "querystring", "readline", "repl", "stream"),
        *("string_decoder", "sys", "timers", "tls", "trace_events", "tty", "url", "util", "v8", "vm", "wasi"),
        *("worker_threads", "zlib"),
    )
)


def _package(specifier: str) -> str:
    """Return the package that an import names, '' for a file, an address, and what Node has itself."""
    found = _NAME.fullmatch(specifier)
    if not found or (found[1] in _BUILTIN and not specifier.endswith("/")):
        return ""
    return found[1]


def _files(app: str) -> list[str]:
    """Return the files of the bundle, from the directory of the application on."""
    places = list(_PLACES)
    for name in _VITE:
        if os.path.isfile(os.path.join(app, name)):
            with open(os.path.join(app, name), encoding="utf-8", errors="replace") as handle:
                given = [os.path.normpath(place.strip("/")) for place in _DIRECTORY.findall(handle.read())]
            places += [place for place in given if not place.startswith("..")]
    found = {place for place in places if os.path.isfile(os.path.join(app, place))}
    for place in places:
        for directory, dummy, names in os.walk(os.path.join(app, place)):
            found.update(os.path.relpath(os.path.join(directory, name), app) for name in names)
    # What the server begins with stands above the pages that it loads.
    return sorted((name for name in found if name.endswith(_MODULES)), key=lambda name: (name.count("/"), name))


def imports(app: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the packages that the bundle imports by name, each with a file that does.

    The first ones are those without which the server does not start. The others are asked for on the way; a package
    that was bundled may name some there that nobody has installed.
    """
    needed: dict[str, str] = {}
    asked: dict[str, str] = {}
    for name in _files(app):
        with open(os.path.join(app, name), encoding="utf-8", errors="replace") as handle:
            text = handle.read()
        specifiers = _STATEMENT.findall(text)
        for specifier in specifiers:
            needed.setdefault(_package(specifier), name)
        # ES modules have no other require than one that they make.
        requires = "createRequire" in text or not (specifiers or name.endswith(".mjs"))
        for call in _CALL.finditer(text):
            start = call.start()
            tried = _TRIED.search(text, max(0, start - 200), start)
            comment = _COMMENT.match(text, text.rfind("\n", 0, start) + 1)
            if not tried and not comment and (requires or call[0].startswith("import")):
                asked.setdefault(_package(call[1]), name)
    for found in (needed, asked):
        found.pop("", None)
    return needed, {package: name for package, name in asked.items() if package not in needed}
