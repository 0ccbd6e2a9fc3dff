#!/usr/bin/env python3
"""Fills the tables of options in roles/*/README.md from meta/argument_specs.yml, and docs/checks.md from the checks.

A table stands between the lines <!-- options --> and <!-- /options -->, the reference of the checks between
<!-- checks --> and <!-- /checks -->. With --check nothing is written and the exit status tells whether a file is out of
date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.slipway.laravel.plugins.plugin_utils import checks

ROOT = Path(__file__).resolve().parent.parent
MARKS = re.compile(r"(<!-- options -->\n).*?(<!-- /options -->)", re.DOTALL)
CHECKS = ROOT / "docs" / "checks.md"
CHECK_MARKS = re.compile(r"(<!-- checks -->\n).*?(<!-- /checks -->)", re.DOTALL)
FACTS_OF = {"host": "hosts", "controller": "controller", "evidence": "phases"}
HOSTS = {"each": "each", "any": "one at least", "together": "all together"}
# The markup of Ansible's documentation, as Markdown: O(x), V(x), C(x) and the like name things, L(text, url) links.
MARKUP = [
    (re.compile(r"\bO\(([\w.]+)#module:([^()]+)\)"), r"`\2` of the module `\1`"),
    (re.compile(r"\b[OVCEPM]\(((?:[^()]|\([^()]*\))*)\)"), r"`\1`"),
    (re.compile(r"\bL\(([^,()]+),\s*([^()]+)\)"), r"[\1](\2)"),
    (re.compile(r"\bU\(([^()]+)\)"), r"<\1>"),
    (re.compile(r"\bB\(([^()]+)\)"), r"**\1**"),
    (re.compile(r"\bI\(([^()]+)\)"), r"*\1*"),
]


def prose(description: str | list[str]) -> str:
    text = " ".join([description] if isinstance(description, str) else description)
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(text.split()).replace("|", "\\|")


def value(raw: Any) -> str:
    shown = str(raw).lower() if isinstance(raw, bool) else str(raw)
    # A row of a table is one line.
    return f"`{shown}`".replace("|", "\\|").replace("\n", " ") if shown else "`''`"


def type_of(option: dict[str, Any]) -> str:
    name = str(option.get("type", "str"))
    return f"list of {option['elements']}" if "elements" in option else name


def default_of(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    if option.get("required"):
        return "required"
    if "default" in option:
        return value(option["default"])
    # What is computed stands in the defaults file only; there its formula can be read.
    return "computed" if name in defaults else ""


def rows(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name, option in options.items():
        text = prose(option.get("description", ""))
        if "choices" in option:
            text += " One of " + ", ".join(value(choice) for choice in option["choices"]) + "."
        full = f"{prefix}{name}"
        lines.append(f"| `{full}` | {type_of(option)} | {default_of(name, option, defaults)} | {text} |")
        inner = f"{full}[]." if "elements" in option else f"{full}."
        lines += rows(option.get("options", {}), {}, inner)
    return lines


def tables(role: Path) -> str:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    file = role / "defaults" / "main.yml"
    defaults = (yaml.safe_load(file.read_text()) if file.exists() else None) or {}
    # Entry points that take the same variables share a table. One that takes more than the first has only what it adds.
    shared: dict[str, list[str]] = {}
    first: list[str] = []
    for entry, spec in specs.items():
        body = rows(spec.get("options", {}), defaults)
        added = [row for row in body if row not in first]
        more = bool(first and added) and len(added) + len(first) == len(body)
        first = first or body
        lines = ["| Variable | Type | Default | Meaning |", "|---|---|---|---|", *(added if more else body)]
        text = "\n".join(lines) if body else "No options."
        start = f" takes those of `{next(iter(specs))}` as well, and" if more else ""
        shared.setdefault(f"{start}:\n\n{text}", []).append(f"`{entry}`")
    parts = []
    for table, entries in shared.items():
        alone = len(shared) == 1
        parts.append((table.removeprefix(":\n\n") if alone else f"Entry point {', '.join(entries)}{table}") + "\n")
    return "\n" + "\n".join(parts) + "\n"


def render(role: Path) -> str | None:
    """The README of a role as it should be, or None when it has no place for the table."""
    text = (role / "README.md").read_text()
    if not MARKS.search(text):
        return None
    return MARKS.sub(lambda match: match[1] + tables(role) + match[2], text)


def check_reference() -> str:
    """The reference of the checks, from the docstrings of their functions."""
    units = [checks.UNITS[name] for name in checks.NAMES]
    lines = ["", "| check | facts from | what it proves |", "|---|---|---|"]
    lines += [f"| [`{unit.name}`](#{unit.name}) | {FACTS_OF[unit.needs]} | {prose(unit.summary)} |" for unit in units]
    for unit in units:
        hosts = f" Hosts that have to be well: {HOSTS[unit.spread]}." if unit.needs == "host" else ""
        lines += ["", f"## {unit.name}", "", prose(f"{unit.summary} {unit.notes}").strip() + hosts]
        table = rows(unit.parameters, {})
        if table:
            lines += ["", "| Parameter | Type | Default | Meaning |", "|---|---|---|---|", *table]
        lines += ["", f"Evidence: {prose(unit.evidence)}"]
    return "\n".join([*lines, "", ""])


def render_checks() -> str:
    """docs/checks.md as it should be."""
    return CHECK_MARKS.sub(lambda match: match[1] + check_reference() + match[2], CHECKS.read_text())


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    status = 0
    reference = render_checks()
    if reference != CHECKS.read_text():
        print(f"docs/checks.md {'is out of date; run make docs' if check else 'filled'}")
        status = int(check)
        if not check:
            CHECKS.write_text(reference)
    for role in sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml")):
        readme = role / "README.md"
        wanted = render(role) if readme.exists() else None
        if wanted is None:
            print(f"{readme.relative_to(ROOT)} is missing or lacks the lines <!-- options --> and <!-- /options -->")
            status = 1
        elif wanted != readme.read_text():
            print(f"{readme.relative_to(ROOT)} {'is out of date; run make docs' if check else 'filled'}")
            status = int(check) or status
            if not check:
                readme.write_text(wanted)
    return status


if __name__ == "__main__":
    sys.exit(main())
