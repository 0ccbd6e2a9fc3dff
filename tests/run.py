#!/usr/bin/env python3
"""Runs the layers of the test suite, each alone or all together, and sums them up.

Output of each step goes to .cache/test/<step>.log; the end of it is shown when the step fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "test"
VERDICT = LOGS / "verdict"
DISTROS = ["debian12", "debian13"]
# The framework is packaged as Laravel 8, 10 and 13; in a run of all, hosts run the first two.
FRAMEWORKS = ["debian12", "debian13", "sid"]
FRAMEWORKS_IN_ALL = ["sid"]
# Two cores do not manage every scenario on every distribution in the time that a run may take. A run of all has
# roles alone on Debian 13 and the site, with the defaults of all roles, on Debian 12; the demo is the site on 13, and
# "release" a small fleet. What has many hosts or takes longest (seven hosts, an attacker, npm, MySQL from sid), what
# the site has whole (hardening, PHP-FPM, nginx, MySQL, Redis, programs, workers, scheduler), and what is one more
# program like those (Horizon, Reverb) runs when it is named, and so does a scenario on all of its hosts.
USUAL = ["debian13"]
IN_ALL: dict[str, list[str]] = {
    "default": ["debian12"],
    "fleet": [],
    "base": [],
    "base_firewall": [],
    "horizon": [],
    "mysql": [],
    "mysql_sid": [],
    "nginx": [],
    "node": [],
    "php_fpm": [],
    "postgresql": [],
    "release_node": [],
    "queue_worker": [],
    "redis": [],
    "reverb": [],
    "scheduler": [],
    "supervisor": [],
}
# These begin first, so that the short ones fill the gaps and nobody waits for one at the end.
LONGEST = ["molecule-default", "releases", "unit", "molecule-release", "records", "signoffs", "demo"]
SIGNOFFS = ["test_later_signoffs", "test_notifications", "test_signoffs"]
DOCKER_LAYERS = ["application", "molecule", "demo"]
COLOUR = r"\x1b\[[0-9;]*m"
IN_CI = os.environ.get("CI") == "true"

Count = tuple[int, int]


@dataclasses.dataclass
class Step:
    """One command; its count is one check unless a counter reads a better number from its output."""

    name: str
    argv: list[str]
    minutes: float = 5
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    counter: Callable[[str, int], Count] | None = None
    progress: str = ""

    def count(self, output: str, status: int) -> Count:
        passed, failed = self.counter(output, status) if self.counter else (int(status == 0), int(status != 0))
        # A command that failed without a failed check in its count did not get as far as counting.
        return (passed, failed) if (status == 0) == (failed == 0) else (passed, failed + 1)


def count_junit(*paths: Path) -> Callable[[str, int], Count]:
    def count(_output: str, _status: int) -> Count:
        cases = failed = skipped = 0
        for path in (path for path in paths if path.is_file()):
            for suite in ElementTree.parse(path).getroot().iter("testsuite"):  # noqa: S314  written by our own pytest
                cases += int(suite.get("tests", 0))
                failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
                skipped += int(suite.get("skipped", 0))
        return cases - failed - skipped, failed

    return count


def count_sanity(output: str, _status: int) -> Count:
    total = len(re.findall(r"^Running sanity test", output, re.MULTILINE))
    verdict = re.search(r"The (\d+) sanity test\(s\) listed below", output)
    failed = int(verdict.group(1)) if verdict else 0
    return total - failed, failed


def count_closing_lines(output: str, _status: int) -> Count:
    found = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    return sum(int(passed) for passed, _failed in found), sum(int(failed) for _passed, failed in found)


def pytest_step(name: str, *paths: str, minutes: float = 10, options: Sequence[str] = ()) -> Step:
    report = LOGS / f"{name}.xml"
    existing = [path for path in paths if (ROOT / path).exists()]
    argv = ["python", "-m", "pytest", "-q", "--color=no", "--durations=15", f"--junitxml={report}", *options, *existing]
    return Step(name, argv, minutes, counter=count_junit(report))


def lint_steps() -> list[Step]:
    mypy_root = ROOT / ".cache" / "mypy" / "ansible_collections" / "slipway"
    mypy_root.mkdir(parents=True, exist_ok=True)
    link = mypy_root / "laravel"
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(ROOT, mypy_root))
    return [
        Step("yamllint", ["yamllint", "--strict", "."]),
        Step("ansible-lint", ["ansible-lint", "--offline", "--nocolor"], env={"ANSIBLE_LINT_NODEPS": "1"}),
        Step("ruff-check", ["ruff", "check", "."]),
        Step("ruff-format", ["ruff", "format", "--check", "."]),
        Step("mypy", ["mypy", "-p", "ansible_collections.slipway.laravel.plugins"]),
        Step("mypy-tools", ["mypy", "--ignore-missing-imports", "tests/run.py", "tests/docs.py"]),
        Step("changelog", ["antsibull-changelog", "lint"]),
    ]


def molecule_steps(scenario: str, distros: list[str]) -> list[Step]:
    """The scenario of a role has a host of each distribution, or the one that is asked for."""
    folders = sorted(path.parent for path in (ROOT / "molecule").glob("*/molecule.yml"))
    steps = []
    for folder in folders:
        if scenario not in ("", folder.name):
            continue
        text = (folder / "molecule.yml").read_text()
        one_host = "SLIPWAY_IMAGE:" in text
        # Hosts of its own are all needed.
        selectable = one_host or not re.search("^platforms:", text, re.MULTILINE)
        named = DISTROS if one_host else [""]
        chosen = named if scenario else IN_ALL.get(folder.name, USUAL if selectable else named)
        for distro in (distros if selectable else []) or chosen:
            name = f"{folder.name}-{distro}" if distro else folder.name
            reports = ROOT / ".cache" / "molecule" / name
            steps.append(
                Step(
                    f"molecule-{name}",
                    ["tests/molecule", folder.name, *([distro] if distro else [])],
                    minutes=35,
                    env={} if scenario else {"SLIPWAY_TAKEOVERS": "deployer"},
                    counter=count_junit(*(reports / f"{part}.xml" for part in ("fresh", "verify"))),
                    progress=r"(?:INFO|ERROR) +\[\w+ > \w+\] .*Executed|=+ .*(?:passed|failed)",
                )
            )
    if not steps:
        sys.exit(f"There is no Molecule scenario {scenario}; there are {', '.join(f.name for f in folders)}.")
    return steps


def layer_steps(layer: str, scenario: str, distros: list[str], in_all: bool) -> list[Step]:
    match layer:
        case "lint":
            return lint_steps()
        case "sanity":
            return [Step("sanity", ["tests/sanity"], minutes=10, counter=count_sanity)]
        case "unit":
            # In two, as they take as long as all other tests of this layer together.
            signoffs = [f"tests/release/{name}.py" for name in SIGNOFFS]
            options = [f"--ignore={path}" for path in signoffs] + (["-m", "not long"] if in_all else [])
            return [
                pytest_step("records", "tests/callback", minutes=20),
                pytest_step("releases", "tests/release", minutes=30, options=options),
                pytest_step("signoffs", *signoffs, minutes=20),
                pytest_step("unit", "tests/unit", "tests/templates", minutes=20),
            ]
        case "build":
            return [pytest_step("build", "tests/build")]
        case "local":
            return [pytest_step("local", "tests/demo/test_local.py", minutes=15, options=["--exitfirst"])]
        case "demo":
            return [pytest_step("demo", "tests/demo/test_docker.py", minutes=20, options=["--exitfirst"])]
        case "application":
            frameworks = distros or (FRAMEWORKS_IN_ALL if in_all else FRAMEWORKS)
            steps = [Step(f"application-{distro}", ["tests/application", distro], 15) for distro in frameworks]
            return [dataclasses.replace(step, counter=count_closing_lines) for step in steps]
        case "molecule":
            return molecule_steps(scenario, distros)
    raise ValueError(layer)


LAYERS = ["lint", "unit", "build", "sanity", "local", "application", "molecule", "demo"]


def has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def run_step(step: Step) -> tuple[Count, float]:
    log = LOGS / f"{step.name}.log"
    started = time.monotonic()
    env = {
        **os.environ,
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_NOCOLOR": "true",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **step.env,
    }
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            step.argv,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        late = threading.Timer(step.minutes * 60, lambda: os.killpg(process.pid, signal.SIGKILL))
        late.start()
        assert process.stdout is not None
        for line in process.stdout:
            out.write(line)
            if step.progress and re.match(step.progress, line):
                said = re.sub(COLOUR, "", line).strip("= \n")
                print(f"    {step.name}: {said}", flush=True)
        status = process.wait()
        timed_out = not late.is_alive()
        late.cancel()
    seconds = time.monotonic() - started
    output = log.read_text(encoding="utf-8", errors="replace")
    count = step.count(output, status)
    verdict = "ok" if count[1] == 0 else "FAILED"
    print(f"  {verdict:6} {step.name}: {count[0]} passed, {count[1]} failed, {seconds:.1f} s", flush=True)
    if count[1]:
        reason = f"stopped after {step.minutes:g} minutes" if timed_out else f"exit status {status}"
        tail = "\n".join(f"    | {line}" for line in output.splitlines()[-60:])
        print(f"{tail}\n    {' '.join(step.argv)}: {reason}; all of it is in {log.relative_to(ROOT)}", flush=True)
    return count, seconds


def run_layers(layers: list[str], scenario: str, distros: list[str], in_all: bool) -> dict[str, tuple[Count, float]]:
    """Run all steps, as many at a time as the machine can take; returns count and seconds of work of each layer."""
    steps = [(layer, step) for layer in layers for step in layer_steps(layer, scenario, distros, in_all)]
    steps.sort(key=lambda of: next((n for n, name in enumerate(LONGEST) if of[1].name.startswith(name)), len(LONGEST)))
    # Hosts wait for packages and for each other, so one step more than cores keeps them busy.
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        outcomes = list(pool.map(run_step, [step for _layer, step in steps]))
    results: dict[str, tuple[Count, float]] = {}
    for (layer, _step), ((passed, failed), seconds) in zip(steps, outcomes, strict=True):
        before, spent = results.get(layer, ((0, 0), 0.0))
        results[layer] = ((before[0] + passed, before[1] + failed), spent + seconds)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="*", metavar="layer", help=f"of {', '.join(LAYERS)}; all when none is named")
    parser.add_argument("--scenario", default="", help="one Molecule scenario instead of all")
    parser.add_argument("--distro", default="", help="one distribution instead of all")
    args = parser.parse_args()
    unknown = set(args.layers) - set(LAYERS)
    if unknown:
        parser.error(f"no layer {', '.join(sorted(unknown))}")
    distros = [args.distro] if args.distro else []

    LOGS.mkdir(parents=True, exist_ok=True)
    VERDICT.write_text("0 passed, 1 failed\n", encoding="utf-8")  # what stands when the run is cut short
    wanted = args.layers or LAYERS
    left_out = [] if has_docker() else [layer for layer in wanted if layer in DOCKER_LAYERS]
    started = time.monotonic()
    print(f"Running {', '.join(layer for layer in wanted if layer not in left_out)}", flush=True)
    layers = [layer for layer in wanted if layer not in left_out]
    results = run_layers(layers, args.scenario, distros, in_all=not args.layers)

    print("\nlayer       passed  failed   seconds")
    for layer, ((passed, failed), seconds) in results.items():
        print(f"{layer:11} {passed:6}  {failed:6}  {seconds:8.1f}")
    print(f"{'together':11} {'':6}  {'':6}  {time.monotonic() - started:8.1f}")
    passed = sum(count[0] for count, _seconds in results.values())
    failed = sum(count[1] for count, _seconds in results.values())
    if left_out and IN_CI:
        failed += len(left_out)
        print(f"left out, which counts as failed in CI, for want of a Docker Engine: {', '.join(left_out)}")
    verdict = f"{passed} passed, {failed} failed"
    if left_out and not IN_CI:
        verdict += f"; left out for want of a Docker Engine: {', '.join(left_out)}"
    VERDICT.write_text(verdict + "\n", encoding="utf-8")
    print(verdict, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
