"""The demo on real hosts in Docker, reached over SSH, and what a release costs there."""

from __future__ import annotations

import collections
import re
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[1] / "bench" / "callback_plugins"


def leave(checkout: Any) -> None:
    """The hosts go; the images stay, since other tests and the demo of the real checkout use them."""
    if (checkout.root / ".venv/bin/python").exists():
        checkout.run(".venv/bin/python", "lab/lab", "clean", status=None)


def test_demo_ends_with_an_address_that_answers(checkout: Any) -> None:
    told = checkout.run("make", "demo", minutes=15)
    checkout.url = re.search(r"URL +(http://\S+?)/?\n", told)[1]
    release = checkout.get("/release")
    assert release["version"] == "v1.0.0"
    assert release["release"] in told
    assert (checkout.root / "records/demo" / f"{release['release']}.jsonl").is_file()
    assert not (checkout.root / ".venv/bin/ansible-lint").exists(), "the demo does not install what only tests need"


def test_second_demo_changes_nothing(checkout: Any) -> None:
    before = checkout.get("/release")["release"]
    told = checkout.run("make", "demo")
    assert "0 tasks changed something" in told
    assert checkout.get("/release")["release"] == before


def test_release_keeps_within_its_price(checkout: Any) -> None:
    counts = checkout.root / "counts"
    checkout.play(
        "release.yml",
        "demo",
        "-e",
        "release_version=v1.1.0",
        ANSIBLE_CALLBACK_PLUGINS=str(BENCH),
        ANSIBLE_CALLBACKS_ENABLED="count_modules",
        SLIPWAY_BENCH_FILE=str(counts),
    )
    assert checkout.get("/release")["version"] == "v1.1.0"
    runs = collections.Counter(line.split()[0] for line in counts.read_text().splitlines())
    assert runs["demo-app"] <= 8, "a host that builds and migrates has at most 8 module runs"


def test_rollback(checkout: Any) -> None:
    checkout.play("rollback.yml", "demo")
    assert checkout.get("/release")["version"] == "v1.0.0"
