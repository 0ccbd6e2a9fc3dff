# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that the checks of a release need from a host. Nothing is changed, and nothing is judged here.

Private to this collection. ``plugin_utils/checks.py`` judges, on the controller, and documents each check.
"""

from __future__ import annotations

import calendar
import glob
import json
import os
import pwd
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.slipway.laravel.plugins.module_utils import (
    _dns,
    _endpoint,
    _fastcgi,
    _fpm_scripts,
    _logs,
    _processes,
)
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import Artisan, ArtisanError
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, LayoutError
from ansible_collections.slipway.laravel.plugins.module_utils._look import look
from ansible_collections.slipway.laravel.plugins.module_utils._requirements import read_env

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

_TEXT = {"type": "str", "default": ""}
_TIMEOUT = {"type": "int", "default": 10}
_URL = {"url": {"type": "str", "required": True}, "address": _TEXT, "timeout": _TIMEOUT}
_PAGE = {
    **_URL,
    "contains": _TEXT,
    "headers": {"type": "dict", "default": {}},
    "follow": {"type": "bool", "default": False},
    "verify_tls": {"type": "bool", "default": True},
}
_NAMES = {"type": "list", "elements": "str"}

# What of the parameters of each check concerns its facts; limits are for those who judge.
SPECS: dict[str, dict[str, Any]] = {
    "backup": {"path": {"type": "path", "required": True}},
    "certificate": _URL,
    "compression": _URL,
    "debug_off": {},
    "dns": {
        "domain": {"type": "str", "required": True},
        "type": {"type": "str", "choices": ["A", "AAAA"], "default": "A"},
        "server": _TEXT,
        "timeout": _TIMEOUT,
    },
    "failed_jobs": {},
    "health": _PAGE,
    "hsts": _URL,
    "https_redirect": _URL,
    "log_errors": {"files": {**_NAMES, "default": ["storage/logs/laravel*.log"]}},
    "log_level": {},
    "maintenance_off": {},
    "opcache": {},
    "queue_depth": {"queues": {**_NAMES, "default": []}},
    "restarted": {},
    "scheduler": {"app": {"type": "str", "default": "app"}, "log": _TEXT},
    "security_headers": _URL,
    "smoke": _PAGE,
    "tls_versions": _URL,
    "traffic": {
        "log": {"type": "path", "default": "/var/log/nginx/access.log"},
        "minutes": {"type": "int", "default": 30},
        "server": _TEXT,
    },
    "workers": {},
}

# What the scheduler prints when it has run: nothing was due, or what it started, from Laravel 8 on.
_SCHEDULED = re.compile(r"No scheduled commands are ready to run|Running (scheduled command: |\[)|\.{3,} .*(DONE|FAIL)")


class MissingError(Exception):
    """A fact cannot be had; the message says what was missing, ``remedy`` what helps."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def complete(spec: dict[str, Any], parameters: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return parameters with their defaults and as their types, and what is wrong with them, without any value."""
    found = ArgumentSpecValidator(spec).validate(parameters)
    # What could not be converted may be a secret.
    faults = [re.sub(r"(unable to convert to \w+).*", r"\1", text, flags=re.DOTALL) for text in found.error_messages]
    return dict(found.validated_parameters), faults


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _seconds(moment: str) -> float:
    return float(calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")))


def collect(
    module: AnsibleModule, layout: Layout, environment: dict[str, str], asked: list[dict[str, Any]], timeout: float
) -> dict[str, dict[str, Any]]:
    """Return the facts of each check by its id, or what was ``missing`` and the ``remedy``.

    All are looked for at the same time; what has none after the timeout is missing.

    :param asked: ``id``, ``name`` and ``parameters`` of each, the parameters valid and complete
    """
    facts = Facts(module, layout, environment, asked)
    results: dict[str, dict[str, Any]] = {}
    errors: list[BaseException] = []

    def run(check: dict[str, Any]) -> None:
        try:
            results[check["id"]] = facts.of(check["name"], check["parameters"])
        except BaseException as exc:  # it belongs to the thread that waits
            errors.append(exc)

    deadline = time.monotonic() + timeout
    # Daemons: nobody can call back a lookup of a name, and the module must not wait for it at its end.
    threads = [threading.Thread(target=run, args=(check,), daemon=True) for check in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if errors:
        raise errors[0]
    late = {"missing": f"there was no answer within {timeout:g} s", "remedy": "see why, or give more time"}
    return {check["id"]: results.get(check["id"], late) for check in asked}


class Facts:
    """Looks for facts on this host; a method for each check, and some check the same."""

    def __init__(
        self, module: AnsibleModule, layout: Layout, environment: dict[str, str], asked: list[dict[str, Any]]
    ) -> None:
        self._module, self._layout, self._environment = module, layout, environment
        named = [name for check in asked for name in check["parameters"].get("queues", [])]
        self._queues = list(dict.fromkeys(named))
        self._boot = threading.Lock()
        self._info: dict[str, Any] | MissingError | None = None

    def of(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the facts of a check, or what was missing."""
        method: Callable[..., dict[str, Any]] = getattr(self, name)
        try:
            return method(**parameters)
        except MissingError as exc:
            return {"missing": str(exc), "remedy": exc.remedy}
        except LayoutError as exc:
            return {"missing": str(exc), "remedy": "set the host right as it says"}
        except PermissionError as exc:
            remedy = f"let user id {os.geteuid()} read it (nginx's log: nginx_log_readers), or run this as root"
            return {"missing": f"{exc.filename} cannot be read: {exc.strerror}", "remedy": remedy}
        except OSError as exc:
            return {"missing": str(exc), "remedy": "see why on the host"}

    # The application

    def _live(self) -> str:
        current = self._layout.current()
        if not current:
            raise MissingError(f"{self._layout.current_link} does not exist: no release is live", "release first")
        return current

    def _switched(self) -> dict[str, Any]:
        current = self._live()
        moment = self._layout.about(current)["switched_at"]
        if not moment:
            raise MissingError(
                f"{self._layout.root} does not know when {current} went live", "release with this collection first"
            )
        return {"release": current, "switched_at": moment}

    def _application(self) -> dict[str, Any]:
        """Boot the live release, once for all checks."""
        with self._boot:
            if self._info is None:
                try:
                    path = self._layout.release_path(self._live())
                    artisan = Artisan(self._module, path, self._module.params["php"], self._environment)
                    self._info = artisan.info(self._queues)
                except ArtisanError as exc:
                    self._info = MissingError(str(exc), "correct what it says; artisan about shows the same")
                except MissingError as exc:
                    self._info = exc
        if isinstance(self._info, MissingError):
            raise self._info
        return self._info

    def debug_off(self) -> dict[str, Any]:
        if not self._layout.current():
            # Nothing is cached yet: what will count is the file.
            env = read_env(self._layout)
            debug = env.get("APP_DEBUG", "false").strip("()").lower()
            return {
                "source": ".env",
                "debug": debug not in ("", "0", "false", "null", "empty"),
                "environment": env.get("APP_ENV", "production"),
            }
        info = self._application()
        return {"source": self._live(), "debug": info["debug"], "environment": info["environment"]}

    def log_level(self) -> dict[str, Any]:
        return {"release": self._live(), "channels": self._application()["log"]}

    def maintenance_off(self) -> dict[str, Any]:
        return {"release": self._live(), "maintenance": self._application()["maintenance"]}

    def failed_jobs(self) -> dict[str, Any]:
        info = self._application()
        if info["failed_jobs"] is None:
            raise MissingError(
                f"the failed jobs cannot be counted: {info['errors'].get('failed_jobs', 'it does not tell')}",
                "correct the database of .env",
            )
        return {"failed_jobs": info["failed_jobs"]}

    def queue_depth(self, queues: list[str]) -> dict[str, Any]:
        info = self._application()
        sizes = {name: info["queues"].get(name) for name in queues} or {"default": info["queue_size"]}
        unknown = [name for name, size in sizes.items() if size is None]
        if unknown:
            told = info["errors"].get(f"queue {unknown[0]}") or info["errors"].get("queue", "it does not tell")
            raise MissingError(f"the size of {', '.join(unknown)} is not known: {told}", "correct the queue of .env")
        return {"queues": sizes}

    def log_errors(self, files: list[str]) -> dict[str, Any]:
        info, switched = self._application(), self._switched()
        paths = [
            path
            for pattern in files
            for path in sorted(glob.glob(os.path.join(self._layout.shared_dir, pattern)))
            if os.path.isfile(path)
        ]
        if not paths:
            names = ", ".join(channel["channel"] for channel in info["log"])
            raise MissingError(
                f"the application logs to {names}, and no file is {' or '.join(files)} in {self._layout.shared_dir}",
                "name its files, let it log to a file too, or let a person who sees that log sign",
            )
        counts, unreadable = _logs.count_levels(paths, _seconds(switched["switched_at"]), info["utc_offset"])
        levels = sorted({channel["level"] for channel in info["log"]})
        facts = {"files": paths, "unreadable": unreadable, "entries": counts, "logged_from": levels}
        return {**switched, **facts, "until": _utc(time.time())}

    # What runs

    def workers(self) -> dict[str, Any]:
        shown = ("pid", "command", "release", "started", "parent")
        found = _processes.workers(self._layout.root)
        return {**self._switched(), "workers": [{name: worker[name] for name in shown} for worker in found]}

    restarted = workers

    def opcache(self) -> dict[str, Any]:
        address = self._module.params["fpm_socket"]
        if not address:
            return {"not_here": "it has no PHP-FPM"}
        # What the release has put there to ask by; this changes nothing.
        script = _fpm_scripts.find(self._layout, "opcache", _fpm_scripts.OPCACHE)
        if not script:
            script = _fpm_scripts.path_of(self._layout, "opcache", _fpm_scripts.OPCACHE)
            raise MissingError(f"{script} does not exist, by which PHP-FPM is asked", "release once; it is made then")
        try:
            answer = _fastcgi.get(address, script)
            status = json.loads(answer.body or "false") or {"opcache_enabled": False}
        except _fastcgi.FastCGIError as exc:
            raise MissingError(str(exc), "start PHP-FPM, or correct fpm_socket") from exc
        except ValueError as exc:
            told = f"PHP-FPM answered {answer.status}, not the state of OPcache"
            raise MissingError(told, "see PHP-FPM's log") from exc
        facts = {"enabled": bool(status["opcache_enabled"])}
        if "memory_usage" not in status:
            return facts
        memory, numbers = status["memory_usage"], status["opcache_statistics"]
        total = memory["used_memory"] + memory["free_memory"] + memory["wasted_memory"]
        return {
            **facts,
            "free_percent": round(100 * memory["free_memory"] / total, 1) if total else 0.0,
            "free_keys_percent": round(100 - 100 * numbers["num_cached_keys"] / max(1, numbers["max_cached_keys"]), 1),
            "scripts": numbers["num_cached_scripts"],
            "hit_rate": round(numbers["opcache_hit_rate"], 1),
        }

    def scheduler(self, app: str, log: str) -> dict[str, Any]:
        timer = self._timer(f"{app}-scheduler")
        if timer:
            return timer
        path = log or f"/var/log/{app}-scheduler.log"
        try:
            with open(path, "rb") as handle:
                written = os.fstat(handle.fileno()).st_mtime
                handle.seek(max(0, handle.seek(0, os.SEEK_END) - 4096))
                tail = handle.read().decode("utf-8", "replace")
        except FileNotFoundError as exc:
            raise MissingError(
                f"there is neither {path} nor a timer {app}-scheduler", "set up the role scheduler here, or give log"
            ) from exc
        last = [line for line in tail.splitlines() if line.strip()][-3:]
        # A shell that finds no artisan writes to the log each minute as well.
        ran = any(_SCHEDULED.search(line) for line in last)
        ago = round(max(0.0, time.time() - written))
        return {"by": path, "ran_at": _utc(written), "seconds_ago": ago, "succeeded": ran}

    def _timer(self, unit: str) -> dict[str, Any]:
        """Return what systemd says of a timer and its service; empty when there is none."""
        names = "--property=LoadState,LastTriggerUSec,ExecMainStatus,ExecMainExitTimestamp"
        argv = ["systemctl", "show", "--timestamp=unix", names, f"{unit}.timer", f"{unit}.service"]
        try:
            rc, out, dummy = self._module.run_command(argv, handle_exceptions=False)
        except OSError:
            return {}
        timer, dummy, service = out.strip().partition("\n\n")
        told = dict(line.partition("=")[::2] for line in timer.splitlines())
        ended = dict(line.partition("=")[::2] for line in service.splitlines())
        found = re.match(r"@(\d+)", told.get("LastTriggerUSec", ""))
        if rc != 0 or told.get("LoadState") != "loaded" or not found:
            return {}
        moment = int(found[1])
        return {
            "by": f"{unit}.timer",
            "ran_at": _utc(moment),
            "seconds_ago": round(max(0.0, time.time() - moment)),
            "succeeded": ended.get("ExecMainStatus", "0") == "0",
        }

    def backup(self, path: str) -> dict[str, Any]:
        found = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)]
        if not found:
            raise MissingError(f"no file is {path}", "make a backup, or correct path")
        states = {name: os.stat(name) for name in found}
        newest = max(found, key=lambda name: states[name].st_mtime)
        made = states[newest].st_mtime
        hours = round(max(0.0, time.time() - made) / 3600, 2)
        return {"path": newest, "made_at": _utc(made), "hours": hours, "size": states[newest].st_size}

    def traffic(self, log: str, minutes: int, server: str) -> dict[str, Any]:
        switched = self._switched()
        since, now = _seconds(switched["switched_at"]), time.time()
        until = min(now, since + minutes * 60) if minutes else now
        older = f"{log}.1"
        # The log may have been rotated since the switch; the part before is compressed a day later only.
        paths = [log, older] if os.path.isfile(older) and os.stat(older).st_mtime >= since else [log]
        try:
            counts = _logs.count_requests(paths, since, until, server)
        except FileNotFoundError as exc:
            raise MissingError(f"{log} does not exist", "set nginx_log_format: json, or correct log") from exc
        except PermissionError as exc:
            user = pwd.getpwuid(os.geteuid()).pw_name
            raise MissingError(
                f"{user} may not read {log}", f"list {user} in nginx_log_readers and run site.yml"
            ) from exc
        return {**switched, "minutes": round((until - since) / 60, 1), **counts}

    # Endpoints

    def _look(self, url: str, **more: Any) -> dict[str, Any]:
        try:
            found = look(url, **more)
        except ValueError as exc:
            raise MissingError(f"url is no address: {exc}", "correct it") from exc
        if not found["reachable"]:
            told = f"{found['final_url']} does not answer: {found['error']}"
            raise MissingError(told, "start the web server, or correct url and address")
        return found

    def health(
        self,
        url: str,
        address: str,
        timeout: int,
        contains: str,
        headers: dict[str, Any],
        follow: bool,
        verify_tls: bool,
    ) -> dict[str, Any]:
        found = self._look(
            url,
            address=address,
            timeout=timeout,
            contains=contains,
            headers={str(name): str(value) for name, value in headers.items()},
            validate_certs=verify_tls,
        )
        asked, reached = _endpoint.Target(found["url"]), _endpoint.Target(found["final_url"])
        # From HTTP to HTTPS it is the same page; anywhere else, such as to the login, it is another one.
        elsewhere = (asked.name, asked.path) != (reached.name, reached.path) and not follow
        return {
            "url": found["url"],
            "led_to": found["final_url"] if elsewhere else "",
            "status": found["status"],
            "error": found["error"],
            "contains": found["contains"],
            "release": found["headers"].get("x-release-id", ""),
            "ms": found["milliseconds"]["total"],
            "peer": found["peer"],
        }

    smoke = health

    def certificate(self, url: str, **where: Any) -> dict[str, Any]:
        found = self._look(url, validate_certs=False, redirects=0, **where)
        if not found["certificate"] or "not_after" not in found["certificate"]:
            raise MissingError(f"{found['url']} shows no certificate", "give an address by https")
        return {"url": found["url"], "peer": found["peer"], **found["certificate"]}

    def tls_versions(self, url: str, **where: Any) -> dict[str, Any]:
        found = self._look(url, validate_certs=False, redirects=0, tls_versions=True, **where)
        if found["tls_versions"] is None:
            raise MissingError(f"{found['url']} speaks no TLS", "give an address by https")
        return {"url": found["url"], "peer": found["peer"], "versions": found["tls_versions"]}

    def hsts(self, url: str, **where: Any) -> dict[str, Any]:
        found = self._look(url, validate_certs=False, redirects=0, **where)
        return {"url": found["url"], "peer": found["peer"], "hsts": found["hsts"]}

    def https_redirect(self, url: str, **where: Any) -> dict[str, Any]:
        # One step, so that a port without TLS behind it is not asked: where it leads is in the header.
        found = self._look(url, redirects=0, **where)
        location = found["headers"].get("location", "")
        return {"url": found["url"], "peer": found["peer"], "status": found["status"], "location": location}

    def security_headers(self, url: str, **where: Any) -> dict[str, Any]:
        found = self._look(url, validate_certs=False, redirects=0, **where)
        return {"url": found["url"], "peer": found["peer"], "status": found["status"], "headers": found["headers"]}

    def compression(self, url: str, **where: Any) -> dict[str, Any]:
        found = self._look(url, validate_certs=False, redirects=0, headers={"accept-encoding": "gzip"}, **where)
        kind = found["headers"].get("content-type", "")
        return {"url": found["url"], "status": found["status"], "encoding": found["compression"], "type": kind}

    def dns(self, domain: str, type: str, server: str, timeout: int) -> dict[str, Any]:
        try:
            host, port = _endpoint.address_of(server, 53) if server else (_dns.resolver(), 53)
            records = _dns.ask(domain, type, _endpoint.resolve(host)[0], port, timeout)
        except _dns.DnsError as exc:
            remedy = f"enter {domain} in the DNS, or correct domain and server"
            raise MissingError(f"the DNS does not tell the {type} records of {domain}: {exc}", remedy) from exc
        return {"domain": domain, "server": host, "records": records}
