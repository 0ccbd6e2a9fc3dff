# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hooks of a release: their names, their hosts, and what can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

# The phases around which there are hooks.
HOOKED = (
    "preflight",
    "build",
    "stage",
    "maintenance",
    "snapshot",
    "migrate",
    "restore",
    "probe",
    "switch",
    "restart",
    "verify",
    "up",
    "finish",
    "revert",
)
# The module has this phase too, but nobody stands between it and the one before.
PLAN = ("before_plan", "after_plan")
# Around the way back: what a task file can do, such as end the play or not be one, could keep hosts from it.
COMMANDS_ONLY = ("before_revert", "after_revert")
HOOKS = (*(f"{when}_{phase}" for phase in HOOKED for when in ("before", "after")), "failed", "succeeded")


def resolve(wanted: Any, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The hosts that a hook names: hosts of the release, groups of them, or the controller."""
    if not wanted:
        return list(hosts)
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    found = {host for name in names for host in groups.get(name, [name])}
    return ["localhost"] if found == {"localhost"} else [host for host in hosts if host in found]


def hook_faults(
    hooks: Any, hosts: Sequence[str], groups: Mapping[str, Sequence[str]], places: Sequence[str] = ()
) -> list[str]:
    """What is wrong with the hooks, one sentence each; places is where the controller looks for programs of its own."""
    if not isinstance(hooks, Mapping):
        return ["release_hooks is a dictionary of lists"]
    faults = [
        f"release_hooks has {name}, which is no hook; there are before_<phase>, after_<phase> with the phases "
        f"{', '.join(HOOKED)}, and failed, succeeded"
        for name in hooks
        if name not in (*HOOKS, *PLAN)
    ]
    faults += [
        f"release_hooks has {name}, but plan is the end of stage and shares its run: take before_stage or after_stage, "
        "or before_snapshot, which comes only when a migration is pending"
        for name in PLAN
        if name in hooks
    ]
    for name, entries in hooks.items():
        if not _is_list(entries):
            faults.append(f"release_hooks.{name} is a list of hooks")
            continue
        for number, entry in enumerate(entries, 1):
            fault = entry_fault(name, entry, hosts, groups) or lost_command(entry, hosts, groups, places)
            if fault:
                faults.append(f"release_hooks.{name}, hook {number}: {fault}")
    return faults


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def entry_fault(name: str, entry: Any, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    if not isinstance(entry, Mapping) or ("tasks" in entry) == ("command" in entry):
        return "it needs either tasks, the path of a task file, or command, a list of words"
    if "tasks" in entry and name in COMMANDS_ONLY:
        return "it needs command, a list of words; task files are left out here, for they could stop the way back"
    unknown = set(entry) - {"tasks", "command", "hosts", "once", "chdir"}
    if unknown:
        return f"it has {', '.join(sorted(unknown))}; it may have tasks or command, and hosts, once, chdir"
    if "command" in entry and not (_is_list(entry["command"]) and entry["command"]):
        return "command is a list of words, such as [php, artisan, about]; a shell line is [sh, -c, 'the line']"
    if "tasks" in entry and not (isinstance(entry["tasks"], str) and entry["tasks"]):
        return "tasks is the path of one task file, such as warm.yml; each file has a hook of its own"
    wanted = entry.get("hosts") or []
    if not all(isinstance(host, str) for host in ([wanted] if not _is_list(wanted) else wanted)):
        return "hosts is the name of a host or group, or a list of names"
    if not resolve(entry.get("hosts"), hosts, groups):
        return f"no host of this release is in hosts: {entry['hosts']}; the controller is localhost"
    return ""


def lost_command(
    entry: Mapping[str, Any], hosts: Sequence[str], groups: Mapping[str, Sequence[str]], places: Sequence[str]
) -> str:
    """Of a command on the controller, by a relative path, that no place has; what hosts have is for them to say."""
    word = str(entry.get("command", [""])[0])
    on_controller = "localhost" not in hosts and resolve(entry.get("hosts"), hosts, groups) == ["localhost"]
    if not places or not on_controller or entry.get("chdir") or "/" not in word or word[0] in "/~$":
        return ""
    if any(os.path.exists(os.path.join(place, word)) for place in places):
        return ""
    return f"{word} is not there, looked for in {', '.join(places)}"
