"""The embedded form: this machine as the only host, everything in .demo, no root, no service of the system."""

from __future__ import annotations

import base64
import dataclasses
import grp
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from . import runtime, web
from .common import ROOT, LabError, run, say, wait_for, write_file
from .hosts import free_http_port, port_is_free
from .runtime import BIN, DEMO

APP = DEMO / "app"
REPOSITORY = DEMO / "repository"
SETTINGS = DEMO / "settings.json"
DATABASE = APP / "shared" / "database.sqlite"
ROUTER = ROOT / "lab" / "router.php"
# The loop is what supervisor is on a real host: a worker that ends starts again, in the release that is live then.
WORKER_LOOP = (
    'while :; do cd "$1/current" 2>/dev/null && "$2" artisan queue:work database --queue=default --sleep=1 --tries=3 '
    "--max-time=3600; sleep 1; done"
)


@dataclasses.dataclass(frozen=True)
class Process:
    name: str
    argv: list[str]
    environment: dict[str, str]

    @property
    def pid_file(self) -> Path:
        return DEMO / "run" / f"{self.name}.pid"

    def pid(self) -> int:
        """Its process id, or 0; a process that merely got the same number later does not count."""
        try:
            pid = int(self.pid_file.read_text())
            alive = os.getpgid(pid) == pid
            mine = f"SLIPWAY_DEMO={DEMO}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return 0
        return pid if alive and mine else 0

    def start(self) -> None:
        if self.pid():
            return
        (DEMO / "log").mkdir(exist_ok=True)
        with open(DEMO / "log" / f"{self.name}.log", "ab") as log:
            child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=DEMO,
                env={**os.environ, **self.environment, "SLIPWAY_DEMO": str(DEMO)},
                start_new_session=True,  # outlives make and the terminal
            )
        write_file(self.pid_file, f"{child.pid}\n")

    def stop(self) -> bool:
        """End it with all its children."""
        pid = self.pid()
        if pid:
            os.killpg(pid, signal.SIGTERM)
            if not wait_for(lambda: not self.pid(), 10):
                os.killpg(pid, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)
        return bool(pid)


def settings() -> dict[str, str]:
    if not SETTINGS.exists():
        raise LabError("There is no embedded site in this checkout: make demo LAB=local makes it.")
    loaded: dict[str, str] = json.loads(SETTINGS.read_text())
    return loaded


def processes() -> list[Process]:
    port = settings()["port"]
    server = [str(BIN / "php"), "-d", "realpath_cache_size=0", "-S", f"127.0.0.1:{port}", str(ROUTER)]
    return [
        Process("server", server, {"SLIPWAY_CURRENT": str(APP / "current"), "PHP_CLI_SERVER_WORKERS": "4"}),
        Process("worker", ["/bin/sh", "-c", WORKER_LOOP, "worker", str(APP), str(BIN / "php")], {}),
    ]


def prepare() -> None:
    """Programs, repository, settings and directories; quick when all of it is there."""
    old = json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {}
    if old and old["place"] != str(DEMO):
        say("  This checkout was moved: making the embedded site anew.")
        shutil.rmtree(DEMO)
        old = {}
    runtime.prepare()
    run([ROOT / "examples" / "build-repository", REPOSITORY])
    for folder in (APP / "shared", DEMO / "run", DEMO / "log"):
        folder.mkdir(parents=True, exist_ok=True)
    DATABASE.touch()
    user = pwd.getpwuid(os.geteuid())
    values = {
        "app_key": old.get("app_key") or "base64:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "group": grp.getgrgid(user.pw_gid).gr_name,
        "place": str(DEMO),
        "port": choose_port(old.get("port", "")),
        "user": user.pw_name,
    }
    write_file(SETTINGS, json.dumps(values, indent=1) + "\n", 0o600)


def choose_port(old: str) -> str:
    wanted = os.environ.get("LAB_HTTP_PORT") or old
    running = bool(old) and any(process.name == "server" and process.pid() for process in processes())
    if running and wanted == old:
        return old
    if running:
        stop()
    if not os.environ.get("LAB_HTTP_PORT") and wanted and port_is_free(int(wanted)):
        return wanted
    return str(free_http_port())


def start() -> None:
    for process in processes():
        process.start()
    port = int(settings()["port"])
    if not wait_for(lambda: web.request(port, "/") is not None, 10):
        stop()
        raise LabError(f"PHP's server does not answer on port {port}; see {DEMO / 'log' / 'server.log'}.")


def stop() -> None:
    if SETTINGS.exists():
        for process in processes():
            if process.stop():
                say(f"Stopped the {process.name} of the embedded site.")


def status() -> int:
    port = settings()["port"]
    up = True
    for process in processes():
        pid = process.pid()
        up = up and bool(pid)
        say(f"{process.name}: {f'runs, pid {pid}' if pid else 'does not run; lab/local start starts it'}")
    say(f"http://127.0.0.1:{port}")
    return 0 if up else 1


def clean() -> None:
    stop()
    shutil.rmtree(DEMO, ignore_errors=True)
