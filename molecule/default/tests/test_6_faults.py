"""What goes wrong in the middle of a release, under requests: some of what tests/faults does to a fleet."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://laravel"]
ROOT = "/var/www/logbook"


@pytest.fixture
def live(host):
    return lambda: Path(host.file(f"{ROOT}/current").linked_to).name


@pytest.fixture
def under_load(load):
    return lambda: load("localhost", *(f"http://127.0.0.1{path}" for path in ("/release", "/notes", "/up")))


FORCED = ("-e", "release_version=v1.0.0", "-e", "release_force=true")


def test_controller_that_is_killed_changes_nothing_and_the_same_again_goes_on(play, watched, live, under_load, host):
    before = live()
    with under_load() as seen:
        with watched(host.backend.host, ROOT, "stage", "", *FORCED) as process:
            os.killpg(process.pid, signal.SIGKILL)
        assert live() == before
        assert host.file(f"{ROOT}/.slipway/lock").exists
        released = play("release.yml", *FORCED)
    assert released.status == 0, released.errors
    assert live() != before
    assert seen.failed == {}


def test_python_that_is_killed_after_the_switch_takes_the_release_back(watched, live, under_load, host):
    before = live()
    with under_load() as seen, watched(host.backend.host, ROOT, "restart", "kill", *FORCED) as process:
        pass
    assert process.returncode != 0, process.output
    assert "It was live for a moment and was taken back" in process.output
    assert live() == before
    assert seen.failed == {}
    assert not host.file(f"{ROOT}/.slipway/lock").exists


def test_release_that_is_not_well_when_it_is_live_is_taken_back(play, live, under_load):
    before = live()
    smoke = {"release_smoke": [{"path": "/", "contains": "no page has this"}], "release_timeout": 3}
    with under_load() as seen:
        refused = play("release.yml", *FORCED, "-e", json.dumps(smoke))
    assert refused.status != 0
    assert "no page has this" in " ".join(refused.errors)
    assert live() == before
    assert seen.failed == {}
