#!/usr/bin/env python3
"""Many releases in a row onto the site of the matrix, under load and with jobs for the workers throughout.

Passes when no request failed, each host showed the releases in their order, and every job that was dispatched was done.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import threading
import time

import lab_site as site
import load
import run
from labkit.common import LabError, lock, main, say, wait_for

# Jobs a second; each is a note that the application writes and a worker marks.
JOBS = 2


class Jobs:
    """Dispatches jobs by way of the application until it is stopped; ``made`` has the note of each."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        addresses = list(site.addresses().values())
        while not self._stop.wait(1 / JOBS):
            address = addresses[len(self.made) % len(addresses)]
            try:
                self.made.append(self._dispatch(address))
            except (OSError, http.client.HTTPException, ValueError, KeyError) as exc:
                self.failures.append(f"{type(exc).__name__}: {exc}")

    @staticmethod
    def _dispatch(address: str) -> int:
        connection = http.client.HTTPConnection(address, timeout=load.TIMEOUT)
        try:
            headers = {"Host": "localhost", "Accept": "application/json", "Content-Type": "application/json"}
            connection.request("POST", "/notes", json.dumps({"body": "Written by the endurance run"}), headers)
            response = connection.getresponse()
            body = response.read()
            if response.status != 201:
                raise ValueError(f"POST /notes answered {response.status}: {body[:200]!r}")
            return int(json.loads(body)["note"]["id"])
        finally:
            connection.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def done_of(notes: list[int]) -> int:
    """How many of these notes a worker has handled."""
    handled = site.sql("SELECT id FROM notes WHERE handled_at IS NOT NULL").split()
    return len(set(notes).intersection(map(int, handled)))


def failed_jobs() -> int:
    return int(site.sql("SELECT COUNT(*) FROM failed_jobs").strip())


def entry(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--releases", type=int, default=50, help="releases in a row (50)")
    wanted = parser.parse_args(argv).releases
    with lock():
        site.up()
        run.settle()
        return endure(wanted)


def endure(wanted: int) -> int:
    folder = site.WORK / "endurance"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = site.look(site.APPS[0])
    order, versions = [found["live"]], sorted(run.WELL, key=lambda name: name == found["version"])
    failed_before = failed_jobs()
    requests, jobs = run.Load(folder), Jobs()
    seconds = []
    try:
        for number in range(wanted):
            started = time.monotonic()
            release = run.Release(folder, f"{number + 1:03}", versions[number % 2], {})
            if release.wait():
                raise LabError(f"Release {number + 1} failed, see {release.log}")
            seconds.append(time.monotonic() - started)
            order.append(release.release())
            say(f"{number + 1:3}. {order[-1]} ({versions[number % 2]}) {seconds[-1]:.1f} s")
    except KeyboardInterrupt:
        say("Ended early; what was done so far counts.")
        order.append(release.release())
    finally:
        jobs.stop()
        answers = requests.stop()
    wait_for(lambda: done_of(jobs.made) == len(jobs.made), 60, 1)
    failed, mixed = load.problems(answers, order)
    done, lost = done_of(jobs.made), failed_jobs() - failed_before
    say(
        f"\n{len(seconds)} releases in {sum(seconds):.0f} s; {len(answers)} requests, {len(failed)} failed, "
        f"{len(mixed)} out of order or mixed; {len(jobs.made)} jobs dispatched, {len(jobs.failures)} refused, "
        f"{done} done, {lost} failed"
    )
    shown = [*[f"{a.host}{a.path}: {a.status} {a.error} {a.missing or ''}" for a in failed], *mixed, *jobs.failures]
    for text in shown[:20]:
        say(f"  - {text}")
    return int(bool(shown) or done != len(jobs.made) or lost > 0)


if __name__ == "__main__":
    main(entry)
