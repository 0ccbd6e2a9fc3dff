"""What make demo does: hosts, site.yml, release.yml, a proof over HTTP, and a summary."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import engine, hosts, images, local, web
from .common import ROOT, STATE, LabError, say, wait_for, write_file
from .runtime import DEMO

VERSION = "v1.0.0"
NEXT_VERSION = "v1.1.0"
RECORDS = ROOT / "records"
KINDS = ("", "docker", "local")
TASK = re.compile(r"TASK \[(?:slipway\.laravel\.)?(?:(\w+) : )?(.*)\]")
PHASE = re.compile(r"  [a-z]+ .* \d+\.\d s(?:  .*)?$")
RECAP = re.compile(r"\S+ +: ok=\d+ +changed=(\d+)")


class Progress:
    """One line a step, with the seconds since the start."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.terminal = sys.stdout.isatty()
        self.steps = 0

    def step(self, text: str) -> None:
        self.steps += 1
        say(f"[{time.monotonic() - self.started:5.1f} s] {self.steps}. {text}")

    def part(self, text: str, seconds: float) -> None:
        self.passing("")
        say(f"           {text} ({seconds:.1f} s)")

    def passing(self, text: str) -> None:
        """What is going on right now; only a terminal can take it back."""
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{('           ' + text)[:width] if text else ''}", end="", flush=True)


def ansible(progress: Progress, log: Path, *arguments: str | Path) -> int:
    """Run ansible-playbook: its output goes to a log, one line a role to the screen. Returns the changed tasks."""
    program = ROOT / ".venv" / "bin" / "ansible-playbook"
    found = str(program) if program.exists() else shutil.which("ansible-playbook")
    if not found:
        raise LabError("ansible-playbook is not installed here: run make setup.")
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as handle:
        process = subprocess.Popen(
            [found, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
        )
    write_file(log.with_suffix(".pid"), f"{process.pid}\n")
    changed = 0
    role, since = "", time.monotonic()
    for line in follow(log, process):
        if match := TASK.match(line):
            if match[1] and match[1] != role:
                if role:
                    progress.part(role, time.monotonic() - since)
                role, since = match[1], time.monotonic()
            progress.passing(f"{role}: {match[2]}")
        elif PHASE.match(line):
            say(f"         {line}")
        elif match := RECAP.match(line):
            changed += int(match[1])
    log.with_suffix(".pid").unlink()
    if role:
        progress.part(role, time.monotonic() - since)
    if process.returncode != 0:
        raise LabError(
            f"ansible-playbook {arguments[0]} failed, see {log}; make demo-clean removes the hosts, to begin anew:\n"
            f"{reasons(log)}"
        )
    return changed


def reasons(log: Path) -> str:
    """The errors in a log of Ansible, or its last lines when it names none."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("[ERROR]: ") for line in lines if line.startswith(("[ERROR]: ", "FAILED ", "AWAY "))]
    return "\n".join(f"  | {line}" for line in errors or lines[-20:])


def was_killed(log: Path) -> bool:
    """Whether the run that wrote this log was killed, by the file that only a run's own end removes."""
    mark = log.with_suffix(".pid")
    if not mark.exists():
        return False
    pid = int(mark.read_text().strip() or 0)
    if engine.process_is(pid, "ansible-playbook"):
        raise LabError(f"ansible-playbook of an earlier run still works (pid {pid}): wait for its end, or end it.")
    return True


def follow(log: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a growing file, until the process that writes it has ended."""
    with open(log, encoding="utf-8", errors="replace") as handle:
        rest = ""
        while True:
            ended = process.poll() is not None
            rest += handle.read()
            *lines, rest = rest.split("\n")
            yield from lines
            if ended:
                return
            time.sleep(0.1)


def entry(argv: list[str]) -> int:
    if argv and argv != ["clean"]:
        raise LabError("usage: lab/demo [clean]")
    if argv:
        clean()
        return 0
    kind = os.environ.get("LAB", "")
    if kind not in KINDS:
        raise LabError(f"LAB is {kind!r}: leave it out, or use docker or local.")
    progress = Progress()
    if kind != "local":
        progress.step("Docker Engine")
        try:
            engine.ensure()
        except LabError as exc:
            if kind == "docker":
                raise
            say(f"No Docker Engine can be used, so this machine itself becomes the host: {exc}")
            kind = "local"
    if kind == "local":
        run_local(progress)
    else:
        run_docker(progress)
    return 0


def run_docker(progress: Progress) -> None:
    progress.step("Images and hosts")
    hosts.up()
    inventory = Path("inventories/demo")
    progress.step("site.yml: provision the host")
    changed = ansible(progress, STATE / "log" / "site.log", "site.yml", "-i", inventory)
    say(f"           {changed} tasks changed something")
    port = hosts.published(hosts.demo_hosts()[0].container, 80)
    release(progress, STATE / "log" / "release.log", inventory)
    prove(progress, port, "nginx, PHP-FPM and MariaDB", "Redis")
    summary(progress, port, inventory)


def run_local(progress: Progress) -> None:
    progress.step("Embedded form: PHP, Composer, framework and npm in .demo")
    local.prepare()
    inventory = Path("inventories/local")
    progress.step("Directories and environment of the application")
    ansible(progress, DEMO / "log" / "layout.log", "lab/layout.yml", "-i", inventory)
    progress.step("PHP's server and a queue worker")
    local.start()
    port = int(local.settings()["port"])
    release(progress, DEMO / "log" / "release.log", inventory)
    prove(progress, port, "PHP's server and SQLite", "the database queue")
    summary(progress, port, inventory)


def release(progress: Progress, log: Path, inventory: Path) -> None:
    progress.step(f"release.yml: release {VERSION}")
    # The lock of a killed run stays held, and only we know that its owner is dead.
    takeover = ["-e", "release_takeover=true"] if was_killed(log) else []
    ansible(progress, log, "release.yml", "-i", inventory, "-e", f"release_version={VERSION}", *takeover)


def prove(progress: Progress, port: int, stack: str, queue: str) -> None:
    """The page, a note into the database, and the worker's mark on it."""
    progress.step("Proof")
    home = web.request(port, "/")
    if home is None or home.status != 200:
        raise LabError(f"http://127.0.0.1:{port}/ does not answer 200 but {home.status if home else 'nothing'}.")
    if not home.release:
        raise LabError(f"http://127.0.0.1:{port}/ answers without the header X-Release-Id.")
    say(f"           GET /       200 by release {home.release}, through {stack}")
    written = web.request(port, "/notes", {"body": f"Written by make demo, release {home.release}"})
    if written is None or written.status != 201:
        raise LabError(f"POST /notes does not answer 201 but {written.status if written else 'nothing'}.")
    note = written.json()["note"]["id"]
    say(f"           POST /notes 201, note {note} is in the database")
    started = time.monotonic()
    handled: dict[str, Any] = {}

    def worked() -> bool:
        answer = web.request(port, f"/notes/{note}")
        if answer and answer.status == 200:
            handled.update(answer.json()["note"])
        return bool(handled.get("handled_at"))

    if not wait_for(worked, 30):
        raise LabError(f"No worker handled note {note} within 30 s, which went through {queue}.")
    say(
        f"           a worker of release {handled.get('handled_by')} handled it through {queue} "
        f"after {time.monotonic() - started:.1f} s"
    )


def summary(progress: Progress, port: int, inventory: Path) -> None:
    live = web.request(port, "/release")
    release_id = str(live.json()["release"]) if live else ""
    record = RECORDS / inventory.name / f"{release_id}.jsonl"
    say("")
    say(f"  URL      http://127.0.0.1:{port}/")
    if live:
        told = live.json()
        say(f"  Release  {release_id} ({told['version']}, Laravel {told['framework']}, PHP {told['php']})")
    if record.exists():
        say(f"  Phases   {phases(record)}")
        say(f"  Record   {record.relative_to(ROOT)}")
        say(f"  Report   {record.with_suffix('.md').relative_to(ROOT)}")
    say(f"  Time     {time.monotonic() - progress.started:.0f} s in all")
    say("")
    say("  Next:")
    say(f"    .venv/bin/ansible-playbook release.yml -i {inventory} -e release_version={NEXT_VERSION}")
    say(f"    .venv/bin/ansible-playbook rollback.yml -i {inventory}")
    if inventory.name == "demo":
        say("    ssh -F .lab/ssh_config demo-app")
    else:
        say("    lab/local status")
    say("    make demo-clean")


def phases(record: Path) -> str:
    """Seconds of each phase, as the record sums them up: the slowest host's, with what Ansible needed around it."""
    entries = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    seconds = entries[-1]["data"]["phases"]
    # In the order in which they came; the keys of a record are sorted.
    names = dict.fromkeys(entry["data"]["phase"] for entry in entries if entry["event"] == "phase")
    return ", ".join(f"{name} {seconds[name]:.1f} s" for name in names)


def clean() -> None:
    """Remove what the demo made; packages of the system stay, since other things may use them by now."""
    local.clean()
    if engine.answers():
        hosts.down()
        images.remove_all()
    elif hosts.LOGIN_KEY.exists():
        say("Docker does not answer, so the lab's containers and images stay: start it and run make demo-clean again.")
    engine.stop_own()
    installed = engine.INSTALLED.read_text().split() if engine.INSTALLED.exists() else []
    shutil.rmtree(STATE, ignore_errors=True)
    for name in ("demo", "local"):
        shutil.rmtree(RECORDS / name, ignore_errors=True)
    if RECORDS.is_dir() and not any(RECORDS.iterdir()):
        RECORDS.rmdir()
    say("The demo is gone.")
    if installed:
        names = " ".join(dict.fromkeys(installed))
        say(f"Packages that were installed for it stay: apt-get purge {names} removes them.")
