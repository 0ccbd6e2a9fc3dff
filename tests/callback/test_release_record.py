"""Runs release.yml and rollback.yml on two hosts that are directories of this machine, and looks at what they leave.

PHP, Composer and npm are played (tests/unit/plugins/fakes); git, tar, the modules and the web server are real. The
runs are made once, in the order in which an operator would make them; each test looks at one of them.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import read

ROOT = Path(__file__).resolve().parents[2]
FAKES = ROOT / "tests/unit/plugins/fakes"
SECRETS = {"APP_KEY": "base64:c2VjcmV0", "DB_PASSWORD": "pa55-of-the-database", "DEPLOY_KEY": "k3y-of-the-repository"}
HOSTS = ["web1", "web2"]

LAYOUT = """
- name: Lay out
  hosts: laravel
  gather_facts: false
  tasks:
    - name: Lay out the application
      ansible.builtin.import_role:
        name: slipway.laravel.release
        tasks_from: layout
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Fleet:
    """Two hosts with an application on them, its repository, and a controller."""

    def __init__(self, home):
        self.home = home
        self.records = home / "records/production"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))},
            "PATH": f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PIPELINING": "true",
            "SLIPWAY_RECORDS_DIR": str(home / "records"),
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        for name in ("bin", "tmp"):
            (home / name).mkdir()
        for source in FAKES.iterdir():
            shutil.copy(source, home / "bin" / source.stem)
            (home / "bin" / source.stem).chmod(0o755)
        write(home / "db.sqlite", "")
        self.make_repository()

    def make_repository(self):
        origin = self.home / "origin"
        for name in ("artisan", "public/index.php", "routes/web.php"):
            write(origin / name, "<?php\n")
        for name in ("composer.json", "composer.lock"):
            write(origin / name, "{}\n")
        self.git("init", "--quiet")
        self.commit("v1", migrations=["create_notes"])
        self.commit("v2", migrations=["create_notes", "add_title"])
        self.commit("v3-is-not-well", migrations=["create_notes", "add_title", "add_colour"])
        four = ["create_notes", "add_title", "add_colour", "add_tags", "add_tags_again"]
        self.commit("v4-does-not-migrate", migrations=four, failing_migration="add_tags_again")
        write(origin / "composer-error", "Problem 1\n  - php ^9 is not satisfied | at all\n")
        self.commit("v5-does-not-build")

    def git(self, *words):
        who = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
        subprocess.run(["git", *who, *words], cwd=self.home / "origin", env=self.environment, check=True)

    def commit(self, version, **behaviour):
        write(self.home / "origin/app.json", json.dumps(behaviour))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Make {version}")
        self.git("tag", version)

    def write_inventory(self, url):
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        variables = {
            "laravel_become": False,
            "laravel_user": getpass.getuser(),
            "laravel_root": f"{self.home}/hosts/{{{{ inventory_hostname }}}}",
            "laravel_env": {
                **SECRETS,
                "APP_ENV": "production",
                "DB_CONNECTION": "sqlite",
                "DB_DATABASE": f"{self.home}/db.sqlite",
            },
            "release_deploy_key": SECRETS["DEPLOY_KEY"],
            "release_repository": f"{self.home}/origin",
            "release_fpm_socket": "",
            "release_http_url": f"{url}/{{{{ inventory_hostname }}}}",
            "release_owner": "ann",
            "release_timeout": 1,
        }
        inventory = {"laravel": {"hosts": dict.fromkeys(HOSTS, host), "vars": variables}}
        write(self.home / "inventories/production/hosts.json", json.dumps(inventory))
        write(self.home / "layout.yml", LAYOUT)
        (self.home / "hosts").mkdir()

    def play(self, playbook, *words, **environment):
        """Run a playbook; return what it printed, its status and the records that it added."""
        before = set(self.records.glob("*")) if self.records.is_dir() else set()
        result = subprocess.run(
            ["ansible-playbook", playbook, "-i", self.home / "inventories/production", *words],
            cwd=self.home,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        added = sorted(set(self.records.glob("*")) - before) if self.records.is_dir() else []
        return Run(result, added, {host: self.live(host) for host in HOSTS})

    def live(self, host):
        link = self.home / "hosts" / host / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None


class Run:
    def __init__(self, result, records, live):
        self.status, self.output, self.error = result.returncode, result.stdout, result.stderr
        self.files, self.live = records, live
        self.entries = next((read(str(path)) for path in records if path.suffix == ".jsonl"), [])
        self.report = next((path.read_text() for path in records if path.suffix == ".md"), "")

    def of(self, event):
        return [entry["data"] for entry in self.entries if entry["event"] == event]

    def outcome(self):
        return self.of("outcome")[0]

    def phases(self, host):
        return [phase["phase"] for phase in self.of("phase") if phase["host"] == host]


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A web server that answers for the live release of each host: v3-is-not-well is not well on web2."""
    home = tmp_path_factory.mktemp("fleet")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            host = self.path.split("/")[1]
            manifest = json.loads((home / "hosts" / host / "current/.slipway.json").read_text())
            self.send_response(500 if (host, manifest["version"]) == ("web2", "v3-is-not-well") else 200)
            self.send_header("X-Release-Id", manifest["release"])
            self.end_headers()

        def log_message(self, *_words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield home, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def runs(web):
    home, url = web
    fleet = Fleet(home)
    fleet.write_inventory(url)

    def release(version, *words, **environment):
        return fleet.play(ROOT / "release.yml", "-e", f"release_version={version}", *words, **environment)

    write(home / "no-directory", "")
    layout = fleet.play(home / "layout.yml", "-vvv", "--diff", "--limit=web1")
    shutil.copytree(home / "hosts/web1", home / "hosts/web2")
    return {
        "layout": layout,
        "unwritable": release("v1", SLIPWAY_RECORDS_DIR=str(home / "no-directory")),
        "second": release("v2", "-vvv", "--diff"),
        "unchanged": release("v2", "--limit=web1"),
        "check": release("v1", "--check", "--limit=web1"),
        "reverted": release("v3-is-not-well"),
        "aborted": release("v5-does-not-build"),
        "migration": release("v4-does-not-migrate"),
        "rollback": fleet.play(ROOT / "rollback.yml"),
    }


RELEASED = {"web1": ["preflight", "build", "stage", "migrate", "switch", "restart", "verify", "finish"]}
RELEASED["web2"] = [phase for phase in RELEASED["web1"] if phase not in ("build", "migrate")]


def test_success(runs):
    run = runs["second"]
    assert run.status == 0, run.output
    assert [run.entries[0]["event"], run.entries[-1]["event"]] == ["run", "outcome"]
    began = run.of("run")[0]
    assert (began["playbook"], began["version"], began["inventory"]) == ("release.yml", "v2", "production")
    assert (began["hosts"], began["user"]) == (HOSTS, getpass.getuser())
    assert {host: run.phases(host) for host in HOSTS} == RELEASED

    release = run.live["web1"]
    assert run.live["web2"] == release
    assert (run.outcome()["outcome"], run.outcome()["release"]) == ("success", release)
    assert [path.name for path in run.files] == [f"{release}.jsonl", f"{release}.md"]
    assert next(phase["migrations"] for phase in run.of("phase") if phase["phase"] == "migrate") == ["add_title"]
    assert run.report.startswith("# Release v2: success\n")
    assert f"success: {release} in " in run.output
    assert run.of("failure") == []


def test_seconds_of_the_phases_add_up_to_the_whole(runs):
    outcome = runs["second"].outcome()
    assert set(outcome["phases"]) == set(RELEASED["web1"])
    assert 0 < sum(outcome["phases"].values()) <= outcome["seconds"] + 1


def test_commits_since_the_last_release(runs):
    build = next(phase for phase in runs["second"].of("phase") if phase["phase"] == "build")
    assert [line.split(" ", 1)[1] for line in build["commits"]] == ["Make v2"]
    assert "Make v2" in runs["second"].report


@pytest.mark.parametrize("name", ["unchanged", "check", "layout"])
def test_run_without_a_release_leaves_no_record(runs, name):
    run = runs[name]
    assert (run.status, run.files) == (0, []), run.output
    assert "RELEASE **" not in run.output


def test_release_of_what_is_live_says_so(runs):
    assert f"is live already as {runs['second'].live['web1']}" in runs["unchanged"].output.replace("\n", " ")
    assert runs["check"].live == runs["second"].live


def test_reverted_on_every_host_though_one_was_well(runs):
    run = runs["reverted"]
    assert run.status != 0
    assert run.live == runs["second"].live
    assert run.outcome()["outcome"] == "reverted"
    for host in HOSTS:
        assert run.phases(host)[-3:] == ["restart", "verify", "revert"]
    assert [failure["host"] for failure in run.of("failure")] == ["web2"]
    assert "/web2/up answered 500" in run.of("failure")[0]["message"]
    assert "add_colour" in run.output.split("did not go live")[-1], "the migrations that stay are named"
    assert run.report.startswith("# Release v3-is-not-well: reverted\n")
    assert f"reverted: {run.outcome()['release']} in " in run.output


def test_aborted_before_anything_was_live(runs):
    run = runs["aborted"]
    assert run.status != 0
    assert run.live == runs["second"].live
    assert (run.outcome()["outcome"], run.outcome()["release"]) == ("aborted", "")
    assert run.phases("web1") == ["preflight", "build", "revert"]
    assert run.phases("web2") == ["preflight", "revert"], "a failure on one host gives the lock of each host back"
    assert [path.name.partition("-")[2] for path in run.files] == ["aborted.jsonl", "aborted.md"]
    assert "php ^9 is not satisfied | at all" in run.of("failure")[0]["message"]
    assert "php ^9 is not satisfied \\| at all" in run.report


def test_aborted_by_a_migration(runs, web):
    run = runs["migration"]
    assert run.status != 0
    assert run.live == runs["second"].live
    assert run.outcome()["outcome"] == "aborted"
    assert [run.phases(host)[-1] for host in HOSTS] == ["revert", "revert"]
    failed = next(phase for phase in run.of("phase") if phase["phase"] == "migrate")
    assert failed["migrations"] == ["add_tags"]
    assert failed["error"].endswith("Column already exists (add_tags_again)")
    for host in HOSTS:
        assert not (web[0] / "hosts" / host / "releases" / run.outcome()["release"]).exists()
    assert run.output.count("These migrations were applied and stay: add_tags.") >= len(HOSTS)


def test_rolled_back(runs):
    run = runs["rollback"]
    assert run.status == 0, run.output
    assert run.live == runs["unwritable"].live
    assert (run.outcome()["outcome"], run.outcome()["release"]) == ("rolled back", run.live["web1"])
    assert [path.name.partition("-")[2] for path in run.files] == ["rolled-back.jsonl", "rolled-back.md"]
    assert run.phases("web2") == ["preflight", "switch", "restart", "verify", "finish"]
    assert run.report.startswith("# Rollback: rolled back\n")


def test_a_record_that_cannot_be_written_never_stops_a_release(runs):
    run = runs["unwritable"]
    assert (run.status, run.files) == (0, []), run.output
    assert run.live["web1"] == run.live["web2"] is not None
    warnings = " ".join(run.error.split())
    assert warnings.count("release_record:") == 1
    assert "this run leaves no complete record" in warnings


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_nowhere(runs, secret):
    for name, run in runs.items():
        for text in (run.output, run.error, run.report, json.dumps(run.entries)):
            assert SECRETS[secret] not in text, name


def test_secrets_did_reach_the_host(runs, web):
    shared = (web[0] / "hosts/web2/shared/.env").read_text()
    assert all(value in shared for value in SECRETS.values())
    assert SECRETS["DEPLOY_KEY"] in (web[0] / "hosts/web1/.slipway/deploy_key").read_text()


def test_nothing_is_left_of_the_lock_and_of_the_handover(runs, web):
    assert not list((web[0] / "hosts").glob("*/.slipway/lock"))
    assert not list((web[0] / "tmp").glob("slipway-*"))
