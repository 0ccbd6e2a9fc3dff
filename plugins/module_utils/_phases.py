# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a release on one host.

Private to this collection; the module ``release`` is its face. Each phase can be repeated: it looks at what is there
and does what is missing, so that a run that was killed can be started again. Each returns its evidence.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi, _preflight, _probe
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import (
    Artisan,
    ArtisanError,
    fingerprint,
    take_environment,
)
from ansible_collections.slipway.laravel.plugins.module_utils._layout import (
    MANIFEST,
    Layout,
    LayoutError,
    link_atomic,
    write_atomic,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# What Laravel's skeleton has in storage/; an application may have left out empty directories.
STORAGE_DIRS = ("app/public", "framework/cache/data", "framework/sessions", "framework/views", "logs")

# Read by PHP-FPM itself, outside of the application and of what nginx serves.
_OPCACHE_PHP = """<?php
header('Content-Type: application/json');
echo json_encode(function_exists('opcache_get_status') ? opcache_get_status(false) : false);
"""

# Under a fifth of memory or keys left, the releases to come would not fit.
_OPCACHE_FREE = 0.2


class PhaseError(Exception):
    """A phase failed; the message says what, where and the remedy."""


class Phases:
    """The phases of one release on this host, with the parameters of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.layout = Layout(self.params["root"])
        self.release: str = self.params["release"]
        self.path = self.layout.release_path(self.release)
        self.environment = take_environment(module)
        self.host: str = self.params["health_host"]

    def run(self, phase: str) -> dict[str, Any]:
        """Run one phase and return its evidence.

        :raises PhaseError: it failed
        """
        # A heartbeat with each phase; a lock that was taken over means that somebody else is at work.
        needs_lock = phase not in ("preflight", "revert") and not self.module.check_mode
        if needs_lock and not self.layout.holds_lock(self.params["run"]):
            raise PhaseError(
                f"{self.layout.lock_path} is not held by run {self.params['run']} any more; nothing was done"
            )
        method = getattr(self, phase)
        try:
            evidence: dict[str, Any] = method()
        except (LayoutError, ArtisanError) as exc:
            raise PhaseError(str(exc)) from exc
        except OSError as exc:
            raise PhaseError(f"{exc.strerror or exc}: {exc.filename or self.layout.root}") from exc
        return evidence

    def _artisan(self, path: str, **extra: str) -> Artisan:
        return Artisan(self.module, path, self.params["php"], {**self.environment, **extra})

    # preflight

    def preflight(self) -> dict[str, Any]:
        """Look for everything that would stop this release, name it all at once, and take the lock."""
        problems = _preflight.problems(self.module, self.layout, self.environment)
        if problems:
            listed = "\n".join(f"- {problem}" for problem in problems)
            text = f"not ready for a release, nothing was changed:\n{listed}" if problems[1:] else problems[0]
            raise PhaseError(text)
        taken_from = None
        if not self.module.check_mode:
            params = self.params
            taken_from = self.layout.lock(params["run"], params["owner"], params["lock_ttl"], params["takeover"])
            # With the lock ours, what lies there was left by a run that was killed.
            for pattern in ("build/*", "staging-*"):
                for leftover in glob.glob(os.path.join(self.layout.private_dir, pattern)):
                    shutil.rmtree(leftover)
        current = self.layout.current()
        manifest = self.layout.manifest(current) if current else {}
        return {
            "changed": False,
            "current": current,
            "live_commit": manifest.get("commit", ""),
            "stale": bool(current) and self._stale(current or ""),
            "rollback_target": self.layout.rollback_target(),
            "releases": self.layout.installed(),
            "taken_from": taken_from,
        }

    def _stale(self, current: str) -> bool:
        """Say whether shared/.env is newer than the configuration cache of the live release, made from it."""
        cached = os.path.join(self.layout.release_path(current), "bootstrap/cache/config.php")
        shared = os.path.join(self.layout.shared_dir, ".env")
        try:
            return os.stat(shared).st_mtime > os.stat(cached).st_mtime
        except FileNotFoundError:
            return False

    # stage

    def stage(self) -> dict[str, Any]:
        """Unpack the artifact, link what is shared, build the caches in the final path, and probe the result."""
        if self.module.check_mode:
            return {"changed": True}
        evidence: dict[str, Any] = {"changed": not os.path.isdir(self.path)}
        if evidence["changed"]:
            self._unpack()
        self._link_shared()
        evidence["bridged"] = self._bridge_assets()
        views = os.path.join(self.path, "bootstrap/cache/views")
        os.makedirs(views, exist_ok=True)
        # Each release compiles views of its own: shared ones are overwritten by the release that is not live yet.
        artisan = self._artisan(self.path, VIEW_COMPILED_PATH=views)
        problem = artisan.problem()
        if problem:
            raise PhaseError(problem)
        evidence["commands"] = [self._cache(artisan, command) for command in self.params["stage_commands"]]
        if os.path.isdir(os.path.join(self.path, "storage/app/public")):
            # By ourselves: storage:link exits 0 when it fails.
            link_atomic("../storage/app/public", os.path.join(self.path, "public/storage"))
        try:
            evidence["probe"] = self._probe(self.path)
        except PhaseError as exc:
            # New code may need the new schema: then the phase probe asks again after the migrations.
            pending = (artisan.info().get("migrations") or {}).get("pending", [])
            if not pending:
                raise
            evidence.update(probe=f"not well before its migrations ({exc})", probe_again=True)
        return evidence

    def probe(self) -> dict[str, Any]:
        """Probe a staged release again, after the migrations that it needs."""
        return {"changed": False, "probe": "" if self.module.check_mode else self._probe(self.path)}

    def _unpack(self) -> None:
        artifact, expected = self.params["artifact"], self.params["sha256"]
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
        manifest_path = os.path.join(staging, MANIFEST)
        with open(manifest_path, encoding="utf-8") as handle:
            manifest = {"release": self.release, **json.load(handle), "sha256": expected}
        write_atomic(manifest_path, json.dumps(manifest, indent=1) + "\n")
        os.rename(staging, self.path)

    def _link_shared(self) -> None:
        for name in self.params["shared_dirs"]:
            self._share(name, os.path.isdir)
        for name in self.params["shared_files"]:
            self._share(name, os.path.isfile)
        storage = os.path.join(self.layout.shared_dir, "storage")
        if "storage" in self.params["shared_dirs"]:
            for name in STORAGE_DIRS:
                os.makedirs(os.path.join(storage, name), exist_ok=True)

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
                        f"{shared} does not exist and the release brings none; create it, or correct shared_files"
                    )
                os.makedirs(own)
            os.makedirs(os.path.dirname(shared), exist_ok=True)
            os.rename(own, shared)
        elif os.path.isdir(own):
            shutil.rmtree(own)
        elif os.path.lexists(own):
            os.unlink(own)
        os.makedirs(os.path.dirname(own), exist_ok=True)
        os.symlink(os.path.relpath(shared, os.path.dirname(own)), own)

    def _bridge_assets(self) -> int:
        """Keep the live release's own hashed assets, for pages that browsers loaded before the switch."""
        current = self.layout.current()
        name = self.params["assets_dir"]
        if not current or current == self.release or not name:
            return 0
        before, after = (os.path.join(path, name) for path in (self.layout.release_path(current), self.path))
        if not (os.path.isdir(before) and os.path.isdir(after)):
            return 0
        inherited = set(self.layout.manifest(current).get("bridged", []))
        manifest = self.layout.manifest(self.release)
        # The phase may have been carried out before: what it bridged then is no asset of this release's own.
        bridged = set(manifest.get("bridged", []))
        for directory, dummy, files in os.walk(before):
            for file in files:
                source = os.path.join(directory, file)
                relative = os.path.relpath(source, before)
                target = os.path.join(after, relative)
                # Those that the live release itself inherited have been kept for one release: that is enough.
                if relative not in inherited and not os.path.lexists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy2(source, target)
                    bridged.add(relative)
        manifest["bridged"] = sorted(bridged)
        write_atomic(os.path.join(self.path, MANIFEST), json.dumps(manifest, indent=1) + "\n")
        return len(bridged)

    def _cache(self, artisan: Artisan, command: list[str]) -> dict[str, Any]:
        result = artisan.run([str(word) for word in command])
        return {"command": " ".join(result["command"]), "seconds": result["seconds"]}

    def _probe(self, path: str) -> str:
        """Let the release answer the health request before, or without, traffic."""
        uri = self.params["health_path"]
        if self.params["fpm_socket"]:
            problem = _probe.fpm_problem(self.params["fpm_socket"], path, uri, self.host)
            if problem:
                raise PhaseError(problem)
            return f"PHP-FPM answered {uri}"
        status = self._artisan(path).request(uri)
        if not 200 <= status < 300:
            raise PhaseError(
                f"the application in {path} answered {uri} with {status}; see {self.layout.shared_dir}/storage/logs"
            )
        return f"the application answered {uri} with {status}"

    # switch, restart, verify

    def switch(self) -> dict[str, Any]:
        """Make the release live by one rename."""
        previous = self.layout.current()
        changed = previous != self.release
        if not os.path.isdir(self.path) and not self.module.check_mode:
            raise PhaseError(f"{self.path} does not exist on this host; it cannot become live")
        if changed and not self.module.check_mode:
            self.layout.switch(self.release)
        return {"changed": changed, "previous": previous}

    def restart(self) -> dict[str, Any]:
        """Let every worker of another release finish its job and end, and reload PHP-FPM where that is needed."""
        if self.module.check_mode:
            return {"changed": True}
        before = {worker["pid"] for worker in _probe.workers(self.layout.root)}
        stopped = self._stop_old_workers()
        for command in self.params["restart_commands"]:
            self._command([str(word) for word in command])
        reloaded = self._reload_fpm()
        after = {worker["pid"] for worker in _probe.workers(self.layout.root)}
        return {"changed": bool(stopped or before != after or reloaded), "stopped": stopped, "fpm_reloaded": reloaded}

    def _stop_old_workers(self) -> list[int]:
        stopped = []
        for worker in _probe.workers(self.layout.root):
            if worker["release"] != self.layout.current():
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

    def _reload_fpm(self) -> str:
        """Reload PHP-FPM when asked to, or when OPcache is nearly full; return why, '' when it was not needed."""
        command, when = self.params["fpm_reload_command"], self.params["fpm_reload"]
        if not self.params["fpm_socket"] or not command or when == "never":
            return ""
        reason = "always" if when == "always" else self._opcache_pressure()
        if reason:
            code = "echo PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;"
            version = self._command([self.params["php"], "-r", code])
            self._command([str(word).replace("{version}", version.strip()) for word in command])
        return reason

    def _command(self, argv: list[str]) -> str:
        rc, out, err = self.module.run_command(argv, environ_update=self.environment, cwd="/")
        if rc != 0:
            raise PhaseError(f"{' '.join(argv)} exited {rc}: {' '.join((err or out).split())[:300]}")
        return str(out)

    def _opcache_pressure(self) -> str:
        script = os.path.join(self.layout.private_dir, "opcache.php")
        if not fingerprint(script):
            write_atomic(script, _OPCACHE_PHP)
        try:
            status = json.loads(_fastcgi.get(self.params["fpm_socket"], script).body or "false")
        except (_fastcgi.FastCGIError, ValueError):
            return ""  # verify says what is wrong with PHP-FPM
        if not status:
            return ""
        memory, numbers = status["memory_usage"], status["opcache_statistics"]
        total = memory["used_memory"] + memory["free_memory"] + memory["wasted_memory"]
        if memory["free_memory"] < _OPCACHE_FREE * total:
            return f"OPcache has {memory['free_memory'] // 2**20} of {total // 2**20} MiB left"
        free_keys = numbers["max_cached_keys"] - numbers["num_cached_keys"]
        if free_keys < _OPCACHE_FREE * numbers["max_cached_keys"]:
            return f"OPcache has {free_keys} of {numbers['max_cached_keys']} keys left"
        return ""

    def verify(self) -> dict[str, Any]:
        """Show that the live release answers and that every worker runs it, within the deadline."""
        if self.module.check_mode:
            return {"changed": False}
        deadline = time.monotonic() + self.params["timeout"]
        while True:
            problems = self._verify_problems()
            if not problems:
                break
            if time.monotonic() > deadline:
                raise PhaseError(f"{self.release} is not well after {self.params['timeout']} s: {'; '.join(problems)}")
            time.sleep(0.2)
        running = [f"{worker['command']} {worker['pid']}" for worker in _probe.workers(self.layout.root)]
        return {"changed": False, "workers": running, "url": self.params["health_url"]}

    def _verify_problems(self) -> list[str]:
        problems = []
        current = self.layout.current()
        if current != self.release:
            return [f"{self.layout.current_link} points at {current}"]
        uri, url = self.params["health_path"], self.params["health_url"]
        if self.params["fpm_socket"]:
            # As nginx asks for it: by the path that the link resolves to.
            live = os.path.realpath(self.layout.current_link)
            problems.append(_probe.fpm_problem(self.params["fpm_socket"], live, uri, self.host))
        if url:
            problems.append(_probe.http_problem(url, self.host, self.release, self.params["verify_tls"]))
        running = _probe.workers(self.layout.root)
        old = [f"{worker['command']} (pid {worker['pid']})" for worker in running if worker["release"] != self.release]
        if old:
            problems.append(f"still on another release: {', '.join(old)}")
        if len(running) - len(old) < self.params["workers"]:
            problems.append(f"{len(running) - len(old)} of {self.params['workers']} workers run {self.release}")
        return [problem for problem in problems if problem]

    # revert, finish

    def revert(self) -> dict[str, Any]:
        """Go back to the previous release if this one is live; remove it if it never was; give the lock back."""
        run, previous = self.params["run"], self.params["previous"]
        if not os.path.isdir(self.layout.private_dir):
            return {"changed": False, "reverted": False, "current": None}
        if not self.layout.holds_lock(run):
            # Stopped before the lock was ours: nothing was changed, and what is there belongs to another run.
            return {"changed": False, "reverted": False, "current": self.layout.current()}
        switched = bool(self.release) and self.layout.current() == self.release and previous != self.release
        if self.module.check_mode:
            return {"changed": switched, "reverted": switched, "current": self.layout.current()}
        try:
            self._go_back(previous, switched)
        finally:
            # Whatever came of it, this run is over: the next one must not find its lock.
            self.layout.unlock(run)
        return {"changed": switched, "reverted": switched, "current": self.layout.current()}

    def _go_back(self, previous: str, switched: bool) -> None:
        if switched and previous:
            failed, self.release = self.release, previous
            self.layout.switch(previous)
            self.layout.mark_bad(failed)
            self.restart()
            self.verify()
        elif switched:
            # The very first release: before it there was none.
            os.unlink(self.layout.current_link)
            self.layout.mark_bad(self.release)
            self._stop_old_workers()
        elif self.release and all(entry["release"] != self.release for entry in self.layout.history()):
            self.layout.remove(self.release)

    def finish(self) -> dict[str, Any]:
        """Remove what is too old and give the lock back. What cannot be removed is a warning."""
        protected = {self.layout.current() or "", self.layout.rollback_target() or "", self.release}
        protected |= _probe.releases_in_use(self.layout.root)
        old = self.layout.prunable(self.params["keep"], protected)
        if self.module.check_mode:
            return {"changed": bool(old), "removed": old}
        if self.params["bad"]:
            self.layout.mark_bad(self.params["bad"])
        removed = []
        for release in old:
            try:
                self.layout.remove(release)
                removed.append(release)
            except OSError as exc:
                self.module.warn(f"{release} could not be removed: {exc}")
        artifacts = os.path.join(self.layout.private_dir, "artifacts")
        for name in os.listdir(artifacts) if os.path.isdir(artifacts) else []:
            if name.split(".")[0] not in self.layout.installed():
                os.unlink(os.path.join(artifacts, name))
        self.layout.unlock(self.params["run"])
        return {"changed": bool(removed), "removed": removed}
