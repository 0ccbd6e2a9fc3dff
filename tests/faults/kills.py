#!/usr/bin/env python3
"""Kills releases at random moments, and looks at the records that they leave.

The hosts are directories of this machine (tests/lib/fleet.py). Each release is ended by SIGKILL, at a moment of the
time that a whole one takes; the next one takes its lock and is killed as well; after every tenth one goes on to its
end. Passes when every record is a valid beginning of one at all times, every release that was not killed went live on
all hosts, and in the end each record is closed, entered in the ledger, and as it was written.
"""

from __future__ import annotations

import argparse
import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))

from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import faults, read  # noqa: E402  the path comes first
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory  # noqa: E402
from fleet import HOSTS, Fleet  # noqa: E402

WHOLE_EVERY = 10


class Killing:
    def __init__(self, fleet: Fleet, seconds: float, dice: random.Random) -> None:
        self.fleet, self.seconds, self.dice = fleet, seconds, dice
        self.problems: list[str] = []

    def records(self) -> set[Path]:
        return {path for path in self.fleet.recorded() if path.suffix == ".jsonl"}

    def kill(self, version: str) -> str:
        """Kill a release; return the last phase that its record has."""
        before = self.records()
        words = ["-e", f"release_version={version}", "-e", "release_force=true"]
        process = subprocess.Popen(
            ["ansible-playbook", ROOT / "release.yml", "-i", self.fleet.home / "inventories/production", *words],
            cwd=self.fleet.home,
            env=self.fleet.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(self.dice.uniform(0, self.seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        self.check()
        entries = [line for path in self.records() - before for line in path.read_bytes().splitlines()]
        return entries[-1].partition(b'"phase":"')[2].partition(b'"')[0].decode() or "run" if entries else "nothing"

    def check(self) -> None:
        for path in self.records():
            found = list(faults(path.read_bytes()))
            # What was being written when the kill came: nothing of a line, or its beginning without its end.
            if found and not (len(found) == 1 and not path.read_bytes().endswith(b"\n")):
                self.problems.append(f"{path.name}: {found}")

    def whole(self, version: str) -> None:
        run = self.fleet.release(version, "-e", "release_force=true")
        if run.status or len(set(run.live.values())) != 1:
            self.problems.append(f"{version} ended with {run.status}, live: {run.live}\n{run.output}{run.error}")

    def end(self) -> None:
        found = verify_directory(str(self.fleet.records), "", False)
        self.problems += [fault["text"] for fault in found.faults]
        self.problems += [note for note in found.notes if "being written" in note or "not in" in note]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--releases", type=int, default=100, help="releases to kill (100)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments")
    wanted = parser.parse_args()
    print(f"Killing {wanted.releases} releases, seed {wanted.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        fleet = Fleet(Path(directory))
        try:
            fleet.lay_out()
            began = time.monotonic()
            first = fleet.release("v1")
            if first.status:
                sys.exit(first.output + first.error)
            seconds = time.monotonic() - began
            killing = Killing(fleet, seconds, random.Random(wanted.seed))  # noqa: S311  moments, not secrets
            reached: collections.Counter[str] = collections.Counter()
            for number in range(1, wanted.releases + 1):
                reached[killing.kill(("v1", "v2")[number % 2])] += 1
                if number % WHOLE_EVERY == 0 or number == wanted.releases:
                    killing.whole("v2")
                    print(f"  {number} killed, {len(killing.problems)} problems", flush=True)
            killing.end()
            closed = [entry["data"]["outcome"] for entry in read(str(fleet.records / "ledger.jsonl"))]
        finally:
            fleet.close()
    print(f"The record of the killed ended with: {', '.join(f'{name} {n}' for name, n in reached.most_common())}")
    print(
        f"{len(HOSTS)} hosts, {seconds:.1f} s for a whole release; in the ledger: {dict(collections.Counter(closed))}"
    )
    for problem in killing.problems:
        print(f"  - {problem}")
    print(f"{wanted.releases} killed, {len(killing.problems)} problems")
    return int(bool(killing.problems))


if __name__ == "__main__":
    sys.exit(main())
