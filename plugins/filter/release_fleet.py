# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_fleet
short_description: What each host has come to after a release that failed
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Reads what the role C(release) registered on each host when it went back.
options:
  _input:
    description: Hosts of the release.
    type: list
    elements: string
    required: true
  hostvars:
    description: Variables of all hosts, C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
fleet: "{{ ansible_play_hosts_all | slipway.laravel.release_fleet(hostvars) }}"
"""

RETURN = r"""
_value:
  description: >-
    One entry for each host with C(host), C(reached), C(well) (it answered, and all is as it was before), C(reverted)
    (the new release was live there), C(lost) (it still is, and nothing was taken back, since the lock on that host was
    V(taken) by another run, or V(given back)), C(left) (in its place the unproven one of a killed run), C(shut) (it was
    left in maintenance), C(open) (it was to be, and was open), C(current), C(error), and C(text), a sentence for
    people.
  type: list
  elements: dictionary
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def last_word(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result of the last attempt to go back."""
    for name in ("__release_revert_again", "__release_revert"):
        result = variables.get(name) or {}
        if result and not result.get("skipped"):
            return result
    return {"unreachable": True}


def outcome(host: str, result: Mapping[str, Any]) -> dict[str, Any]:
    reached = not result.get("unreachable")
    failed = bool(result.get("failed"))
    current = result.get("current")
    error = result.get("msg", "") if failed else ""
    if not reached:
        text = f"{host}: not reached, so what is live there is not known"
    elif failed:
        text = f"{host}: live is {current or 'nothing'}, and going back failed: {error}"
    else:
        text = f"{host}: live is {current or 'nothing'}"
    phases = result.get("phases") or [{}]
    if phases[0].get("shut"):
        text += ", and shut"
    if phases[0].get("lost") == "taken":
        text += ", not proven, for another run has taken the lock"
    return {
        "host": host,
        "reached": reached,
        "well": reached and not failed,
        "reverted": bool(phases[0].get("reverted")),
        "lost": phases[0].get("lost") or "",
        "left": phases[0].get("left") or "",
        "shut": bool(phases[0].get("shut")),
        "open": bool(phases[0].get("open")),
        "current": current,
        "error": error,
        "text": text,
    }


def release_fleet(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each host."""
    return [outcome(host, last_word(hostvars[host])) for host in hosts]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_fleet": release_fleet}
