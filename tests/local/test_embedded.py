"""make demo LAB=local from a fresh checkout whose path has a space; then releases, failures and a rollback there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIVE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


class Checkout:
    """A copy of what git knows or would know here, as a newcomer has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""

    def run(self, *argv: str, status: int | None = 0, minutes: float = 10) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTEST_"))}
        env |= {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_INJECT_FACT_VARS": "false"}
        done = subprocess.run(
            argv,
            cwd=self.root,
            env=env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=minutes * 60,
            check=False,
        )
        print(f"$ {' '.join(argv)}\n{done.stdout}")
        if status is not None:
            assert done.returncode == status, f"{' '.join(argv)} exited {done.returncode}\n{done.stdout[-3000:]}"
        return done.stdout

    def play(self, playbook: str, *arguments: str, status: int | None = 0) -> str:
        return self.run(".venv/bin/ansible-playbook", playbook, "-i", "inventories/local", *arguments, status=status)

    def get(self, path: str) -> dict:
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    @property
    def live(self) -> str:
        return (self.root / ".demo/app/current").readlink().name

    def snapshot(self) -> tuple[str, list[str], bool]:
        app = self.root / ".demo/app"
        return self.live, sorted(path.name for path in (app / "releases").iterdir()), (app / ".slipway/lock").exists()


@pytest.fixture(name="checkout", scope="module")
def make_checkout() -> Iterator[Checkout]:
    place = ROOT / ".cache" / "local" / "fresh checkout"
    if place.exists():
        leave(Checkout(place))
    place.mkdir(parents=True)
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name, follow_symlinks=False)
    checkout = Checkout(place)
    yield checkout
    leave(checkout)


def leave(checkout: Checkout) -> None:
    if (checkout.root / ".demo").exists():
        checkout.run("make", "demo-clean", status=None)
    shutil.rmtree(checkout.root)


def test_demo_releases_without_docker(checkout: Checkout) -> None:
    told = checkout.run("make", "demo", "LAB=local", minutes=15)
    checkout.url = re.search(r"URL +(http://\S+?)/?\n", told)[1]
    assert checkout.get("/release")["version"] == "v1.0.0"
    assert checkout.get("/release")["release"] == checkout.live
    assert LIVE.fullmatch(checkout.live)
    assert checkout.live in told
    assert not (checkout.root / ".venv/bin/ansible-lint").exists(), "the demo does not install what only tests need"


def test_second_demo_is_quick_and_changes_nothing(checkout: Checkout) -> None:
    before, started = checkout.snapshot(), time.monotonic()
    checkout.run("make", "demo", "LAB=local")
    assert checkout.snapshot() == before
    assert time.monotonic() - started < 30


def test_release_and_rollback(checkout: Checkout) -> None:
    first = checkout.live
    checkout.play("release.yml", "-e", "release_version=v1.1.0")
    second = checkout.live
    assert second != first
    assert checkout.get("/release")["release"] == second
    assert checkout.get("/release")["version"] == "v1.1.0"
    checkout.play("rollback.yml")
    assert checkout.live == first
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
def test_what_cannot_be_released_is_refused(checkout: Checkout, arguments: list[str], message: str) -> None:
    live, _releases, _lock = checkout.snapshot()
    told = checkout.play("release.yml", *arguments, status=2)
    assert message in told
    assert "Traceback" not in told
    after, _releases, locked = checkout.snapshot()
    assert (after, locked) == (live, False)
    assert checkout.get("/up")["release"] == live


def test_records_are_chained(checkout: Checkout) -> None:
    records = list((checkout.root / "records" / "local").glob("*.jsonl"))
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


def test_clean_leaves_nothing(checkout: Checkout) -> None:
    checkout.run("make", "demo-clean")
    assert not (checkout.root / ".demo").exists()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(checkout.root) not in running
