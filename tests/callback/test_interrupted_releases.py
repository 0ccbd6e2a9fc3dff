"""Kills and interrupts releases in the middle, and looks at what the next ones make of their records."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import faults, read
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory
from fleet import ROOT, Fleet


class Stage:
    def __init__(self, home):
        self.home, self.fleet = home, Fleet(home)
        self.fleet.lay_out()

    def stopped(self, hook, number, version="v1", **variables):
        """Begin a release, and send its process a signal when it gets to a hook."""
        reached = self.home / "reached"
        reached.unlink(missing_ok=True)
        wait = {hook: [{"command": ["/bin/sh", "-c", f"touch {reached}; exec sleep 20"], "hosts": "localhost"}]}
        variables = {"release_version": version, "release_hooks": wait, **variables}
        before, inventory = self.fleet.recorded(), self.home / "inventories/production"
        process = subprocess.Popen(
            ["ansible-playbook", ROOT / "release.yml", "-i", inventory, "-e", json.dumps(variables)],
            cwd=self.home,
            env=self.fleet.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        while not reached.exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        self.notes = verify_directory(str(self.fleet.records), "", False).notes if self.fleet.records.is_dir() else []
        process.send_signal(number)
        output = process.communicate()[0]
        added = sorted(path for path in self.fleet.recorded() - before if path.suffix == ".jsonl")
        return output, added

    def ledger(self):
        path = self.fleet.records / "ledger.jsonl"
        return read(str(path)) if path.exists() else []

    def close(self):
        self.fleet.close()


def events(path):
    return [entry["event"] for entry in read(str(path)) if entry["event"] not in ("phase", "failure")]


def outcomes(path):
    return [entry["data"]["outcome"] for entry in read(str(path)) if entry["event"] == "outcome"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What an operator could go through, in this order."""
    stage = Stage(tmp_path_factory.mktemp("fleet"))
    runs = {"stage": stage}
    runs["killed"] = stage.stopped("after_stage", signal.SIGKILL)
    (path,) = runs["killed"][1]
    runs["notes"] = stage.notes
    runs["prefix"] = path.read_bytes()
    runs["resumed"] = stage.fleet.release("v1", "-e", "release_resume=true")
    runs["record of resumed"] = path.read_bytes()
    runs["killed again"] = stage.stopped("after_build", signal.SIGKILL, "v2")
    runs["next"] = stage.fleet.release("v2")
    runs["interrupted"] = stage.stopped("after_stage", signal.SIGINT, "v3-is-not-well")
    runs["verified"] = verify_directory(str(stage.fleet.records), "", False)
    yield runs
    stage.close()


def test_a_killed_run_leaves_a_valid_prefix(runs):
    assert list(faults(runs["prefix"])) == []
    entries = [json.loads(line) for line in runs["prefix"].splitlines()]
    assert entries[0]["event"] == "run"
    assert {entry["event"] for entry in entries[1:]} == {"phase"}
    assert "is being written: a run is at work" in runs["notes"][0]


def test_a_resumed_release_goes_on_in_the_same_record(runs):
    run = runs["resumed"]
    assert run.status == 0, run.output
    (path,) = runs["killed"][1]
    assert [path.suffix for path in run.files] == [".md"], "it has no record of its own"
    assert runs["record of resumed"].startswith(runs["prefix"])
    assert events(path) == ["run", "resumed", "run", "outcome"]
    entries = read(str(path))
    assert entries[-1]["data"]["outcome"] == "success"
    assert entries[-1]["data"]["release"] == path.stem == run.live["web1"]
    times = [entry["time"] for entry in entries]
    assert times[0] < times[-1]


def test_the_next_release_closes_the_record_of_a_killed_one(runs):
    run = runs["next"]
    assert run.status == 0, run.output
    (killed,) = runs["killed again"][1]
    assert events(killed) == ["run", "outcome"]
    assert outcomes(killed) == ["killed"]
    assert read(str(killed))[-1]["data"] == {
        "outcome": "killed",
        "release": killed.stem,
        "closed_by": run.live["web1"],
    }
    assert (killed.with_suffix(".md")).read_text().startswith("# Release v2: killed\n")
    assert "<title>Release v2: killed" in killed.with_suffix(".html").read_text()
    assert f"closed {killed}, whose run was killed" in " ".join(run.error.split())
    assert run.entries[-1]["data"]["outcome"] == "success"


def test_an_interrupted_release_closes_its_own_record(runs):
    output, (path,) = runs["interrupted"]
    assert outcomes(path) == ["killed"], output
    assert read(str(path))[-1]["data"]["interrupted"] is True
    assert output.count("killed: ") == 1


def test_in_the_end_every_record_is_in_the_ledger(runs):
    assert runs["verified"].faults == []
    assert [entry["data"]["outcome"] for entry in runs["stage"].ledger()] == ["success", "success", "killed", "killed"]
