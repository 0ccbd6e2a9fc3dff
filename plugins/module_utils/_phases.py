# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a release on one host.

Private to this collection; the module ``release`` is its face. Each phase can be repeated: it looks at what is there
and does what is missing, so that a run that was killed can be started again. Each returns its evidence.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import signal
import time
import urllib.parse
from collections import Counter
from typing import TYPE_CHECKING, Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.slipway.laravel.plugins.module_utils import (
    _artifact,
    _assets,
    _endpoint,
    _fastcgi,
    _fpm_scripts,
    _probe,
    _processes,
    _rollback,
)
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import (
    CONFIG,
    Artisan,
    ArtisanError,
    error_text,
)
from ansible_collections.slipway.laravel.plugins.module_utils._errors import MigrationError, SnapshotError
from ansible_collections.slipway.laravel.plugins.module_utils._layout import (
    MANIFEST,
    Heartbeat,
    LayoutError,
    LockedError,
    link_atomic,
    readable_by_all,
    umask,
    utc_now,
    write_atomic,
)
from ansible_collections.slipway.laravel.plugins.module_utils._phase import PhaseError
from ansible_collections.slipway.laravel.plugins.module_utils._phases_database import DatabasePhases
from ansible_collections.slipway.laravel.plugins.module_utils._phases_maintenance import MaintenancePhases
from ansible_collections.slipway.laravel.plugins.module_utils._runner import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible.module_utils.basic import AnsibleModule

# What Laravel's skeleton has in storage/; an application may have left out empty directories.
STORAGE_DIRS = ("app/public", "framework/cache/data", "framework/sessions", "framework/views", "logs")
# Those that nginx serves nothing of: sessions, what is cached, and logs.
_PRIVATE_DIRS = ("framework", "framework/cache", *STORAGE_DIRS[1:])

# Seconds for which a worker has to last before it counts: one whose code is bad starts, and ends when it has loaded it,
# and one that cannot reach its queue a second later. Laravel has loaded its own in 0.2 s, and in 1 s on a machine with
# much to do.
_SETTLED = 2.0

# Commands that may have a job in hand when they are asked to end. A job may take longer than its worker was told, since
# the class of the job has a say in that.
_JOBS = ("horizon", "horizon:supervisor", "horizon:work", "queue:listen", "queue:work", "schedule:run")

# The server that renders pages of Inertia beforehand. Without it they are rendered in browsers alone.
_RENDERER = "inertia:start-ssr"

# Seconds that it gets to run a release, from when all else is well.
_RENDERER_STARTS = 10

# Seconds for which what a run that is dead or over has begun on this host, a migration say, is waited for.
_WORK_ENDS = 60

# Under a fifth of memory or keys left, the releases to come would not fit.
_OPCACHE_FREE = 0.2


# The phases that may begin without the lock; the second one checks it by itself.
_WITHOUT_LOCK = ("preflight", "revert")
# Those after which the lock need not be ours any more.
_LAST = ("revert", "finish")


def _seed(own: str, shared: str) -> None:
    """Make a file or directory of a release the shared one, whole or not at all; a copy of it may be left."""
    try:
        os.rename(own, shared)
        return
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
    # shared/ is a filesystem of its own.
    beside = f"{shared}.slipway"
    if os.path.isdir(own):
        # Where a stage was killed meanwhile.
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(own, beside, symlinks=True)
    else:
        shutil.copy2(own, beside)
    os.rename(beside, shared)


class Phases(DatabasePhases, MaintenancePhases):
    """The phases of one release on this host."""

    def __init__(self, module: AnsibleModule, until_end: contextlib.ExitStack) -> None:
        """:param until_end: closed when all phases of this run of the module are over"""
        super().__init__(module)
        self.until_end = until_end
        if not module.check_mode and module.params["phases"][:1] != ["preflight"]:
            # Before the first look at whose the lock is: whoever finds nobody at work may take it.
            until_end.enter_context(self.layout.at_work())
        # The workers of a batch wait for the last host; Node has none, only servers.
        self.with_workers: bool = self.params["verify_workers"] or not self.laravel
        # How many have to run, by command.
        self.wanted = {str(name): int(count) for name, count in self.params["workers"].items() if int(count)}
        self.smoke = self._take_smoke()
        self.answers: list[dict[str, Any]] = []
        self.artifact_url = _artifact.take_address(module) if self.params["artifact_url"] else ""
        # What preflight found; of the phase build its options, and its result.
        self.found: dict[str, Any] = {}
        # What this host has for a release.
        self.offer: dict[str, Any] = {}
        self.to_build: dict[str, Any] = self.params["build"]
        self.params["build"] = {}
        if self.to_build:
            from ansible_collections.slipway.laravel.plugins.module_utils._build import uncover  # noqa: PLC0415

            uncover(module, self.to_build)
        self.built: dict[str, Any] = {}

    def run(self, phase: str) -> dict[str, Any]:
        """Run one phase and return its evidence.

        :raises PhaseError: it failed
        """
        working = not self.module.check_mode
        method = getattr(self, phase)
        try:
            if phase not in _WITHOUT_LOCK:
                # A lock that was taken over means that somebody else is at work.
                self.guard("nothing was done", phase=phase, release=self.release)
                if working and phase not in _LAST:
                    self._note(phase)
            with Heartbeat(self.layout, self.params["run"]) if working else contextlib.nullcontext():
                evidence: dict[str, Any] = method()
            if phase not in _LAST:
                self.guard(f"stopped after {phase}")
        except LockedError as exc:
            raise PhaseError(str(exc), {"holder": exc.holder}) from exc
        except (LayoutError, ArtisanError, SnapshotError, _artifact.ArtifactError, BuildError) as exc:
            raise PhaseError(str(exc).removeprefix(f"{phase}: ")) from exc
        except MigrationError as exc:
            raise PhaseError(str(exc), exc.evidence) from exc
        except OSError as exc:
            raise PhaseError(f"{exc.strerror or exc}: {exc.filename or self.layout.root}") from exc
        return evidence

    def _note(self, phase: str) -> None:
        """Keep what this run is about, for the one that finds it killed; maintenance alone is about no release."""
        if not self.release:
            return
        params = self.params
        # What a rollback leaves tells that it is one.
        values = {name: params[name] for name in ("owner", "release", "artifact", "sha256", "bad")}
        commit = self.layout.manifest(self.release).get("commit")
        self.layout.note_run(params["run"], phase=phase, commit=commit, **values)

    def _take_smoke(self) -> list[dict[str, Any]]:
        """Return the smoke checks, and take what may be secret in their addresses out of what the module shows.

        Of ``no_log`` alone every place where an address is named would be blotted out.
        """
        taken = [dict(check) for check in self.params["smoke"]]
        for check in self.params["smoke"]:
            for key in ("path", "url"):
                self.module.no_log_values.discard(check[key])
                check[key] = check[key] and _endpoint.shown(check[key])
        return taken

    # preflight

    def preflight(self) -> dict[str, Any]:
        """Look for everything that would stop this release, name it all at once, and take the lock."""
        from ansible_collections.slipway.laravel.plugins.module_utils import _preflight  # noqa: PLC0415

        clock, reference = time.time(), self.params["expect"]["now"]
        problems, self.offer = _preflight.look(self.module, self.layout, self.environment)
        holder = self.layout.lock_holder() if problems else None
        if holder and holder.get("run") != self.params["run"]:
            # Alone it is told by whoever wants to take the lock, below; here it is one more thing to see to.
            held = f"{self.layout.lock_path} is held by {holder.get('owner')} since {holder.get('since')}"
            problems.append(f"{held}; wait for that run, or see whether it is dead")
        unfinished, unproven = self._unfinished(), self._unproven()
        problems += self._resume_problems(unfinished) + self._held_problems()
        self._stop_at("for a release", problems)
        params, layout = self.params, self.layout
        taken_from, removed, maintenance = None, [], None
        if not self.module.check_mode:
            deadline = time.monotonic() + _WORK_ENDS
            while (params["dead_run"] or not layout.lock_holder()) and layout.is_at_work():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            taken_from = layout.lock(
                *(params[name] for name in ("run", "owner", "lock_ttl", "takeover", "dead_run")),
                phase="preflight",
                controller=params["controller"],
            )
            self.until_end.enter_context(layout.at_work())
            # With the lock ours, what lies there was left by a run that was killed.
            unfinished, unproven = self._unfinished(), self._unproven()
            self._put_caches_back(but=layout.current() or "")
            if params["resume"]:
                layout.adopt_run(params["run"])
            else:
                removed = self._clean_up()
            maintenance = self._adopt_maintenance()
            version = (params["resume"] and (unfinished or {}).get("version")) or params["version"]
            about = {"owner": params["owner"], "version": version, "unproven": unproven}
            layout.note_run(params["run"], since=utc_now(), phase="preflight", **about)
        current = layout.current()
        manifest = layout.manifest(current) if current else {}
        rolled_back_from = (unproven or {}).get("bad", "")
        known = {name: layout.about(name) for name in layout.installed()}
        self.found = {
            "changed": bool(removed),
            "current": current,
            "live_commit": manifest.get("commit", ""),
            "stale": bool(current) and self._stale(current or ""),
            "rollback_target": layout.rollback_target(),
            "releases": list(known),
            "commits": {name: about["commit"] for name, about in known.items() if about["commit"]},
            "environments": self._environments() if params["rollback"] else {},
            "history": [entry["release"] for entry in layout.history()],
            "switched_at": [entry["switched_at"] for entry in layout.history()],
            "bad": [name for name, about in known.items() if about["bad"]],
            "migrated": [name for name in known if layout.manifest(name).get("migrations")],
            "snapshots": [
                {**{name: entry.get(name) for name in ("id", "release", "created_at")}, "managed": not entry["path"]}
                for entry in self._snapshots().entries()
            ],
            "taken_from": taken_from,
            "unfinished": unfinished,
            # What a rollback goes to was proven when it was live before.
            "unproven": "" if rolled_back_from else (unproven or {}).get("release", ""),
            "rolled_back_from": rolled_back_from,
            "removed": removed,
            "maintenance": maintenance,
            "goes_with_a_restore": self.goes_with_a_restore() if params["maintenance_held"] else [],
            "flags": len(params["maintenance_flags"]),
            "clock": clock,
            "clock_skew": None if reference is None else round(clock - reference, 3),
        }
        return self.found

    def _left(self) -> list[dict[str, Any]]:
        """Return what earlier runs left unfinished: the one that was killed last, and what it had found itself."""
        state = self.layout.run_state()
        found = [state] if state.get("run") != self.params["run"] else []
        return [left for left in (*found, state.get("unproven") or {}) if left.get("release")]

    def _unfinished(self) -> dict[str, Any] | None:
        """Return what a killed run was about, None when the last one ended, or had not built anything yet."""
        left = self._left()
        if not left:
            return None
        names = ("run", "owner", "since", "release", "version", "commit", "phase", "artifact", "sha256")
        found: dict[str, Any] = {name: left[0].get(name) for name in names}
        found["version"] = found["version"] or self.layout.manifest(found["release"]).get("version")
        return {**found, "staged": self.layout.is_staged(found["release"])}

    def _resume_problems(self, unfinished: dict[str, Any] | None) -> list[str]:
        """Refuse to go on with another version than was asked for, before anything of the killed run is touched."""
        version = self.params["version"]
        if not self.params["resume"] or not unfinished or not (version and unfinished["version"]):
            return []
        if version in (unfinished["version"], unfinished["commit"]):
            return []
        return [
            f"release_resume goes on with {unfinished['version']}, which the killed run of {unfinished['owner']} was "
            f"about, not with {version}; give release_version={unfinished['version']}, or begin anew without "
            f"release_resume"
        ]

    def _unproven(self) -> dict[str, Any] | None:
        """Return what is known of the live release when a killed run has switched to it and none has finished since.

        Whatever becomes of this run, the next one must not take it for proven.
        """
        current = self.layout.current()
        found = [left for left in self._left() if left["release"] == current]
        return {name: value for name, value in found[0].items() if name != "unproven"} if found else None

    def _clean_up(self) -> list[str]:
        """Remove what a killed run left; nothing that was ever live or that a process needs."""
        removed = self.layout.leftovers(_processes.releases_in_use(self.layout.root))
        for release in removed:
            self.layout.remove(release)
        for pattern in ("build/*", "staging-*"):
            for leftover in glob.glob(os.path.join(self.layout.private_dir, pattern)):
                shutil.rmtree(leftover)
        self.layout.sweep_temporaries()
        about = self.layout.run_state().get("release")
        if about and about != self.release:
            self.layout.sweep_artifacts(about)
        return removed

    def _stop_at(self, what: str, problems: list[str]) -> None:
        if problems:
            listed = "\n".join(f"- {problem}" for problem in problems)
            raise PhaseError(f"not ready {what}, nothing was changed:\n{listed}" if problems[1:] else problems[0])

    def _stale(self, current: str) -> bool:
        """Say whether shared/.env is newer than the configuration cache of the live release, made from it."""
        cached = os.path.join(self.layout.release_path(current), CONFIG)
        shared = os.path.join(self.layout.shared_dir, ".env")
        try:
            return os.stat(shared).st_mtime > os.stat(cached).st_mtime
        except FileNotFoundError:
            return False

    def _environments(self) -> dict[str, Any]:
        """Return what earlier releases have cached of another .env, by release; of some that need not be asked."""
        return {
            name: _rollback.cached_environment(self._artisan(self.layout.release_path(name), **_rollback.NO_CACHE))
            for name in self.layout.installed()
            if self.laravel and name != self.layout.current() and self._stale(name)
        }

    # build

    def build(self) -> dict[str, Any]:
        """Build what preflight found to be needed, and go on with it in the phases that follow in this run."""
        from ansible_collections.slipway.laravel.plugins.module_utils._build import Build, Scoped  # noqa: PLC0415

        params, found = self.params, self.found
        given = {**self.to_build, "live_commit": found["live_commit"], "offers": {"": self.offer}}
        given["force"] = boolean(given.get("force", False)) or found["stale"] or bool(found["unfinished"])
        if params["resume"] and found["unfinished"]:
            given["release"] = found["unfinished"]["release"]
            if given.get("repository"):
                given["version"] = found["unfinished"]["commit"] or given.get("version")
        try:
            build = Build(Scoped(self.module, given))
        except ValueError as exc:
            raise PhaseError(str(exc)) from exc
        self.built = build.carry_out()
        self.release = params["release"] = self.built["release"]
        self.path = self.layout.release_path(self.release)
        params.update({name: self.built[name] for name in ("artifact", "sha256", "requires") if name in self.built})
        self.guard("stopped after build", release=self.release)
        if not self.module.check_mode:
            build.note(params["run"], self.built)
        return build.evidence(self.built)

    # stage

    def stage(self) -> dict[str, Any]:
        """Unpack the artifact, link what is shared, build the caches in the final path, and probe the result."""
        requires = self.params["requires"]
        if any(requires.values()):
            from ansible_collections.slipway.laravel.plugins.module_utils import _requirements  # noqa: PLC0415

            # Once more where the build compared it: only with all packages there it is certain what they need.
            offer = self.offer or _requirements.offer_of(self.module, self.layout, self.environment)
            self._stop_at(f"for {self.release}", _requirements.unmet(offer, requires, self.module.warn))
        if self.module.check_mode:
            return {"changed": True}
        evidence: dict[str, Any] = {"changed": False}
        done = self._staged_before()
        if not done:
            evidence = self._prepare()
        try:
            evidence["probe"] = self._probe(self.path)
        except PhaseError as exc:
            # New code may need the new schema: then the phase probe asks again after the migrations.
            if not self.laravel or not (self._artisan(self.path).info().get("migrations") or {}).get("pending", []):
                raise
            from ansible_collections.slipway.laravel.plugins.module_utils._migrate import (  # noqa: PLC0415
                without_values,
            )

            told = f"not well before its migrations ({without_values(str(exc))})"
            evidence.update(probe=told, probe_again=True)
        if not done:
            # Last of all: a stage that was interrupted is begun again.
            manifest = {**self.layout.manifest(self.release), "staged_at": utc_now()}
            write_atomic(os.path.join(self.path, MANIFEST), json.dumps(manifest, indent=1) + "\n")
        return evidence

    def _staged_before(self) -> bool:
        """Say whether an earlier run staged this release to the end, from this artifact and from what .env says now."""
        manifest, expected = self.layout.manifest(self.release), self.params["sha256"]
        same = not expected or manifest.get("sha256") == expected
        return bool(manifest.get("staged_at")) and same and not self._stale(self.release)

    def _prepare(self) -> dict[str, Any]:
        before = os.path.isdir(self.path)
        if not before or self._to_unpack_again():
            with readable_by_all():
                self._unpack()
        self._link_shared()
        evidence: dict[str, Any] = {"changed": True}
        if self.laravel:
            self._prepare_laravel(evidence)
        evidence["bridged"] = self._exchange_assets()
        if before:
            self._forget_in_opcache(self.path)
        return evidence

    def _to_unpack_again(self) -> bool:
        """Say whether what lies there was begun by a killed run, or came from another artifact."""
        manifest = self.layout.manifest(self.release)
        expected = self.params["sha256"]
        other = bool(expected) and manifest.get("sha256") not in (None, expected)
        if any(entry["release"] == self.release for entry in self.layout.history()) or (
            self.release == self.layout.current()
        ):
            if other:
                raise PhaseError(f"{self.path} was live already, from another artifact than {expected}; release again")
            return False
        return bool(self.params["artifact"]) and (other or not manifest.get("staged_at"))

    def _prepare_laravel(self, evidence: dict[str, Any]) -> None:
        views = os.path.join(self.path, "bootstrap/cache/views")
        os.makedirs(views, exist_ok=True)
        # Each release compiles views of its own: shared ones are overwritten by the release that is not live yet.
        artisan = self._artisan(self.path, VIEW_COMPILED_PATH=views)
        problem = artisan.problem()
        if problem:
            raise PhaseError(problem)
        evidence["commands"] = [self._cache(artisan, command) for command in self.params["stage_commands"]]
        if self._env_is_closed():
            # Other commands may have made it, too.
            with contextlib.suppress(FileNotFoundError):
                os.chmod(os.path.join(self.path, CONFIG), 0o600)
        # By ourselves: storage:link exits 0 when it fails.
        for link, target in artisan.links().items():
            self._link_public(link, target)

    def _link_public(self, link: str, target: str) -> None:
        """Make a link of the application's filesystems.links, as storage:link does: nothing gives way to it."""
        parent, name = os.path.split(os.path.normpath(os.path.join(self.path, link)))
        own, parent = os.path.realpath(self.path), os.path.realpath(parent)
        link = os.path.join(parent, name)
        if not f"{parent}/".startswith(f"{own}/"):
            # What is shared is not of the release.
            self.module.warn(f"{link} of filesystems.links is not in the release, and was left as it is")
        elif not os.path.exists(link):
            with readable_by_all():
                os.makedirs(parent, exist_ok=True)
            inside = f"{os.path.normpath(target)}/".startswith(f"{own}/")
            link_atomic(os.path.relpath(target, parent) if inside else target, link)
        elif os.path.realpath(link) != os.path.realpath(target):
            self.module.warn(
                f"{link} of filesystems.links is there already, and was left as it is: no link to {target}"
            )

    def probe(self) -> dict[str, Any]:
        """Probe a staged release again, after the migrations that it needs."""
        return {"changed": False, "probe": "" if self.module.check_mode else self._probe(self.path)}

    def _unpack(self) -> None:
        artifact, expected = self.params["artifact"], self.params["sha256"]
        if self.artifact_url:
            artifact = os.path.join(self.layout.private_dir, "artifacts", f"{self.release}.tar.gz")
            _artifact.obtain(self.module, self.artifact_url, artifact, expected)
        if not artifact or not os.path.isfile(artifact):
            raise PhaseError(f"the artifact {artifact or '(none given)'} is not on this host")
        found = self.module.sha256(artifact)
        if found != expected:
            raise PhaseError(f"{artifact} has sha256 {found}, not {expected}: it was damaged on its way; release again")
        staging = os.path.join(self.layout.private_dir, f"staging-{self.release}")
        shutil.rmtree(staging, ignore_errors=True)
        os.mkdir(staging, 0o755)
        rc, dummy, err = self.module.run_command(["tar", "-xzf", artifact, "-C", staging, "--no-same-owner"])
        if rc != 0:
            shutil.rmtree(staging, ignore_errors=True)
            raise PhaseError(f"{artifact} cannot be unpacked: {' '.join(err.split())[:300]}")
        try:
            known = _artifact.manifest(artifact, _artifact.read_tree(staging))
        except _artifact.ArtifactError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        manifest = {"release": self.release, **known, "sha256": expected}
        write_atomic(os.path.join(staging, MANIFEST), json.dumps(manifest, indent=1) + "\n")
        self.guard()
        if os.path.isdir(self.path):
            shutil.rmtree(self.path)
        os.rename(staging, self.path)
        self._note("stage")

    def _env_is_closed(self) -> bool:
        """Say whether the .env of the release is for nobody but its owner; it may be open to the group of PHP-FPM."""
        try:
            return not os.stat(os.path.join(self.path, ".env")).st_mode & 0o077
        except FileNotFoundError:
            return False

    def _link_shared(self) -> None:
        storage = os.path.join(self.layout.shared_dir, "storage")
        missing = [name for name in _PRIVATE_DIRS if not os.path.lexists(os.path.join(storage, name))]
        for name in self.params["shared_dirs"]:
            self._share(name, os.path.isdir)
        for name in self.params["shared_files"]:
            self._share(name, os.path.isfile)
        if self.laravel and "storage" in self.params["shared_dirs"]:
            for name in STORAGE_DIRS:
                os.makedirs(os.path.join(storage, name), exist_ok=True)
            # Those that were there are somebody else's to open or close.
            for name in missing if self._env_is_closed() else []:
                os.chmod(os.path.join(storage, name), 0o700)

    def _share(self, name: str, is_kind: Any) -> None:
        """Replace a file or directory of the release by a link to the shared one, which it seeds the first time."""
        shared = os.path.join(self.layout.shared_dir, name)
        own = os.path.join(self.path, name)
        if os.path.islink(own):
            return
        if not os.path.lexists(shared):
            if not is_kind(own):
                if is_kind is os.path.isfile:
                    raise PhaseError(
                        f"{shared} does not exist and the release brings none; create it, or correct "
                        f"release_shared_files"
                    )
                os.makedirs(own)
            os.makedirs(os.path.dirname(shared), exist_ok=True)
            _seed(own, shared)
        if os.path.isdir(own):
            shutil.rmtree(own)
        elif os.path.lexists(own):
            os.unlink(own)
        os.makedirs(os.path.dirname(own), exist_ok=True)
        os.symlink(os.path.relpath(shared, os.path.dirname(own)), own)

    def _exchange_assets(self) -> int:
        """Give the release the assets of the live one, and that one its own; return how many it got."""
        current, name = self.layout.current(), self.params["assets_dir"]
        if not current:
            return 0
        # Copies, since commands of a stage that is repeated may write what they find.
        got = _assets.share(self.layout, name, current, self.release, copy=True)
        self._hand_assets_on(self.release, current, lend=True)
        return len(got)

    def _hand_assets_on(self, source: str, target: str, lend: bool = False) -> int:
        """Give assets of one release to another, and return how many it got; nothing fails for that."""
        try:
            return len(_assets.share(self.layout, self.params["assets_dir"], source, target, lend=lend))
        except (OSError, LayoutError) as exc:
            self.module.warn(
                f"pages of {source} that are open in browsers may miss assets where {target} is live: {exc}"
            )
            return 0

    def _cache(self, artisan: Artisan, command: list[str]) -> dict[str, Any]:
        self.guard()
        # What this writes has all of .env in it.
        closed = command[:1] == ["config:cache"] and self._env_is_closed()
        with umask(0o077) if closed else contextlib.nullcontext():
            result = artisan.run([str(word) for word in command])
        return {"command": " ".join(result["command"]), "seconds": result["seconds"]}

    def _probe(self, path: str) -> str:
        """Let the release answer the health request before, or without, traffic."""
        uri = self.params["health_path"]
        if not self.laravel:
            return self._probe_server(path, uri)
        cookie = self._cookie()
        # There a class of the other release would answer for the one of the same name.
        opcache = self._ask_opcache()
        self._try_preload(opcache.get("preload", ""), path)
        elsewhere = self._preloads_other(opcache, path)
        if self.params["fpm_socket"] and not elsewhere:
            problem = _probe.fpm_problem(self.params["fpm_socket"], path, uri, self.host, cookie)
            if problem:
                raise PhaseError(problem)
            return f"PHP-FPM answered {uri}"
        status = self._artisan(path, SLIPWAY_COOKIE=cookie).request(uri, self.host)
        if not 200 <= status < 300:
            raise PhaseError(
                f"the application in {path} answered {uri} with {status}; see {self.layout.shared_dir}/storage/logs"
            )
        why = ", asked on the command line since PHP-FPM has preloaded code of another release" if elsewhere else ""
        return f"the application answered {uri} with {status}{why}"

    def _try_preload(self, file: str, path: str) -> None:
        """Run what PHP-FPM preloads on the command line: it ends at a reload where that fails, and answers nobody."""
        live = self.layout.current_link + os.sep
        if not file.startswith(live):
            return
        ours = os.path.join(path, file[len(live) :])
        settings = ("enable=1", "enable_cli=1", f"preload={ours}", "preload_user=")
        argv = [self.params["php"], *(word for setting in settings for word in ("-d", f"opcache.{setting}")), "-r", ""]
        rc, out, err = self.module.run_command(argv, environ_update=self.environment, cwd="/")
        if rc != 0:
            raise PhaseError(
                f"{ours}, which PHP-FPM preloads, exits {rc}: {error_text(out, err)}; correct it, or php_fpm_preload"
            )

    def _probe_server(self, path: str, uri: str) -> str:
        """Start the release beside the live one, on a port of its own, where a command for that is given."""
        argv = [str(word) for word in self.params["probe_command"]]
        if not argv:
            return "not asked: no release_probe_command is given"
        from ansible_collections.slipway.laravel.plugins.module_utils import _start  # noqa: PLC0415

        problem = _start.start_problem(argv, path, self.environment, uri, self.host, self.params["timeout"])
        if problem:
            raise PhaseError(problem)
        return f"{' '.join(argv)} answered {uri}"

    # restore

    def restore(self) -> dict[str, Any]:
        """Restore the database, and bring maintenance back, which the application may keep in it."""
        evidence = super().restore()
        self._down_again()
        return evidence

    # what a rollback goes to

    def recache(self) -> dict[str, Any]:
        """Make the caches of an earlier release anew, from what shared/.env says now; revert puts the old ones back."""
        evidence: dict[str, Any] = {"changed": self.laravel}
        if self.laravel and not self.module.check_mode:
            _rollback.KeptCaches(self.layout).keep(self.release)
            self._prepare_laravel(evidence)
            self._forget_in_opcache(self.path)
        return evidence

    def load(self) -> dict[str, Any]:
        """Show that PHP still loads an earlier release: PHP, its extensions and its user may have changed since.

        The health page is not asked for. It may ask the database, which may be why there is a rollback.
        """
        problem = note = ""
        by: list[str] = []
        if self.laravel and not self.module.check_mode:
            # Its processes may all be busy with what is to be left.
            opcache = self._ask_opcache(timeout=_probe.PATIENCE)
            self._try_preload(opcache.get("preload", ""), self.path)
            by_fpm = self.params["fpm_socket"] and not self._preloads_other(opcache, self.path)
            if by_fpm:
                by.append("PHP-FPM")
                problem, note = _rollback.loaded_by_fpm(self.params["fpm_socket"], self.layout, self.release)
            if not problem and (self.wanted or not by_fpm):
                by.append("artisan")
                problem, same = _rollback.loaded_on_command_line(self._artisan(self.path))
                note = note or same
        if problem:
            raise PhaseError(f"{problem}; release it again, or name another one by release_rollback_to")
        evidence = {"changed": False, "by": " and ".join(by)}
        if note:
            from ansible_collections.slipway.laravel.plugins.module_utils._migrate import (  # noqa: PLC0415
                without_values,
            )

            evidence["note"] = without_values(note)
        return evidence

    # switch, restart, verify

    def exchange(self) -> dict[str, Any]:
        """Give what is live and where a rollback goes each other's assets, before some hosts have one and some the
        other; a release does so when it is staged."""
        live = self.layout.current()
        if self.module.check_mode or not live:
            return {"changed": False}
        count = self._hand_assets_on(live, self.release) + self._hand_assets_on(self.release, live, lend=True)
        return {"changed": count > 0, "bridged": count}

    def switch(self) -> dict[str, Any]:
        """Make the release live by one rename."""
        previous = self.layout.current()
        changed = previous != self.release
        if not os.path.isdir(self.path) and not self.module.check_mode:
            raise PhaseError(f"{self.path} does not exist on this host; it cannot become live")
        if changed and not self.module.check_mode:
            if previous:
                # There already, unless this is a rollback.
                self._hand_assets_on(previous, self.release)
            self.layout.switch(self.release)
        return {"changed": changed, "previous": previous}

    def restart(self) -> dict[str, Any]:
        """Let every worker of another release finish its job and end, and reload PHP-FPM where that is needed.

        In a batch of a rolling release these wait for the last host, but not what answers the requests of this one:
        PHP-FPM, Octane and Node.
        """
        if self.module.check_mode:
            return {"changed": True}
        if self._restarted():
            return {"changed": False, "stopped": [], "fpm_reloaded": ""}
        before = {worker["pid"] for worker in self._workers()}
        stopped = self._stop_old_workers()
        for command in self.params["restart_commands"] if self.with_workers else []:
            self.guard()
            self._command([str(word) for word in command])
        interrupted = self.with_workers and self.laravel and self._interrupt_schedule()
        reloaded = self._reload_fpm()
        self._note_restart()
        after = {worker["pid"] for worker in self._workers()}
        return {
            "changed": bool(stopped or before != after or reloaded or interrupted),
            "stopped": stopped,
            "fpm_reloaded": reloaded,
            "schedule_interrupted": interrupted,
        }

    def _workers(self) -> list[dict[str, Any]]:
        found = _processes.workers(self.layout.root, node=not self.laravel)
        return found if self.with_workers else [worker for worker in found if _processes.is_octane(worker)]

    def _note_restart(self) -> None:
        self._note_besides(restarted=self.release)

    def _note_besides(self, **values: Any) -> None:
        """Note what a later run of the module goes by, and can do without: a full disk stops no way back."""
        try:
            self.layout.note_run(self.params["run"], **values)
        except OSError as exc:
            self.module.warn(f"{exc.filename} could not be written: {exc.strerror}")

    def _noted_restart(self) -> bool:
        """Say whether this run has restarted this host for this release before, in the batch of the host."""
        noted = self.layout.run_state()
        return (noted.get("run"), noted.get("restarted")) == (self.params["run"], self.release)

    def _restarted(self) -> bool:
        """Say whether the servers of Node run the release already, since their batch."""
        if self.laravel or self.params["restart_all"]:
            return False
        # Servers of another user are not to be seen: of those only the note tells.
        known = bool(self.wanted) or self._noted_restart()
        return known and not self._worker_problems(self._workers())

    def _stop_old_workers(self) -> list[int]:
        """Ask the workers of other releases to end; what they started they end by themselves."""
        running = self._workers()
        commands = {worker["pid"] for worker in running if worker["command"].startswith("octane:")}
        # Asked to end, Octane's command cuts off the requests in hand. Its server does not, and the command follows it.
        serving = commands & {worker["parent"] for worker in running if worker["kind"] == "octane"}
        handed_on = {worker["pid"] for worker in running if worker["kind"] in ("artisan", "octane")} - commands
        parents = {worker["parent"] for worker in running}
        # Each of these is asked now, through the one that has started it, or ends by itself.
        ending = [w["pid"] for w in running if w["release"] != self.layout.current() and w["command"] in _JOBS]
        renders = any(w["command"] == _RENDERER and w["release"] != self.layout.current() for w in running)
        self._note_besides(ending=ending, renders=renders)
        stopped = []
        for worker in running:
            # PM2, and systemd for Node, replace a process themselves, and a shell under supervisor passes nothing on.
            ends = worker["kind"] in ("artisan", "octane") and worker["parent"] not in handed_on
            ends = ends and worker["pid"] not in serving
            ends = ends or (worker["kind"] == "supervisord" and worker["pid"] not in parents)
            ends = ends and not worker["once"]
            if not ends or (worker["release"] == self.layout.current() and not self.params["restart_all"]):
                continue
            try:
                # Laravel's workers finish the job in hand on SIGTERM; their supervisor starts them anew.
                os.kill(worker["pid"], signal.SIGTERM)
                stopped.append(worker["pid"])
            except ProcessLookupError:
                continue
            except PermissionError as exc:
                raise PhaseError(
                    f"worker {worker['pid']} belongs to another user; run workers as the application's"
                ) from exc
        return stopped

    def _interrupt_schedule(self) -> bool:
        """Let the scheduler of another release end: with tasks by the second it goes on until its minute is over."""
        running = _processes.artisan(self.layout.root, ("schedule:run",))
        if set(running.values()) <= {self.release}:
            return False
        try:
            self._artisan(self.layout.release_path(self.release)).run(["schedule:interrupt"])
        except ArtisanError:
            # Laravel 10 has brought both. Without them, or without a cache, that minute is all that it lasts.
            return False
        return True

    def _reload_fpm(self) -> str:
        """Reload PHP-FPM when asked to, or when OPcache is nearly full; return why, '' when it was not needed."""
        command, when = self.params["fpm_reload_command"], self.params["fpm_reload"]
        if not self.params["fpm_socket"] or not command or when == "never":
            return ""
        if when == "always" and self._noted_restart():
            # Once in a release: in a rolling one that was in the batch of this host.
            return ""
        reason = "always" if when == "always" else self._opcache_pressure()
        if reason:
            code = "echo PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;"
            version = self._command([self.params["php"], "-r", code])
            self._command([str(word).replace("{version}", version.strip()) for word in command])
        return reason

    def _ask_opcache(self, uri: str = "/", timeout: float = 10) -> dict[str, Any]:
        """Ask PHP-FPM for the state of OPcache; empty where there is none, or no answer."""
        if not self.params["fpm_socket"]:
            return {}
        try:
            script = _fpm_scripts.write(self.layout, "opcache", _fpm_scripts.OPCACHE)
        except OSError:
            # A full disk stops no way back.
            script = _fpm_scripts.find(self.layout, "opcache", _fpm_scripts.OPCACHE)
            if not script:
                return {}
        try:
            answer = _fastcgi.get(self.params["fpm_socket"], script, uri, timeout=timeout)
            status = json.loads(answer.body or "false")
        except (_fastcgi.FastCGIError, ValueError):
            return {}  # verify says what is wrong with PHP-FPM
        return status or {}

    def _forget_in_opcache(self, path: str) -> None:
        self._ask_opcache(f"/?forget={urllib.parse.quote(os.path.realpath(path))}")

    def _opcache_pressure(self) -> str:
        status = self._ask_opcache()
        if not status:
            return ""
        if self._preloads_other(status, self.layout.current_link):
            return "it has preloaded code of another release"
        if "memory_usage" not in status:
            # With opcache.file_cache_only there is no memory that could be full.
            return ""
        memory, numbers = status["memory_usage"], status["opcache_statistics"]
        total = memory["used_memory"] + memory["free_memory"] + memory["wasted_memory"]
        if memory["free_memory"] < _OPCACHE_FREE * total:
            return f"OPcache has {memory['free_memory'] // 2**20} of {total // 2**20} MiB left"
        free_keys = numbers["max_cached_keys"] - numbers["num_cached_keys"]
        if free_keys < _OPCACHE_FREE * numbers["max_cached_keys"]:
            return f"OPcache has {free_keys} of {numbers['max_cached_keys']} keys left"
        return ""

    def _preloads_other(self, status: dict[str, Any], path: str) -> bool:
        """Say whether PHP-FPM has preloaded code of another release than the one in a directory."""
        releases, own = (os.path.realpath(place) + os.sep for place in (self.layout.releases_dir, path))
        preloaded = status.get("preload_statistics", {}).get("scripts", [])
        return any(file.startswith(releases) and not file.startswith(own) for file in preloaded)

    def verify(self) -> dict[str, Any]:
        """Show that the live release answers and that every worker runs it, within the deadline."""
        if self.module.check_mode:
            return {"changed": False}
        started = well_at = time.monotonic()
        patience, settled = self.params["timeout"], _SETTLED
        # Workers may have a long job in hand. Visitors shall not see pages that are not well for as long.
        patience_for_pages = min(patience, self.params["health_timeout"] or patience)
        while True:
            # In the end a job that is still in hand is no reason to go back, which would not end it sooner.
            late = time.monotonic() >= started + patience
            pages = self._page_problems(well_at + patience_for_pages)
            running = self._workers()
            finishing = self._finishing(running) if late else []
            problems = pages + self._worker_problems(running, finishing)
            answers, problem = (0, "") if problems else self._burst()
            pages += [problem] if problem else []
            short_lived = [] if problems or pages else self._short_lived(running, settled)
            problems = problems or pages or short_lived
            if not problems:
                break
            # It takes longer to end on a busy machine, and whoever runs it starts it again and again.
            settled *= 2 if short_lived else 1
            well_at = well_at if pages else time.monotonic()
            if late or time.monotonic() > well_at + patience_for_pages:
                seconds = patience if late else patience_for_pages
                raise PhaseError(f"{self.release} is not well after {seconds} s: {'; '.join(problems)}")
            time.sleep(0.2)
        if finishing:
            named = ", ".join(f"{w['command']} (pid {w['pid']}) of {w['release']}" for w in finishing)
            self.module.warn(
                f"{self.release} is live, but after {patience} s there is still a job in hand of {named}; each was "
                f"asked to end and does so with its job, whoever runs it starts it anew in {self.release}"
            )
        self._await_renderer()
        url = self.params["health_url"]
        return {
            "changed": False,
            "workers": self._shown(self._workers()),
            "finishing": self._shown(finishing),
            "url": url,
            "answers": answers,
            "pages": self.answers,
        }

    @staticmethod
    def _shown(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        shown = ("pid", "command", "release", "started")
        return [{name: worker[name] for name in shown} for worker in workers]

    def _finishing(self, running: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the workers of other releases that this run has asked to end and that have a job in hand."""
        noted = self.layout.run_state()
        ending = noted.get("ending", []) if noted.get("run") == self.params["run"] else []
        return [worker for worker in running if worker["release"] != self.release and worker["pid"] in ending]

    def _await_renderer(self) -> None:
        """Warn where the server of Inertia has ended for this release and does not run it, which is no reason to go
        back."""
        noted = self.layout.run_state()
        if not self.with_workers or noted.get("run") != self.params["run"] or not noted.get("renders"):
            return
        deadline = time.monotonic() + _RENDERER_STARTS
        while True:
            found = [w for w in self._workers() if (w["command"], w["release"]) == (_RENDERER, self.release)]
            if any(worker["age"] >= _SETTLED for worker in found):
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(0.2)
        self.module.warn(
            f"{_RENDERER} ran until {self.release} came and does not run it, so that pages are rendered in browsers "
            f"alone; see its log, and start its program"
        )

    def _short_lived(self, running: list[dict[str, Any]], settled: float) -> list[str]:
        """Wait until the youngest of the counted workers has lasted for some seconds, and name those that have not.

        One that is older ends by design, after so many jobs or so long; and what a worker has started comes and goes.
        """
        # In maintenance mode a worker with --max-time ends each second: Laravel counts from the start of the machine.
        if not self.with_workers or self._marker() or self._down_file():
            return []
        # How long a server of Node has been loading before it answered is not known.
        ages = {worker["pid"]: worker["age"] if self.laravel else 0.0 for worker in running}
        ours = [w for w in running if w["release"] == self.release and w["command"] != _RENDERER]
        young = [worker for worker in (self._alone(ours) if self.laravel else ours) if ages[worker["pid"]] < settled]
        if not young:
            return []
        time.sleep(settled - min(ages[worker["pid"]] for worker in young))
        after = self._workers()
        pids = {worker["pid"] for worker in after}
        # One that is to end after a job has a successor.
        followed = {worker["command"] for worker in self._alone(after) if worker["release"] == self.release}
        return [
            f"{worker['command']} (pid {worker['pid']}) ended as soon as it had started, see its log"
            for worker in young
            if worker["pid"] not in pids and not (worker["short"] and worker["command"] in followed)
        ]

    def _burst(self) -> tuple[int, str | None]:
        """Ask the web server once for each process of the pool, many at a time; return how many named the release.

        No process holds the code of an application: each request brings the path, which nginx resolved for it, and a
        release has a path of its own, so that OPcache has nothing older under it. What is left to show is that no
        process of nginx or PHP-FPM answers otherwise than the others. What PHP-FPM has preloaded is the exception, for
        which it is reloaded.
        """
        url = self.params["health_url"]
        if not url or not self.params["fpm_socket"]:
            return 0, None
        count = max(1, _processes.fpm_processes(self.params["fpm_socket"]))
        return _probe.http_burst(url, self.host, self.release, count, self.params["verify_tls"], self._cookie())

    def _page_problems(self, deadline: float) -> list[str]:
        problems: list[str | None] = []
        current = self.layout.current()
        if current != self.release:
            return [f"{self.layout.current_link} points at {current}"]
        uri, cookie = self.params["health_path"], self._cookie()
        if self.params["fpm_socket"]:
            # As nginx asks for it: by the path that the link resolves to.
            live = os.path.realpath(self.layout.current_link)
            problems.append(_probe.fpm_problem(self.params["fpm_socket"], live, uri, self.host, cookie))
        problems += self._http_problems(deadline, cookie)
        return [problem for problem in problems if problem]

    def _worker_problems(
        self, running: list[dict[str, Any]], finishing: list[dict[str, Any]] | None = None
    ) -> list[str]:
        """Name what runs another release or does not run.

        :param finishing: workers of other releases that may go on, each in the place of the one that will follow it
        """
        problems, spared = [], finishing or []
        others = [
            f"{worker['command']} (pid {worker['pid']})"
            for worker in running
            if worker["release"] != self.release and worker not in spared
        ]
        if others:
            problems.append(f"still on another release: {', '.join(others)}")
        if self.with_workers and self.laravel and "workers" not in self.params["expect"]["skip"]:
            problems += filter(None, [_processes.stray_problem(self.layout.root)])
        if self.with_workers:
            counted = self._count(running, spared)
            problems += [
                # Another user's processes cannot be told from none.
                f"{counted[name]} of {wanted} {name if self.laravel else 'servers that this user may see'} "
                f"run {self.release}"
                for name, wanted in self.wanted.items()
                if counted[name] < wanted
            ]
        return problems

    def _count(self, running: list[dict[str, Any]], spared: list[dict[str, Any]]) -> Counter[str]:
        """Count the workers of the release by their command, and servers of Node as such."""
        counted = [w for w in self._alone(running) if w["release"] == self.release or w in spared]
        return Counter(worker["command"] if self.laravel else "node" for worker in counted)

    def _alone(self, running: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the workers without what one of them has started, which is none of its own.

        Horizon has supervisors, Octane and npm have servers. A shell has only what it was given to run.
        """
        starting = {worker["pid"] for worker in running if not self.laravel or worker["kind"] in ("artisan", "octane")}
        return [worker for worker in running if worker["parent"] not in starting]

    def _http_problems(self, deadline: float, cookie: str) -> list[str]:
        """Ask for the health page and for what smoke names; what they answered is the evidence."""
        health: str = self.params["health_url"]
        asked = [("", health, self.host, {"release": self.release})] if health else []
        for check in self.smoke:
            host = check["host"] or ("" if check["url"] else self.host)
            url = check["url"] or (urllib.parse.urljoin(health, check["path"]) if health else "")
            # A page that this host's own web server shows is of the release; one from elsewhere may be of another host,
            # and one that may show whatever is no error of another application beside this one.
            release = "" if check["url"] or check["status_below"] else self.release
            if url:
                asked.append(("smoke check: ", url, host, {**check, "release": release}))
        problems, self.answers = [], []
        for label, url, host, expected in asked:
            timeout = min(10.0, max(2.0, deadline - time.monotonic()))
            # What opens the site during maintenance is for no other site.
            own = cookie if self.host in (host, urllib.parse.urlsplit(url).hostname) else ""
            problem, answer = _probe.http_check(url, host, expected, self.params["verify_tls"], timeout, own)
            self.answers.append({**answer, "host": host})
            if problem and expected.get("status_below"):
                if answer["status"] == 503 and self._shut_by_hand():
                    continue
                problem += "; correct it, or leave the page out of release_smoke, [] for none"
            problems += [label + problem] if problem else []
        return problems

    # revert, finish

    def revert(self) -> dict[str, Any]:
        """Go back to the previous release if this one is live; remove it if it never was; give the lock back."""
        run, previous = self.params["run"], self.params["previous"]
        if not os.path.isdir(self.layout.private_dir):
            return {"changed": False, "reverted": False, "current": None}
        if not self.layout.holds_lock(run, **({} if self.module.check_mode else {"phase": "revert"})):
            # Stopped before the lock was ours, or it is ours no more: what is there belongs to another run. That may be
            # what this one has made live.
            current = self.layout.current()
            stays = bool(self.release) and current == self.release and previous != self.release
            lost = ("taken" if self.layout.lock_holder() else "given back") if stays else ""
            return {"changed": False, "reverted": False, "current": current, "lost": lost}
        if self.params["stay_shut"]:
            # What was put up stays, whatever is run next, until the database is seen to.
            marker = self._marker()
            if marker:
                held = self.params["maintenance_held"] or "its database may not fit what is live"
                self._write_marker({**marker, "held": held, "held_by": run})
            self.layout.forget_run()
            self.layout.unlock(run)
            # Where the answer of this host was lost, it may have opened already.
            shut = {"shut": bool(marker), "open": not marker}
            return {"changed": False, "reverted": False, "current": self.layout.current(), **shut}
        current = self.layout.current()
        switched = bool(self.release) and current == self.release and previous != self.release
        left = "" if switched else self._left_with_the_others(previous)
        if self.module.check_mode:
            goes_back = bool(switched or left)
            return {"changed": goes_back, "reverted": goes_back, "left": left, "current": current}
        maintenance: dict[str, Any] = {}
        made_live = self.release if self.params["stays_live"] or previous != self.release else ""
        try:
            try:
                self._go_back(previous, switched, left)
            except PhaseError as exc:
                # What was live is live again, and that counts; what is not well about it is told besides.
                back = bool(switched or left) and self.layout.current() == previous
                exc.evidence.update(changed=back, reverted=back, current=self.layout.current())
                raise
            finally:
                self._take_caches_back(made_live)
                # Nothing new is live: what an operator had shut before this run stays shut.
                maintenance = self._leave_maintenance(False, self._marker().get("held_by") == run)
        finally:
            # Whatever came of it, this run is over: the next one must not find its lock, nor anything to continue but
            # a release that an earlier run left live and unproven.
            try:
                self.layout.forget_run(still_live=self.layout.current() or "")
            except OSError as exc:
                # What it was to leave of the run is in there as well.
                self.module.warn(f"{exc.filename} could not be written: {exc.strerror}")
            self.layout.unlock(run)
        return {
            "changed": bool(switched or left),
            "reverted": bool(switched or left),
            "left": left,
            "current": self.layout.current(),
            "maintenance": maintenance,
            "shut": "held" in maintenance,
        }

    def _put_caches_back(self, but: str) -> None:
        """Give releases the caches back that a rollback has made anew, so that one can still go with the old.

        :param but: release that has gone live with its new ones
        """
        for release in _rollback.KeptCaches(self.layout).put_back(but=but):
            self._forget_in_opcache(self.layout.release_path(release))

    def _take_caches_back(self, made_live: str) -> None:
        """Take the caches back that this run has made, but for those of what it made live where that is live still.

        Users are let in there already, or going back has failed: with the old ones it would change what it works with.
        """
        try:
            self._put_caches_back(but=made_live if self.layout.current() == made_live else "")
        except OSError as exc:
            self.module.warn(f"{exc.filename}, the caches of an earlier release, are not back: {exc.strerror}")

    def _left_with_the_others(self, previous: str) -> str:
        """Return the live release where a killed run has left it unproven and other hosts do not go back to it."""
        unproven = str((self.layout.run_state().get("unproven") or {}).get("release") or "")
        leaves = self.params["leave_unproven"] and previous not in ("", unproven)
        return unproven if leaves and self.layout.current() == unproven else ""

    def _go_back(self, previous: str, switched: bool, left: str) -> None:
        if left:
            staged, self.release = self._only_staged(), left
            self._go_back(previous, True, "")
            if staged:
                self.layout.remove(staged)
        elif switched and previous:
            failed, self.release = self.release, previous
            self._hand_assets_on(failed, previous)
            with self._noting(failed):
                self.layout.switch(previous)
                self.layout.mark_bad(failed)
            self.restart()
            self.verify()
        elif switched:
            # The very first release: before it there was none.
            with self._noting(self.release):
                os.unlink(self.layout.current_link)
                self.layout.mark_bad(self.release)
            self._stop_old_workers()
        else:
            if staged := self._only_staged():
                self.layout.remove(staged)
            # It may be what has filled the disk. The next release that finishes does it as well.
            with contextlib.suppress(OSError, LayoutError):
                self.layout.sweep_artifacts()

    @contextlib.contextmanager
    def _noting(self, bad: str) -> Iterator[None]:
        """Once the link has been moved away from a bad release, only warn where that cannot be noted."""
        try:
            yield
        except OSError as exc:
            if self.layout.current() == bad:
                raise
            self.module.warn(
                f"that {bad} was bad could not be noted ({exc.strerror}), so that a later rollback may go there; free "
                f"space, and name another one by release_rollback_to"
            )

    def _only_staged(self) -> str:
        """Return the release, if this run has made it and it was never live.

        Where the answer of the run that built it was lost, only the host knows which it is.
        """
        if self.params["rollback"]:
            # It was there before.
            return ""
        known = {self.layout.current(), *(entry["release"] for entry in self.layout.history())}
        noted = self.layout.run_state()
        release = self.release or (str(noted.get("release") or "") if noted.get("run") == self.params["run"] else "")
        return release if release and release not in known and self.layout.manifest(release) else ""

    def finish(self) -> dict[str, Any]:
        """Remove what is too old and give the lock back. What cannot be removed is a warning."""
        protected = {self.layout.current() or "", self.layout.rollback_target() or "", self.release}
        protected |= _processes.releases_in_use(self.layout.root)
        old = self.layout.prunable(self.params["keep"], protected)
        if self.module.check_mode:
            return {"changed": bool(old), "removed": old}
        removed = []
        try:
            if self.params["bad"]:
                self.layout.mark_bad(self.params["bad"])
            _assets.take_back(self.layout, self.params["assets_dir"])
            _rollback.KeptCaches(self.layout).forget()
            for release in old:
                try:
                    self.layout.remove(release)
                    removed.append(release)
                except OSError as exc:
                    self.module.warn(f"{release} could not be removed: {exc}")
            self.layout.sweep_artifacts()
            # A run that found its version live already has not made anything live.
            live = bool(self.layout.run_state().get("release"))
            maintenance = self._leave_maintenance(live, bool(self.params["maintenance_held"]))
        finally:
            # Whatever could not be tidied up, the release is proven: the next run must not take it for one of a killed.
            self.layout.forget_run()
            self.layout.unlock(self.params["run"])
        return {"changed": bool(removed), "removed": removed, "maintenance": maintenance}
