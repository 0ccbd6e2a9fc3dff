"""The demo on real hosts in Docker, reached over SSH, and what a release costs there."""

from __future__ import annotations

import collections
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from terminal import Terminal

BENCH = Path(__file__).resolve().parents[1] / "bench" / "callback_plugins"

# What a team that begins with the ready list may add: everything that a host can prove by itself.
CHECKLIST = """\
name: ours
version: "1"
extends: default
stages:
  pre_deploy:
    - {id: second-look, text: Somebody else has looked at it, who: not_deployer}
  during:
    - {id: page, at: after_verify, text: It is there, check: {name: smoke, url: "http://localhost/", contains: Logbook}}
  post_deploy:
    - {id: banner-removed, text: Nobody is shut out, deadline: 1d, check: maintenance_off}
    - {id: compression, text: Small pages, deadline: 1d, check: {name: compression, url: "http://localhost/"}}
    - {id: debug, text: Debug mode is off, deadline: 1d, check: debug_off}
    - {id: errors, text: Nothing was logged, deadline: 1d, check: log_errors}
    - {id: failed-jobs, text: No job has failed, deadline: 1d, check: failed_jobs}
    - {id: headers, text: Headers, deadline: 1d, check: {name: security_headers, url: "http://localhost/"}}
    - {id: log-level, text: The log is not flooded, deadline: 1d, check: log_level}
    - {id: opcache, text: OPcache is on, deadline: 1d, hosts: laravel_web, check: opcache}
    - {id: queue, text: Jobs are worked off, deadline: 1d, check: queue_depth}
    - {id: requests, text: Visitors are served, deadline: 1d, check: {name: traffic, minutes: 0, requests: 1}}
    - {id: scheduler, text: Cron, hosts: laravel_scheduler, check: {name: scheduler, app: "{{ laravel_app }}"}}
    - {id: hsts, text: HTTPS, required: false, deadline: 1d, check: {name: hsts, url: "http://localhost/"}}
    - {id: verified, text: Verified by somebody else, who: not_deployer, deadline: 1d}
"""


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
        ANSIBLE_CALLBACKS_ENABLED="count_modules,slipway.laravel.release_record",
        SLIPWAY_BENCH_FILE=str(counts),
    )
    assert checkout.get("/release")["version"] == "v1.1.0"
    runs = collections.Counter(line.split()[0] for line in counts.read_text().splitlines())
    assert runs["demo-app"] <= 3, "a host that is alone has at most 3 module runs"


def test_rollback(checkout: Any) -> None:
    checkout.play("rollback.yml", "demo")
    assert checkout.get("/release")["version"] == "v1.0.0"


class Signers:
    """Two people with a key each, and what they sign."""

    def __init__(self, checkout: Any) -> None:
        self.checkout, self.keys = checkout, checkout.root / "keys"
        self.keys.mkdir()
        public = {}
        for name in ("ann", "bob"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.keys / name]
            subprocess.run(argv, check=True)
            public[name] = (self.keys / f"{name}.pub").read_text().strip()
        (checkout.root / "ours.yml").write_text(CHECKLIST)
        people = {"signoff_people": {name: {"key": key} for name, key in public.items()}, "laravel_operator": "ann"}
        (checkout.root / "people.json").write_text(json.dumps(people))
        lines = "".join(f"{name} {key}\n" for name, key in public.items())
        (checkout.root / "allowed_signers").write_text(lines)
        self.words = ["-e", "@people.json", "-e", "release_checklist=ours.yml"]
        self.environment = {"SLIPWAY_SIGNING_KEY": str(self.keys / "ann"), "SLIPWAY_SIGNER": "ann"}

    def release(self, *words: str, status: int = 0) -> str:
        words = (*self.words, "-e", "release_version=v1.1.0", "-e", "release_force=true", *words)
        return self.checkout.play("release.yml", "demo", *words, status=status, **self.environment)

    def approve(self, printed: str, name: str, items: list[str], commit: str) -> None:
        """Fill in and sign what the run has printed, each for themselves."""
        content = yaml.safe_load(printed)["signoff_approvals"]
        assert set(items) <= set(content["items"])
        given = {item: {"status": "signed", "by": name, "evidence": "merge request 17"} for item in items}
        path = self.checkout.root / f"{name}.yml"
        path.write_text(yaml.safe_dump({"signoff_approvals": {**content, "commit": commit, "items": given}}))
        path.with_suffix(".yml.sig").unlink(missing_ok=True)
        argv = ["ssh-keygen", "-Y", "sign", "-q", "-n", "slipway-approval", "-f", self.keys / name, path]
        subprocess.run(argv, check=True)

    def sign_later(self, answers: dict[str, str], *words: str) -> None:
        """Bob answers at a terminal what is still asked about the live release: by what is asked, what he says."""
        release = self.checkout.get("/release")["release"]
        argv = [
            *(self.checkout.root / ".venv/bin/ansible-playbook", "signoff.yml", "-i", "inventories/demo", *self.words),
            *(*words, "-e", f"release={release}", "-e", "signoff_by=bob", "-e", "signoff_key=keys/bob"),
        ]
        terminal = Terminal(argv, self.checkout.root, {**self.checkout.environment(), **self.environment})
        for asked, answer in answers.items():
            terminal.until(asked + r"(.|\n)*?stop asking  \[\w+\] \n")
            terminal.say(answer)
        assert terminal.end() == 0, terminal.output

    def entries(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.path().read_text().splitlines()]
        return [line["data"] for line in lines if line["event"] == event]

    def signed(self) -> dict[str, tuple[str, str]]:
        """The last word on each item of the newest record."""
        return {data["item"]: (data["status"], data["by"]) for data in self.entries("signoff")}

    def path(self) -> Path:
        records = (self.checkout.root / "records/demo").glob("[0-9]*.jsonl")
        return max(records, key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def signers(checkout: Any) -> Signers:
    # The scheduler runs each minute, and one of its checks asks whether it has.
    log = "for n in $(seq 90); do test -s /var/log/logbook-scheduler.log && break; sleep 1; done"
    checkout.run("ssh", "-F", ".lab/ssh_config", "demo-app", log)
    return Signers(checkout)


def test_release_that_two_people_have_to_sign(signers: Signers, checkout: Any) -> None:
    (build,) = [data for data in phases_of(checkout, "v1.1.0") if data["phase"] == "build"]
    told = signers.release(status=2)
    assert "required items of the checklist ours 1 are not signed" in " ".join(told.split())
    printed = re.search(r"# approvals\.yml\n(.*?)\n\n", told, re.DOTALL)[1]
    signers.approve(printed, "ann", ["reviewed", "way-back"], build["commit"])
    refused = signers.release("-e", "@ann.yml", status=2)
    assert "second-look" in refused
    assert checkout.get("/release")["version"] == "v1.0.0"
    signers.approve(printed, "bob", ["second-look"], build["commit"])
    signers.release("-e", "@ann.yml", "-e", "@bob.yml")
    assert checkout.get("/release")["version"] == "v1.1.0"


def phases_of(checkout: Any, version: str) -> list[dict[str, Any]]:
    """The phases of the release of a version that succeeded."""
    for path in (checkout.root / "records/demo").glob("[0-9]*.jsonl"):
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        if entries[0]["data"].get("version") == version and entries[-1]["data"].get("outcome") == "success":
            return [entry["data"] for entry in entries if entry["event"] == "phase"]
    return []


def test_the_host_proves_what_a_machine_can(signers: Signers) -> None:
    signed = signers.signed()
    people = {"reviewed": "ann", "way-back": "ann", "second-look": "bob"}
    assert {item: signed[item] for item in people} == {item: ("signed", name) for item, name in people.items()}
    proven = {item: data for item, data in signed.items() if data[1].startswith("check ")}
    assert {item for item, data in proven.items() if data[0] == "signed"} == {
        *("banner-removed", "compression", "debug", "errors", "failed-jobs", "headers", "health", "log-level"),
        *("opcache", "page", "queue", "requests", "scheduler", "snapshot", "workers"),
    }
    assert proven["hsts"][0] == "failed", "the demo has no TLS, and a check does not pretend"
    assert {item for item, data in signed.items() if data[0] == "open"} == {"no-errors", "watched", "told", "verified"}


def test_the_rest_is_signed_later_by_the_other_one(signers: Signers) -> None:
    answers = {
        "Whoever waited": "w nobody waited for it",
        r"HTTPS(.|\n)*?sends no valid Strict-Transport-Security": "w a demo has no certificate",
        "Verified by somebody else": "s looked at every page",
    }
    signers.sign_later(answers)
    assert signers.signed()["verified"] == ("signed", "bob")
    assert signers.signed()["told"] == ("waived", "bob")


def test_anybody_can_verify_the_record(signers: Signers, checkout: Any) -> None:
    words = ("-e", json.dumps({"verify_path": str(signers.path()), "verify_allowed_signers": "allowed_signers"}))
    told = checkout.play("playbooks/verify_record.yml", "demo", *words)
    assert "is as it was written" in told
    assert "signed by ann" in " ".join(told.split())
    whole = signers.path().read_text()
    signers.path().write_text(whole.replace("looked at every page", "looked at other pages"))
    told = checkout.play("playbooks/verify_record.yml", "demo", *words, status=2)
    assert re.search(rf"{signers.path().name} line \d+ ", " ".join(told.split())), "the file and the line are named"
    signers.path().write_text(whole)


PAPER = {
    "ann": ["tests", "bugs", "feature-flags", "on-call", "banner", "api", "web"],
    "bob": ["mobile-builds", "mobile"],
}


def test_the_list_of_a_team_with_two_languages_in_ci_and_the_rest_later(signers: Signers, checkout: Any) -> None:
    notes = {"en": "Pages open faster, for everybody.", "ar": "تُفتح الصفحات بسرعة أكبر للجميع."}
    (checkout.root / "release-notes").mkdir()
    for language, text in notes.items():
        (checkout.root / f"release-notes/v1.1.0.{language}.md").write_text(text)
    (build,) = [data for data in phases_of(checkout, "v1.1.0") if data["phase"] == "build"]
    words = ("-e", "release_checklist=ispeaker-live")
    told = signers.release(*words, status=2)
    printed = re.search(r"# approvals\.yml\n(.*?)\n\n", told, re.DOTALL)[1]
    for name, items in PAPER.items():
        signers.approve(printed, name, items, build["commit"])
    signers.release(*words, "-e", "@ann.yml", "-e", "@bob.yml")
    signed = signers.signed()
    for name, items in PAPER.items():
        assert {item: signed[item] for item in items} == dict.fromkeys(items, ("signed", name))
    assert signed["release-notes"] == ("signed", "check release_notes")
    later = {item for item, (status, _by) in signed.items() if status not in ("signed", "waived")}
    assert later == {"smoke-suite", "watch", "stakeholders", "tagged"}, signed
    answers = {
        "Run the smoke suite": "s all six pass",
        "Stakeholders notified": "s mail of noon",
        r"Release tagged(.|\n)*?cannot be asked from the controller": "w the git host is known to the hosts alone",
    }
    signers.sign_later(answers, *words)
    signed = signers.signed()
    assert (signed["smoke-suite"], signed["stakeholders"]) == (("signed", "bob"), ("signed", "bob"))
    assert signed["tagged"] == ("waived", "bob")
    assert signed["watch"][0] == "open", "half an hour has not passed"
