# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop a release on this host, found before anything is changed.

Private to this collection. Each function returns sentences that name what is wrong and the remedy.
"""

from __future__ import annotations

import base64
import glob
import os
import shutil
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Callable, List, Tuple

from ansible_collections.slipway.laravel.plugins.module_utils import _endpoint, _probe, _processes, _services
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan, ArtisanError
from ansible_collections.slipway.laravel.plugins.module_utils._masking import Masker, secrets_of
from ansible_collections.slipway.laravel.plugins.module_utils._requirements import (
    THERE,
    is_node,
    offer_of,
    program_output,
    read_env,
)
from ansible_collections.slipway.laravel.plugins.module_utils._versions import version_of

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

# Seconds for what waits for the network, and for what runs a program, which on a busy host takes its time.
_NETWORK, _PROGRAM = 5, 30

# Files that two releases of a new Laravel application have with their packages, about; used while there is none live.
_INODES = 20000

_Check = Tuple[str, str, int, Callable[[], List[str]]]

# Options of sudo that take a word of their own.
_SUDO_VALUES = frozenset(("-C", "-D", "-g", "-h", "-p", "-R", "-r", "-T", "-t", "-u"))


def look(module: AnsibleModule, layout: Layout, environment: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Return everything that is missing on this host, at once, so that one run tells it all; and what it has."""
    # Most of what else there is to say of a host follows from these.
    found = layout.problems() or list(filter(None, [layout.root_problem()]))
    if found:
        return found, {}
    offer = offer_of(module, layout, environment)
    return _Preflight(module, layout, environment, offer).problems(), offer


def _left_out(name: str) -> str:
    return f"release_expect: {{skip: [{name}]}}"


def side_by_side(checks: list[_Check]) -> list[tuple[str, str]]:
    """Run checks at the same time, each with its seconds; return their problems in the order of the checks.

    Each with the name of its check.
    """
    results: dict[int, list[str]] = {}
    errors: list[BaseException] = []

    def run(number: int, check: Callable[[], list[str]]) -> None:
        try:
            results[number] = check()
        except (OSError, ValueError) as exc:
            # Of a value that it could make nothing of; the other checks have their say too.
            name, label = checks[number][:2]
            told = f"{label} cannot be looked at: {exc}; correct that, or leave this out with {_left_out(name)}"
            results[number] = [told]
        except BaseException as exc:  # it belongs to the thread that waits
            errors.append(exc)

    started = time.monotonic()
    # Daemons: nobody can call back a lookup of a name, and the module must not wait for it at its end.
    threads = [
        threading.Thread(target=run, args=(number, check[3]), daemon=True) for number, check in enumerate(checks)
    ]
    for thread in threads:
        thread.start()
    for thread, check in zip(threads, checks):
        thread.join(max(0.0, started + check[2] - time.monotonic()))
    if errors:
        raise errors[0]
    found = []
    for number, check in enumerate(checks):
        name, label, seconds = check[:3]
        late = f"{label} gave no answer within {seconds} s; see why, or leave this out with {_left_out(name)}"
        found += [(name, problem) for problem in results.get(number, [late])]
    return found


class _Preflight:
    """The checks of one host."""

    def __init__(
        self, module: AnsibleModule, layout: Layout, environment: dict[str, str], offer: dict[str, Any]
    ) -> None:
        self.module, self.layout, self.environment = module, layout, environment
        self.params: dict[str, Any] = module.params
        self.expect: dict[str, Any] = module.params["expect"]
        self.node = is_node(module)
        self.env_path = os.path.join(layout.shared_dir, ".env")
        self.env: dict[str, str] | None = None
        self.now = time.time()
        self.interpreter_problems = [offer["problem"]] if offer["problem"] else []
        told = offer["interpreters"].get(self.params["php"])
        # A command may have PHP's version in it.
        self.php_version = ".".join(map(str, version_of(told["version"])[:2])) if told else ""

    def problems(self) -> list[str]:
        checks: list[_Check] = [
            ("space", "the size of the live release", _PROGRAM, self.space),
            ("programs", "PHP", _PROGRAM, self.programs),
            ("rights", "sudo", _PROGRAM, self.rights),
            ("directories", "the shared directories", _PROGRAM, self.directories),
            ("environment", ".env", _PROGRAM, self.read_environment),
            ("clock", "the clock", _PROGRAM, self.clock),
            ("services", "systemctl", _PROGRAM, self.services),
            ("workers", "the list of processes", _PROGRAM, self.workers),
            ("failed_jobs", "the live release, asked for failed jobs,", _PROGRAM, self.failed_jobs),
        ]
        unread = [] if self.node else self._read_env()
        if self.env is not None:
            checks += self._services_of(self.env)
        names = [name for name in self.expect["hosts"] if name and not set(name) & set("*~_/ ")]
        checks += [("names", f"the name {name}", _NETWORK, self._of(self.name, name)) for name in names]
        if self.expect["min_certificate_days"] is not None:
            checks += [
                ("certificate", f"the certificate of {name}", _NETWORK, self._of(self.certificate, name))
                for name in names
            ]
        left_out = set(self.expect["skip"])
        found = [("environment", problem) for problem in unread if "environment" not in left_out]
        found += side_by_side([check for check in checks if check[0] not in left_out])
        masker = Masker(secrets_of(self.env or {}))
        for name, problem in found:
            if name in self.expect["warn"]:
                self._warn(masker.text(problem))
        return [problem for name, problem in found if name not in self.expect["warn"]]

    def _warn(self, problem: str) -> None:
        self.module.warn(f"preflight goes on in spite of this: {problem}")

    @staticmethod
    def _of(check: Callable[[str], list[str]], name: str) -> Callable[[], list[str]]:
        return lambda: check(name)

    # This host

    def programs(self) -> list[str]:
        found = list(self.interpreter_problems)
        address = self.params["fpm_socket"]
        if not address or self.node:
            return found
        host, dummy, port = (address, "", "") if address.startswith("/") else address.rpartition(":")
        try:
            _probe.connect(host, port).close()
        except FileNotFoundError:
            found.append(f"PHP-FPM has no socket {address}; start PHP-FPM, or correct release_fpm_socket")
        except OSError as exc:
            found.append(f"PHP-FPM does not answer on {address}: {exc}; start it, or correct release_fpm_socket")
        return found

    def space(self) -> list[str]:
        current = self.layout.current()
        live = self.layout.release_path(current) if current else ""
        releases = self.layout.releases_dir
        needed = max(self.params["min_free_mb"] * 2**20, 2 * 1024 * self._du(live, "-k"))
        found = []
        free = shutil.disk_usage(releases).free
        if free < needed:
            found.append(
                f"{releases} has {free // 2**20} MiB free, two releases need {needed // 2**20} MiB; "
                f"free space{self._removable()}"
            )
        state = os.statvfs(releases)
        files = 2 * self._du(live, "--inodes") or _INODES
        # Some file systems, such as Btrfs, have no number of inodes.
        if state.f_files and state.f_favail < files:
            found.append(
                f"{releases} has {state.f_favail} inodes free, two releases need {files}; "
                f"remove small files such as old sessions{self._removable()}"
            )
        return found

    def _removable(self) -> str:
        """Name what can be removed by hand: only a release that finishes does so by itself."""
        layout = self.layout
        needed = {layout.current(), layout.rollback_target(), layout.run_state().get("release")}
        needed |= _processes.releases_in_use(layout.root)
        old = [layout.release_path(name) for name in layout.installed() if name not in needed]
        if not old:
            return ""
        return (
            f", or remove {old[0]}, the oldest release that is neither live, nor in use, nor where a rollback goes to"
        )

    def _du(self, path: str, unit: str) -> int:
        if not os.path.isdir(path):
            return 0
        rc, out, dummy = self.module.run_command(["du", "-s", unit, path])
        return int(out.split()[0]) if rc == 0 else 0

    def directories(self) -> list[str]:
        """Name what the release will write to and may not."""
        paths = [os.path.join(self.layout.shared_dir, name) for name in self.params["shared_dirs"]]
        storage = os.path.join(self.layout.shared_dir, "storage")
        for pattern in ("app", "app/public", "framework", "framework/*", "framework/cache/data", "logs", "logs/*.log"):
            paths += glob.glob(os.path.join(storage, pattern))
        closed = [
            path
            for path in paths
            if os.path.exists(path) and not os.access(path, os.W_OK | (os.X_OK if os.path.isdir(path) else 0))
        ]
        if not closed:
            return []
        return [
            f"user id {os.geteuid()} may not write to {', '.join(closed)}; "
            f"give them to the user that releases and runs the application"
        ]

    def rights(self) -> list[str]:
        """Look whether each command of the phase restart can be run: after the switch is too late to find out."""
        commands = [[str(word) for word in command] for command in self.params["restart_commands"]]
        reloads = self.params["fpm_socket"] and self.params["fpm_reload"] != "never"
        if reloads and self.php_version and not self.node:
            commands.append([word.replace("{version}", self.php_version) for word in self.params["fpm_reload_command"]])
        found = [self._right(command) for command in commands if command]
        return list(dict.fromkeys(problem for problem in found if problem))

    def _right(self, argv: list[str]) -> str:
        words = " ".join(argv)
        if not shutil.which(argv[0], path=self.environment.get("PATH")):
            return f"there is no {argv[0]}, so the restart command '{words}' cannot be run; install it, or correct that"
        if os.path.basename(argv[0]) != "sudo":
            return ""
        end = 1
        while end < len(argv) and argv[end].startswith("-") and argv[end] != "--":
            end += 2 if argv[end] in _SUDO_VALUES else 1
        asked = [argv[0], "-n", *[word for word in argv[1:end] if word != "-n"], "-l", *argv[end:]]
        try:
            program_output(self.module, asked, self.environment)
        except OSError as exc:
            return f"user id {os.geteuid()} may not run the restart command '{words}': {exc}; allow it in sudoers"
        return ""

    def clock(self) -> list[str]:
        """Compare this host's clock with the controller's."""
        if self.expect["now"] is None:
            return []
        seconds = round(self.now - self.expect["now"])
        if abs(seconds) <= self.expect["max_clock_skew"]:
            return []
        return [
            f"the clock of this host is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the controller's, "
            f"{self.expect['max_clock_skew']} s are allowed; let timedatectl set-ntp true synchronise it"
        ]

    def services(self) -> list[str]:
        wanted = [str(name).replace("{version}", self.php_version) for name in self.expect["services"]]
        if not wanted:
            return []
        # Its status tells only whether all are active; each line is one of them.
        try:
            dummy, out, err = self.module.run_command(["systemctl", "is-active", *wanted], handle_exceptions=False)
        except OSError as exc:
            return [f"systemctl cannot be run to look for {', '.join(wanted)}: {exc}; empty the list of services"]
        states = out.split("\n")[:-1]
        if len(states) != len(wanted):
            return [f"systemctl does not tell the state of {', '.join(wanted)}: {' '.join((err or out).split())[:300]}"]
        return [
            f"the service {name} is {state}; systemctl status {name} tells why, start it"
            for name, state in zip(wanted, states)
            if state not in ("active", "reloading")
        ]

    def workers(self) -> list[str]:
        """Look for workers that no release could end, nor be seen to run."""
        problem = "" if self.node else _processes.stray_problem(self.layout.root)
        return [problem] if problem else []

    def failed_jobs(self) -> list[str]:
        limit, current = self.expect["max_failed_jobs"], self.layout.current()
        if limit is None or not current or self.node:
            return []
        artisan = Artisan(self.module, self.layout.release_path(current), self.params["php"], self.environment)
        try:
            info = artisan.info()
        except ArtisanError as exc:
            # What is to come may be the cure.
            self.module.warn(f"the failed jobs are not counted: {exc}")
            return []
        count = info.get("failed_jobs")
        if count is None:
            reason = info.get("errors", {}).get("failed_jobs", "the application does not tell")
            return [f"the failed jobs of {current} cannot be counted: {reason}; correct the database of .env"]
        if count <= limit:
            return []
        return [f"{count} jobs have failed, {limit} are allowed; see artisan queue:failed, then retry or flush them"]

    # .env and its services

    def _read_env(self) -> list[str]:
        try:
            self.env = read_env(self.layout)
        except FileNotFoundError:
            advice = "write it, or put the application's environment into laravel_env and run the site playbook"
            return [f"{self.env_path} does not exist; {advice}"]
        except (OSError, ValueError) as exc:
            return [f"{self.env_path} cannot be read: {exc}; give it to the user that releases, as UTF-8"]
        return []

    def read_environment(self) -> list[str]:
        """Judge the values that decide whether the application is safe to show."""
        env = self.env
        if env is None:
            return []
        where, expect = self.env_path, self.expect
        found = [f"{name} is empty in {where}; add it {THERE}" for name in ("APP_KEY", "APP_ENV") if not env.get(name)]
        if env.get("APP_KEY") and not _is_key(env["APP_KEY"]):
            found.append(
                f"APP_KEY in {where} is no key of 16 or 32 bytes; make one with artisan key:generate --show, but keep "
                f"the old one if data was encrypted with it"
            )
        production = "production" in (env.get("APP_ENV"), expect["app_env"])
        if _is_true(env.get("APP_DEBUG", "")):
            debug = f"APP_DEBUG is {env['APP_DEBUG']} in {where}, which shows secrets to visitors; set it to false"
            if production:
                found.append(debug)
            else:
                # A place to look for errors may mean it, as long as nobody else sees it.
                self._warn(debug)
        if expect["app_env"] and env.get("APP_ENV") and env["APP_ENV"] != expect["app_env"]:
            found.append(f"APP_ENV is {env['APP_ENV']} in {where}, the inventory has {expect['app_env']}; correct one")
        if expect["app_url"] and _place(env.get("APP_URL", "")) != _place(expect["app_url"]):
            found.append(
                f"APP_URL is {_endpoint.shown(env.get('APP_URL', '')) or 'empty'} in {where}, "
                f"the inventory has {_endpoint.shown(expect['app_url'])}; correct one"
            )
        return found

    def _services_of(self, env: dict[str, str]) -> list[_Check]:
        def listed(check: str, problem: str | None) -> list[str]:
            # Only the application knows for sure how it reaches a service.
            return [f"{problem}, or leave this out with {_left_out(check)}"] if problem else []

        live = self.layout.current()
        path = self.layout.release_path(live) if live else ""

        def database() -> list[str]:
            shared = [*self.params["shared_dirs"], *self.params["shared_files"]]
            for lost in listed("database", _probe.sqlite_loss(env, path, self.layout.shared_dir, shared)):
                # Only the release itself will tell whether it needs a database at all.
                self._warn(lost)
            problem = _probe.database_problem(self.module, self.params["php"], env, self.environment, path)
            return listed("database", problem)

        checks: list[_Check] = [
            ("redis", "Redis", _NETWORK, lambda: listed("redis", _probe.redis_problem(env))),
            ("cache", "memcached", _NETWORK, lambda: listed("cache", _services.memcached_problem(env))),
            ("queue", "the queue", _NETWORK, lambda: listed("queue", _services.queue_problem(env))),
            ("mail", "the mail host", _NETWORK, lambda: listed("mail", _services.mail_problem(env, path))),
        ]
        if not self.interpreter_problems:
            checks.insert(0, ("database", "the database", _PROGRAM, database))
        return checks

    # Names and certificates

    def name(self, name: str) -> list[str]:
        try:
            addresses = _endpoint.resolve(name)
        except OSError as exc:
            return [f"the name {name} has no address: {exc}; enter it in the DNS, or correct the server names"]
        allowed = self.expect["addresses"]
        # A host often knows its own name by /etc/hosts, which says nothing about the DNS.
        strange = [a for a in addresses if a not in allowed and not a.startswith("127.") and a != "::1"]
        if not allowed or not strange:
            return []
        return [f"the name {name} leads to {', '.join(strange)}, not to {' or '.join(allowed)}; correct the DNS"]

    def certificate(self, name: str) -> list[str]:
        host, port = self._tls_address()
        where, days = _endpoint.join_host(host, port), self.expect["min_certificate_days"]
        found = _endpoint.certificate(host, port, name, _probe.PATIENCE)
        if "not_after" not in found:
            return [f"{where} shows no certificate for {name}: {found['error']}; start the web server, or its TLS"]
        if found["days_left"] < days:
            return [
                f"the certificate of {name} at {where} ends on {found['not_after'][:10]}, in {found['days_left']} "
                f"days, {days} are asked for; renew it"
            ]
        if self.params["verify_tls"] and not found["verified"]:
            return [f"the certificate of {name} at {where} is not to be trusted: {found['error']}; issue it again"]
        return []

    def _tls_address(self) -> tuple[str, int]:
        """Return where this host shows its certificates: as told, or beside the health page."""
        if self.expect["certificate_address"]:
            return _endpoint.address_of(self.expect["certificate_address"], 443)
        parts = urllib.parse.urlsplit(self.params["health_url"])
        return parts.hostname or "127.0.0.1", (parts.port if parts.scheme == "https" else None) or 443


def _is_key(text: str) -> bool:
    if not text.startswith("base64:"):
        return len(text.encode()) in (16, 32)
    try:
        return len(base64.b64decode(text[len("base64:") :], validate=True)) in (16, 32)
    except ValueError:
        return False


def _is_true(value: str) -> bool:
    """Say whether Laravel's configuration reads a value as true: it casts what is no word of its own."""
    words = ("", "0", "false", "(false)", "null", "(null)", "empty", "(empty)")
    return value.lower() not in words


def _place(url: str) -> tuple[str, str, int | None, str]:
    """Return what of an address decides where it leads, the whole of one that cannot be taken apart."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "", "", None, url
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    return parts.scheme, parts.hostname or "", port, parts.path.rstrip("/")
