# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checklists: read from YAML, put together with the lists that they extend, and checked.

Every fault is found at once and told with its file, its line and its item. Lines come from PyYAML's own nodes: the
positions that ansible-core keeps are not public.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import yaml

STAGES = ("pre_deploy", "during", "post_deploy")
# Items of the stage "during" are signed right before the switch, or when the release is live and was verified.
MOMENTS = ("before_switch", "after_verify")
READY = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "checklists")

TOP = ("name", "title", "version", "languages", "extends", "override", "remove", "stages")
ITEM = ("id", "text", "section", "who", "required", "check", "hosts", "at", "earliest", "deadline")
ANYBODY, DEPLOYER, OTHERS = "anyone", "deployer", "not_deployer"

Item = dict[str, Any]
Where = tuple[str, int]


class ChecklistError(Exception):
    """What is wrong with a checklist, one line each."""


class Source:
    """A file of YAML, with the line of each part of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: dict[tuple[Any, ...], int] = {}
        self.faults: list[str] = []
        try:
            with open(path, encoding="utf-8") as handle:
                loader = yaml.SafeLoader(handle)
                node = loader.get_single_node()
                self.data = self._value(loader, node, ()) if node else None
        except OSError as exc:
            raise ChecklistError(f"{path}: {exc.strerror}") from exc
        except yaml.YAMLError as exc:
            mark = getattr(exc, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            raise ChecklistError(f"{path}:{line}: not valid YAML: {getattr(exc, 'problem', exc)}") from exc

    def _value(self, loader: Any, node: Any, at: tuple[Any, ...]) -> Any:
        self.lines.setdefault(at, node.start_mark.line + 1)
        if len(at) > 12:
            raise ChecklistError(f"{self.path}:{node.start_mark.line + 1}: too deep")
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, inner, (*at, number)) for number, inner in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            try:
                return loader.construct_object(node)
            except ValueError as exc:  # what looks like a date and is none
                raise ChecklistError(f"{self.path}:{node.start_mark.line + 1}: {exc}") from exc
        found: dict[str, Any] = {}
        for key_node, inner in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in found:
                self.faults.append(f"{self.path}:{line}: {key} is there twice")
            self.lines[(*at, key)] = line
            found[key] = self._value(loader, inner, (*at, key))
        return found

    def where(self, *at: Any) -> Where:
        """The place of a part, or of what it would be a part of."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.path, self.lines.get(at, 1)


def seconds(duration: str) -> int:
    """The seconds of 90s, 30m, 2h or 1d."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


def text_of(item: Mapping[str, Any], language: str = "", key: str = "text") -> str:
    """The text of an item in a language, or in the first that it has."""
    text = item.get(key) or ""
    if not isinstance(text, Mapping):
        return str(text)
    return str(text.get(language) or next(iter(text.values())))


def digest(checklist: Mapping[str, Any]) -> str:
    """SHA-256 of what a checklist asks for, wherever it is written down: of its JSON, sorted and without spaces."""
    text = json.dumps(checklist, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# The parts of an item, each alone


def _text_fault(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return ""
    if isinstance(value, Mapping) and value and all(isinstance(text, str) and text.strip() for text in value.values()):
        return ""
    return "is text, or a text for each language"


def _who_fault(value: Any) -> str:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", name) for name in names):
        return f"is {ANYBODY}, {DEPLOYER}, {OTHERS}, a role, or a list of roles"
    if ANYBODY in names and len(names) > 1:
        return f"is {ANYBODY} alone, or does not have it"
    if DEPLOYER in names and len(names) > 1:
        return f"is {DEPLOYER} alone, or does not have it"
    return ""


def _duration_fault(value: Any) -> str:
    return "" if re.fullmatch(r"\d+[smhd]", str(value)) else "is a time after the switch such as 90s, 30m, 2h or 1d"


def _check_fault(value: Any) -> str:
    if value is None or isinstance(value, str):
        value = {"name": value or "none"}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return "is the name of a check, or a mapping with its name and its parameters"
    return ""


def _fault_of(key: str, value: Any) -> str:
    """What is wrong with one part of an item."""
    match key:
        case "id":
            fine = isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value)
            return "" if fine else "is made of small letters, digits, - and _"
        case "text" | "section":
            return _text_fault(value)
        case "who":
            return _who_fault(value)
        case "required":
            return "" if isinstance(value, bool) else "is true or false"
        case "check":
            return _check_fault(value)
        case "hosts":
            names = value if isinstance(value, list) else [value]
            sound = bool(names) and all(isinstance(name, str) and name for name in names)
            return "" if sound else "is a host or a group, or a list of them"
        case "at":
            return "" if value in MOMENTS else f"is one of {', '.join(MOMENTS)}"
        case "earliest" | "deadline":
            return _duration_fault(value)
    return f"is not known; an item has {', '.join(ITEM)}"


def _together(item: Item, stage: str, languages: list[str]) -> list[str]:
    """What is wrong between the parts of an item."""
    faults = [f"{key} is missing" for key in ("id", "text") if key not in item]
    if "hosts" in item and not item.get("check"):
        faults.append("hosts is for items with a check")
    if "at" in item and stage != "during":
        faults.append("at is for the stage during")
    if stage != "post_deploy":
        faults += [f"{key} is for the stage post_deploy" for key in ("earliest", "deadline") if key in item]
    elif "earliest" in item and "deadline" in item and seconds(item["earliest"]) >= seconds(item["deadline"]):
        faults.append(f"earliest ({item['earliest']}) is not before the deadline ({item['deadline']})")
    for key in ("text", "section"):
        if isinstance(item.get(key), Mapping):
            faults += [f"{key} has no {language}" for language in languages if language not in item[key]]
            faults += [f"{key} has {name}, which languages has not" for name in item[key] if name not in languages]
    return faults


class Builder:
    """Puts a checklist together from its file and the files that it extends."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.items: dict[str, Item] = {}
        self.stage_of: dict[str, str] = {}
        self.where: dict[str, Where] = {}
        self.top: dict[str, Any] = {}
        self.files: list[str] = []

    def fault(self, where: Where, message: str, item: str = "") -> None:
        self.faults.append(f"{where[0]}:{where[1]}: {f'item {item}: ' if item else ''}{message}")

    def read(self, path: str) -> None:
        path = os.path.normpath(path)
        if path in self.files:
            raise ChecklistError(f"{path}: extends itself")
        self.files.append(path)
        source = Source(path)
        self.faults += source.faults
        data = source.data
        if not isinstance(data, dict):
            raise ChecklistError(f"{path}:1: a checklist is a mapping with name, version and stages")
        for key in data:
            if key not in TOP:
                self.fault(source.where(key), f"{key} is not known; a checklist has {', '.join(TOP)}")
        if isinstance(data.get("extends"), str):
            self.read(located(data["extends"], os.path.dirname(path)))
        self._read_top(source, data)
        self._read_changes(source, data)
        stages = data.get("stages", {})
        if not isinstance(stages, dict):
            self.fault(source.where("stages"), f"stages is a mapping of {', '.join(STAGES)}")
            return
        for stage, items in stages.items():
            if stage not in STAGES:
                self.fault(source.where("stages", stage), f"{stage} is no stage; there are {', '.join(STAGES)}")
            elif not isinstance(items, list):
                self.fault(source.where("stages", stage), f"{stage} is a list of items")
            else:
                for number, item in enumerate(items):
                    self._add(source, stage, number, item)

    def _read_top(self, source: Source, data: dict[str, Any]) -> None:
        extends = data.get("extends", "")
        if not isinstance(extends, str):
            self.fault(source.where("extends"), "extends is the name of a ready checklist, or the path of a file")
        for key in ("name", "version"):
            value = data.get(key)
            if not isinstance(value, str) or not value.strip():
                hint = f'; quote it: "{value}"' if isinstance(value, int | float) else ""
                self.fault(source.where(key), f"{key} is text{hint}")
            self.top[key] = value
        if "title" in data:
            if _text_fault(data["title"]):
                self.fault(source.where("title"), f"title {_text_fault(data['title'])}")
            self.top["title"] = data["title"]
        if "languages" in data:
            value = data["languages"]
            if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
                self.fault(source.where("languages"), "languages is a list such as [en, ar]")
                value = []
            self.top["languages"] = value

    def _read_changes(self, source: Source, data: dict[str, Any]) -> None:
        """What is done to the items of the list that this one extends."""
        removed, changed = data.get("remove", []), data.get("override", {})
        if not isinstance(removed, list):
            self.fault(source.where("remove"), "remove is a list of ids")
            removed = []
        for number, name in enumerate(removed):
            if not isinstance(name, str) or name not in self.items:
                self.fault(source.where("remove", number), "there is no such item to remove", str(name))
                continue
            del self.items[name], self.stage_of[name], self.where[name]
        if not isinstance(changed, dict):
            self.fault(source.where("override"), "override is a mapping of ids")
            changed = {}
        for name, parts in changed.items():
            where = source.where("override", name)
            if name not in self.items:
                self.fault(where, "there is no such item to override", name)
            elif not isinstance(parts, dict) or "id" in parts:
                self.fault(where, "override has the parts of the item that are different; its id stays", name)
            else:
                sound = self._sound(source, ("override", name), name, parts)
                self.items[name] = {**self.items[name], **sound}
                self.where[name] = where

    def _add(self, source: Source, stage: str, number: int, item: Any) -> None:
        where = source.where("stages", stage, number)
        if not isinstance(item, dict):
            self.fault(where, "an item is a mapping with id and text", f"{number + 1} of {stage}")
            return
        name = str(item.get("id", f"{number + 1} of {stage}"))
        if name in self.items:
            other = self.where[name]
            self.fault(where, f"there is one of that id in {other[0]}:{other[1]}", name)
            return
        self.items[name] = self._sound(source, ("stages", stage, number), name, item)
        self.stage_of[name], self.where[name] = stage, where

    def _sound(self, source: Source, at: tuple[Any, ...], name: str, parts: dict[str, Any]) -> Item:
        """The parts of an item that are well in themselves."""
        sound = {}
        for key, value in parts.items():
            fault = _fault_of(key, value)
            if fault:
                self.fault(source.where(*at, key), f"{key} {fault}", name)
            else:
                sound[key] = value
        return sound

    def finished(self) -> dict[str, Any]:
        languages = self.top.setdefault("languages", ["en"])
        for name, item in self.items.items():
            known = any(f": item {name}: " in fault for fault in self.faults)
            for fault in [] if known else _together(item, self.stage_of[name], languages):
                self.fault(self.where[name], fault, name)
        if not self.items and not self.faults:
            self.fault((self.files[0], 1), "there is no item in it")
        if self.faults:
            raise ChecklistError("\n".join(self.faults))
        stages: dict[str, list[Item]] = {stage: [] for stage in STAGES}
        for name, item in self.items.items():
            stages[self.stage_of[name]].append(_complete(item, self.stage_of[name]))
        return {**self.top, "stages": stages}


def _complete(item: Item, stage: str) -> Item:
    """An item with its defaults, its texts without the line breaks of the file."""
    who = item.get("who", ANYBODY)
    check = item.get("check")
    whole = {
        **item,
        "who": [who] if isinstance(who, str) else who,
        "required": item.get("required", True),
        "check": {"name": check} if isinstance(check, str) else check,
    }
    if check is None:
        del whole["check"]
    if stage == "during":
        whole.setdefault("at", MOMENTS[0])
    for key in ("text", "section"):
        text = whole.get(key)
        if isinstance(text, str):
            whole[key] = " ".join(text.split())
        elif text is not None:
            whole[key] = {language: " ".join(part.split()) for language, part in text.items()}
    return whole


def ready() -> list[str]:
    """The names of the checklists that come with the collection."""
    return sorted(name[:-4] for name in os.listdir(READY) if name.endswith(".yml"))


def located(wanted: str, *directories: str) -> str:
    """The file of a checklist: one of ours by its name, or a path, relative to the first directory that has it."""
    if "/" not in wanted and not wanted.endswith((".yml", ".yaml")):
        if wanted not in ready():
            raise ChecklistError(
                f"there is no checklist {wanted} in the collection, which has {', '.join(ready())}; a file of your own "
                f"is given by its path, such as ./{wanted}.yml"
            )
        return os.path.join(READY, f"{wanted}.yml")
    paths = [os.path.normpath(os.path.join(directory, os.path.expanduser(wanted))) for directory in directories]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def load(path: str) -> dict[str, Any]:
    """A checklist with everything that it extends.

    :raises ChecklistError: with all faults, a line each
    """
    builder = Builder()
    builder.read(path)
    return builder.finished()
