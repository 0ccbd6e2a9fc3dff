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
    and was not bad. Where hosts live on different releases, one of those counts as well. It is refused where it is not
    the one before on each of them.
  - What a killed rollback has made live on every host stays the target, so that the same again finishes that one.
  - With O(restore) what is live stays the target when a release since then has changed its database and did not stay.
  - With O(restore) it is refused where the application keeps its maintenance in that database and nothing else shuts a
    host that gets requests.
  - The snapshot that belongs to a target is that from before the first release that migrated since the target was live
    last, whichever host took it; no other one is offered, but each one of O(migrate_host) can be confirmed.
  - A target that has other values of C(.env) in its configuration cache than C(shared/.env) has now is refused, unless
    O(environment) says what is to become of them. Names are told, and no values.
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
    description: That of O(migrate_host), which restores the snapshots that lie there.
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
  environment:
    description: What the target is to serve with where its cache differs, V(old), V(new), or V(same) to refuse it.
    type: str
    default: same
"""

EXAMPLES = r"""
rollback: "{{ [found] | slipway.laravel.release_rollback(database=found, restore=true) }}"
"""

RETURN = r"""
_value:
  description: >-
    C(target), a release id, empty when there is none, and lists of sentences, C(problems) and C(notes), which stop
    nothing.
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


def bad_ones(preflights: Sequence[Found]) -> set[str]:
    return {name for found in preflights for name in found.get("bad") or []}


def common_target(preflights: Sequence[Found]) -> str:
    """The newest release that every host can go back to, '' when there is none."""
    split = len({found.get("current") for found in preflights}) > 1
    bad = bad_ones(preflights)
    ways = [candidates(found, split) for found in preflights]
    common = [name for name in next(iter(ways), []) if name not in bad and all(name in way for way in ways)]
    # Hosts may tell of them in different orders.
    return max(common, key=lambda name: (sum(way.index(name) for way in ways), name), default="")


def one_before(found: Found, bad: set[str]) -> str:
    """The release that one host would go back to by itself, '' when there is none."""
    return next((name for name in reversed(candidates(found, split=False)) if name not in bad), "")


def again(preflights: Sequence[Found], release: str) -> str:
    """How all hosts get the code of a release that not all of them have."""
    commits = [(found.get("commits") or {}).get(release) for found in preflights]
    commit = next(filter(None, commits), "<its commit>")
    return f"release {release} again, on all hosts: release.yml -e release_version={commit}"


def by_host(values: Mapping[str, str]) -> str:
    """What hosts have, with their names where they differ."""
    different = sorted(set(values.values()))
    if len(different) < 2:
        return "".join(different)
    return ", ".join(
        f"{value} on {', '.join(host for host, own in values.items() if own == value)}" for value in different
    )


def leap_problems(preflights: Sequence[Found], target: str, hosts: Sequence[str]) -> list[str]:
    """Refuse what is not the release before on each host: it would take users back further than they were told."""
    bad = bad_ones(preflights)
    befores = {
        host: one_before(found, bad)
        for host, found in zip(hosts, preflights, strict=False)
        if found.get("current") != target
    }
    further = {host: before for host, before in befores.items() if before != target}
    if not further:
        return []
    newest = max(further.values())
    never = [
        host for host, found in zip(hosts, preflights, strict=False) if newest not in [*candidates(found, True), target]
    ]
    lacking = f", which {', '.join(never)} cannot go back to" if never else ""
    return [
        f"the release before is {by_host(further)}{lacking}; what all hosts have in common is {target}, further back; "
        f"if that is wanted, add -e release_rollback_to={target}; otherwise {again(preflights, newest)}"
    ]


class Snapshots:
    """The snapshots of an application, and which of them belongs to which release."""

    def __init__(self, database: Found, preflights: Sequence[Found] = (), hosts: Sequence[str] = ()) -> None:
        """:param preflights: of all hosts: on whichever of them, at its time, a release migrated"""
        self.known = database.get("snapshots") or []
        # What lies elsewhere cannot be restored here, but it tells what did migrate.
        ours = [entry["id"] for entry in self.known]
        self.elsewhere = [
            {**entry, "host": host}
            for host, found in zip(hosts, preflights, strict=False)
            for entry in found.get("snapshots") or []
            if entry["id"] not in ours
        ]
        self.all = sorted([*self.known, *self.elsewhere], key=lambda entry: entry.get("created_at") or "")
        self.names = database.get("history") or []
        self.times: list[str] = []
        for time in database.get("switched_at") or [""] * len(self.names):
            # When a release was made live by hand is not known, but not before what stands before it.
            self.times.append(time or (self.times or [""])[-1])
        # Live on other hosts only, since this one joined later or was left out.
        self.times_elsewhere = {
            name: time or ""
            for found in preflights
            for name, time in zip(found.get("history") or [], found.get("switched_at") or [], strict=False)
            if name not in self.names
        }
        self.migrated = {name for found in (database, *preflights) for name in found.get("migrated") or []}
        # A rollback that was killed had no time to mark what it has left.
        self.bad = [*(database.get("bad") or []), database.get("rolled_back_from")]
        self.current = database.get("current")
        queue = "queue" in (database.get("goes_with_a_restore") or [])
        self.jobs = "; jobs that were waiting then, also those done since, are run again" if queue else ""

    def of(self, release: str) -> Found:
        """The first one that a release took."""
        return next((entry for entry in self.all if entry.get("release") == release), {})

    def migrations_since(self, number: int) -> list[str]:
        """The releases that migrated after an entry of the history, oldest first, also those that never went live."""
        since = self.times[number][:19] if number >= 0 else ""
        found = {
            name: self.of(name).get("created_at") or self.times[self.names.index(name)]
            for name in self.names[number + 1 :]
            if (name in self.migrated or self.of(name)) and self.names.index(name) > number
        }
        others = [(entry.get("release"), entry.get("created_at") or "") for entry in self.all]
        others += [(name, time) for name, time in self.times_elsewhere.items() if name in self.migrated]
        for name, time in others:
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
    bad = bad_ones(preflights)
    befores = {host: one_before(found, bad) for host, found in zip(hosts, preflights, strict=False)}
    newest = max(befores.values(), default="")
    remedy = again(preflights, newest) if newest else "release an earlier version again"
    without = [host for host, before in befores.items() if not before]
    others = [host for host in befores if host not in without]
    if without and common_target([found for host, found in zip(hosts, preflights, strict=False) if host in others]):
        # No step of the run would drain what is left out of it. A host without a release gets no requests.
        live = {host for host, found in zip(hosts, preflights, strict=False) if found.get("current")}
        serving = [host for host in without if host in live]
        remedy += "; or "
        if serving:
            on = by_host_live(preflights, hosts, serving)
            remedy += f"take {', '.join(serving)} out of the load balancer, where {on} goes on serving, and "
        remedy += f"add --limit '{','.join(others)}'"
    return remedy


def by_host_live(preflights: Sequence[Found], hosts: Sequence[str], chosen: Sequence[str] = ()) -> str:
    """What is live, with the hosts where that differs."""
    return by_host(
        {
            host: found.get("current") or "none"
            for host, found in zip(hosts, preflights, strict=False)
            if host in (chosen or hosts)
        }
    )


def target_problems(
    preflights: Sequence[Found], target: str, to: str, restore: bool, hosts: Sequence[str]
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
        f"{fault} every host has {', '.join(everywhere) or 'no release in common'}, "
        f"live is {by_host_live(preflights, hosts)}; {remedy}"
    ]


def environment_told(
    preflights: Sequence[Found], hosts: Sequence[str], target: str, environment: str
) -> tuple[list[str], list[str]]:
    """What the target has cached of another ``.env``: what stops the rollback, and what is told of it.

    Where it is live already, nothing of that changes.
    """
    stops: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    unknown = []
    for host, found in zip(hosts, preflights, strict=False):
        told = (found.get("environments") or {}).get(target)
        if not told or found.get("current") == target or environment == "new":
            continue
        if not told["known"]:
            unknown.append(host)
        for found_names, kind in ((told["decisive"], stops), (told["others"], others)):
            if found_names:
                kind.setdefault(", ".join(found_names), []).append(host)
    problems, notes = [], []
    for names, where in stops.items():
        fault = f"{target} was cached with other values than shared/.env has now, on {', '.join(where)}, of: {names}"
        if environment == "old":
            notes.append(f"{fault}. It serves with those of its day, as release_rollback_environment=old says")
            continue
        problems.append(
            f"{fault}. It would serve with those of its day, such as another database or a key that was replaced. If "
            f"that is wanted, add -e release_rollback_environment=old; -e release_rollback_environment=new caches what "
            f"shared/.env has now before {target} goes live, which has to suit it"
        )
    for names, where in others.items():
        notes.append(
            f"{target} serves with values of its day, other than those that shared/.env has now, on "
            f"{', '.join(where)}, of: {names}"
        )
    if unknown:
        notes.append(
            f"Whether {target} has cached what shared/.env has now is not known on {', '.join(unknown)}, where its "
            f"configuration could not be read on the command line"
        )
    return problems, notes


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
    if not confirmed and right.get("host"):
        # Of a host that migrated before; what lies on this one is of another moment.
        return [
            *problems,
            f"snapshot {right['id']} from before {changed[0]}, the first release after {target} that migrated, lies on "
            f"{right['host']}, which migrated then, and not on {migrate_host}: add "
            f"-e release_migrate_host={right['host']}",
        ]
    if wanted.get("managed") and not restore_command:
        problems.append(
            f"snapshot {wanted['id']} was taken by release_snapshot_command; name the command that restores such a one "
            "in release_restore_command, or restore it by the tool that took it"
        )
    if confirmed:
        return problems
    other = next((entry["host"] for entry in snapshots.elsewhere if entry["id"] == confirm), "")
    refused = f"there is no snapshot {confirm}{f' here, it lies on {other}' if other else ''}; " if confirm else ""
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
    environment: str = "same",
) -> dict[str, Any]:
    """Where a rollback goes, and what stops it."""
    if not all("releases" in found for found in preflights):
        # Before all hosts have been looked at nothing can be said.
        return {"target": "", "problems": [], "notes": []}
    hosts = hosts or [f"host {number}" for number, dummy in enumerate(preflights, 1)]
    snapshots = Snapshots(database, preflights, hosts)
    lives = {found.get("current") or "" for found in preflights}
    target = to or left_half_way(preflights)
    if not target and restore and len(lives) == 1:
        live = lives.pop()
        changed = snapshots.changed_since(live) if live else []
        target = live if changed and snapshots.of(changed[0]) else ""
    chosen = target
    target = chosen or common_target(preflights)
    problems = target_problems(preflights, target, to, restore, hosts)
    problems += leap_problems(preflights, target, hosts) if target and not chosen else []
    wrong_environment, notes = environment_told(preflights, hosts, target, environment)
    problems += wrong_environment
    if restore and target:
        problems += open_meanwhile(preflights, hosts, serving)
        problems += restore_problems(snapshots, target, confirm, maintenance, restore_command, migrate_host)
    return {"target": target, "problems": problems, "notes": notes}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_rollback": release_rollback}
