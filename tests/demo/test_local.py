"""The demo without Docker, then releases, failures and a rollback on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from typing import Any

import pytest

LIVE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
# Where the Docker Engine is looked for, so that there is none: make demo-clean must not touch the real one's images.
NO_DOCKER = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def leave(checkout: Any) -> None:
    if (checkout.root / ".demo").exists():
        checkout.run("make", "demo-clean", status=None, **NO_DOCKER)


def live(checkout: Any) -> str:
    return (checkout.root / ".demo/app/current").readlink().name


def snapshot(checkout: Any) -> tuple[str, list[str], bool]:
    app = checkout.root / ".demo/app"
    return live(checkout), sorted(path.name for path in (app / "releases").iterdir()), (app / ".slipway/lock").exists()


def test_demo_releases_without_docker(checkout: Any) -> None:
    told = checkout.run("make", "demo", "LAB=local", minutes=15)
    checkout.url = re.search(r"URL +(http://\S+?)/?\n", told)[1]
    assert checkout.get("/release")["version"] == "v1.0.0"
    assert checkout.get("/release")["release"] == live(checkout)
    assert LIVE.fullmatch(live(checkout))
    assert live(checkout) in told
    assert not (checkout.root / ".venv/bin/ansible-lint").exists(), "the demo does not install what only tests need"


def test_second_demo_finds_no_docker_and_changes_nothing(checkout: Any) -> None:
    before = snapshot(checkout)
    told = checkout.run("make", "demo", **NO_DOCKER)
    assert "No Docker Engine can be used" in told
    assert snapshot(checkout) == before


def test_release_and_rollback(checkout: Any) -> None:
    first = live(checkout)
    checkout.play("release.yml", "local", "-e", "release_version=v1.1.0")
    second = live(checkout)
    assert second != first
    assert checkout.get("/release")["release"] == second
    assert checkout.get("/release")["version"] == "v1.1.0"
    checkout.play("rollback.yml", "local")
    assert live(checkout) == first
    assert checkout.get("/release")["release"] == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "release_version is not given"),
        (["-e", "release_version=v9.9.9"], "v9.9.9 is no tag, branch or commit"),
        (["-e", "release_version=v1.1.0", "-e", "release_repository=/nowhere"], "/nowhere"),
        (["-e", "release_version=v1.2.0-failing-migration"], "migrat"),
    ],
    ids=["no version", "unknown version", "unreachable repository", "failing migration"],
)
def test_what_cannot_be_released_is_refused(checkout: Any, arguments: list[str], message: str) -> None:
    before, _releases, _lock = snapshot(checkout)
    told = checkout.play("release.yml", "local", *arguments, status=2)
    assert message in told
    assert "Traceback" not in told
    after, _releases, locked = snapshot(checkout)
    assert (after, locked) == (before, False)
    assert checkout.get("/up")["release"] == before


def test_records_are_chained(checkout: Any) -> None:
    records = list((checkout.root / "records" / "local").glob("[0-9]*.jsonl"))
    assert len(records) >= 3
    for record in records:
        previous = "0" * 64
        for line in record.read_text().splitlines():
            entry = json.loads(line)
            body = {key: value for key, value in entry.items() if key != "hash"}
            text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert entry["prev"] == previous
            assert entry["hash"] == hashlib.sha256(text.encode()).hexdigest()
            previous = entry["hash"]


def test_clean_leaves_nothing(checkout: Any) -> None:
    checkout.run("make", "demo-clean", **NO_DOCKER)
    assert not (checkout.root / ".demo").exists()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(checkout.root) not in running
