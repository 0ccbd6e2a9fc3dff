"""Fixtures of all scenarios: playbooks are run as an operator runs them, and the hosts are asked what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
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

# Asks for pages until it is told to end, each over a new connection, and writes down which release answered how often
# and what failed. The pace leaves the host time for the release.
LOAD = """
import collections, json, signal, sys, threading, urllib.error, urllib.request
name, urls, target = json.loads(sys.argv[1])
end, seen = threading.Event(), {"served": collections.Counter(), "failed": collections.Counter()}
def ask(url):
    while not end.wait(0.1):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": name}), timeout=60) as answer:
                answer.read()
                seen["served"][answer.headers["X-App-Release"]] += 1
        except urllib.error.HTTPError as error:
            seen["failed"]["%s answered %d" % (url, error.code)] += 1
        except Exception as error:
            seen["failed"]["%s: %r" % (url, error)] += 1
signal.signal(signal.SIGTERM, lambda *_: end.set())
threads = [threading.Thread(target=ask, args=(url,)) for url in urls]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with open(target, "w") as stream:
    json.dump(seen, stream)
"""

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


@dataclasses.dataclass
class Seen:
    """What became of the requests that came in while something else happened."""

    served: dict[str, int] = dataclasses.field(default_factory=dict)
    failed: dict[str, int] = dataclasses.field(default_factory=dict)


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
        """What Ansible calls an error, and what a release shows as failed, with the lines that go on with it."""
        return re.findall(r"^(?:\[ERROR\]: |  (?:FAILED|AWAY) ).*(?:\n    .*)*", self.output, re.MULTILINE)


@dataclasses.dataclass
class Outcome:
    """What became of one host in a run that had to be refused."""

    failed: bool
    changed: int
    message: str


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The number in a file's name is its turn, wherever it lies: the alternatives come after the defaults."""
    items.sort(key=lambda item: re.sub(r"\D.*", "", item.path.name.removeprefix("test_")))


def refused_cases() -> list[dict[str, Any]]:
    file = SCENARIO / "refused.yml"
    return (yaml.safe_load(file.read_text()) or []) if file.exists() else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", refused_cases(), ids=lambda case: case["case"])


@pytest.fixture(scope="session")
def records() -> Path:
    """Where releases of this run of Molecule leave their records."""
    return RECORDS


def playbook_call(
    playbook: str | Path, *arguments: str, inventory: str | Path = "", **extra_env: str
) -> tuple[list[str], dict[str, str], Path]:
    """Command line, environment and directory of a run."""
    # The whole directory, as Molecule itself takes it: a scenario's own inventory file is beside that of Molecule.
    inventory = inventory or Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
    argv = ["ansible-playbook", str(playbook), "-i", str(inventory), *arguments]
    env = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
    env |= {
        "SLIPWAY_RECORDS_DIR": str(RECORDS),
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_FORCE_COLOR": "false",  # Molecule sets it
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_PIPELINING": "true",  # the ansible.cfg of the checkout sets it for SSH only
        **extra_env,
    }
    return argv, env, ROOT


def run_playbook(playbook: str | Path, *arguments: str, inventory: str | Path = "", **extra_env: str) -> Play:
    argv, env, cwd = playbook_call(playbook, *arguments, inventory=inventory, **extra_env)
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    print(f"$ {' '.join(argv)}\n{done.stdout}")
    return Play(done.returncode, done.stdout)


@pytest.fixture(scope="session")
def call() -> Callable[..., tuple[list[str], dict[str, str], Path]]:
    """Return how a playbook is run, for tests that do something to the process."""
    return playbook_call


@pytest.fixture
def watched(call: Callable[..., tuple[list[str], dict[str, str], Path]]) -> Callable[..., Any]:
    """Start a release, and give its process once a host is in a phase; its `output` is there when the block has ended.

    `kill` kills the module that is at work there then.
    """

    @contextlib.contextmanager
    def run(container: str, root: str, phase: str, kill: str, *arguments: str) -> Iterator[subprocess.Popen]:
        argv, env, cwd = call("release.yml", *arguments)
        watch = subprocess.Popen(["docker", "exec", container, "python3", "-c", WATCH, root, phase, kill])
        process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            assert watch.wait(120) == 0
            yield process
        finally:
            process.output = " ".join(process.communicate(timeout=300)[0].split())

    return run


@pytest.fixture(scope="session")
def play() -> Callable[..., Play]:
    """Run a playbook of the checkout against the scenario's hosts; keywords are extra variables."""

    def run(playbook: str, *arguments: str, **extra: str) -> Play:
        return run_playbook(playbook, *arguments, *(f"--extra-vars={name}={value}" for name, value in extra.items()))

    return run


def scenario_playbook() -> Path:
    own = SCENARIO / "converge.yml"
    return own if own.exists() else SCENARIO.parent / "shared" / "role.yml"


@pytest.fixture(scope="session")
def converge() -> Callable[..., Play]:
    """Run the scenario's role again, with the variables of its first run."""
    return lambda *arguments: run_playbook(scenario_playbook(), *arguments)


@pytest.fixture(scope="session")
def converge_alternative() -> Callable[..., Play]:
    """Run the scenario's role with alternative.yml; the first time is here, and has to succeed."""
    variables = f"--extra-vars=@{SCENARIO / 'alternative.yml'}"
    first = run_playbook(scenario_playbook(), variables)
    assert first.status == 0, first.errors
    return lambda *arguments: run_playbook(scenario_playbook(), variables, *arguments)


@pytest.fixture(autouse=True)
def alternative(request: pytest.FixtureRequest) -> None:
    """Tests in files called test_3_* find the hosts as alternative.yml leaves them."""
    if request.path.name.startswith("test_3"):
        request.getfixturevalue("converge_alternative")


@pytest.fixture(scope="session")
def refusals() -> dict[str, dict[str, Outcome]]:
    """Outcome of each case of refused.yml on each host: one run in which every case is a host of its own."""
    argv = ["ansible-inventory", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "--list"]
    inventory = json.loads(subprocess.check_output(argv, cwd=ROOT))
    common = yaml.safe_load((SCENARIO / "vars.yml").read_text()) or {}
    hosts: dict[str, dict[str, Any]] = {}
    for name in inventory["role_hosts"]["hosts"]:
        for case in refused_cases():
            own = inventory["_meta"]["hostvars"].get(name, {})
            hosts[f"{name}--{case['case']}"] = {"ansible_host": name, **own, **common, **case["vars"]}
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "refused.yml").write_text(yaml.safe_dump({"role_hosts": {"hosts": hosts}}))
    (WORK / "none.yml").write_text("{}\n")
    cache = {
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(WORK / "facts"),
        "ANSIBLE_GATHERING": "smart",
    }
    # The facts of a host are gathered once for all of its cases.
    shutil.rmtree(WORK / "facts", ignore_errors=True)
    argv = ["ansible", "role_hosts", "-m", "ansible.builtin.setup", "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    subprocess.run(argv, cwd=ROOT, env={**os.environ, **cache}, stdout=subprocess.DEVNULL, check=True, timeout=120)
    for alias in hosts:
        # Ansible puts a mark of its own before the name.
        (gathered,) = (WORK / "facts").glob(f"*{alias.split('--')[0]}")
        shutil.copy(gathered, gathered.with_name(gathered.name + "--" + alias.split("--")[1]))
    done = run_playbook(
        scenario_playbook(),
        f"--extra-vars=scenario_vars={WORK / 'none.yml'}",
        inventory=WORK / "refused.yml",
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        ANSIBLE_DEPRECATION_WARNINGS="false",
        ANSIBLE_STRATEGY="free",
        ANSIBLE_FORKS="4",
        **cache,
    )
    report = json.loads(done.output[done.output.index("{\n") : done.output.rindex("}") + 1])
    outcomes: dict[str, dict[str, Outcome]] = {}
    for alias, stats in report["stats"].items():
        name, case = alias.split("--")
        results = [task["hosts"].get(alias, {}) for play in report["plays"] for task in play["tasks"]]
        failures = [result for result in results if result.get("failed")]
        said = [
            str(part)
            for result in failures
            for part in (
                result.get("msg"),
                *result.get("argument_errors", []),
                *(item.get("msg") for item in result.get("results", []) if item.get("failed")),
            )
        ]
        failed = stats["failures"] > 0 and stats["unreachable"] == 0
        outcomes.setdefault(case, {})[name] = Outcome(failed, stats["changed"], "\n".join(said))
    return outcomes


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


@pytest.fixture
def load(host: Host) -> Callable[..., contextlib.AbstractContextManager[Seen]]:
    """Requests to the host's own web server for as long as the block takes, under the name of a site."""

    @contextlib.contextmanager
    def requests(name: str, *urls: str) -> Iterator[Seen]:
        seen, target = Seen(), "/run/slipway-load.json"
        what = json.dumps([name, urls, target])
        host.check_output("systemd-run --quiet --collect --unit slipway-load python3 -c %s %s", LOAD, what)
        try:
            time.sleep(1)
            yield seen
            time.sleep(1)
        finally:
            # Returns when the last answer has been counted.
            host.check_output("systemctl stop slipway-load")
        counted = json.loads(host.file(target).content_string)
        seen.served, seen.failed = counted["served"], counted["failed"]
        print(f"requests: {counted}")

    return requests
