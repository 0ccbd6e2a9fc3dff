"""What goes wrong in the middle of a release, under requests: some of what tests/faults does to a fleet."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://laravel"]
ROOT = "/var/www/logbook"
# Waits for a phase of the run that holds the lock, and kills its Python on the host when it is told to.
WATCH = """
import json, os, pwd, signal, sys, time
root, phase, kill, deadline = *sys.argv[1:3], sys.argv[3] == "kill", time.monotonic() + 120
uid = pwd.getpwnam("deploy").pw_uid
def of_the_run(pid):
    try:
        program = open(f"/proc/{pid}/cmdline").read().split("\\0")[0]
        return os.stat(f"/proc/{pid}").st_uid == uid and os.path.basename(program).startswith("python3")
    except OSError:
        return False
while time.monotonic() < deadline:
    try:
        if json.load(open(f"{root}/.slipway/lock"))["phase"] == phase:
            break
    except (OSError, ValueError, KeyError):
        pass
    time.sleep(0.005)
else:
    sys.exit("the phase did not come")
pids = [int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if kill and of_the_run(pid)]
killed = [os.kill(pid, signal.SIGKILL) for pid in pids]
sys.exit(None if killed or not kill else "no module was at work")
"""


@pytest.fixture
def live(host):
    return lambda: Path(host.file(f"{ROOT}/current").linked_to).name


@pytest.fixture
def watched(host, call):
    """Start a release, and give its process once it is in a phase; its `output` is there when the block has ended."""

    @contextlib.contextmanager
    def run(phase, kill, *arguments):
        argv, env, cwd = call("release.yml", *arguments)
        watch = subprocess.Popen(["docker", "exec", host.backend.host, "python3", "-c", WATCH, ROOT, phase, kill])
        process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            assert watch.wait(120) == 0
            yield process
        finally:
            process.output = " ".join(process.communicate(timeout=300)[0].split())

    return run


@pytest.fixture
def under_load(load):
    return lambda: load("localhost", *(f"http://127.0.0.1{path}" for path in ("/release", "/notes", "/up")))


FORCED = ("-e", "release_version=v1.0.0", "-e", "release_force=true")


def test_controller_that_is_killed_changes_nothing_and_the_same_again_goes_on(play, watched, live, under_load, host):
    before = live()
    with under_load() as seen:
        with watched("stage", "", *FORCED) as process:
            os.killpg(process.pid, signal.SIGKILL)
        assert live() == before
        assert host.file(f"{ROOT}/.slipway/lock").exists
        released = play("release.yml", *FORCED)
    assert released.status == 0, released.errors
    assert live() != before
    assert seen.failed == {}


def test_python_that_is_killed_after_the_switch_takes_the_release_back(watched, live, under_load, host):
    before = live()
    with under_load() as seen, watched("restart", "kill", *FORCED) as process:
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
