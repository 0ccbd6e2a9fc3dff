# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_steps
short_description: The steps of a release, from its phases, hooks and batches
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns what the role C(release) does, in order. Phases that follow each other on the same hosts share one run of
    the module where no other host has to be waited for and no hook stands between them.
options:
  _input:
    description: >-
      The phases that are needed, in the order of a release, V(after_up), V(failed), V(succeeded), V(before_revert) or
      V(after_revert) for those hooks, and V(signoff <stage>) or V(checks <stage>) for the sign-offs of a stage of the
      checklist and what they need.
    type: list
    elements: string
    required: true
  hosts:
    description: Hosts of the release.
    type: list
    elements: string
    required: true
  at:
    description: >-
      Hosts of phases that are not carried out everywhere, by phase. V([localhost]) is the controller, for which the
      first host speaks, unless the play has a host of that name.
    type: dict
    default: {}
  hooks:
    description: Hooks, as the variable C(release_hooks) has them.
    type: dict
    default: {}
  groups:
    description: Hosts by group, which hooks may name.
    type: dict
    default: {}
  batch:
    description: >-
      How many of the hosts that get requests are switched at a time, a number or a percentage of them; empty for all
      together. The other hosts are switched with the last of them. With V(maintenance) among the phases all are
      switched together, and none is drained, since nobody is served.
    type: raw
    default: ""
  web:
    description: Hosts that get requests; empty when all of them do, or none.
    type: list
    elements: string
    default: []
  drain:
    description: Whether the hosts of a batch that get requests are taken out of their load balancer around the switch.
    type: bool
    default: false
  unproven:
    description: >-
      Whether a killed run has left something live. Then it is noted for all hosts when the first of them switch.
    type: bool
    default: false
"""

EXAMPLES = r"""
steps: "{{ ['switch', 'restart', 'verify'] | slipway.laravel.release_steps(hosts=['app1', 'app2'], batch=1) }}"
"""

RETURN = r"""
_value:
  description: >-
    Steps with C(file), the name of a task file of the role, C(label) for people and C(hosts); besides with C(phases),
    or with what a hook is made of.
  type: list
  elements: dictionary
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.plugin_utils.hooks import resolve

Step = dict[str, Any]

# What the phases of the role are called in the module, where that is not their own name; and those with a task file of
# that name, for the others are in phase.yml.
MODULE_PHASES = {"maintenance": "down"}
OWN_FILE = ("preflight", "build", "stage", "maintenance", "snapshot", "migrate", "restore", "finish")

# These share a run as a whole or not at all: what build needs to know of preflight it gets there.
BEFORE = ["preflight", "build", "stage"]

# Pairs that need not wait for other hosts. On a single host there is nobody to wait for.
SHARED = {("snapshot", "migrate"), ("restart", "verify"), ("recache", "load")}
ALONE = {
    ("preflight", "build"),
    ("build", "stage"),
    ("probe", "switch"),
    ("load", "switch"),
    ("switch", "restart"),
    ("verify", "finish"),
    # Users of a host that is open write what would be lost with the database that another one fails on.
    ("verify", "up"),
    ("up", "finish"),
}

# Hooks that stand around no step. Going back is none, so that nothing about the steps can be in its way. When the site
# is open and well nothing goes back any more: what follows that comes with the steps that end a release.
HOOKS_ALONE = ("after_up", "failed", "succeeded", "before_revert", "after_revert")


def is_controller(chosen: Sequence[str], hosts: Sequence[str]) -> bool:
    """Say whether localhost was chosen and means the controller: it is a host like others where the play has it."""
    return list(chosen) == ["localhost"] and "localhost" not in hosts


def hook_steps(name: str, hooks: Any, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[Step]:
    steps = []
    for entry in hooks.get(name) or []:
        chosen = resolve(entry.get("hosts"), hosts, groups)
        if entry.get("once"):
            chosen = chosen[:1]
        on_controller = is_controller(chosen, hosts)
        kind = "tasks" if "tasks" in entry else "command"
        shown = entry[kind] if kind == "tasks" else " ".join(str(word) for word in entry[kind])
        steps.append(
            {
                "file": f"hook_{kind}",
                "label": f"{name}: {shown}",
                "hook": name,
                "hosts": hosts[:1] if on_controller else chosen,
                "on_controller": on_controller,
                "chdir": entry.get("chdir", ""),
                kind: entry[kind],
            }
        )
    return steps


def batches(hosts: Sequence[str], size: Any) -> list[list[str]]:
    """Hosts in groups of a size, a number or a percentage of all, but at least one."""
    text = str(size).strip()
    try:
        number = int(len(hosts) * float(text[:-1]) / 100) if text.endswith("%") else int(text)
    except ValueError as exc:
        raise AnsibleFilterError(
            f"release_serial is a number of hosts or a percentage such as 25%, not {size}"
        ) from exc
    number = max(1, number)
    return [list(hosts[start : start + number]) for start in range(0, len(hosts), number)]


def batched_runs(hosts: Sequence[str], web: Sequence[str], batch: Any, drain: bool) -> list[Step]:
    """The switch in batches. They are of hosts that get requests, for others take no part in serving them."""
    parts = batches(web or hosts, batch)
    others = [host for host in hosts if web and host not in web]
    found: list[Step] = []
    for part in parts:
        # With the last one: by then the release has proven to be well on the hosts before.
        together = part + (others if part is parts[-1] else [])
        found += [{"drain": "drain", "hosts": part}] if drain else []
        found += [{"names": ["switch"], "with": ["restart", "verify"], "hosts": together, "workers": False}]
        found += [{"drain": "undrain", "hosts": part}] if drain else []
    return found


def runs(
    phases: Sequence[str], hosts: Sequence[str], at: Mapping[str, Sequence[str]], batched: list[Step]
) -> list[Step]:
    """Runs of the module with the phases that share each, and what stands between them."""
    where = {phase: list(at.get(phase, hosts)) for phase in phases}
    if "maintenance" in phases and "probe" in phases:
        # Nobody is served before the switch, so no host need wait for the probe of another one.
        where["probe"] = list(hosts)
    elif "migrate" in phases and "probe" in phases:
        # The host that migrates asks again at once.
        where["probe"] = [host for host in where["probe"] if host not in where["migrate"]]
    free = set(SHARED)
    if len(hosts) == 1:
        free |= ALONE
    if "maintenance" in phases:
        # Nor for its switch.
        free |= {("probe", "switch"), ("switch", "restart")}
    found: list[Step] = []
    for before, phase in pairwise(["", *phases]):
        if phase in HOOKS_ALONE:
            found.append({"hook": phase})
            continue
        kind, dummy, stage = phase.partition(" ")
        if stage:
            found.append({"signoffs": kind, "stage": stage})
            continue
        names = [phase]
        if phase == "migrate" and set(at.get("probe", [])) & set(where[phase]) and "maintenance" not in phases:
            names.append("probe")
        if phase == "switch" and batched:
            found += batched
        elif (before, phase) in free and found and where[phase] == found[-1]["hosts"] and "names" in found[-1]:
            found[-1]["names"] += names
        elif where[phase]:
            found.append({"names": names, "hosts": where[phase], "workers": True})
    return found


def module_run(phases: Sequence[str], run: Step, hosts: Sequence[str]) -> list[Step]:
    """A run of the module as a step, none without a phase."""
    if not phases:
        return []
    if "build" in phases and phases[1:] and list(phases) != BEFORE:
        return [step for name in phases for step in module_run([name], run, hosts)]
    # In a run with others it has no file of its own.
    owners = [name for name in reversed(phases) if name in OWN_FILE and (name != "finish" or len(phases) == 1)]
    owners = [MODULE_PHASES.get(name, name) for name in owners]
    file = "preflight_to_stage" if list(phases) == BEFORE else next(iter(owners), "phase")
    on_controller = is_controller(run["hosts"], hosts)
    return [
        {
            "file": f"{file}_on_controller" if on_controller else file,
            "label": ", ".join(phases),
            "phases": [MODULE_PHASES.get(name, name) for name in phases],
            "hosts": hosts[:1] if on_controller else run["hosts"],
            "workers": run["workers"],
        }
    ]


def signoff_step(kind: str, key: str, hosts: Sequence[str]) -> Step:
    """Get the sign-offs of a stage, or look at what its checks need."""
    stage, dummy, at = key.partition(" ")
    file = "signoff_checks" if kind == "checks" else "signoff_plan" if stage == "plan" else "signoff_stage"
    return {"file": file, "label": f"{kind} {key}", "key": key, "stage": stage, "at": at, "hosts": list(hosts)}


def release_steps(
    phases: Sequence[str],
    hosts: Sequence[str],
    at: Mapping[str, Sequence[str]] | None = None,
    hooks: Mapping[str, Any] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    batch: Any = "",
    web: Sequence[str] = (),
    drain: bool = False,
    unproven: bool = False,
) -> list[Step]:
    """What the role does, in order."""
    wanted, known = hooks or {}, groups or {}
    in_batches = batch and "maintenance" not in phases
    planned = runs(phases, hosts, at or {}, batched_runs(hosts, web, batch, drain) if in_batches else [])
    # A phase in batches has its hooks around all of them.
    left = [name for run in planned for name in run.get("names", [])]
    began: set[str] = set()
    steps: list[Step] = []
    for run in planned:
        if "hook" in run:
            steps += hook_steps(run["hook"], wanted, hosts, known)
            continue
        if "signoffs" in run:
            steps.append(signoff_step(run["signoffs"], run["stage"], hosts))
            continue
        if "drain" in run:
            label = f"{run['drain']} {', '.join(run['hosts'])}"
            steps.append({"file": "drain", "label": label, "state": run["drain"], "hosts": run["hosts"]})
            continue
        together: list[str] = []
        for name in run["names"]:
            before = [] if name in began else hook_steps(f"before_{name}", wanted, hosts, known)
            began.add(name)
            left.remove(name)
            after = [] if name in left or name == "up" else hook_steps(f"after_{name}", wanted, hosts, known)
            if before:
                steps += [*module_run(together, run, hosts), *before]
                together = []
            together += [name, *run.get("with", [])]
            if after:
                steps += [*module_run(together, run, hosts), *after]
                together = []
        steps += module_run(together, run, hosts)
    switches = [number for number, step in enumerate(steps) if "switch" in step.get("phases", [])]
    if unproven and switches and len(hosts) > 1:
        steps.insert(switches[0], {"file": "leave", "label": "leave what is unproven", "hosts": list(hosts)})
    return steps


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_steps": release_steps}
