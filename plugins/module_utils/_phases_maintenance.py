# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases down and up: maintenance that a release puts up, shows to work, and always takes down again.

Private to this collection. What a run has put up stands in ``.slipway/maintenance.json``, written before it is done, so
that the run itself, its revert, or the next run takes exactly that down. What an operator had put up by
``playbooks/maintenance.yml`` says in ``kept`` which run had begun it: only that run, the playbook when it turns it off,
or a release that has gone live ends it. What was put up around a restore says in ``held`` why no other run may end it,
until it is known how the restore ended. What the application keeps of it in a cache, which may be in that database,
stands in ``state``, to be put there again. A maintenance that a person put up by hand is not this file's, and stays.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import socket
import time
import urllib.parse
from typing import Any

from ansible_collections.slipway.laravel.plugins.module_utils import _fastcgi, _probe
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import ArtisanError
from ansible_collections.slipway.laravel.plugins.module_utils._layout import read_json, utc_now, write_atomic
from ansible_collections.slipway.laravel.plugins.module_utils._phase import PhaseBase, PhaseError

# Asks artisan to go down or up, in one start of the application. Not on a command line, which every user can read: the
# secret comes by the environment. maintenanceMode() came with Laravel 9, and with it the cache as a place of the state.
_ORDER_PHP = r"""
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
ini_set('display_errors', 'stderr');
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$kernel = $app->make(Illuminate\Contracts\Console\Kernel::class);
$kernel->bootstrap();
$order = json_decode(getenv('SLIPWAY_MAINTENANCE'), true);
$state = function () use ($app) {
    if (! $app->isDownForMaintenance()) {
        return null;
    }
    if (method_exists($app, 'maintenanceMode')) {
        return $app->maintenanceMode()->data();
    }
    return json_decode(file_get_contents($app->storagePath() . '/framework/down'), true) ?: [];
};
// What is kept elsewhere than in a file may be lost, or become another's, with a database that is restored.
$mode = method_exists($app, 'maintenanceMode') ? $app->maintenanceMode() : null;
$may_be_lost = $mode && !$mode instanceof Illuminate\Foundation\FileBasedMaintenanceMode;
$marker = is_file($order['marker']) ? json_decode(file_get_contents($order['marker']), true) : [];
$kept = $may_be_lost ? $marker['state'] ?? null : null;
$before = $state();
$told = '';
if ($order['down'] && $kept) {
    // With the page that was made when it began, by code that may be another one now.
    if ($before != $kept) {
        $mode->activate($kept);
    }
} elseif ($order['down'] === ($before === null)) {
    $options = ['--secret' => $order['secret'], '--retry' => $order['retry'], '--render' => $order['render']];
    $kernel->call($order['down'] ? 'down' : 'up', $order['down'] ? array_filter($options) : []);
    $told = $kernel->output();
}
$after = $state();
echo "\nslipway:" . json_encode([
    'was' => $before !== null,
    'is' => $after !== null,
    'ours' => (($after ?? $before)['secret'] ?? '') === $order['secret'],
    'told' => $order['secret'] ? str_replace($order['secret'], '***', $told) : $told,
    'state' => $may_be_lost ? $after : null,
], JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
"""

_STATE_FILES = ("storage/framework/down", "storage/framework/maintenance.php")
# Where the checks of one release may need it, at most.
_COOKIE_SECONDS = 12 * 3600
# It is a part of an address, and lets in whoever knows it.
_SECRET = re.compile(r"[A-Za-z0-9._~-]{8,}\Z")
# For documentation only (RFC 5737): nothing is sent there, the kernel is asked for the way.
_FAR_AWAY = ("192.0.2.1", 9)


def bypass_cookie(secret: str, now: float | None = None) -> str:
    """Return the Cookie header by which a request passes Laravel's maintenance, as Laravel itself hands it out."""
    expires = int(time.time() if now is None else now) + _COOKIE_SECONDS
    mac = hmac.new(secret.encode(), str(expires).encode(), hashlib.sha256).hexdigest()
    payload = base64.b64encode(json.dumps({"expires_at": expires, "mac": mac}).encode()).decode()
    return "laravel_maintenance=" + urllib.parse.quote(payload, safe="")


def own_address() -> str:
    """Return the address by which this host reaches others, '' when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(_FAR_AWAY)
            address = str(sock.getsockname()[0])
        except OSError:
            return ""
    return "" if address.startswith("127.") else address


class MaintenancePhases(PhaseBase):
    """The phases down and up, and how other phases get through a maintenance."""

    def _marker(self) -> dict[str, Any]:
        """Return what a run has put up; empty when none has."""
        return read_json(self.layout.maintenance_path) or {}

    def _write_marker(self, marker: dict[str, Any]) -> None:
        # It holds the secret.
        write_atomic(self.layout.maintenance_path, json.dumps(marker) + "\n", 0o600)

    def _adopt_maintenance(self) -> dict[str, Any] | None:
        """Make the maintenance that a dead run left ours, so that this run ends it.

        Not at once: the dead run may have changed the schema, and what is live may not stand it.
        """
        marker = self._marker()
        if not marker or marker["run"] == self.params["run"]:
            return None
        self._write_marker({**marker, "run": self.params["run"]})
        return {"run": marker["run"], "since": marker["since"]}

    def _held_problems(self) -> list[str]:
        """Refuse whatever would go live on a database that nobody knows; a run that restores one is the cure."""
        marker = self._marker()
        if not marker.get("held") or self.params["maintenance_held"]:
            return []
        return [
            f"the site is held shut since {marker['since']}: {marker['held']}. Restore the database by rollback.yml -e "
            f"rollback_restore_snapshot=true, which names the snapshots; or, when it is seen to be well, open the site "
            f"by playbooks/maintenance.yml -e release_maintenance_state=off"
        ]

    def _live_path(self) -> str:
        live = self.layout.current()
        return self.layout.release_path(live) if live else ""

    def _down_file(self) -> dict[str, Any]:
        """Return what Laravel keeps of a maintenance in a file; empty without one, or with the cache as its place."""
        try:
            with open(os.path.join(self._live_path(), _STATE_FILES[0]), encoding="utf-8") as handle:
                content = json.load(handle)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _shut_by_hand(self) -> bool:
        """Say whether what is live is in a maintenance that no run has put up, and that no known secret opens."""
        file = self._down_file()
        if not self.laravel or self._marker().get("application") or file.get("secret"):
            return False
        try:
            # With the cache as its place no file tells.
            return bool(file or self._artisan(self._live_path()).info()["maintenance"])
        except ArtisanError:
            return False

    def _cookie(self) -> str:
        """Return the cookie by which health checks pass Laravel's maintenance, '' when no secret is known."""
        marker = self._marker()
        places = self._down_file(), marker.get("state") or {}, marker
        secret = next(filter(None, (place.get("secret") for place in places)), self.params["maintenance_secret"])
        return bypass_cookie(str(secret)) if secret and self.laravel else ""

    def _ask(self, path: str, cookie: str = "") -> tuple[str, int]:
        """Ask what is live for the page that maintenance shuts; return who answered, and the status."""
        uri, url, fpm = self.params["maintenance_path"], self.params["health_url"], self.params["fpm_socket"]
        if url:
            address, status, *dummy = _probe.http_answer(
                urllib.parse.urljoin(url, uri), self.host, self.params["verify_tls"], cookie
            )
            return address, status
        if fpm:
            script = os.path.join(path, "public", "index.php")
            return f"PHP-FPM, {uri},", _fastcgi.get(fpm, script, uri, self.host, 30, cookie).status
        return f"the application, {uri},", self._artisan(path, SLIPWAY_COOKIE=cookie).request(uri, self.host)

    def _order(self, path: str, down: bool) -> dict[str, Any]:
        params = self.params
        order = {
            "down": down,
            "secret": params["maintenance_secret"],
            "retry": params["maintenance_retry"],
            "render": params["maintenance_render"],
            "marker": self.layout.maintenance_path,
        }
        artisan = self._artisan(path, SLIPWAY_MAINTENANCE=json.dumps(order))
        return artisan.answer("go down" if down else "go up", _ORDER_PHP)

    # down

    def down(self) -> dict[str, Any]:
        """Shut the site, by the flags of nginx where given, and by Laravel's own maintenance of what is live."""
        marker, path = self._marker(), self._live_path()
        if self.module.check_mode:
            return {"changed": not marker}
        flags: list[str] = self.params["maintenance_flags"]
        application = self.laravel and bool(path)
        held: str = self.params["maintenance_held"]
        written = {
            "run": self.params["run"],
            "since": marker.get("since") or utc_now(),
            "release": self.layout.current(),
            "secret": marker.get("secret") or self.params["maintenance_secret"],
            "application": False,
            # The run that has begun it may break off, and then ends it; one that found it there does not.
            "kept": marker.get("kept") or (self.params["maintenance_kept"] and marker.get("run", self.params["run"])),
            "flags": marker.get("flags", []),
            "state": marker.get("state"),
            # What an earlier run left is not undone by one that fails in the same way.
            "held": marker.get("held") or held,
            "held_by": marker.get("held_by") if marker.get("held") else self.params["run"],
        }
        if not application and not flags:
            if not path:
                if held:
                    self._write_marker(written)
                return {"changed": False, "path": "", "shown": "nothing is live that could be shut"}
            raise PhaseError(
                "a kind=node application has no maintenance of its own; let nginx shut the site and name its flag in "
                "release_maintenance_flags"
            )
        if application and not _SECRET.match(self.params["maintenance_secret"]):
            raise PhaseError(
                "release_maintenance_secret needs 8 characters or more out of A-Z, a-z, 0-9, '.', '_', '~' and '-'"
            )
        new = [flag for flag in flags if not os.path.lexists(flag)]
        by_hand = application and not marker and os.path.lexists(os.path.join(path, _STATE_FILES[0]))
        written |= {"application": application and not by_hand, "flags": [*written["flags"], *new]}
        self._write_marker(written)
        for flag in new:
            self._set_flag(flag)
        shown = []
        changed = bool(new)
        entrance = ""
        told = self._order_down(path, written) if application else {}
        if told:
            if not told["is"]:
                raise PhaseError(f"artisan down did not shut {path}: {' '.join(told['told'].split())[:300]}")
            # Also with the cache as its place, where no file told it before.
            by_hand = by_hand or (told["was"] and not told["ours"] and not marker)
            written |= {"application": not by_hand, "state": written["state"] or told["state"]}
            self._write_marker(written)
            changed = changed or not told["was"]
            entrance = "secret" if told["ours"] else "earlier secret"
            shown.append(self._show_shut(path))
        if flags:
            shown.append(self._show_flags(strict=not told))
        evidence = {"changed": changed, "path": os.path.join(path, _STATE_FILES[0]) if application else flags[0]}
        evidence.update(shown="; ".join(shown), entrance=entrance)
        if by_hand:
            evidence["left"] = "it was in maintenance already, put up by hand: this run leaves that as it is"
        return evidence

    def _order_down(self, path: str, written: dict[str, Any]) -> dict[str, Any]:
        """Let the application go down; return what it told, nothing where a restore is what lets it start again."""
        try:
            return self._order(path, True)
        except ArtisanError as exc:
            # The database with its maintenance in it may be gone half way through an earlier restore.
            if not (self.params["maintenance_held"] and (written["flags"] or written["state"])):
                raise
            self._warn_without_values("the application is not asked to go down before its database is restored", exc)
            return {}

    def _down_again(self) -> None:
        """Bring maintenance back as this run has it, where the application kept it in what has been restored."""
        if self.module.check_mode or not self._marker().get("state"):
            return
        error = ArtisanError("", {})
        # What answers now, and what fits the database.
        for path in dict.fromkeys((self._live_path(), self.path)):
            try:
                self._order(path, True)
                return
            except ArtisanError as exc:
                error = exc
        self._warn_without_values("the database is restored, but the application could not go down again", error)

    def _set_flag(self, flag: str) -> None:
        try:
            os.close(os.open(flag, os.O_WRONLY | os.O_CREAT, 0o644))
        except OSError as exc:
            raise PhaseError(
                f"the flag {flag} cannot be set: {exc.strerror}; let nginx_maintenance_owner be the user that releases"
            ) from exc

    def _show_shut(self, path: str) -> str:
        """Show that users are kept out and that the secret lets in."""
        try:
            where, status = self._ask(path)
            passed = self._ask(path, self._cookie())[1] if self._cookie() else 0
        except (OSError, _fastcgi.FastCGIError) as exc:
            raise PhaseError(f"maintenance is on, and cannot be shown: {exc}") from exc
        if status != 503:
            raise PhaseError(
                f"maintenance is on, but {where} answered {status}, not 503; let release_maintenance_path name a page "
                f"of the application that it does not except from maintenance"
            )
        if passed == 503:
            raise PhaseError(f"maintenance is on, and {where} answered 503 to its secret as well: no check could pass")
        return f"{where} answered 503, and {passed} with the secret" if passed else f"{where} answered 503"

    def _show_flags(self, strict: bool) -> str:
        """Ask nginx as somebody else: it lets the host itself through by its loopback address."""
        url, address = self.params["health_url"], own_address()
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(url, self.params["maintenance_path"]))
        told = "this host has no address of its own, or no release_http_url"
        if url and address:
            asked = parts._replace(netloc=f"{address}:{parts.port}" if parts.port else address).geturl()
            try:
                where, status, *dummy = _probe.http_answer(asked, self.host, self.params["verify_tls"])
                if status == 503:
                    return f"{where} answered 503"
                told = f"{where} answered {status}"
            except OSError as exc:
                told = f"{asked} does not answer: {exc}"
        if strict:
            raise PhaseError(
                f"the flags {', '.join(self.params['maintenance_flags'])} are set, but {told}, not 503; they have to "
                f"be named as nginx's site, and nginx_maintenance_allow must not list {address or 'this host'}"
            )
        return f"the flags of nginx are set (not seen from here: {told})"

    # up

    def up(self) -> dict[str, Any]:
        """End the maintenance that this run put up, or found left behind by a dead one."""
        # In a release another host may still fail, and then all of them stay shut: what is kept ends with finish.
        return self._leave_maintenance(self.params["maintenance_kept"], bool(self.params["maintenance_held"]))

    def _leave_maintenance(self, with_kept: bool, with_held: bool) -> dict[str, Any]:
        """End the maintenance of a run; one that an operator wants to keep, or that is held, only when told so."""
        marker, path = self._marker(), self._live_path()
        down = os.path.join(path, _STATE_FILES[0]) if path else ""
        held = "" if with_held else marker.get("held", "")
        stays = marker.get("kept") not in (None, False, self.params["run"]) and not with_kept
        if self.module.check_mode:
            return {"changed": bool(marker) and not (stays or held)}
        if held:
            return {"changed": False, "path": down, "shown": "", "left": f"held shut: {held}", "held": True}
        if stays:
            if marker.get("held"):
                self._write_marker({**marker, "held": ""})
            left = "turned on by the maintenance playbook: it stays until that turns it off, or a release has gone live"
            return {"changed": False, "path": down, "shown": "", "left": left}
        evidence: dict[str, Any] = {"changed": bool(marker), "path": down, "shown": ""}
        if marker:
            for flag in marker["flags"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(flag)
            if marker["application"]:
                evidence["shown"] = self._lift(path, marker["release"])
            os.unlink(self.layout.maintenance_path)
        if self.laravel and down and os.path.lexists(down):
            evidence["left"] = f"{down} was put up by hand before and stays; php artisan up ends it"
        return evidence

    def _lift(self, path: str, release: str | None) -> str:
        """End Laravel's maintenance, also when the application does not start any more."""
        still = True
        error = ""
        if path:
            try:
                still = self._order(path, False)["is"]
            except ArtisanError as exc:
                error = f" ({exc})"
        # What artisan could not, and that of another release where storage is not shared.
        for place in {path, self.layout.release_path(release) if release else ""} - {""}:
            for name in _STATE_FILES:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(os.path.join(place, name))
        if not path:
            return ""
        try:
            where, status = self._ask(path)
        except (OSError, ArtisanError, _fastcgi.FastCGIError) as exc:
            return str(exc)
        if still and status == 503:
            raise PhaseError(f"{where} still answers 503 after artisan up{error}; run php artisan up in {path}")
        return f"{where} answered {status}"
