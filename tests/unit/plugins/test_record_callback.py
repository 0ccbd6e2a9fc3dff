"""The end of a release as the callback records it, when it is interrupted or nobody can sign."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from types import SimpleNamespace

import pytest
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display
from ansible_collections.slipway.laravel.plugins.callback.release_record import CallbackModule, outcome_of
from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import read
from ansible_collections.slipway.laravel.plugins.plugin_utils.shared import Shared
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import Signer, SigningError
from records import allow, faults, make_key, make_record


def test_rollback_that_finds_each_host_switched_is_one():
    switch = {"host": "web1", "phase": "switch", "changed": False}
    assert outcome_of([{"host": "web1", "phase": "preflight"}, switch, {"phase": "finish"}], False) == "rolled back"
    assert outcome_of([{"host": "web1", "phase": "preflight"}], False) == "unchanged"


@pytest.mark.parametrize(("live", "outcome"), [("r1", "reverted"), ("r2", "partial")])
def test_hosts_that_went_back_to_different_releases_are_told(live, outcome):
    phases = [
        {"host": "web1", "phase": "switch", "changed": True},
        {"host": "web1", "phase": "revert", "reverted": True, "current": "r1"},
        {"host": "web2", "phase": "revert", "reverted": False, "current": live},
    ]
    assert outcome_of(phases, True) == outcome


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        # A host that is new; a fleet that was split; one host of two that goes on with what a killed run left.
        (("r1", "r1", None), ("r1", "r1", None), "reverted"),
        (("r1", "r0", "r0"), ("r1", "r0", "r0"), "reverted"),
        (("r1", "r1", "r2"), ("r1", "r1", "r1"), "reverted"),
        (("r1", "r1", None), ("r1", "r0", None), "partial"),
        (("r1", "r1", "r0"), ("r1", "r2", "r0"), "partial"),
    ],
)
def test_hosts_that_differed_before_are_not_parted_by_this_run(before, after, outcome):
    phases = []
    for host, (had, live) in enumerate(zip(before, after, strict=True)):
        phases.append({"host": host, "phase": "preflight", "current": had})
        phases.append({"host": host, "phase": "switch", "changed": True})
        phases.append({"host": host, "phase": "revert", "reverted": True, "current": live})
    assert outcome_of(phases, True) == outcome


def test_hosts_that_failed_are_known_and_those_that_were_rescued_are_not(monkeypatch):
    monkeypatch.setattr(record, "_failed", None)
    callback = CallbackModule()
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="release.yml"))

    def result(host, **about):
        task = {"loop": None, "action": "debug", "_resolved_action": "", "_role": None, "get_name": lambda: "Try"}
        named = SimpleNamespace(get_name=lambda: host)
        return SimpleNamespace(host=named, task=SimpleNamespace(**task, **about), task_fields={}, result={})

    for host in ("web1", "web2", "web3", "web4"):
        callback.v2_runner_on_failed(result(host), ignore_errors=host == "web4")
    callback.v2_runner_on_ok(result("web1"))
    callback.v2_runner_on_skipped(result("web2"))
    callback.v2_runner_on_unreachable(result("web5", ignore_unreachable=False))
    callback.v2_runner_on_unreachable(result("web6", ignore_unreachable=True))
    assert record.failed_hosts() == {"web3", "web5"}
    # Of the next release of the run as well.
    callback._forget()
    callback.v2_runner_on_failed(result("web1"))
    callback.v2_runner_on_ok(result("web3"))
    assert record.failed_hosts() == {"web1", "web5"}


class Ended:
    """A release of which nothing but its end is still to come."""

    def __init__(self, home, shown):
        self.home, self.shown = home, shown
        self.key = make_key(home / "ann")
        self.allowed = allow(home / "records/allowed_signers", ann=self.key)
        self.callback = CallbackModule()
        self.callback.set_options()
        self.callback._record = make_record(home / "records/production", "r1", outcome="")
        self.callback._release, self.callback._named = "r1", True

    def outcomes(self):
        entries = read(str(self.home / "records/production/r1.jsonl"))
        return [entry["data"]["outcome"] for entry in entries if entry["event"] == "outcome"]

    def faults(self):
        return faults(self.home / "records/production", self.allowed, signed=True)


@pytest.fixture
def ended(tmp_path, monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", {"inventory": ("production",)})
    shown = []
    monkeypatch.setattr(Display, "display", lambda _self, text, color=None, **_more: shown.append((text, color)))

    def end(**options):
        given = {"records_dir": str(tmp_path / "records"), "signing_key": str(tmp_path / "ann"), **options}
        told = defaultdict(str, given)
        monkeypatch.setattr(CallbackBase, "set_options", lambda self, **_more: setattr(self, "_plugin_options", told))
        return Ended(tmp_path, shown)

    yield end
    record.set_current(None)


def interrupted_once(monkeypatch, owner, name):
    """Let somebody press Ctrl-C in the first call."""
    real, calls = getattr(owner, name), []

    def call(*words):
        calls.append(words)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(*words)

    monkeypatch.setattr(owner, name, call)


def test_interrupting_the_signature_does_not_turn_a_success_into_a_killed_run(ended, monkeypatch):
    release = ended(signer="ann@example.com")
    interrupted_once(monkeypatch, Signer, "sign")
    with pytest.raises(KeyboardInterrupt):
        release.callback._end("success")
    release.callback._interrupted(os.getpid())
    assert release.outcomes() == ["success"]
    assert release.faults() == []
    (shown,) = [(text, color) for text, color in release.shown if text.startswith(("success", "killed"))]
    assert (shown[0].split(":")[0], shown[1]) == ("success", "green")


def test_interrupting_the_push_does_not_turn_a_success_into_a_killed_run(ended, monkeypatch):
    release = ended(git=True)
    subprocess.run(["git", "init", "--quiet", release.home / "records"], check=True)
    interrupted_once(monkeypatch, Shared, "share")
    with pytest.raises(KeyboardInterrupt):
        release.callback._end("success")
    release.callback._interrupted(os.getpid())
    assert release.outcomes() == ["success"]
    assert release.faults() == []
    ledger = read(str(release.home / "records/production/ledger.jsonl"))
    assert [entry["data"]["record"] for entry in ledger] == ["r1.jsonl"]
    text = " ".join(" ".join(text for text, _color in release.shown).split())
    assert "was not shared: the run was interrupted" in text
    assert "signed by ann@example.com" in text
    assert "killed" not in text


def test_a_run_that_is_interrupted_in_the_middle_is_killed(ended):
    release = ended()
    release.callback._interrupted(os.getpid())
    assert release.outcomes() == ["killed"]
    assert read(str(release.home / "records/production/r1.jsonl"))[-1]["data"]["interrupted"] is True
    assert release.faults() == []


def test_a_record_is_in_the_ledger_though_its_key_was_not_touched(ended, monkeypatch):
    release = ended(signer="ann@example.com")
    real, texts = Signer.sign, []

    def sign(self, text):
        texts.append(text)
        if len(texts) > 1:  # the first one is the trial
            raise SigningError("nobody touched the key")
        return real(self, text)

    monkeypatch.setattr(Signer, "sign", sign)
    release.callback._end("success")
    assert faults(release.home / "records/production") == []
    assert "r1.sig" not in os.listdir(release.home / "records/production")
    assert any("not signed: nobody touched the key" in text for text, _color in release.shown)


@pytest.mark.parametrize("error", [KeyError("uid not found: 4711"), OSError("No username set in the environment")])
def test_a_user_without_a_name_is_told_by_the_number(monkeypatch, error):
    def getuser():
        raise error

    monkeypatch.setattr("getpass.getuser", getuser)
    assert record.user() == str(os.getuid())
