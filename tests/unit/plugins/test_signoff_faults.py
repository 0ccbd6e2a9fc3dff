"""Records with sign-offs that those whom they name did not give: verifying names each of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile
from ansible_collections.slipway.laravel.plugins.plugin_utils.report_html import write_report, write_reports
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import (
    APPROVAL,
    SIGNOFF,
    Document,
    sign,
    statement,
    verify,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import (
    verify_directory,
    verify_entered,
    verify_file,
)
from records import RUN, make_key, signer

BOUND = {
    "checklist": "list",
    "checklist_version": "1",
    "checklist_sha256": "0" * 64,
    "inventory": "production",
    "commit": "c" * 40,
    "artifact_sha256": "5" * 64,
    "hosts": ["web1"],
    "release": "r1",
}
ITEMS = [
    {"id": "tests", "text": "Tests pass", "who": ["anyone"]},
    {"id": "other", "text": "?", "who": ["not_deployer"]},
]
CONTENT = {"name": "list", "version": "1", "stages": {"pre_deploy": ITEMS, "during": [], "post_deploy": []}}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    home = tmp_path_factory.mktemp("keys")
    return {name: make_key(home / name) for name in ("ann", "bob")}


class Keeper:
    """Writes a record by hand."""

    def __init__(self, home, keys):
        self.home, self.keys = home, keys
        self.file = RecordFile(str(home / "production/r1.jsonl"))
        self.lines = [f"{name} {Path(f'{key}.pub').read_text().strip()}" for name, key in keys.items()]
        self.file.append("run", RUN)

    def checklist(self, signers=None):
        kept = self.lines if signers is None else signers
        self.file.append("checklist", {**BOUND, "content": CONTENT, "deployed_by": "ann", "signers": kept})

    def signoff(self, item="tests", by="bob", method="prompt", change=None, signed_by="", **more):
        data = {**BOUND, "item": item, "status": "signed", "by": by, "method": method, "deployed_by": "ann", **more}
        if signed_by:
            signature = sign(statement(data), SIGNOFF, self.keys[signed_by])
            data.update(key=self.fingerprint(signed_by), signature=signature)
        self.file.append("signoff", {**data, **(change or {})})

    def fingerprint(self, name):
        signature = sign(b"", SIGNOFF, self.keys[name])
        return verify(b"", signature, "\n".join(self.lines), SIGNOFF)[1]

    def approve(self, by="bob", change=None, **given):
        """Keep a file of approvals that somebody signed; return what sign-offs say of it."""
        bound = {name: value for name, value in BOUND.items() if name not in ("hosts", "artifact_sha256")}
        items = {"tests": {"status": "signed"}, "other": {"status": "signed"}}
        data = {"signoff_approvals": {**bound, "items": items, **given}}
        document = Document("a.yml", data["signoff_approvals"], yaml.safe_dump(data).encode())
        document.signature = sign(document.raw, APPROVAL, self.keys[by])
        document.signer, document.key = by, self.fingerprint(by)
        self.file.append("approvals", {**document.proof(), **(change or {})})
        return {"approval": {"file": "a.yml", "sha256": document.sha256}, "key": document.key, "method": "approval"}

    def found(self, who="ann", allowed="", later=False):
        """End the release, and say what verifying it finds in its lines, the same in each way to do it."""
        self.file.append("outcome", {"outcome": "success", "release": "r1"})
        ledger = Ledger(str(self.home / "production"), signer(who, self.keys[who]) if who else None)
        ledger.enter(self.file)
        path, directory = self.file.path, str(self.home / "production")
        told = [
            [(fault["line"], fault["what"]) for fault in result.faults]
            for result in (
                verify_directory(directory, allowed, False),
                verify_entered(path, allowed, False),
                verify_file(path, allowed, False),
            )
        ]
        assert told[0] == told[1] == told[2]
        return told[0]


@pytest.fixture
def keeper(tmp_path, keys):
    made = Keeper(tmp_path, keys)
    made.checklist()
    yield made
    made.file.close()


def test_what_people_signed_has_no_fault(keeper):
    keeper.signoff(signed_by="bob")
    keeper.signoff("other", signed_by="bob")
    keeper.signoff("other", by="bob", **keeper.approve())
    keeper.signoff(by="eve")  # has no key
    keeper.signoff(by="check health", method="check")
    keeper.signoff(by="", method="none", status="open")
    assert keeper.found() == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "is not signed, and bob has a key"),
        ({"method": "approval"}, "is not signed, and bob has a key"),
        ({"signed_by": "ann"}, "is not signed by bob: that key is ann's, not bob's"),
        ({"signed_by": "bob", "change": {"status": "waived"}}, "is not signed by bob: the signature does not fit"),
        ({"signed_by": "bob", "change": {"commit": "d" * 40}}, "is not signed by bob: the signature does not fit"),
        ({"signed_by": "bob", "change": {"by": "ann"}}, "is not signed by ann: that key is bob's, not ann's"),
        ({"signed_by": "bob", "change": {"by": "eve"}}, "is signed for eve, of whom no key is known"),
        ({"signed_by": "bob", "change": {"signature": "x"}}, "is not signed by bob: it is signed with a key of nobody"),
        ({"signed_by": "bob", "change": {"signature": ""}}, "is not signed, and bob has a key"),
        ({"signed_by": "bob", "change": {"key": "SHA256:abc"}}, ", not with SHA256:abc"),
        ({"by": "eve", "key": "SHA256:abc"}, "is not signed, and eve has a key"),
        ({"item": "other", "by": "ann", "signed_by": "ann"}, "has to be of somebody other than ann, who deployed"),
        ({"change": {"by": ["bob"], "signature": 5}}, "is signed for ['bob'], of whom no key is known"),
        ({"change": {"item": {}}, "by": "eve"}, "is no signoff entry of a release"),
        ({"change": {"by": "b\0b", "signature": "x"}}, "is signed for b\0b, of whom no key is known"),
        ({"signed_by": "bob", "change": {"signature": "\0\ufffe"}}, "is not signed by bob: it is signed with a key of"),
    ],
)
def test_sign_off_that_nobody_gave(keeper, arguments, fault):
    keeper.signoff(**arguments)
    ((line, what),) = keeper.found()
    assert (line, fault in what) == (3, True), what


@pytest.mark.parametrize(
    ("approval", "more", "fault"),
    [
        ({}, {"by": "ann"}, "is by ann, and its approval was signed by bob"),
        ({}, {"key": "SHA256:abc"}, "is by bob, and its approval was signed by bob"),
        ({}, {"status": "waived"}, "is not what its approval says of tests"),
        ({}, {"item": "more"}, "is not what its approval says of more"),
        ({}, {"approval": {"sha256": "9" * 64}}, "has no approval that holds in this record"),
        ({"commit": "d" * 40}, {}, f"is for commit {'c' * 40}, and its approval for {'d' * 40}"),
        ({"artifact_sha256": "6" * 64}, {}, "is for artifact_sha256 555"),
    ],
)
def test_sign_off_that_its_approval_does_not_give(keeper, approval, more, fault):
    keeper.signoff(**{**keeper.approve(**approval), **more})
    ((line, what),) = keeper.found()
    assert (line, fault in what) == (4, True), what


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"content": "signoff_approvals: {items: {tests: {status: signed}}}"}, "is not the file of approvals that it"),
        ({"content": "- 1"}, "is no file of approvals"),
        ({"signer": "ann"}, "is not signed by ann: that key is bob's, not ann's"),
        ({"signature": "x"}, "is not signed by bob"),
        ({"key": "SHA256:abc"}, "not with SHA256:abc"),
        ({"content": None}, "is no approvals entry of a release"),
    ],
)
def test_approval_that_nobody_signed(keeper, change, fault):
    keeper.signoff(**keeper.approve(change=change))
    first, second = keeper.found()
    assert (first[0], fault in first[1]) == (3, True), first
    assert second == (4, "has no approval that holds in this record")


def test_somebody_else_is_not_who_signed_the_record(keeper):
    keeper.signoff("tests", signed_by="bob")
    keeper.signoff("other", signed_by="bob")
    ((line, what),) = keeper.found(who="bob")
    assert (line, "has to be of somebody other than who deployed, and SHA256:" in what) == (4, True)


def test_who_signs_later_signs_the_record_as_well(keeper):
    assert keeper.found() == []
    keeper.file.append("run", {"user": "bob", "later": True})
    keeper.signoff("other", signed_by="bob")
    Ledger(str(keeper.home / "production"), signer("bob", keeper.keys["bob"])).enter(keeper.file)
    assert verify_directory(str(keeper.home / "production"), "", False).faults == []
    assert verify_file(keeper.file.path, "", False).faults == []


def test_list_of_whoever_verifies_comes_before_that_of_the_record(tmp_path, keys):
    keeper = Keeper(tmp_path, keys)
    # Ann has written her own key under the name of Bob.
    keeper.lines = [keeper.lines[0].replace("ann", "bob", 1)]
    keeper.checklist()
    keeper.signoff(signed_by="ann")
    (tmp_path / "allowed").write_text(
        f"ann,ann@example.com {Path(keys['ann'] + '.pub').read_text()}bob {Path(keys['bob'] + '.pub').read_text()}"
    )
    ((line, what),) = keeper.found(allowed=str(tmp_path / "allowed"))
    keeper.file.close()
    assert (line, what) == (3, "is not signed by bob: that key is ann's, not bob's")


def test_key_that_came_after_the_release_is_kept_beside_it(tmp_path, keys):
    keeper = Keeper(tmp_path, keys)
    keeper.checklist(signers=[])
    keeper.file.append("signers", {"signers": keeper.lines})
    keeper.signoff(signed_by="bob")
    assert keeper.found() == []
    keeper.file.close()


def test_reports_call_no_such_release_well(keeper):
    keeper.signoff(signed_by="ann")
    assert keeper.found() != []
    directory, now = keeper.home / "production", datetime.now(UTC)
    for write, verified in (
        (write_reports, verify_directory(str(directory), "", False)),
        (write_report, verify_file(keeper.file.path, "", False)),
    ):
        write(str(directory) if write is write_reports else keeper.file.path, now, verified)
        content = (directory / "r1.html").read_text()
        assert "<strong>Not as it was written</strong>" in content
        assert "As it was written" not in content
        assert "is not signed by bob" in content
        assert "signed, not proven" in content
        assert '<span class="mark good">signed' not in content
        told = json.loads((directory / "r1.json").read_text())
        assert [(item["item"], item["doubted"]) for item in told["signoffs"]] == [("tests", True), ("other", False)]
    assert '"mark bad">not as it was written' in (directory / "index.html").read_text()
