# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks by which items of a checklist sign themselves with proof.

A check needs the facts of hosts, which one run of the module ``release_checks`` gathers on each, or something on the
controller, or the evidence of the phases so far. What it cannot find out is not well: it never raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.laravel.plugins.module_utils._checks import SPECS, complete
from ansible_collections.slipway.laravel.plugins.module_utils._endpoint import Target
from ansible_collections.slipway.laravel.plugins.plugin_utils import check_hosts, check_project
from ansible_collections.slipway.laravel.plugins.plugin_utils.check_unit import Needs, Unit, UnprovenError

UNITS: dict[str, Unit] = {
    unit.name: unit
    for module in (check_hosts, check_project)
    for unit in vars(module).values()
    if isinstance(unit, Unit)
}
NAMES = tuple(sorted(UNITS))


def needs(name: str) -> Needs:
    """Return where the facts of a check come from."""
    return UNITS[name].needs


def summary(name: str) -> str:
    """Return what a check proves, in one line."""
    return UNITS[name].summary


def _has_template(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_template(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(_has_template(inner) for inner in value)
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _complete(unit: Unit, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return parameters with their defaults and as their types, and what is wrong with them."""
    templates = {name for name, value in parameters.items() if _has_template(value) and name in unit.spec}
    spec = {name: option for name, option in unit.spec.items() if name not in templates}
    values, faults = complete(spec, {name: value for name, value in parameters.items() if name not in templates})
    return values, faults or _more_faults(unit, values)


def _more_faults(unit: Unit, values: Mapping[str, Any]) -> list[str]:
    """Return what types cannot say."""
    faults = [
        f"{name} is {value}, and may not be less than 0"
        for name, value in values.items()
        if isinstance(value, int | float) and value < 0
    ]
    if "url" in values:
        try:
            Target(values["url"])
        except ValueError as exc:
            faults.append(f"url is no address: {exc}")
    for header, pattern in (values.get("headers") or {}).items() if unit.name == "security_headers" else ():
        try:
            re.compile(str(pattern))
        except re.error as exc:
            faults.append(f"the pattern for {header} is no regular expression: {exc}")
    return faults


def problems(name: str, parameters: Mapping[str, Any] | None) -> list[str]:
    """Return what is wrong with the parameters of a check, as sentences. Templates may stand for any value."""
    if name not in UNITS:
        return [f"there is no check {name}; there are {', '.join(NAMES)}"]
    if not isinstance(parameters, Mapping | None):
        return [f"the parameters of the check {name} have to be a mapping"]
    return [f"the check {name}: {fault}" for fault in _complete(UNITS[name], parameters or {})[1]]


def request(name: str, parameters: Mapping[str, Any] | None, id: str = "") -> dict[str, Any]:
    """Return the entry of the list ``checks`` of the module ``release_checks`` for a check that needs a host."""
    values = _complete(UNITS[name], parameters or {})[0]
    return {"name": name, "id": id or name, "parameters": {key: values[key] for key in SPECS[name] if key in values}}


def evaluate(name: str, parameters: Mapping[str, Any] | None, context: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a check: ``ok``, the ``evidence``, and a ``message`` that says what was proven, or what is not well.

    :param context: what is there of ``hosts`` (the results of the module by host, of those that the item concerns),
        ``id`` (of the item in them), ``phases`` (evidence by phase and host), ``release``, ``commit``, ``previous``,
        ``variables`` and ``directory`` (of relative paths)
    """
    faults = problems(name, parameters)
    if faults:
        return {"ok": False, "evidence": {}, "message": "; ".join(faults)}
    unit = UNITS[name]
    evidence: dict[str, Any] = {}
    values = _complete(unit, parameters or {})[0]
    try:
        if unit.needs == "host":
            found, evidence = _of_hosts(unit, values, dict(context))
        else:
            found = unit.judge(values, evidence, dict(context))
    except UnprovenError as exc:
        found = [str(exc)]
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError) as exc:
        # A host, or a record, may hold something else than this version writes.
        found = [f"the facts are not as the check expects them ({type(exc).__name__}: {exc})"]
    return {"ok": not found, "evidence": evidence, "message": "; ".join(found) or unit.summary}


def _of_hosts(unit: Unit, values: dict[str, Any], context: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    key = context.get("id") or unit.name
    results: Mapping[str, Any] = context.get("hosts") or {}
    facts: dict[str, dict[str, Any]] = {}
    unproven: dict[str, list[str]] = {}
    for host, result in results.items():
        answer = (result or {}).get(key)
        if answer is None:
            unproven[host] = ["it gave no facts; see why the module release_checks failed there, or was not reached"]
        elif "missing" in answer:
            unproven[host] = [f"{answer['missing']}; {answer['remedy']}"]
        elif "not_here" not in answer:
            facts[host] = dict(answer)
    if not facts and not unproven:
        raise UnprovenError(f"no host has what the check {unit.name} looks at; name the hosts that have, or waive it")
    if unit.spread == "together":
        return (_grouped(unproven) if unproven else unit.judge(values, facts, context)), facts
    judged = {host: unit.judge(values, known, context) for host, known in facts.items()}
    if unit.spread == "any" and any(not found for found in judged.values()):
        return [], {host: facts[host] for host, found in judged.items() if not found}
    return _grouped({**unproven, **judged}), facts


def _grouped(found: Mapping[str, list[str]]) -> list[str]:
    """Return the sentences of hosts, each once, behind the names of those that it is about."""
    hosts: dict[str, list[str]] = {}
    for host, sentences in found.items():
        for sentence in sentences:
            hosts.setdefault(sentence, []).append(host)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in hosts.items()]
