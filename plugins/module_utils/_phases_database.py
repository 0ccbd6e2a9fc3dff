# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a release that concern its database: plan, snapshot, migrate and restore.

Private to this collection; a part of ``Phases``. Only the one host that migrates carries them out.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.laravel.plugins.module_utils import _processes
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import (
    BOOT_PHP,
    PLACE_PHP,
    ArtisanError,
)
from ansible_collections.slipway.laravel.plugins.module_utils._errors import (
    BrokenDatabaseError,
    MigrationError,
    NoDumperError,
    SnapshotError,
)
from ansible_collections.slipway.laravel.plugins.module_utils._layout import MANIFEST, write_atomic
from ansible_collections.slipway.laravel.plugins.module_utils._phase import PhaseBase, PhaseError

if TYPE_CHECKING:
    from ansible_collections.slipway.laravel.plugins.module_utils._migrate import Migrations
    from ansible_collections.slipway.laravel.plugins.module_utils._snapshot import Database, Snapshots

# Which database the application uses by default, and what else than its data is in there; it connects to none. Nothing
# secret is in the answer.
_DATABASE_PHP = (
    BOOT_PHP
    + PLACE_PHP
    + r"""
$own = $app->make('db')->connection();
$kept = ['queue' => config('queue.connections.' . config('queue.default'))];
if (config('app.maintenance.driver') === 'cache') {
    $kept['maintenance'] = config('cache.stores.' . (config('app.maintenance.store') ?: config('cache.default')));
}
$in_there = array_filter($kept, function ($where) use ($app, $place, $own) {
    try {
        return ($where['driver'] ?? '') === 'database'
            && $place($app->make('db')->connection($where['connection'] ?? null)) === $place($own);
    } catch (Throwable $error) {
        return false;
    }
});
echo "\nslipway:" . json_encode([
    'driver' => $own->getDriverName(),
    'database' => $own->getDatabaseName(),
    'host' => $own->getConfig('host'),
    'port' => $own->getConfig('port'),
    'socket' => $own->getConfig('unix_socket'),
    'keeps' => array_keys($in_there),
]) . "\n";
"""
)

# Plans are small, and only of use beside the records of their releases.
_PLANS_KEPT = 10


class DatabasePhases(PhaseBase):
    """The part of Phases that works on the database; most runs of the module do not."""

    def _migrations(self) -> Migrations:
        from ansible_collections.slipway.laravel.plugins.module_utils._migrate import Migrations  # noqa: PLC0415

        return Migrations(self._artisan(self.path))

    def _plan_file(self) -> str:
        return os.path.join(self.layout.private_dir, "plans", f"{self.release}.sql")

    def plan(self) -> dict[str, Any]:
        """Tell what is pending, its SQL and what that risks. Changes nothing, and leaves the judgement to others."""
        if self.module.check_mode and not os.path.isdir(self.path):
            # Nothing was staged.
            nothing: dict[str, Any] = {"pending": [], "skipped": [], "sql": {}, "risks": [], "destructive": False}
            return {"changed": False, **nothing, "sql_file": ""}
        plan = self._migrations().plan(first=self.layout.current() is None)
        text = plan.pop("text")
        file = self._plan_file() if plan["pending"] and not self.module.check_mode else ""
        if file:
            directory = os.path.dirname(file)
            os.makedirs(directory, mode=0o700, exist_ok=True)
            write_atomic(file, text, 0o600)
            # The names begin with the time.
            for old in sorted(glob.glob(os.path.join(directory, "*.sql")))[:-_PLANS_KEPT]:
                os.unlink(old)
        return {"changed": False, **plan, "sql_file": file}

    # snapshot and restore

    def _snapshots(self) -> Snapshots:
        from ansible_collections.slipway.laravel.plugins.module_utils._snapshot import Snapshots  # noqa: PLC0415

        return Snapshots(os.path.join(self.layout.private_dir, "snapshots"), self.environment)

    def _database(self, must_tell: bool = True) -> Database:
        """Return the database that the application uses, as ``.env`` has it with its credentials.

        :param must_tell: whether an application that does not start is an error, not only a warning
        """
        from ansible_collections.slipway.laravel.plugins.module_utils import _snapshot  # noqa: PLC0415

        env_file = os.path.join(self.layout.shared_dir, ".env")
        database = _snapshot.database_of(env_file, self.environment, self.path)
        if self.module.check_mode and not os.path.isdir(self.path):
            return database
        try:
            # Only the application itself knows for sure: its configuration is code.
            told = self._artisan(self.path).answer("tell its database", _DATABASE_PHP)
        except ArtisanError as exc:
            if must_tell:
                raise
            self._warn_without_values(f"whether the application uses the database of {env_file} is not known", exc)
            return database
        _snapshot.check_same(database, told, env_file)
        return database

    def snapshot(self) -> dict[str, Any]:
        """Take a snapshot of the database, or have it taken, and remove old ones."""
        if self.module.check_mode:
            return {"changed": True}
        snapshots, command = self._snapshots(), self.params["snapshot_command"]
        label = f"before-{self.release.rpartition('-')[2]}"
        if command:
            entry = snapshots.by_command(command, label, self.release)
        else:
            try:
                entry = snapshots.take(self._database(), label, self.release)
            except NoDumperError as exc:
                if self.params["snapshot_required"]:
                    raise
                self.module.warn(f"no snapshot was taken: {exc}")
                return {"changed": False, "id": "", "skipped": str(exc)}
        self._note_in_manifest("snapshots", [entry["id"]])
        told = {name: entry[name] for name in ("id", "path", "size", "sha256", "seconds", "database")}
        return {"changed": True, **told, "removed": snapshots.prune(self.params["snapshot_keep"])}

    def restore(self) -> dict[str, Any]:
        """Make the database what it was when a snapshot was taken, after a snapshot of what it is now.

        A failure says so where the database is what it was. Whatever else ends it leaves that open.
        """
        shut = self.module.check_mode or os.path.exists(self.layout.maintenance_path)
        if self.params["maintenance_held"] and not shut:
            raise PhaseError(
                "the site is open, and what users have written since then would be lost; nothing was changed",
                {"unchanged": True, "open": True},
            )
        try:
            with contextlib.nullcontext() if self.module.check_mode else self.layout.restoring():
                return self._restore()
        except BrokenDatabaseError as exc:
            raise PhaseError(str(exc), {"safety": exc.safety}) from exc
        except SnapshotError as exc:
            raise PhaseError(str(exc), {"unchanged": True}) from exc

    def goes_with_a_restore(self) -> list[str]:
        """Return what of the live application is in its database besides data, so that a restore replaces it."""
        live = self.layout.current()
        if not (live and self.laravel):
            return []
        artisan = self._artisan(self.layout.release_path(live))
        try:
            return list(artisan.answer("tell its database", _DATABASE_PHP)["keeps"])
        except ArtisanError:
            # It may be why there is a restore.
            return []

    def _restore(self) -> dict[str, Any]:
        snapshots, snapshot = self._snapshots(), self.params["snapshot_id"]
        if snapshots.is_managed(snapshot):
            commands = self.params["snapshot_command"], self.params["restore_command"]
            if self.module.check_mode:
                return {"changed": True, "id": snapshots.check_managed(snapshot, *commands)["id"]}
            return {"changed": True, **snapshots.restore_managed(snapshot, *commands, self.release)}
        # What is wrong with the database may keep the application from starting.
        database = self._database(must_tell=False)
        if self.module.check_mode:
            return {"changed": True, "id": snapshots.check(snapshot, database)["id"]}
        return {"changed": True, **snapshots.restore(snapshot, database)}

    # migrate

    def migrate(self) -> dict[str, Any]:
        """Apply what is pending, and run the seeders."""
        if self.module.check_mode:
            pending = self._migrations().plan()["pending"] if os.path.isdir(self.path) else []
            return {"changed": bool(pending), "migrations": pending, "seeded": []}
        migrations = self._migrations()
        # Tells the next run that what it finds of a migration was left by this one.
        marker = os.path.join(self.layout.private_dir, "migrating")
        if os.path.exists(marker):
            self._await_migration()
            if self.params["migrate_isolated"] != "never":
                migrations.unlock()
        write_atomic(marker, json.dumps({"run": self.params["run"], "release": self.release}) + "\n")
        applied: list[str] = []
        try:
            evidence = migrations.apply(self.params["migrate_isolated"], self.params["seeders"], self._plan_file())
            applied = evidence["migrations"]
        except MigrationError as exc:
            applied = exc.evidence.get("migrations", [])
            raise
        finally:
            os.unlink(marker)
            self._note_in_manifest("migrations", applied)
        return evidence

    def _await_migration(self) -> None:
        """Wait for a migration that outlived its run: when only we were killed, it goes on."""
        deadline = time.monotonic() + self.params["timeout"]
        while True:
            running = _processes.artisan(self.layout.root, ("migrate", "db:seed"))
            if not running:
                return
            if time.monotonic() > deadline:
                pids = ", ".join(str(pid) for pid in running)
                raise MigrationError(
                    f"the migration of an earlier run still runs (pid {pids}); wait for it and release again", {}
                )
            time.sleep(0.5)

    def _note_in_manifest(self, key: str, names: list[str]) -> None:
        """Add names to a list in the manifest of the release, for the rollback that asks what preceded it."""
        manifest = self.layout.manifest(self.release)
        present = manifest.get(key, [])
        new = [name for name in names if name not in present]
        if new and os.path.isdir(self.path):
            manifest[key] = present + new
            write_atomic(os.path.join(self.path, MANIFEST), json.dumps(manifest, indent=1) + "\n")
