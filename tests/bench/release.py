#!/usr/bin/env python3
"""What a release costs: seconds of each phase and module runs on each host.

Releases v1.0.0 and v1.1.0 in turn onto the hosts of an inventory, inventories/demo unless another is named.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(
    playbook: str, inventory: str, work: Path, *arguments: str
) -> tuple[float, collections.Counter[tuple[str, str]], dict[str, int]]:
    """Seconds, module runs by host and module, and tasks by host."""
    counts = work / "counts"
    counts.write_text("")
    env = {
        **os.environ,
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "slipway.laravel.release_record,count_modules",
        "SLIPWAY_BENCH_FILE": str(counts),
        "SLIPWAY_RECORDS_DIR": str(work / "records"),
    }
    started = time.monotonic()
    argv = ["ansible-playbook", playbook, "-i", inventory, *arguments]
    done = subprocess.run(
        argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=900
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{' '.join(argv)} exited {done.returncode}\n{done.stdout[-4000:]}")
    lines = [line.split() for line in counts.read_text().splitlines()]
    counted = collections.Counter((host, re.sub(r"^ansible\.(builtin|legacy)\.", "", name)) for host, name in lines)
    recap = re.findall(r"^(\S+) +: ok=(\d+) .*skipped=(\d+)", done.stdout, re.MULTILINE)
    return seconds, counted, {host: int(ok) + int(skipped) for host, ok, skipped in recap}


def phases(work: Path) -> list[tuple[str, str, float]]:
    """Phase, host and seconds from the newest record."""
    newest = max(work.glob("records/*/[0-9]*.jsonl"), key=lambda path: path.stat().st_mtime)
    entries = [json.loads(line) for line in newest.read_text().splitlines()]
    found = [entry["data"] for entry in entries if entry["event"] == "phase"]
    return [(phase["phase"], phase["host"], float(phase["seconds"])) for phase in found]


def show(title: str, seconds: float, counts: collections.Counter[tuple[str, str]], tasks: dict[str, int]) -> None:
    print(f"\n{title}: {seconds:.1f} s; tasks: {', '.join(f'{host} {number}' for host, number in tasks.items())}")
    for host in sorted({host for host, _name in counts}):
        of_host = {name: number for (one, name), number in counts.items() if one == host}
        names = ", ".join(f"{name} {number}" for name, number in sorted(of_host.items()))
        print(f"  {host}: {sum(of_host.values())} module runs ({names})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--inventory", default="inventories/demo")
    parser.add_argument("-n", "--rounds", type=int, default=2, help="rounds of both releases (2)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        slowest = {}
        for number in range(args.rounds):
            for version in ("v1.0.0", "v1.1.0"):
                extra = ["-e", f"release_version={version}", "-e", "release_force=true"]
                seconds, counts, tasks = run("release.yml", args.inventory, work, *extra)
                slowest[version] = max(slowest.get(version, 0.0), seconds)
                print(f"round {number + 1}: {version} {seconds:.1f} s", flush=True)
        show(f"release v1.1.0 (slowest {slowest['v1.1.0']:.1f} s), the last one", seconds, counts, tasks)
        for phase, host, spent in phases(work):
            print(f"    {phase:10} {host:12} {spent:7.2f} s")
        show("rollback", *run("rollback.yml", args.inventory, work))
        show("site, nothing to change", *run("site.yml", args.inventory, work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
