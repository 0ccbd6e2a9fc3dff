#!/usr/bin/env python3
"""Carries out the cases of cases.yml on a real site while requests come in, and says of each what it came to.

make faults runs all of them, make faults C="kill-build disk-stage" those that are named, and make faults C=short the
short selection. What happened is in .cache/faults/results.json, and of each case in a directory of its own beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_site as site
import load
import yaml
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import read
from lab_site import APP, FLEET, INVENTORY, ROOT, WORK
from labkit.common import LabError, lock, main, say, wait_for, write_file

# Two versions that are well: a case releases the one that is not live.
WELL = ["alpha", "beta"]
RUN_SECONDS = 240
# What the message about a held lock tells the operator to add.
REMEDY = "release_takeover=true"
WATCH = r"""
import json, os, pwd, signal, sys, time
phase, kill, deadline = sys.argv[1], sys.argv[2] == "kill", time.monotonic() + 200
def modules():
    uid = pwd.getpwnam("deploy").pw_uid
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = open(f"/proc/{pid}/cmdline").read().split("\0")[0]
            if os.stat(f"/proc/{pid}").st_uid == uid and os.path.basename(program).startswith("python3"):
                yield int(pid)
        except OSError:
            pass
while time.monotonic() < deadline:
    try:
        if json.load(open("/var/www/logbook/.slipway/lock"))["phase"] == phase:
            break
    except (OSError, ValueError, KeyError):
        pass
    time.sleep(0.005)
else:
    sys.exit(1)
if kill:
    killed = list(modules())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    if not killed:
        sys.exit("no module runs in this phase")
print("reached", flush=True)
"""


@dataclasses.dataclass
class Case:
    """One line of the matrix; cases.yml says what each field is."""

    name: str
    phase: str
    what: str
    outcome: list[str]
    live: str = "old"
    version: str = ""
    at: dict[str, str] = dataclasses.field(default_factory=dict)
    before: list[list[Any]] = dataclasses.field(default_factory=list)
    do: list[list[Any]] = dataclasses.field(default_factory=list)
    undo: list[list[Any]] = dataclasses.field(default_factory=list)
    after: list[list[Any]] = dataclasses.field(default_factory=list)
    variables: dict[str, Any] = dataclasses.field(default_factory=dict)
    says: str = ""
    bad: str = ""
    again: str = "plain"
    again_variables: dict[str, Any] = dataclasses.field(default_factory=dict)
    allow: dict[str, Any] = dataclasses.field(default_factory=dict)
    short: bool = False


@dataclasses.dataclass
class Result:
    case: str
    phase: str
    what: str
    outcome: str = ""
    live: str = ""
    requests: int = 0
    failed: int = 0
    allowed: int = 0
    again: str = ""
    seconds: float = 0
    misses: list[str] = dataclasses.field(default_factory=list)


class Release:
    """One run of release.yml."""

    def __init__(self, folder: Path, name: str, version: str, variables: dict[str, Any]) -> None:
        self.version, self.log, self.records = version, folder / f"{name}.log", folder / name
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [ROOT / ".venv/bin/ansible-playbook", "release.yml", "-i", INVENTORY,
                 "-e", json.dumps({"release_version": version, **variables})],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={
                    **environment,
                    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                    "ANSIBLE_NOCOLOR": "1",
                    "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control_path()),
                    "SLIPWAY_RECORDS_DIR": str(self.records),
                },
            )  # fmt: skip

    def wait(self) -> int:
        try:
            return self.process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -1

    def kill(self) -> None:
        """Kill the controller as a whole: its processes, and those that keep its connections."""
        pids = descendants(self.process.pid)
        for pid in [self.process.pid, *pids, *connections()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def told(self, text: str) -> bool:
        return " ".join(text.split()) in " ".join(self.output.split())

    def record(self) -> list[dict[str, Any]]:
        """The entries of its record; none when it left no record.

        :raises ValueError: it is no whole chain
        """
        files = sorted(self.records.glob("*/[0-9]*.jsonl"))
        if len(files) > 1:
            raise ValueError(f"one run left {len(files)} records")
        return read(str(files[0])) if files else []

    def outcome(self) -> str:
        entries = self.record()
        ended = [str(entry["data"]["outcome"]) for entry in entries if entry["event"] == "outcome"]
        return ended[0] if ended else "unfinished" if entries else "no record"

    def release(self) -> str:
        """The release id of this run, which its record is called after; '' when it had none yet."""
        names = [path.stem for path in self.records.glob("*/[0-9]*.jsonl")]
        return next((name for name in names if re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", name)), "")


def control_path() -> Path:
    """A short path of our own, since sockets lie there whose paths may not be long."""
    path = Path(tempfile.gettempdir()) / f"slipway-{site.hosts.CHECKOUT}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def processes() -> dict[int, tuple[int, str]]:
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(path.name)] = (parent, (path / "cmdline").read_text(errors="replace"))
        except (OSError, IndexError):
            continue
    return found


def descendants(pid: int) -> list[int]:
    running = processes()
    found: list[int] = []
    wanted = [pid]
    while wanted:
        parent = wanted.pop()
        children = [child for child, (of, _words) in running.items() if of == parent]
        found += children
        wanted += children
    return found


def connections() -> list[int]:
    """The processes that keep SSH connections of our runs."""
    return [pid for pid, (_parent, words) in processes().items() if words.startswith(f"ssh: {control_path()}/")]


class Load:
    """The requests that come in throughout a case."""

    def __init__(self, folder: Path) -> None:
        self.where, self.out = folder / "addresses.json", folder / "requests.jsonl"
        self.find()
        self.process = subprocess.Popen([sys.executable, site.HERE / "load.py", self.where, self.out])

    def find(self) -> None:
        write_file(self.where, json.dumps(site.addresses()))

    def stop(self) -> list[load.Answer]:
        self.process.terminate()
        self.process.wait(60)
        return load.read(self.out)


class Driver:
    """Carries out one case."""

    def __init__(self, case: Case, quick: bool = False) -> None:
        self.case, self.quick = case, quick
        self.folder = WORK / case.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.result = Result(case.name, case.phase, case.what)
        self.others: list[Release] = []
        self.old = {host: site.look(host) for host in FLEET}
        self.well = next(version for version in WELL if version != self.old["app1"]["version"])
        self.load: Load | None = None
        self.again: Release | None = None

    def miss(self, text: str) -> None:
        self.result.misses.append(text)

    def act(self, steps: list[list[Any]]) -> None:
        for name, *words in steps:
            own = getattr(self, f"do_{name}", None)
            act: Callable[..., Any] = own or getattr(site, name)
            act(*words)

    # What only makes sense in a run

    def do_kill_controller(self) -> None:
        self.run.kill()

    def do_kill_module(self) -> None:
        """Done by the watch, which is on the host and so is there in time."""

    def do_reboot(self, host: str) -> None:
        site.reboot(host)
        if self.load:
            self.load.find()

    def do_second_release(self) -> None:
        second = Release(self.folder, "second", self.well, {})
        self.others.append(second)
        if second.wait() == 0 or not second.told("is held by"):
            self.miss(f"the second release was not refused, see {second.log}")

    def do_begin_second_release(self) -> None:
        """One of the two may go live, or neither, when each got the lock of another host first."""
        self.others.append(Release(self.folder, "second", self.well, {}))

    def do_wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def do_foreign_lock(self, host: str, age: int) -> None:
        content = json.dumps({"run": "another", "owner": "somebody", "since": "2026-01-01T00:00:00Z", "phase": "stage"})
        site.sh(
            host,
            f"f={APP}/.slipway/lock; echo '{content}' >$f; chown deploy: $f; touch -d '-{age} seconds' $f",
        )

    # The case

    def variables(self) -> dict[str, Any]:
        variables = dict(self.case.variables)
        if "hook" in self.case.at:
            line = f"touch {self.folder}/reached; while [ ! -e {self.folder}/go ]; do sleep 0.05; done"
            hook = [{"command": ["/bin/sh", "-c", line], "hosts": "localhost"}]
            variables["release_hooks"] = {self.case.at["hook"]: hook}
        return variables

    def watch(self) -> subprocess.Popen[str]:
        host, phase = self.case.at["host"], self.case.at["phase"]
        kill = "kill" if ["kill_module"] in self.case.do else ""
        return subprocess.Popen(
            ["docker", "exec", "-i", site.HOSTS[host].container, "python3", "-c", WATCH, phase, kill or "watch"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def begin(self) -> None:
        """Start the run, and do the mischief at its moment."""
        watch = self.watch() if "phase" in self.case.at else None
        if watch:
            time.sleep(0.3)
        if not self.case.at:
            self.act(self.case.do)
        self.run = Release(self.folder, "first", self.case.version or self.well, self.variables())
        if watch:
            assert watch.stdout is not None
            said = watch.stdout.readline()
            if said.strip() != "reached":
                self.miss(f"phase {self.case.at['phase']} was not met on {self.case.at['host']}: {said.strip()}")
                return
            self.act(self.case.do)
        elif self.case.at:
            reached = self.folder / "reached"
            if not wait_for(lambda: reached.exists() or self.run.process.poll() is not None, RUN_SECONDS, 0.05):
                self.miss(f"{self.case.at['hook']} was not reached in {RUN_SECONDS} s")
            elif not reached.exists():
                self.miss(f"the run ended before {self.case.at['hook']}, see {self.run.log}")
            else:
                self.act(self.case.do)
            (self.folder / "go").touch()

    def carry_out(self) -> Result:
        started = time.monotonic()
        self.act(self.case.before)
        self.load = Load(self.folder)
        try:
            time.sleep(1)
            try:
                self.begin()
                status = self.run.wait()
                if status == -1:
                    self.miss(f"the run did not end within {RUN_SECONDS} s")
                if [status, *(other.wait() for other in self.others)].count(0) > 1:
                    self.miss("two releases at once went live")
            finally:
                self.act(self.case.undo)
            site.wait_until_ready()
            self.look_after(status)
            if self.case.bad:
                self.release_bad()
            brief = self.quick and self.case.again == "plain" and self.result.outcome == "aborted"
            if self.result.misses or not brief:
                self.run_again()
            time.sleep(0.5)
        finally:
            answers = self.load.stop()
            self.act(self.case.after)
        self.judge(answers)
        self.look_at_the_end()
        self.result.seconds = round(time.monotonic() - started, 1)
        return self.result

    def look_after(self, status: int) -> None:
        """What the faulty run left: its outcome, what it said, and what is live."""
        try:
            self.result.outcome = self.run.outcome()
        except ValueError as exc:
            self.miss(f"record: {exc}")
        if self.result.outcome not in self.case.outcome:
            self.miss(f"the record says {self.result.outcome}, not {' or '.join(self.case.outcome)}")
        if (status == 0) != (self.result.outcome in ("success", "unchanged")):
            self.miss(f"exit status {status} at outcome {self.result.outcome}")
        if self.case.says and not self.run.told(self.case.says):
            self.miss(f"it did not say: {self.case.says}")
        if self.run.told("Traceback (most recent call last)"):
            self.miss(f"a traceback, see {self.run.log}")
        now = {host: site.look(host)["live"] for host in FLEET}
        old = {host: found["live"] for host, found in self.old.items()}
        self.result.live = "old" if now == old else "new" if len(set(now.values())) == 1 else "mixed until the next run"
        allowed = {"old": ["old"], "new": ["new"], "either": ["old", "new"], "any": [self.result.live]}[self.case.live]
        if self.result.live not in allowed:
            self.miss(f"live is {now}, which is not {self.case.live}")

    def release_bad(self) -> None:
        """Before the next run succeeds, one that does not: all hosts have to go back to the same release."""
        bad = Release(self.folder, "bad", self.case.bad, {})
        bad.wait()
        self.others.append(bad)
        if bad.outcome() != "reverted":
            self.miss(f"the bad release came to {bad.outcome()}")
        now = {host: site.look(host)["live"] for host in FLEET}
        if now != {host: found["live"] for host, found in self.old.items()}:
            self.miss(f"after a bad release live is {now}")

    def run_again(self) -> None:
        """A plain run, and where that is refused for the lock, what its message says."""
        self.again = Release(self.folder, "again", self.well, self.case.again_variables)
        status = self.again.wait()
        how = "plain"
        if status and self.again.told("is held by") and self.again.told(REMEDY):
            how = "takeover"
            variables = {**self.case.again_variables, "release_takeover": True}
            self.others.append(self.again)
            self.again = Release(self.folder, "takeover", self.well, variables)
            status = self.again.wait()
        self.result.again = f"{how}: {'well' if status == 0 else f'exit status {status}'}"
        if status:
            self.miss(f"the run after it failed, see {self.again.log}")
        elif how != self.case.again:
            self.miss(f"the run after it was to be {self.case.again}, not {how}")

    def order(self) -> list[str]:
        """The releases in the order in which a host may show them."""
        old, first = self.old["app1"]["live"], self.run.release()
        last = self.again.release() if self.again else ""
        shown = [old]
        if first and self.result.outcome != "aborted":
            shown.append(first)
        if self.result.outcome in ("reverted", "partial", "unfinished"):
            shown.append(old)
        if self.case.bad:
            shown += [self.others[0].release(), old]
        shown += [other.release() for other in self.others if other.outcome() == "success"]
        if last and last != first:
            shown.append(last)
        return shown

    def judge(self, answers: list[load.Answer]) -> None:
        failed, mixed = load.problems(answers, self.order())
        allowed = [answer for answer in failed if self.may_fail(answer)]
        refused = [answer for answer in failed if not self.may_fail(answer)]
        self.result.requests, self.result.failed, self.result.allowed = len(answers), len(refused), len(allowed)
        if len(answers) < 20 * self.seconds_of(answers):
            # Half of what was meant, so that a machine with much to do does not count.
            self.result.misses += [] if answers else ["no request was made"]
        for answer in refused[:3]:
            self.miss(f"{answer.host}{answer.path} failed: {answer.status} {answer.error} {answer.missing or ''}")
        if refused:
            self.miss(f"{len(refused)} requests failed")
        for text in mixed[:3]:
            self.miss(text)

    @staticmethod
    def seconds_of(answers: list[load.Answer]) -> float:
        return answers[-1].ended - answers[0].began if answers else 0

    def may_fail(self, answer: load.Answer) -> bool:
        allow = self.case.allow
        return (
            answer.host in allow.get("hosts", [])
            or (answer.path in allow.get("paths", []) and answer.status >= 500)
            or (answer.status in allow.get("statuses", []))
        )

    def look_at_the_end(self) -> None:
        found = {host: site.look(host) for host in FLEET}
        if len({about["live"] for about in found.values()}) != 1:
            self.miss(f"hosts differ: { {host: about['live'] for host, about in found.items()} }")
        expected = self.well if self.again else self.old["app1"]["version"]
        if found["app1"]["version"] != expected:
            self.miss(f"live is version {found['app1']['version']}, not {expected}")
        for host, about in found.items():
            # What a killed build leaves goes with the next release; the lock may not wait for it.
            if about["left"] if self.again else ".slipway/lock" in about["left"]:
                self.miss(f"{host} has {', '.join(about['left'])} left")
        stale = [release for release in found[site.WORKER]["workers"] if release != found[site.WORKER]["live"]]
        if stale or len(found[site.WORKER]["workers"]) != 2:
            self.miss(f"workers run {found[site.WORKER]['workers']}")
        for run in [*([self.again] if self.again else []), *self.others]:
            try:
                run.record()
            except ValueError as exc:
                self.miss(f"record of {run.log.stem}: {exc}")
        if self.again and self.again.outcome() not in ("success", "no record"):
            self.miss(f"the record of the run after it says {self.again.outcome()}")


def settle() -> None:
    """Have one of the two good versions live on all hosts, and nothing left of a matrix that was ended."""
    site.mend()
    found = [site.look(host) for host in FLEET]
    locked = any(".slipway/lock" in about["left"] for about in found)
    one = len({about["live"] for about in found}) == 1 and not locked
    if one and found[0]["version"] in WELL:
        return
    folder = WORK / "settle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say("Releasing a good version to begin with ...")
    run = Release(folder, "settle", WELL[0], {"release_takeover": True, "release_force": True})
    if run.wait():
        raise LabError(f"The first release failed, see {run.log}:\n{run.output[-3000:]}")


def cases() -> list[Case]:
    with (site.HERE / "cases.yml").open(encoding="utf-8") as handle:
        return [Case(**entry) for entry in yaml.safe_load(handle)]


def chosen(names: list[str]) -> list[Case]:
    known = cases()
    if names == ["short"]:
        return [case for case in known if case.short]
    unknown = set(names) - {case.name for case in known}
    if unknown:
        raise LabError(f"No case {', '.join(sorted(unknown))}; there are {', '.join(case.name for case in known)}.")
    by_name = {case.name: case for case in known}
    return [by_name[name] for name in names] or known


def table(results: list[Result]) -> str:
    heads = ["case", "phase", "what was done", "outcome", "live after", "requests", "failed", "run again", "verdict"]
    rows = [
        [r.case, r.phase, r.what, r.outcome, r.live, str(r.requests),
         f"{r.failed}{f' (+{r.allowed} allowed)' if r.allowed else ''}", r.again, "MISS" if r.misses else "ok"]
        for r in results
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in [heads, ["-" * width for width in widths], *rows])  # fmt: skip


def carry_out(case: Case, number: str, quick: bool) -> Result:
    settle()
    driver = Driver(case, quick)
    result = driver.result
    try:
        driver.carry_out()
    except (LabError, subprocess.SubprocessError) as exc:
        driver.miss(str(exc))
    say(
        f"[{number}] {'MISS' if result.misses else 'ok  '} {case.name}: {result.outcome}, live {result.live}, "
        f"{result.failed} of {result.requests} requests failed, {result.again}, {result.seconds:.0f} s"
    )
    for text in result.misses:
        say(f"       - {text}")
    write_file(driver.folder / "result.json", json.dumps(dataclasses.asdict(result), indent=1) + "\n")
    return result


def entry(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help="names of cases, or short; all when none is named")
    parser.add_argument("--quick", action="store_true", help="no second run where the first one changed nothing")
    parser.add_argument("--report", action="store_true", help="show what the cases came to the last time, and no more")
    parser.add_argument("--list", action="store_true", help="name the cases")
    arguments = parser.parse_args(argv)
    wanted = chosen(arguments.cases)
    if arguments.list:
        say("\n".join(f"{case.name:28} {case.phase:10} {case.what}" for case in wanted))
        return 0
    if arguments.report:
        files = [WORK / case.name / "result.json" for case in wanted]
        return summary([Result(**json.loads(path.read_text())) for path in files if path.exists()])
    results: list[Result] = []
    with lock():
        site.up()
        for number, case in enumerate(wanted, 1):
            # The last one shows that a release still can be made after all of them.
            quick = arguments.quick and number < len(wanted)
            results.append(carry_out(case, f"{number}/{len(wanted)}", quick))
    write_file(WORK / "results.json", json.dumps([dataclasses.asdict(r) for r in results], indent=1) + "\n")
    return summary(results)


def summary(results: list[Result]) -> int:
    missed = [result for result in results if result.misses]
    say(f"\n{table(results)}\n\n{len(results) - len(missed)} passed, {len(missed)} failed")
    return int(bool(missed))


if __name__ == "__main__":
    main(entry)
