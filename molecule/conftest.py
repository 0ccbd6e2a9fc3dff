"""Fixtures of all scenarios: playbooks are run as an operator runs them, and the hosts are asked what became of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[1]
WORK = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
RECORDS = WORK / "records"

# Runs on the host with nothing but Python: method, URL, headers and body in, status, headers and body out.
REQUEST = """
import json, sys, urllib.error, urllib.request
method, url, headers, body = json.loads(sys.argv[1])
request = urllib.request.Request(url, method=method, headers=headers, data=body.encode() if body else None)
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
headers = {name.lower(): value for name, value in answer.headers.items()}
print(json.dumps([answer.status, headers, answer.read().decode(errors="replace")]))
"""


@dataclasses.dataclass
class Play:
    """Outcome of a run of ansible-playbook."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", self.output))

    @property
    def changes(self) -> str:
        """The tasks that changed something, for the message of a failed test."""
        parts = re.split(r"^(?=TASK |RUNNING HANDLER )", self.output, flags=re.MULTILINE)
        return "\n".join(part for part in parts if re.search(r"^changed: ", part, re.MULTILINE))

    @property
    def errors(self) -> list[str]:
        return re.findall(r"^\[ERROR\]: .*", self.output, re.MULTILINE)


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A report for each run of the verifier, where tests/run.py counts them."""
    names = [Path(argument).parent.name for argument in config.args if argument.endswith(".py")]
    if names:
        config.option.xmlpath = str(WORK.parent / f"{'fresh' if 'fresh' in names else 'verify'}.xml")
    if "fresh" in names:
        # Molecule keeps this folder from one run to the next.
        shutil.rmtree(RECORDS, ignore_errors=True)


@pytest.fixture(scope="session")
def records() -> Path:
    """Where releases of this run of Molecule leave their records."""
    return RECORDS


@pytest.fixture(scope="session")
def play() -> Callable[..., Play]:
    def run(playbook: str, *arguments: str, **extra: str) -> Play:
        argv = ["ansible-playbook", playbook, "-i", os.environ["MOLECULE_INVENTORY_FILE"], *arguments]
        for name, value in extra.items():
            argv += ["-e", f"{name}={value}"]
        env = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
        env |= {
            "SLIPWAY_RECORDS_DIR": str(RECORDS),
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PIPELINING": "true",  # the ansible.cfg of the checkout sets it for SSH only
        }
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
        )
        print(f"$ {' '.join(argv)}\n{done.stdout}")
        return Play(done.returncode, done.stdout)

    return run


@pytest.fixture
def http(host: Host) -> Callable[..., Answer]:
    """Requests from the host to its own web server."""

    def request(path: str, *, post: dict | None = None, headers: dict[str, str] | None = None) -> Answer:
        sent = {"Accept": "application/json", **(headers or {})}
        if post is not None:
            sent["Content-Type"] = "application/json"
        what = [
            "GET" if post is None else "POST",
            f"http://127.0.0.1{path}",
            sent,
            None if post is None else json.dumps(post),
        ]
        done = host.run("python3 -c %s %s", REQUEST, json.dumps(what))
        assert done.rc == 0, done.stderr
        return Answer(*json.loads(done.stdout))

    return request
