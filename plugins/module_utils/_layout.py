# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directories of one application on one host: releases, shared files, state and the lock.

Private to this collection. The layout is that of Capistrano and Deployer (``current``, ``releases/``, ``shared/``),
with our own files in ``.slipway/``:

- ``lock``: JSON, made with O_EXCL; who releases at the moment. Its mtime is the heartbeat.
- ``state.json``: the releases that have been live, oldest first; order comes from here, never from file times.
- ``artifacts/``, ``build/``, ``repository.git``: what the build host works with.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any

MANIFEST = ".slipway.json"


class LayoutError(Exception):
    """Something on disk is not as it must be; the message names it and the remedy."""


class LockedError(LayoutError):
    """Somebody else holds the lock."""


def write_atomic(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file so that readers, and a machine that loses power, see the old or the new text, never a part."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def link_atomic(target: str, link: str) -> None:
    """Point a symbolic link at a new target by one rename: there is no moment without the link."""
    temporary = f"{link}.{os.getpid()}"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)


def read_json(path: str) -> dict[str, Any] | None:
    """Return the JSON object of a file, or None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as handle:
            content = json.load(handle)
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise LayoutError(f"{path} is not valid JSON ({exc}); restore it or move it away") from exc
    if not isinstance(content, dict):
        raise LayoutError(f"{path} does not hold a JSON object; restore it or move it away")
    return content


class Layout:
    """Paths and state of one application below its root directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.current_link = os.path.join(root, "current")
        self.releases_dir = os.path.join(root, "releases")
        self.shared_dir = os.path.join(root, "shared")
        self.private_dir = os.path.join(root, ".slipway")
        self.lock_path = os.path.join(self.private_dir, "lock")
        self._state_path = os.path.join(self.private_dir, "state.json")

    def release_path(self, release: str) -> str:
        """Return the directory of a release id."""
        return os.path.join(self.releases_dir, release)

    def problems(self) -> list[str]:
        """Return what is missing for a release to be possible at all."""
        for path in (self.root, self.releases_dir, self.shared_dir, self.private_dir):
            if not os.path.isdir(path):
                return [f"{path} does not exist; run the site playbook, which lays out the application, first"]
            if not os.access(path, os.W_OK | os.X_OK):
                return [f"{path} is not writable for user id {os.geteuid()}; release as the user that owns the code"]
        if os.path.lexists(self.current_link) and not os.path.islink(self.current_link):
            return [f"{self.current_link} is not a symbolic link; move it away, so that releases can be switched"]
        return []

    def current(self) -> str | None:
        """Return the id of the live release: the name that the link points at, whatever tool made it."""
        try:
            return os.path.basename(os.readlink(self.current_link).rstrip("/"))
        except FileNotFoundError:
            return None

    def manifest(self, release: str) -> dict[str, Any]:
        """Return what is known of a release; empty when another tool made it."""
        return read_json(os.path.join(self.release_path(release), MANIFEST)) or {}

    def history(self) -> list[dict[str, Any]]:
        """Return the switches so far, oldest first."""
        state = read_json(self._state_path) or {}
        entries: list[dict[str, Any]] = state.get("history", [])
        return entries

    def _write_history(self, entries: list[dict[str, Any]]) -> None:
        write_atomic(self._state_path, json.dumps({"history": entries}, indent=1) + "\n")

    def switch(self, release: str) -> None:
        """Make a release live by one atomic rename, and remember that it was."""
        entries = self.history()
        previous = self.current()
        if previous and all(entry["release"] != previous for entry in entries):
            # Made by another tool, or the state was lost: it was live, so it can be returned to.
            entries.append({"release": previous, "switched_at": None})
        link_atomic(os.path.join("releases", release), self.current_link)
        entries.append({"release": release, "switched_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        self._write_history(entries)

    def mark_bad(self, release: str) -> None:
        """Remember that a release was left because it was bad: no later rollback goes there."""
        entries = self.history()
        for entry in entries:
            if entry["release"] == release:
                entry["bad"] = True
        self._write_history(entries)

    def rollback_target(self) -> str | None:
        """Return the release that was live last before the current one, is still there and was not bad."""
        current = self.current()
        entries = self.history()
        # What came after the first time that the current one was live is not "before" it.
        names = [entry["release"] for entry in entries]
        before = entries[: names.index(current)] if current in names else entries
        for entry in reversed(before):
            if not entry.get("bad") and os.path.isdir(self.release_path(entry["release"])):
                return str(entry["release"])
        return None

    def installed(self) -> list[str]:
        """Return the ids of all release directories, oldest first: those once live in the order of their first
        switch, then the others by name (our names begin with the time)."""
        present = {name for name in os.listdir(self.releases_dir) if os.path.isdir(self.release_path(name))}
        ordered = list(dict.fromkeys(entry["release"] for entry in self.history() if entry["release"] in present))
        return ordered + sorted(present.difference(ordered))

    def prunable(self, keep: int, protected: set[str]) -> list[str]:
        """Return the releases beyond the newest ``keep``, without the protected ones."""
        installed = self.installed()
        return [name for name in installed[: max(0, len(installed) - keep)] if name not in protected]

    def remove(self, release: str) -> None:
        """Remove a release that is not live. Symbolic links in it are removed, never followed."""
        if release == self.current():
            raise LayoutError(f"{release} is live and is not removed")
        path = self.release_path(release)
        if os.path.isdir(path):
            shutil.rmtree(path)
        self._write_history([entry for entry in self.history() if entry["release"] != release])

    # The lock

    def lock_holder(self) -> dict[str, Any] | None:
        """Return who holds the lock, with ``age``, the seconds since its last heartbeat; None when it is free."""
        try:
            holder = read_json(self.lock_path)
        except LayoutError:
            holder = {"run": "unknown", "owner": "unknown", "since": "unknown"}
        if holder is None:
            return None
        try:
            holder["age"] = int(time.time() - os.stat(self.lock_path).st_mtime)
        except FileNotFoundError:
            return None
        return holder

    def lock(self, run: str, owner: str, ttl: int, takeover: bool) -> dict[str, Any] | None:
        """Take the lock for a run.

        :param ttl: seconds without a heartbeat after which a lock counts as left behind
        :param takeover: take it even from a holder that may be alive
        :return: the holder that it was taken from, None when it was free or ours
        :raises LockedError: somebody else holds it
        """
        holder = self.lock_holder()
        if holder is not None:
            if holder.get("run") == run:
                os.utime(self.lock_path)
                return None
            if not takeover and holder["age"] <= ttl:
                raise LockedError(
                    f"{self.lock_path} is held by {holder.get('owner')} since {holder.get('since')} (run "
                    f"{holder.get('run')}, last sign of life {holder['age']} s ago); wait for that run, or, when it is "
                    f"surely dead, add -e release_takeover=true"
                )
            # A rename is atomic: of two runs that both find it stale, only one gets it.
            stale = f"{self.lock_path}.stale-{run}"
            try:
                os.rename(self.lock_path, stale)
            except FileNotFoundError as exc:
                raise LockedError(f"{self.lock_path} was taken by another run at this moment; try again") from exc
            os.unlink(stale)
        content = {"run": run, "owner": owner, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        try:
            descriptor = os.open(self.lock_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError as exc:
            raise LockedError(f"{self.lock_path} was taken by another run at this moment; try again") from exc
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(content, handle)
        return holder

    def holds_lock(self, run: str) -> bool:
        """Say whether a run holds the lock, and if so give its heartbeat."""
        holder = self.lock_holder()
        if holder is None or holder.get("run") != run:
            return False
        os.utime(self.lock_path)
        return True

    def unlock(self, run: str) -> bool:
        """Release the lock if this run holds it."""
        if not self.holds_lock(run):
            return False
        os.unlink(self.lock_path)
        return True
