# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_rollback
short_description: Where a rollback goes, and what stops it
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Decides from what C(preflight) of the module M(slipway.laravel.release) found on each host. The order of the hosts
    does not matter.
  - Without O(to) the target is the newest release before the live one that every host has, that was live on every host
    and was not bad. Where hosts live on different releases, one of those counts as well.
  - What a killed rollback has made live on every host stays the target, so that the same again finishes that one.
  - With O(restore) what is live stays the target when a release since then has changed its database and did not stay.
  - With O(restore) it is refused where the application keeps its maintenance in that database and nothing else shuts a
    host that gets requests.
  - The snapshot that belongs to a target is that from before the first release that migrated since the target was live
    last; no other one is offered, but each one that there is can be confirmed.
options:
  _input:
    description: The evidence of C(preflight) of each host.
    type: list
    elements: dict
    required: true
  hosts:
    description: The names of these hosts, in the same order.
    type: list
    elements: str
    default: []
  database:
    description: That of the host that migrates, which has the snapshots.
    type: dict
    required: true
  serving:
    description: Those of O(hosts) that get requests.
    type: list
    elements: str
    default: []
  to:
    description: Release id that is asked for; empty for the one before.
    type: str
    default: ""
  restore:
    description: Whether the database is to be restored.
    type: bool
    default: false
  confirm:
    description: Id of the snapshot that may overwrite the database.
    type: str
    default: ""
  maintenance:
    description: When the site is shut, V(never) forbids it.
    type: str
    default: auto
  restore_command:
    description: Command that restores snapshots of a managed database. Without one those are refused.
    type: list
    elements: str
    default: []
  migrate_host:
    description: The host that O(database) is of.
    type: str
    default: ""
"""

EXAMPLES = r"""
rollback: "{{ [found] | slipway.laravel.release_rollback(database=found, restore=true) }}"
"""

RETURN = r"""
_value:
  description: C(target), a release id, empty when there is none, and C(problems), a list of sentences.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]


def last_index(names: Sequence[str], name: str) -> int:
    """Where a release stands in a history for the last time, -1 when it does not."""
    return max((number for number, entry in enumerate(names) if entry == name), default=-1)


def candidates(found: Found, split: bool) -> list[str]:
    """The releases that one host can go back to, oldest first; on a split fleet it may be what is live there."""
    history, current = found.get("history") or [], found.get("current") or ""
    # What came after the first time that the current one was live is not "before" it.
    before = history[: history.index(current)] if current in history else history
    names = [*before, *([current] if split and current else [])]
    return [name for number, name in enumerate(names) if name in found["releases"] and name not in names[number + 1 :]]


def common_target(preflights: Sequence[Found]) -> str:
    """The newest release that every host can go back to, '' when there is none."""
    split = len({found.get("current") for found in preflights}) > 1
    bad = {name for found in preflights for name in found.get("bad") or []}
    ways = [candidates(found, split) for found in preflights]
    common = [name for name in ways[0] if name not in bad and all(name in way for way in ways)]
    # Hosts may tell of them in different orders.
    return max(common, key=lambda name: (sum(way.index(name) for way in ways), name), default="")


class Snapshots:
    """The snapshots of an application, and which of them belongs to which release."""

    def __init__(self, database: Found) -> None:
        self.known = database.get("snapshots") or []
        self.names = database.get("history") or []
        self.times: list[str] = []
        for time in database.get("switched_at") or [""] * len(self.names):
            # When a release was made live by hand is not known, but not before what stands before it.
            self.times.append(time or (self.times or [""])[-1])
        self.migrated = database.get("migrated") or []
        # A rollback that was killed had no time to mark what it has left.
        self.bad = [*(database.get("bad") or []), database.get("rolled_back_from")]
        self.current = database.get("current")
        queue = "queue" in (database.get("goes_with_a_restore") or [])
        self.jobs = "; jobs that were waiting then, also those done since, are run again" if queue else ""

    def of(self, release: str) -> Found:
        """The first one that a release took."""
        return next((entry for entry in self.known if entry.get("release") == release), {})

    def migrations_since(self, number: int) -> list[str]:
        """The releases that migrated after an entry of the history, oldest first, also those that never went live."""
        since = self.times[number][:19] if number >= 0 else ""
        found = {
            name: self.of(name).get("created_at") or self.times[self.names.index(name)]
            for name in self.names[number + 1 :]
            if (name in self.migrated or self.of(name)) and self.names.index(name) > number
        }
        for entry in self.known:
            name, time = entry.get("release"), entry.get("created_at") or ""
            if name and name not in self.names and time[:19] >= since:
                found.setdefault(name, time)
        return sorted(found, key=lambda name: found[name])

    def changed_since(self, target: str) -> list[str]:
        """The releases that migrated since a release was live last.

        Where none did, the stay before counts, if only bad releases stand between: from those it was returned to, and
        they have left their schema.
        """
        number = last_index(self.names, target)
        if number < 0 and target != self.current:
            return []
        while True:
            found = [name for name in self.migrations_since(number) if name != target]
            earlier = number - 1
            while earlier >= 0 and self.names[earlier] != target and self.names[earlier] in self.bad:
                earlier -= 1
            if found or earlier < 0 or self.names[earlier] != target:
                return found
            number = earlier

    def listed(self, without: str = "") -> str:
        """All snapshots but one, each with what it was taken before."""
        return ", ".join(
            f"{entry['id']} (" + (f"before {entry['release']})" if entry.get("release") else "before no release)")
            for entry in self.known
            if entry["id"] != without
        )


def left_half_way(preflights: Sequence[Found]) -> str:
    """What a killed rollback has made live on every host, '' when none has.

    On some of them it may have finished: then it was well on all.
    """
    lives = {found.get("current") or "" for found in preflights}
    begun = any(found.get("rolled_back_from") for found in preflights)
    return lives.pop() if begun and len(lives) == 1 else ""


def nowhere_to_go(preflights: Sequence[Found], hosts: Sequence[str]) -> str:
    """What can be done where the hosts have nothing in common but what is live."""
    split = len({found.get("current") for found in preflights}) > 1
    able = [found for found in preflights if candidates(found, split)]
    without = [host for host, found in zip(hosts, preflights, strict=False) if found not in able]
    remedy = "release an earlier version again"
    if without and able and common_target(able):
        remedy = f"leave out the hosts without one by --limit ({', '.join(without)}), or {remedy}"
    return remedy


def target_problems(
    preflights: Sequence[Found], target: str, to: str, restore: bool, hosts: Sequence[str] = ()
) -> list[str]:
    lives = [found.get("current") or "none" for found in preflights]
    everywhere = [name for name in preflights[0]["releases"] if all(name in found["releases"] for found in preflights)]
    if not target:
        fault = "there is no earlier release, not marked bad, that was live on every host;"
    elif target not in everywhere:
        fault = f"release_rollback_to={to} is not on every host;"
    elif not restore and set(lives) == {target} and target != left_half_way(preflights):
        fault = f"release_rollback_to={to} is live already on every host;"
    else:
        return []
    remedy = "name another one by release_rollback_to"
    # What is live can be named where hosts differ, or where its database is restored.
    no_choice = not target or (len(set(lives)) == 1 and not restore)
    if not everywhere or (no_choice and set(everywhere) <= set(lives)):
        remedy = nowhere_to_go(preflights, hosts)
    return [
        f"{fault} every host has {', '.join(everywhere) or 'no release'}, live is {', '.join(sorted(set(lives)))}; "
        f"{remedy}"
    ]


def open_meanwhile(preflights: Sequence[Found], hosts: Sequence[str], serving: Sequence[str]) -> list[str]:
    """What would let users in while the database is loaded: a maintenance that is in there itself, and nothing else."""
    found = [
        host
        for host, found in zip(hosts, preflights, strict=False)
        if host in serving and "maintenance" in found.get("goes_with_a_restore", []) and not found.get("flags")
    ]
    if not found:
        return []
    return [
        f"the application keeps its maintenance in the database that is to be restored, which would open "
        f"{', '.join(found)} while it is loaded; let its .env have APP_MAINTENANCE_DRIVER=file, or nginx shut the site "
        f"too, by release_maintenance_flags"
    ]


def restore_problems(
    snapshots: Snapshots,
    target: str,
    confirm: str,
    maintenance: str,
    restore_command: Sequence[str],
    migrate_host: str,
) -> list[str]:
    problems = []
    if maintenance == "never":
        problems.append(
            "a database is restored in maintenance mode only: rollback_restore_snapshot and release_maintenance=never "
            "cannot stand"
        )
    confirmed: Found = next((entry for entry in snapshots.known if entry["id"] == confirm), {})
    changed = snapshots.changed_since(target)
    right = snapshots.of(changed[0]) if changed else {}
    wanted = confirmed or right
    if wanted.get("managed") and not restore_command:
        problems.append(
            f"snapshot {wanted['id']} was taken by release_snapshot_command; name the command that restores such a one "
            "in release_restore_command, or restore it by the tool that took it"
        )
    if confirmed:
        return problems
    refused = f"there is no snapshot {confirm}; " if confirm else ""
    if right:
        others = snapshots.listed(right["id"])
        live = " (which stays live)" if target == snapshots.current else ""
        told = (
            f"restoring snapshot {right['id']} for {target}{live} takes the database back to {right['created_at']}, "
            f"before {', '.join(changed)}, and everything written since is lost{snapshots.jobs}. If that is wanted, "
            f"add -e rollback_restore_snapshot=true -e rollback_confirm={right['id']}"
        )
        told += f"\nOther snapshots, which can be confirmed in its place: {others}" if others else ""
    else:
        what = (
            f"there is no snapshot from before {changed[0]}, the first release after {target} that migrated"
            if changed
            else f"no release is known that migrated after {target} was live"
        )
        others = snapshots.listed()
        told = f"{what}; the database stays as it is without rollback_restore_snapshot. " + (
            "The snapshots that there are can be restored with -e rollback_restore_snapshot=true "
            f"-e rollback_confirm=<id>: {others}"
            if others
            else f"There are no snapshots{f' on {migrate_host}' if migrate_host else ''}. They lie on the host that "
            "migrated: it has to be a host of this run, and release_migrate_host"
        )
    return [*problems, refused + told]


def release_rollback(
    preflights: Sequence[Found],
    database: Found,
    hosts: Sequence[str] = (),
    to: str = "",
    restore: bool = False,
    confirm: str = "",
    maintenance: str = "auto",
    restore_command: Sequence[str] = (),
    serving: Sequence[str] = (),
    migrate_host: str = "",
) -> dict[str, Any]:
    """Where a rollback goes, and what stops it."""
    if not all("releases" in found for found in preflights):
        # Before all hosts have been looked at nothing can be said.
        return {"target": "", "problems": []}
    snapshots = Snapshots(database)
    lives = {found.get("current") or "" for found in preflights}
    target = to or left_half_way(preflights)
    if not target and restore and len(lives) == 1:
        live = lives.pop()
        changed = snapshots.changed_since(live) if live else []
        target = live if changed and snapshots.of(changed[0]) else ""
    target = target or common_target(preflights)
    problems = target_problems(preflights, target, to, restore, hosts)
    if restore and target:
        problems += open_meanwhile(preflights, hosts, serving)
        problems += restore_problems(snapshots, target, confirm, maintenance, restore_command, migrate_host)
    return {"target": target, "problems": problems}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_rollback": release_rollback}
