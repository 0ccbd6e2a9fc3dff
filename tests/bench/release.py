#!/usr/bin/env python3
"""What a release costs beside the bare script that does the same steps, and where the time goes.

The same version of the sample application is released onto the same hosts in Docker by

script    tests/bench/release.sh over SSH, on all hosts at once: what has to be done, and nothing else. It builds on
          each host, as such scripts do.
floor     a playbook whose one task is that script: what Ansible itself costs
release   release.yml, with every check, the probe, the proof of the workers, and the record; all of it built anew
reuse     release.yml where vendor/ and the front end did not change, so that it need not build them again; only with
          a front end

in turn within each round, so that all of them meet the same machine. Figures are medians of the rounds; a multiple is
taken within a round. Each run connects anew. What runs before the first round warms up, and counts module runs, which
costs a little.

Sizes of the application: small has no front end to build; large has a real one, whose 6000 modules (generated, but
bundled by Vite in earnest) and packages keep a processor busy for 20 s or so; waiting stands in for a build as long as
that which needs no processor: it sleeps 20 s. The hosts share the processors of this machine: with large, builds on
several hosts are in each other's way, which they are not on machines of their own; with waiting, they are not.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_site as site
from labkit.common import LabError, lock, main, say

SIZES = ("small", "large", "waiting")
# About twenty minutes on two processors.
USUAL = {"small": ([1, 4, 8], 3), "large": ([1, 2], 1), "waiting": ([1, 2], 1)}


@dataclasses.dataclass
class Cost:
    """What one run took: seconds, those of processors here and on the hosts, and those of each phase."""

    wall: float
    controller: float
    targets: float
    phases: dict[str, float]


class Bench:
    """Releases one size onto a number of hosts."""

    def __init__(self, size: str, count: int, work: Path) -> None:
        self.size, self.work = size, work
        self.hosts = [f"app{number}" for number in range(1, count + 1)]
        self.ways: dict[str, Callable[[str], None]] = {
            "script": self.script,
            "floor": lambda version: self.play("tests/bench/floor.yml", version),
            "release": lambda version: self.play("release.yml", version, "-e", "release_reuse=false"),
        }
        if size != "small":
            self.ways["reuse"] = lambda version: self.play("release.yml", version)
        self.number = 0
        self.environment: dict[str, str] = {}

    def script(self, version: str) -> None:
        text = (site.HERE / "release.sh").read_bytes()
        config = str(site.site(0).ssh_config)
        running = []
        for host in self.hosts:
            migrate = "yes" if host == self.hosts[0] else "no"
            argv = ["ssh", "-F", config, host, "sudo", "-u", "deploy", "bash", "-s", version, migrate]
            one = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert one.stdin
            one.stdin.write(text)
            one.stdin.close()
            running.append(one)
        for host, one in zip(self.hosts, running, strict=True):
            assert one.stdout
            said = one.stdout.read()
            if one.wait():
                raise LabError(f"The script failed on {host}:\n{said.decode()[-3000:]}")

    def play(self, playbook: str, version: str, *words: str) -> None:
        argv = [str(site.ROOT / ".venv/bin/ansible-playbook"), playbook, "-i", str(site.INVENTORY)]
        everybody = ",".join(f"app{number}" for number in range(1, site.MOST + 1))
        argv += ["--limit", ",".join(self.hosts), "-e", f"release_version={version}"]
        argv += ["-e", f"release_left_out={everybody}", *words]
        with tempfile.TemporaryDirectory(prefix="bench") as control:
            done = subprocess.run(
                argv, cwd=site.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                stdin=subprocess.DEVNULL, timeout=1800,
                env={
                    # Where people work, Python keeps what it has compiled.
                    **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
                    "PATH": f"{site.ROOT}/.venv/bin:{os.environ['PATH']}",
                    "SLIPWAY_RECORDS_DIR": str(self.work / "records"),
                    # A kept connection of the run before would be found there.
                    "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
                    **self.environment,
                },
            )  # fmt: skip
        if done.returncode:
            raise LabError(f"{' '.join(argv)} exited {done.returncode}:\n{done.stdout[-4000:]}")

    def run(self, way: str) -> Cost:
        """Release the version that is not live."""
        self.number += 1
        records = self.work / "records"
        shutil.rmtree(records, ignore_errors=True)
        used, here, started = self.targets(), self.controller(), time.monotonic()
        self.ways[way](f"{self.size}-{self.number % 2 + 1}")
        wall = time.monotonic() - started
        phases = next((outcome(path) for path in records.glob("*/[0-9]*.jsonl")), {})
        return Cost(wall, self.controller() - here, self.targets() - used, phases)

    def targets(self) -> float:
        return sum(site.processor_seconds(host) for host in self.hosts)

    @staticmethod
    def controller() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def warm_up(self) -> dict[str, collections.Counter[str]]:
        """Release once each way, or fill the store of what a build may use again; count module runs by host."""
        counted: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        counts = self.work / "counts"
        for way in self.ways if self.size == "small" else ["reuse"]:
            counts.write_text("")
            self.environment = {
                "ANSIBLE_CALLBACK_PLUGINS": str(site.HERE / "callback_plugins"),
                "ANSIBLE_CALLBACKS_ENABLED": "slipway.laravel.release_record,count_modules",
                "SLIPWAY_BENCH_FILE": str(counts),
            }
            self.run(way)
            if way in ("release", "reuse"):
                for host, name in (line.split() for line in counts.read_text().splitlines()):
                    counted[host][re.sub(r"^(ansible\.(builtin|legacy)|slipway\.laravel)\.", "", name)] += 1
        self.environment = {}
        return counted


def outcome(path: Path) -> dict[str, float]:
    """Seconds of the phases from a record: of the module alone, on the host where it took longest."""
    longest: dict[str, float] = {}
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for phase in (entry["data"] for entry in entries if entry["event"] == "phase"):
        longest[phase["phase"]] = max(longest.get(phase["phase"], 0.0), float(phase["seconds"]))
    return longest


def middle(values: list[float]) -> float:
    return statistics.median(values)


def measure(size: str, count: int, rounds: int, work: Path) -> dict[str, Any]:
    bench = Bench(size, count, work)
    say(f"\n{size}, {count} host{'s' if count > 1 else ''}: warming up ...")
    counted = bench.warm_up()
    costs: dict[str, list[Cost]] = {way: [] for way in bench.ways}
    for number in range(1, rounds + 1):
        for way in bench.ways:
            costs[way].append(bench.run(way))
        say(f"  round {number}: " + ", ".join(f"{way} {found[-1].wall:.1f} s" for way, found in costs.items()))
    ratios = {
        way: middle([cost.wall / base.wall for cost, base in zip(found, costs["script"], strict=True)])
        for way, found in costs.items()
    }
    say("            wall s   multiple   CPU s here   CPU s hosts")
    for way, found in costs.items():
        say(
            f"  {way:9} {middle([c.wall for c in found]):7.1f} {ratios[way]:10.2f} "
            f"{middle([c.controller for c in found]):12.1f} {middle([c.targets for c in found]):13.1f}"
        )
    for way in ("release", "reuse"):
        if way in costs:
            phases = {name: middle([c.phases[name] for c in costs[way]]) for name in costs[way][0].phases}
            rest = middle([c.wall - sum(c.phases.values()) for c in costs[way]])
            listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in phases.items())
            say(f"  where {way} spends it: {listed} s; Ansible and the way there {rest:.2f} s")
    for host, names in sorted(counted.items()):
        listed = ", ".join(f"{name} {number}" for name, number in sorted(names.items()))
        say(f"  module runs on {host}: {sum(names.values())} ({listed})")
    return {"size": size, "hosts": count, "rounds": rounds, "multiples": ratios}


def table(results: list[dict[str, Any]]) -> str:
    ways = ["script", "floor", "release", "reuse"]
    lines = ["multiples of the script", "size       hosts" + "".join(f"{way:>10}" for way in ways)]
    for result in results:
        cells = [f"{result['multiples'][way]:10.2f}" if way in result["multiples"] else " " * 10 for way in ways]
        lines.append(f"{result['size']:10} {result['hosts']:5}" + "".join(cells).rstrip())
    return "\n".join(lines)


def entry(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", "--size", action="append", choices=SIZES, help="size of the application, may be repeated")
    parser.add_argument("-H", "--hosts", action="append", type=int, choices=range(1, site.MOST + 1), metavar="N",
                        help="number of hosts, may be repeated")  # fmt: skip
    parser.add_argument("-n", "--rounds", type=int, help="rounds of all ways")
    arguments = parser.parse_args(argv)
    plan = [
        (size, count, arguments.rounds or USUAL[size][1])
        for size in arguments.size or SIZES
        for count in arguments.hosts or USUAL[size][0]
    ]
    with lock(), tempfile.TemporaryDirectory() as folder:
        site.up(max(count for _size, count, _rounds in plan))
        started = time.monotonic()
        results = [measure(*what, Path(folder)) for what in plan]
        say(f"\n{table(results)}\n\nmeasured in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(entry))
