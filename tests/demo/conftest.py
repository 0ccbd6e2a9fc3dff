"""A fresh checkout for the tests of the demo, used as a newcomer uses it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Checkout:
    """A copy of what git knows or would know here, as a newcomer has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""

    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTEST_"))}
        return {**env, "ANSIBLE_NOCOLOR": "true", "ANSIBLE_INJECT_FACT_VARS": "false"}

    def run(self, *argv: str, status: int | None = 0, minutes: float = 10, **variables: str) -> str:
        env = {**self.environment(), **variables}
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

    def play(self, playbook: str, inventory: str, *arguments: str, status: int = 0, **variables: str) -> str:
        program = ".venv/bin/ansible-playbook"
        return self.run(program, playbook, "-i", f"inventories/{inventory}", *arguments, status=status, **variables)

    def get(self, path: str) -> dict:
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


@pytest.fixture(scope="module")
def checkout(request: pytest.FixtureRequest) -> Iterator[Checkout]:
    """Its path has a space. The module's leave(checkout) ends what still runs there."""
    place = ROOT / ".cache" / "demo" / f"fresh checkout {request.module.__name__.rsplit('_', 1)[-1]}"
    leave = request.module.leave
    if place.exists():
        leave(Checkout(place))
        shutil.rmtree(place)
    place.mkdir(parents=True)
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name, follow_symlinks=False)
    checkout = Checkout(place)
    yield checkout
    leave(checkout)
    shutil.rmtree(place)
