# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directories of one application on one host: releases, shared files, state and the lock.

Private to this collection. The layout is that of Capistrano and Deployer (``current``, ``releases/``, ``shared/``),
with our own files in ``.slipway/``:

- ``lock``: JSON, who releases at the moment, and which phase. Its mtime is the heartbeat.
- ``run.json``: what the run is about that holds the lock, or that was killed; finish and revert remove it.
- ``state.json``: the releases that have been live, oldest first; order comes from here, never from file times.
- ``maintenance.json``: the maintenance that a run has put up.
- ``artifacts/``, ``build/``, ``repository.git``: what the build host works with.

A release whose manifest has ``staged_at`` was staged to the end. One without a manifest was made by another tool.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import pwd
import re
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = ".slipway.json"

# Seconds without a sign of life after which a lock counts as left behind, unless the run that takes it said otherwise.
LOCK_TTL = 3600

_WORK_GOES_ON = "its controller is gone, its work here goes on: wait for its end, then run the same again"

_OUR_NAME = re.compile(r"(\d{8})T(\d{6})Z-")
_CAPISTRANO_NAME = re.compile(r"\d{14}\Z")


class LayoutError(Exception):
    """Something on disk is not as it must be; the message names it and the remedy."""


class LockedError(LayoutError):
    """Somebody else holds the lock: ``run``, carried by the process ``controller``, where that is known."""

    def __init__(self, message: str, holder: dict[str, Any]) -> None:
        super().__init__(message)
        self.holder = {name: holder.get(name) for name in ("run", "controller")}


def write_atomic(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file so that readers, and a machine that loses power, see the old or the new text, never a part."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as exc:
        # Such as a full disk.
        exc.filename = path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Have another umask meanwhile, for the commands that are run as well."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def readable_by_all() -> contextlib.AbstractContextManager[None]:
    """Let the web server, another user, read what is made meanwhile, whatever the umask of this one."""
    return umask(0o022)


def utc_now() -> str:
    """Return the time as manifests and state have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


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


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip()
    except OSError:
        return ""


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by their value: 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _digits(moment: str | None) -> str:
    """Return a UTC time as 14 digits, '' when there is none: what sorts times of different tools."""
    return re.sub(r"\D", "", moment or "")[:14]


def _owner(path: str) -> str:
    uid = os.stat(path).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


class Layout:
    """Paths and state of one application below its root directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.current_link = os.path.join(root, "current")
        self.releases_dir = os.path.join(root, "releases")
        self.shared_dir = os.path.join(root, "shared")
        self.private_dir = os.path.join(root, ".slipway")
        self.lock_path = os.path.join(self.private_dir, "lock")
        self.maintenance_path = os.path.join(self.private_dir, "maintenance.json")
        self._state_path = os.path.join(self.private_dir, "state.json")
        self._run_path = os.path.join(self.private_dir, "run.json")

    def release_path(self, release: str) -> str:
        """Return the directory of a release id."""
        return os.path.join(self.releases_dir, release)

    def problems(self) -> list[str]:
        """Return what is missing for a release to be possible at all, also on a host that another tool laid out."""
        if os.path.isfile(os.path.join(self.root, "artisan")) and not os.path.islink(self.current_link):
            # With a link, what is served is a release, and this only lies beside it.
            return [
                f"{self.root} is a checkout of the application itself; give the releases a directory of their own "
                f"(laravel_root), run the site playbook, and follow docs/takeover.md"
            ]
        for path in (self.root, self.releases_dir, self.shared_dir, self.private_dir):
            if not os.path.isdir(path):
                return [f"{path} does not exist; run the site playbook, which lays out the application, first"]
            if not os.access(path, os.W_OK | os.X_OK):
                return [
                    f"{path} belongs to {_owner(path)} and is not writable for user id {os.geteuid()}; release as the "
                    f"user that owns the code, or give the directory to this one with chown"
                ]
        place = self._place_problems()
        return [*place, *self._link_problems(), *self._shared_problems(), *self._foreign_problems()]

    def root_problem(self) -> str:
        """Refuse root in the place of another user, who could not change what it leaves; empty when all is well."""
        if os.geteuid() != 0 or os.stat(self.root).st_uid == 0:
            return ""
        owner = _owner(self.root)
        return (
            f"{self.root} belongs to {owner}, who could not write what root leaves there; release as {owner}, by "
            f"become_user (laravel_user), and take ansible_become_user, which overrules that, out of the inventory"
        )

    def _place_problems(self) -> list[str]:
        """Refuse a place that a rename cannot bring releases to, or that relative links do not lead back from."""
        place = os.path.realpath(self.releases_dir)
        if os.path.realpath(os.path.join(os.path.dirname(place), "shared")) != os.path.realpath(self.shared_dir):
            what = f"is a link to {place}, from where a release does not find what it shares"
        elif os.stat(place).st_dev != os.stat(self.private_dir).st_dev:
            what = f"is on another filesystem than {self.private_dir}, where a release is unpacked"
        else:
            return []
        return [f"{self.releases_dir} {what}; let all of {self.root} lie there, by a link or a mount at {self.root}"]

    def _link_problems(self) -> list[str]:
        if not os.path.islink(self.current_link):
            if os.path.lexists(self.current_link):
                return [f"{self.current_link} is not a symbolic link; move it away, so that releases can be switched"]
            return []
        target = os.path.join(self.root, os.readlink(self.current_link).rstrip("/"))
        if os.path.realpath(os.path.dirname(target)) == os.path.realpath(self.releases_dir):
            return []
        return [
            f"{self.current_link} points at {target}, which is not in {self.releases_dir}, so that nothing could go "
            f"back to it; correct laravel_root, or move that release there and the link with it"
        ]

    def _shared_problems(self) -> list[str]:
        """Name what is shared and belongs to another user: its releases write there, and so would ours."""
        env = os.path.join(self.shared_dir, ".env")
        problems = []
        if os.path.isfile(env) and not os.access(env, os.R_OK):
            problems.append(
                f"{env} belongs to {_owner(env)} and is not readable for user id {os.geteuid()}; give it to this user "
                f"with chown"
            )
        for name in ("storage", "storage/framework", "storage/framework/views", "storage/logs"):
            path = os.path.join(self.shared_dir, name)
            if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK):
                problems.append(
                    f"{path} belongs to {_owner(path)} and is not writable for user id {os.geteuid()}; give "
                    f"{self.shared_dir}/storage to this user with chown -R"
                )
                break
        return problems

    def _foreign_problems(self) -> list[str]:
        lock = os.path.join(self.root, ".dep", "deploy.lock")
        if not os.path.exists(lock):
            return []
        return [
            f"Deployer is at work here, or was killed: {lock} exists; wait for it, or remove it with dep deploy:unlock"
        ]

    def current(self) -> str | None:
        """Return the id of the live release: the name that the link points at, whatever tool made it."""
        try:
            return os.path.basename(os.readlink(self.current_link).rstrip("/"))
        except OSError as exc:
            # EINVAL: a directory or file of that name, which preflight has a sentence for.
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                return None
            raise

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
        if previous and (not entries or entries[-1]["release"] != previous):
            # Made live by hand or by another tool, or the state was lost: it was live last, so it can be returned to.
            entries.append({"release": previous, "switched_at": None})
        link_atomic(os.path.join("releases", release), self.current_link)
        entries.append({"release": release, "switched_at": utc_now()})
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
            path = self.release_path(entry["release"])
            # The file is Deployer's mark.
            bad = entry.get("bad") or os.path.exists(os.path.join(path, "BAD_RELEASE"))
            if not bad and os.path.isdir(path):
                return str(entry["release"])
        return None

    def _foreign_log(self) -> dict[str, dict[str, str]]:
        """Return what Deployer noted of its releases, by their names."""
        log: dict[str, dict[str, str]] = {}
        try:
            with open(os.path.join(self.root, ".dep", "releases_log"), encoding="utf-8", errors="replace") as handle:
                lines = handle.read().splitlines()
        except OSError:
            return log
        for line in lines:
            with contextlib.suppress(ValueError, AttributeError):
                entry = json.loads(line)
                log[str(entry.get("release_name"))] = {key: str(value) for key, value in entry.items()}
        return log

    def about(self, release: str, foreign: dict[str, dict[str, str]] | None = None) -> dict[str, Any]:
        """Return id, version, commit and times of a release, whatever tool made it; None for what is not known."""
        manifest = self.manifest(release)
        noted = (self._foreign_log() if foreign is None else foreign).get(release, {})
        commit = manifest.get("commit")
        if not commit:
            with contextlib.suppress(OSError), open(
                os.path.join(self.release_path(release), "REVISION"), encoding="utf-8", errors="replace"
            ) as handle:
                commit = handle.read(100).strip() or None
        switches = [entry for entry in self.history() if entry["release"] == release]
        ours, theirs = _OUR_NAME.match(release), _CAPISTRANO_NAME.match(release)
        made = _digits(manifest.get("staged_at")) or (ours[1] + ours[2] if ours else "")
        made = made or (release if theirs else "") or _digits(noted.get("created_at"))
        bad = any(entry.get("bad") for entry in switches)
        return {
            "release": release,
            "version": manifest.get("version") or noted.get("target"),
            "commit": commit,
            "made_by": "slipway" if manifest else "another tool",
            "made": made,
            "staged_at": manifest.get("staged_at"),
            "switched_at": switches[-1].get("switched_at") if switches else None,
            # Deployer marks a release that it left by a file in it.
            "bad": bad or os.path.exists(os.path.join(self.release_path(release), "BAD_RELEASE")),
        }

    def installed(self) -> list[str]:
        """Return the ids of all release directories, oldest first.

        Those once live stand in the order of their first switch. The others come between them by the time that their
        manifest, their name or Deployer's log tells; without any they are older than what we made.
        """
        present = {name for name in os.listdir(self.releases_dir) if os.path.isdir(self.release_path(name))}
        foreign = self._foreign_log()
        keys: dict[str, tuple[Any, ...]] = {}
        latest = ""
        for number, entry in enumerate(self.history()):
            name = entry["release"]
            if name in present and name not in keys:
                # A first switch is never before that of the release before it, whatever a clock said.
                made = _digits(entry["switched_at"]) or self.about(name, foreign)["made"]
                latest = max(latest, made)
                keys[name] = (latest, 1, number)
        for name in present.difference(keys):
            keys[name] = (self.about(name, foreign)["made"], 0, _natural(name))
        return sorted(keys, key=lambda name: keys[name])

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
        history = self.history()
        left = [entry for entry in history if entry["release"] != release]
        if left != history:
            self._write_history(left)

    # The run

    def run_state(self) -> dict[str, Any]:
        """Return what is known of the run at work, or of one that was killed; empty when the last one ended well."""
        return read_json(self._run_path) or {}

    def note_run(self, run: str, **values: Any) -> None:
        """Keep what a run is about, for those who find it killed; what another run noted is dropped."""
        state = self.run_state()
        before = state if state.get("run") == run else {}
        if values.get("release") not in (None, "", before.get("release")):
            # What was known of another release is not true of this one.
            gone = ("commit", "artifact", "sha256", "bad")
            before = {name: value for name, value in before.items() if name not in gone}
        after = {**before, "run": run, **{name: value for name, value in values.items() if value}}
        if after != before:
            write_atomic(self._run_path, json.dumps(after, indent=1) + "\n")

    def adopt_run(self, run: str) -> None:
        """Go on with what a killed run was about, as a new run."""
        state = self.run_state()
        if state.get("run") not in (None, run):
            write_atomic(self._run_path, json.dumps({**state, "run": run}, indent=1) + "\n")

    def forget_run(self, still_live: str = "") -> None:
        """The run is over: nothing of it is left to continue or to clean up.

        :param still_live: what is live after a run that failed: when that was left unproven before, it still is
        """
        unproven = self.run_state().get("unproven") or {}
        if still_live and unproven.get("release") == still_live:
            write_atomic(self._run_path, json.dumps(unproven, indent=1) + "\n")
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._run_path)

    def is_staged(self, release: str) -> bool:
        """Say whether a release was staged to the end."""
        return bool(self.manifest(release).get("staged_at"))

    def leftovers(self, used: set[str]) -> list[str]:
        """Return the releases that a killed run left: of ours, never live, run by no process, and either not staged to
        the end or the one that the killed run was about."""
        kept = {self.current(), self.rollback_target(), *used, *(entry["release"] for entry in self.history())}
        about = self.run_state().get("release")
        return [
            name
            for name in self.installed()
            if name not in kept and self.manifest(name) and (name == about or not self.is_staged(name))
        ]

    def sweep_temporaries(self) -> None:
        """Remove what a killed process was about to put into the place of a file or of the link."""
        for directory, name in ((self.private_dir, "*"), (self.root, "current")):
            for path in glob.glob(os.path.join(glob.escape(directory), f"{name}.[0-9]*")):
                writer = path.rpartition(".")[2]
                if writer.isdigit() and int(writer) != os.getpid() and (os.path.islink(path) or os.path.isfile(path)):
                    os.unlink(path)

    def sweep_artifacts(self, release: str = "") -> None:
        """Remove the artifacts of a release, without one those of all releases that are not there any more."""
        artifacts = os.path.join(self.private_dir, "artifacts")
        kept = self.installed()
        for name in os.listdir(artifacts) if os.path.isdir(artifacts) else []:
            path, of = os.path.join(artifacts, name), name.split(".")[0]
            if of not in kept and (not release or of == release) and os.path.isfile(path):
                os.unlink(path)

    # The lock
    #
    # Its holder is a run on the controller, not a process on this host: a reboot of the host ends neither the run nor
    # its lock. Whoever finds the lock is told of the reboot; when it is given up is for the TTL or a takeover to say.

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold off others on this host for the moment of a decision; the kernel ends it with the process.

        Without it two runs that both find a lock left behind could take it one from the other.
        """
        with _flocked(self.private_dir, fcntl.LOCK_EX):
            yield

    def lock_holder(self) -> dict[str, Any] | None:
        """Return who holds the lock, with ``age``, the seconds since its last heartbeat, and ``rebooted``, whether this
        host was started anew meanwhile; None when it is free."""
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
        holder["rebooted"] = holder.pop("boot", _boot_id()) != _boot_id()
        return holder

    def _write_lock(self, content: dict[str, Any]) -> None:
        shown = {name: value for name, value in content.items() if name not in ("age", "rebooted")}
        write_atomic(self.lock_path, json.dumps({**shown, "boot": _boot_id()}) + "\n")

    def lock(
        self, run: str, owner: str, ttl: int, takeover: bool, dead_run: str = "", **about: Any
    ) -> dict[str, Any] | None:
        """Take the lock for a run.

        :param ttl: seconds without a heartbeat after which a lock counts as left behind
        :param takeover: take it even from a holder that may be alive
        :param dead_run: a run that is known to be dead on the controller; its modules on this host may not be
        :param about: what else the lock tells, such as ``release`` and ``phase``
        :return: the holder that it was taken from, None when it was free or ours
        :raises LockedError: somebody else holds it
        :raises LayoutError: nobody else could give it back
        """
        as_root = self.root_problem()
        if as_root:
            raise LayoutError(as_root)
        with self._exclusive():
            holder = self.lock_holder()
            if holder is None and self.is_at_work():
                # Given back by a run that lost its connection while it restored the database, say.
                raise LockedError(f"{self.lock_path} is free, but a module is at work: {_WORK_GOES_ON}", {})
            if holder is not None and holder.get("run") == run:
                os.utime(self.lock_path)
                return None
            if holder is not None and self._restores(holder) and self.is_at_work():
                # Two at once would leave a database that is neither, so nobody may say that the run is dead.
                raise LockedError(self.held(holder, "it restores the database here: wait for its end"), holder)
            if holder is not None and not takeover and holder["age"] <= ttl:
                if holder.get("run") != dead_run:
                    raise LockedError(self.held(holder), holder)
                if self.is_at_work():
                    raise LockedError(self.held(holder, _WORK_GOES_ON), holder)
            content: dict[str, Any] = {"run": run, "owner": owner, "since": utc_now(), "ttl": ttl, **about}
            if holder is not None:
                # For whoever looks at the lock, and for the run that it was taken from.
                content["taken_from"] = {name: holder.get(name) for name in ("run", "owner", "since", "phase", "age")}
            self._write_lock(content)
        return holder and {name: value for name, value in holder.items() if name != "controller"}

    def _restores(self, holder: dict[str, Any]) -> bool:
        state = self.run_state()
        return (state.get("run"), state.get("phase")) == (holder.get("run"), "restore")

    def held(self, holder: dict[str, Any], remedy: str = "") -> str:
        """Say who holds the lock, and what to do."""
        remedy = remedy or "wait for that run, or, when it is surely dead, add -e release_takeover=true"
        at = f" in phase {holder['phase']}" if holder.get("phase") else ""
        restarted = "; this host was restarted since then" if holder["rebooted"] else ""
        return (
            f"{self.lock_path} is held by {holder.get('owner')} since {holder.get('since')} (run {holder.get('run')}"
            f"{at}, last sign of life {holder['age']} s ago{restarted}); {remedy}"
        )

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Show that a module works on this host; the kernel ends it with the process.

        The lock tells of the run on the controller, which may be gone while what it has begun here goes on.
        """
        # Where this user may not look, or there is nothing yet, the phases say what is wrong.
        there = os.path.isdir(self.root) and os.access(self.root, os.R_OK)
        with _flocked(self.root, fcntl.LOCK_SH) if there else contextlib.nullcontext():
            yield

    def is_at_work(self) -> bool:
        """Say whether a module works on this host, besides one that only looks."""
        try:
            with _flocked(self.root, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
        except BlockingIOError:
            return True

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Keep a second restore away, also one of the same run: ssh may begin a module anew when its connection breaks.

        :raises LayoutError: one is at work
        """
        with contextlib.ExitStack() as until_end:
            try:
                until_end.enter_context(_flocked(self.releases_dir, fcntl.LOCK_EX | fcntl.LOCK_NB))
            except BlockingIOError as exc:
                raise LayoutError("the database is being restored on this host: wait for the end of that") from exc
            yield

    def holds_lock(self, run: str, **about: Any) -> bool:
        """Say whether a run holds the lock, and if so give its heartbeat.

        :param about: what the lock is to tell from now on, such as ``release`` and ``phase``
        """
        if not os.path.isdir(self.private_dir):
            return False
        with self._exclusive():
            holder = self.lock_holder()
            if holder is None or holder.get("run") != run:
                return False
            if any(holder.get(name) != value for name, value in about.items()):
                # What it tells is for people: a full disk must not keep the way back from its own lock.
                with contextlib.suppress(OSError):
                    self._write_lock({**holder, **about})
            os.utime(self.lock_path)
        return True

    def unlock(self, run: str) -> bool:
        """Release the lock if this run holds it."""
        if not os.path.isdir(self.private_dir):
            return False
        with self._exclusive():
            holder = self.lock_holder()
            if holder is None or holder.get("run") != run:
                return False
            os.unlink(self.lock_path)
        return True


@contextlib.contextmanager
def _flocked(directory: str, how: int) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


class Heartbeat:
    """Gives the heartbeat of a run's lock, four times in its TTL, as long as the block lasts.

    Between two modules there is none: a TTL has to be longer than the time for which no module works on this host.
    """

    def __init__(self, layout: Layout, run: str) -> None:
        self._layout, self._run = layout, run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        holder = self._layout.lock_holder() or {}
        # A lock that was taken over is no longer ours to touch.
        while not self._over.wait(holder.get("ttl", LOCK_TTL) / 4):
            with contextlib.suppress(OSError):
                if not self._layout.holds_lock(self._run):
                    return

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()
