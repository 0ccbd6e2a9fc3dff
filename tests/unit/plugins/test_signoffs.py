"""Sign-offs: who may give them, what approvals hold for, keys, the course of a sitting. ssh-keygen is the real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.laravel.plugins.action.signoff import documents
from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import digest, load
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import Masker
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import (
    APPROVAL,
    LOOK_BACK,
    SIGNOFF,
    Approvals,
    Binding,
    Document,
    Past,
    People,
    SignoffError,
    earlier,
    overdue,
    past,
    sign,
    statement,
    used_approvals,
    verify,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.sitting import Sitting, supply, unsignable

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
COMMIT, SHA = "c" * 40, "5" * 64
LIST = """\
name: list
version: "1"
stages:
  pre_deploy:
    - {id: tests, text: Tests pass, who: qa}
    - {id: plan, text: There is a plan}
    - {id: other, text: Another one looked, who: not_deployer}
  during:
    - {id: proof, text: Proven, check: {name: health, url: x}}
    - {id: late, text: After it is live, at: after_verify}
  post_deploy:
    - {id: watch, text: Watch it, earliest: 30m, deadline: 2h}
    - {id: told, text: Tell them, deadline: 1h}
    - {id: nice, text: Be nice, required: false}
"""
PEOPLE = {"ann": {"roles": ["dev"]}, "bob": {"roles": ["qa"]}, "eve": {}}


@pytest.fixture(scope="module")
def checklist(tmp_path_factory):
    path = tmp_path_factory.mktemp("list") / "list.yml"
    path.write_text(LIST)
    return load(str(path))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key for each, as its file and as its public text."""
    directory = tmp_path_factory.mktemp("keys")
    made = {}
    for name in ("ann", "bob", "eve"):
        path = directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
        made[name] = (str(path), (directory / f"{name}.pub").read_text().strip())
    return made


@pytest.fixture
def binding(checklist):
    return Binding(checklist, "production", COMMIT, SHA, ["web1", "web2"], "r1")


def item_of(checklist, name):
    return next(item for items in checklist["stages"].values() for item in items if item["id"] == name)


def people(**more):
    return People({**PEOPLE, **more}, "ann")


# Who may sign


@pytest.mark.parametrize(
    ("name", "item", "refusal"),
    [
        ("ann", "plan", ""),
        ("zoe", "plan", ""),
        ("", "plan", "nobody is named"),
        ("bob", "tests", ""),
        ("ann", "tests", "it is for qa, and ann is dev"),
        ("eve", "tests", "it is for qa, and eve is neither"),
        ("ann", "other", "it is for somebody other than ann, who deploys"),
        ("eve", "other", ""),
        ("zoe", "other", "zoe is not in signoff_people"),
    ],
)
def test_who_may_sign(checklist, name, item, refusal):
    assert people().refusal(item_of(checklist, item), name) == refusal


def test_deployer_alone_and_another_one_of_a_role(checklist):
    team = people(ann={"roles": ["qa"]})
    form = {"who": ["deployer"]}
    assert [team.refusal(form, name) for name in ("ann", "bob")] == ["", "it is for ann, who deploys"]
    both = {"who": ["qa", "not_deployer"]}
    assert [team.refusal(both, name) == "" for name in ("ann", "bob", "eve")] == [False, True, False]
    assert team.role(both, "bob") == "qa"


def test_without_a_list_of_people_a_name_is_enough_for_another_one_but_not_for_a_role(checklist):
    nobody = People({}, "ann")
    assert nobody.refusal(item_of(checklist, "other"), "zoe") == ""
    assert nobody.refusal(item_of(checklist, "tests"), "zoe") != ""
    assert nobody.nobody(item_of(checklist, "tests")) == "qa"


@pytest.mark.parametrize(
    ("person", "fault"),
    [
        ({"role": "qa"}, "has roles, a list, and key"),
        ({"roles": "qa"}, "roles is a list"),
        ({"key": "AAAA"}, "key is a public SSH key"),
    ],
)
def test_people_that_are_not_as_they_should_be(person, fault):
    assert fault in people(joe=person).faults()[0]
    assert people().faults() == []


def test_somebody_else_is_neither_who_deploys_nor_their_login_however_it_is_written(checklist):
    other = item_of(checklist, "other")
    team = People({**PEOPLE, "root": {}}, "ann", logins=["root"])
    for name in ("Ann", "ann ", "root", " Root"):
        assert "somebody other than" in team.refusal(other, name), name
    assert team.refusal(other, "eve") == ""
    assert People({}, "ann", logins=["root"]).refusal(other, "root") != ""
    assert team.refusal(item_of(checklist, "plan"), "root") == ""


def test_who_deploys_has_to_be_known_where_somebody_else_is_asked_for(checklist):
    (fault,) = People(PEOPLE, "jenkins").deployer_faults(checklist)
    assert fault.startswith("other: to be signed by somebody other than who deploys, and jenkins, who deploys, is not")
    assert "-e laravel_operator=NAME" in fault
    assert "-e signoff_by=NAME" in fault
    assert people().deployer_faults(checklist) == []
    assert People({}, "jenkins").deployer_faults(checklist) == []
    assert People(PEOPLE, "jenkins").deployer_faults({"stages": {"during": [{"id": "x", "who": ["qa"]}]}}) == []


def test_two_people_have_two_keys(keys):
    (fault,) = people(ann={"key": f"{keys['ann'][1]} at home"}, bob={"key": keys["ann"][1]}).faults()
    assert fault == "signoff_people: ann and bob have the same key"


def test_name_with_a_key_is_one_word(keys):
    assert "is one word" in people(**{"Ann Lee": {"key": keys["ann"][1]}}).faults()[0]


# Keys


def test_signature_names_who_signed_and_holds_for_nothing_else(keys):
    team = people(ann={"key": keys["ann"][1]}, bob={"key": keys["bob"][1]})
    signature = sign(b"text", SIGNOFF, keys["bob"][0])
    name, fingerprint = verify(b"text", signature, team.signers(), SIGNOFF)
    assert (name, fingerprint.startswith("SHA256:")) == ("bob", True)
    for data, namespace in ((b"other", SIGNOFF), (b"text", APPROVAL)):
        with pytest.raises(SignoffError, match="does not fit what is signed"):
            verify(data, signature, team.signers(), namespace)
    stranger = sign(b"text", SIGNOFF, keys["eve"][0])
    with pytest.raises(SignoffError, match="nobody who may sign"):
        verify(b"text", stranger, team.signers(), SIGNOFF)


def test_key_that_cannot_sign_says_what_to_do(keys, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "")
    remedy = r"; add it to the ssh-agent \(ssh-add\), or run it with -e signoff_by=ann -e signoff_key=FILE"
    with pytest.raises(SignoffError, match=remedy):
        sign(b"text", SIGNOFF, "", keys["ann"][1], by="ann")
    with pytest.raises(SignoffError, match="/nowhere"):
        sign(b"text", SIGNOFF, "/nowhere")


def test_key_of_the_agent(keys):
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    values = dict(part.split("=") for part in agent.replace("\n", ";").split(";") if "=" in part)
    environment = {**os.environ, **values}
    try:
        subprocess.run(["ssh-add", "-q", keys["bob"][0]], env=environment, check=True, capture_output=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSH_AUTH_SOCK", values["SSH_AUTH_SOCK"])
            signature = sign(b"text", SIGNOFF, "", keys["bob"][1])
    finally:
        os.kill(int(values["SSH_AGENT_PID"]), 15)
    assert verify(b"text", signature, people(bob={"key": keys["bob"][1]}).signers(), SIGNOFF)[0] == "bob"


# Approvals


def document(binding, change=None, **items):
    bound = {key: value for key, value in binding.data().items() if key not in ("artifact_sha256", "hosts", "release")}
    given = {name: {"status": "signed", **item} for name, item in (items or {"plan": {"by": "eve"}}).items()}
    return Document("approvals.yml", {**bound, "items": given, **(change or {})})


def find(binding, documents, item="plan", stage="pre_deploy", team=None, used=None):
    approvals = Approvals(documents, team or people())
    return approvals.find(item_of(binding.checklist, item), stage, binding, used or {}, NOW)


def test_approval_signs_an_item(binding):
    given = document(binding, plan={"by": "eve", "at": "2026-11-21T11:00:00Z", "evidence": "ticket 7"})
    approval, reasons = find(binding, [given])
    assert reasons == []
    assert (approval.status, approval.by, approval.at) == ("signed", "eve", "2026-11-21T11:00:00Z")
    assert (approval.evidence, approval.source) == ("ticket 7", "approvals.yml")


# Each thing that an approval is bound to, and each way in which it is not one.
REFUSED = [
    ({"commit": "d" * 40}, f"is for commit {'d' * 40}, and here it is {COMMIT}"),
    ({"commit": ""}, "does not say which commit it is for"),
    ({"checklist": "other"}, "is for checklist other"),
    ({"checklist_version": "2"}, "is for checklist_version 2, and here it is 1"),
    ({"checklist_sha256": "0" * 64}, "is for checklist_sha256 0000"),
    ({"inventory": "staging"}, "is for inventory staging, and here it is production"),
    ({"release": "r0"}, "is for release r0, and here it is r1"),
    ({"approved": True}, "has approved; it may have checklist"),
    ({"items": {"plan": {"by": ""}}}, "nobody is named"),
    ({"items": {"plan": {"by": "<name>", "status": "signed"}}}, "nobody is named: <name> is to be replaced"),
    ({"items": {"plan": {"status": "signed"}}, "by": "<name>"}, "nobody is named: <name> is to be replaced"),
    ({"items": {"plan": {"by": "  ", "status": "signed"}}}, "nobody is named"),
    ({"items": {"plan": {"by": "eve"}}}, "the status is signed, waived or failed, not empty"),
    ({"items": {"plan": {"by": "eve", "status": ""}}}, "the status is signed, waived or failed, not empty"),
    ({"items": {"plan": {"by": "eve", "status": "yes"}}}, "the status is signed, waived or failed, not yes"),
    ({"commit": "<the full commit>"}, "does not say which commit it is for"),
    ({"artifact_sha256": "6" * 64}, f"is for artifact_sha256 {'6' * 64}, and here it is {SHA}"),
    ({"items": {"plan": {"by": "eve", "status": "waived"}}}, "waived needs a reason"),
    ({"items": {"plan": {"by": "eve", "status": "signed", "at": "2026-11-22"}}}, "still to come"),
    ({"items": {"plan": {"by": "eve", "status": "signed", "at": "soon"}}}, "soon is not a time"),
    ({"items": {"plan": {"by": "eve", "ok": True}}}, "an approval has status, by"),
    ({"items": {"plan": "eve"}}, "an approval has status, by"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:40] for _change, message in REFUSED])
def test_approval_that_does_not_hold(binding, change, message):
    approval, reasons = find(binding, [document(binding, change)])
    assert approval is None
    assert message in reasons[0]


def test_approval_has_to_be_of_somebody_who_may_sign(binding):
    assert "it is for qa" in find(binding, [document(binding, tests={"by": "eve"})], "tests")[1][0]
    assert find(binding, [document(binding, tests={"by": "bob"})], "tests")[0].by == "bob"
    assert "who deploys" in find(binding, [document(binding, other={"by": "ann"})], "other")[1][0]


def test_second_file_makes_up_for_the_first(binding):
    documents = [document(binding, {"commit": "d" * 40}), document(binding, plan={"by": "bob"})]
    assert find(binding, documents)[0].by == "bob"


def test_before_the_build_the_commit_may_be_open(binding):
    binding.commit = ""
    assert find(binding, [document(binding, {"commit": "d" * 40})])[0].by == "eve"
    assert "does not say which commit" in find(binding, [document(binding, {"commit": ""})])[1][0]


def test_what_comes_after_the_switch_is_approved_for_the_very_release(binding):
    assert (
        "does not say which release"
        in find(binding, [document(binding, told={"by": "eve"})], "told", "post_deploy")[1][0]
    )
    given = document(binding, {"release": "r1"}, told={"by": "eve"})
    assert find(binding, [given], "told", "post_deploy")[0].by == "eve"


def test_approvals_of_a_release_that_is_live_are_used_up(binding):
    given = document(binding)
    approval, reasons = find(binding, [given], used={given.sha256: "r0"})
    assert (approval, reasons) == (None, ["approvals.yml was used for release r0; approve this one anew"])


def proven(binding, keys, signer="bob", change=None, must=False, team=None, **items):
    given = document(binding, change, **items)
    given.raw = json.dumps(given.data).encode()
    given.signature = sign(given.raw, APPROVAL, keys[signer][0]) if signer else ""
    team = team or people(bob={"roles": ["qa"], "key": keys["bob"][1]}, ann={"key": keys["ann"][1]})
    given.prove(team.signers(), must)
    return given, team


def test_times_without_quotes_are_times_as_well(binding):
    text = """\
        items:
          plan: {status: signed, by: eve, at: 2026-11-21T09:30:00Z, evidence: {seen: 2026-11-20, at: [2026-11-20]}}
          2026-11-20: {by: eve}
          17: {by: eve}
    """
    given = document(binding, yaml.safe_load(text))
    approval, reasons = find(binding, [given])
    assert (reasons, approval.at) == ([], "2026-11-21T09:30:00Z")
    assert approval.evidence == {"seen": "2026-11-20", "at": ["2026-11-20"]}
    assert re.fullmatch("[0-9a-f]{64}", given.sha256)
    assert "still to come" in find(binding, [document(binding, plan={"by": "eve", "at": date(2026, 11, 22)})])[1][0]


def test_checksum_of_approvals_stays_what_it_was(binding):
    given = {"checklist": "a", "items": {"x": {"by": "eve", "evidence": [1, 1.5, True, None, "é"]}, "y": None}}
    assert Document("a", given).sha256 == digest({"approvals": given})


def test_approval_of_what_was_built_elsewhere_names_the_artifact(binding):
    binding.prebuilt = True
    assert "does not say which artifact_sha256 it is for" in find(binding, [document(binding)])[1][0]
    assert find(binding, [document(binding, {"artifact_sha256": SHA})])[0].by == "eve"
    binding.artifact_sha256 = ""
    assert "<sha256 of the artifact>" in supply(binding, "pre_deploy", [], "", "v1")


def test_signed_file_that_the_record_cannot_keep_as_it_is(binding, keys):
    team = people(bob={"roles": ["qa"], "key": keys["bob"][1]})
    for text, mask in (("password: hunter22-of-bob", record.RecordFile.masker.data), ("\udce9", lambda data: data)):
        given = document(binding, tests={})
        given.raw = text.encode(errors="surrogateescape")
        given.signature = sign(given.raw, APPROVAL, keys["bob"][0])
        given.prove(team.signers(), False, mask)
        assert "holds a secret" in find(binding, [given], "tests", team=team)[1][0]


def test_key_that_only_the_allowed_signers_have_counts(binding, keys, tmp_path):
    (tmp_path / "signers").write_text(
        f'# who may sign\neve,joe namespaces="{APPROVAL},{SIGNOFF}" {keys["eve"][1]}\n'
        f'ann namespaces="slipway-release" {keys["ann"][1]}\n'
    )
    team = People(PEOPLE, "ann", str(tmp_path / "signers"))
    reason = find(binding, [document(binding, plan={"by": "eve"})], team=team)[1][0]
    assert "eve has a key and has to sign the file" in reason
    assert find(binding, [document(binding, plan={"by": "ann"})], team=team)[0].by == "ann", "hers is for records alone"
    desk = Desk(binding, "during", "after_verify", answers=["s", "q"], team=team, by="joe")
    assert desk.statuses() == {"late": ("open", "", "none")}
    assert "does not sign" in desk.asked[1]
    (data,) = Desk(binding, "during", "after_verify", answers=["s"], team=team, by="joe", key=keys["eve"][0]).kept
    assert verify(statement(data), data["signature"], team.signers(), SIGNOFF, "joe") == ("joe", data["key"])


def test_signed_file_speaks_for_who_signed_it(binding, keys):
    given, team = proven(binding, keys, tests={})
    approval, reasons = find(binding, [given], "tests", team=team)
    assert (reasons, approval.by, approval.key[:7]) == ([], "bob", "SHA256:")
    other, team = proven(binding, keys, plan={"by": "ann"})
    assert "bob signed the file, and cannot speak for ann" in find(binding, [other], team=team)[1][0]


def test_who_has_a_key_has_to_use_it(binding, keys):
    given, team = proven(binding, keys, "", tests={"by": "bob"})
    reason = find(binding, [given], "tests", team=team)[1][0]
    text = "bob has a key and has to sign the file: ssh-keygen -Y sign -n slipway-approval -f KEY approvals.yml"
    assert reason.endswith(text)


@pytest.mark.parametrize("must", [False, True])
def test_approvals_of_a_variable_are_to_be_put_into_a_file_that_can_be_signed(binding, keys, must):
    given = document(binding, tests={"by": "bob"})
    given.origin = "signoff_approvals"
    team = people(bob={"roles": ["qa"], "key": keys["bob"][1]})
    given.prove(team.signers(), must)
    assert find(binding, [given], "tests", team=team)[1][0].endswith(
        "put signoff_approvals into a plain file of its own, sign that (ssh-keygen -Y sign -n slipway-approval -f KEY "
        "FILE), and give it by -e @FILE"
    )


def test_file_changed_after_it_was_signed(binding, keys):
    given, team = proven(binding, keys, tests={})
    given.raw += b" "
    given.prove(team.signers(), False)
    assert "approvals.yml.sig does not hold" in find(binding, [given], "tests", team=team)[1][0]


def test_only_signed_files_where_that_is_asked_for(binding, keys):
    given, team = proven(binding, keys, "", must=True, plan={"by": "eve"})
    assert "is not signed: ssh-keygen -Y sign -n slipway-approval" in find(binding, [given], team=team)[1][0]


def test_files_of_the_command_line_come_with_their_signature_and_go_before_the_variable(tmp_path, binding):
    content = yaml.safe_dump({"signoff_approvals": document(binding).data})
    (tmp_path / "approvals.yml").write_text(content)
    (tmp_path / "approvals.yml.sig").write_text("a signature")
    (tmp_path / "other.yml").write_text("release_force: true\n")
    (tmp_path / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3131: {\n")
    files = [str(tmp_path / name) for name in ("other.yml", "vault.yml", "approvals.yml", "gone.yml")]
    (found,) = documents(files, {"commit": "from the variable"})
    assert (found.origin, found.signature, found.raw.decode()) == (files[2], "a signature", content)
    variable = [{"commit": "a"}, {"commit": "b"}]
    assert [found.data for found in documents(files[:2], variable)] == variable
    assert documents(files[:2], {}) == []


# A sitting


class Desk:
    """A sitting with somebody at the terminal who has their answers ready."""

    def __init__(self, binding, stage, at="", answers=None, checks=None, team=None, documents=(), **more):
        self.told, self.asked, self.kept = [], [], []
        self.answers = list(answers) if answers is not None else None
        items = [item for item in binding.checklist["stages"][stage] if not at or item["at"] == at]
        self.clock = NOW
        self.sitting = Sitting(
            stage=stage,
            at=at,
            items=items,
            binding=binding,
            people=team or people(),
            approvals=Approvals(documents, team or people()),
            evaluate=lambda item: (checks or {})[item["id"]],
            append=self.kept.append,
            tell=lambda text, colour: self.told.append(text),
            ask=self.ask if answers is not None else None,
            by=more.pop("by", "ann"),
            clock=lambda: self.clock,
            **more,
        )
        self.sitting.hold()

    def ask(self, text):
        self.asked.append(text)
        return self.answers.pop(0)

    def statuses(self):
        return {data["item"]: (data["status"], data["by"], data["method"]) for data in self.kept}


def test_sign_as_somebody_else_fail_and_waive(binding):
    answers = ["s", "n bob", "s see CI 17", "w", "", "w the plan is old", "n", "eve", "s"]
    desk = Desk(binding, "pre_deploy", answers=answers)
    assert desk.statuses() == {
        "tests": ("signed", "bob", "prompt"),
        "plan": ("waived", "bob", "prompt"),
        "other": ("signed", "eve", "prompt"),
    }
    assert "it is for qa, and ann is dev" in desk.asked[0]
    assert "is none of the answers" in desk.asked[1], "ann may not sign, whatever she types"
    assert "needs a reason" in desk.asked[5]
    tests, plan, _other = desk.kept
    assert (tests["evidence"], tests["role"], plan["reason"]) == ({"given": "see CI 17"}, "qa", "the plan is old")
    assert desk.sitting.left("failed", "open") == []


def test_sign_off_is_bound_to_everything(binding):
    data = Desk(binding, "pre_deploy", answers=["n bob", "s", "s", "n eve", "s"]).kept[0]
    assert {key: data[key] for key in binding.data()} == {
        "checklist": "list",
        "checklist_version": "1",
        "checklist_sha256": digest(binding.checklist),
        "inventory": "production",
        "commit": COMMIT,
        "artifact_sha256": SHA,
        "hosts": ["web1", "web2"],
        "release": "r1",
    }
    assert (data["stage"], data["text"], data["at"], data["deployed_by"]) == (
        "pre_deploy",
        "Tests pass",
        "2026-11-21T12:00:00Z",
        "ann",
    )


def test_put_off_is_asked_again_at_the_end(binding):
    desk = Desk(binding, "pre_deploy", answers=["l", "s", "n bob", "s", "s"])
    assert [data["item"] for data in desk.kept] == ["plan", "other", "tests"]
    assert desk.answers == []


def test_failed_item_ends_the_stage(binding):
    desk = Desk(binding, "pre_deploy", answers=["n bob", "f two cases fail"])
    assert desk.statuses() == {
        "tests": ("failed", "bob", "prompt"),
        "plan": ("open", "", "none"),
        "other": ("open", "", "none"),
    }
    assert [data["item"] for data in desk.sitting.left("failed")] == ["tests"]


def test_whoever_stops_asking_leaves_the_rest_open(binding):
    desk = Desk(binding, "pre_deploy", answers=["q"])
    assert {status for status, *_rest in desk.statuses().values()} == {"open"}


def test_without_a_terminal_nobody_is_asked(binding):
    desk = Desk(binding, "pre_deploy", documents=[document(binding, plan={"by": "eve"})])
    assert desk.statuses()["plan"] == ("signed", "eve", "approval")
    assert [data["item"] for data in desk.sitting.left("open")] == ["tests", "other"]


WELL = {"proof": {"ok": True, "evidence": {"status": 200}, "message": "it answers"}}
ILL = {"proof": {"ok": False, "evidence": {"status": 500}, "message": "it answered 500"}}


def test_check_signs_with_its_evidence(binding):
    (data,) = Desk(binding, "during", "before_switch", checks=WELL).kept
    assert (data["status"], data["by"], data["method"]) == ("signed", "check health", "check")
    assert (data["reason"], data["evidence"]) == ("it answers", {"status": 200})


def test_secrets_are_not_shown_to_whoever_is_asked(binding):
    told = {**ILL["proof"], "message": "it answered s3cret-word", "evidence": {"body": "s3cret-word"}}
    mask = Masker(["s3cret-word"]).data
    desk = Desk(binding, "during", "before_switch", checks={"proof": told}, answers=["w known"], mask=mask)
    assert "its check failed: it answered ********" in desk.asked[0]
    assert "s3cret-word" not in "".join([*desk.asked, *desk.told, json.dumps(desk.kept)])
    approved = [document(binding, proof={"by": "eve"})]
    alone = Desk(binding, "during", "before_switch", checks={"proof": told}, mask=mask, documents=approved)
    assert "s3cret-word" not in "".join([*alone.told, str(alone.sitting.reasons), json.dumps(alone.kept)])


def test_nobody_signs_what_a_check_has_shown_to_be_wrong(binding):
    desk = Desk(binding, "during", "before_switch", checks=ILL, answers=["s", "w known, ticket 8"])
    assert "its check failed: it answered 500" in desk.asked[0]
    assert "is none of the answers" in desk.asked[1]
    (data,) = desk.kept
    assert (data["status"], data["evidence"]["check"]["status"]) == ("waived", 500)
    approved = Desk(binding, "during", "before_switch", checks=ILL, documents=[document(binding, proof={"by": "eve"})])
    assert approved.statuses() == {"proof": ("failed", "check health", "check")}
    waived = document(binding, proof={"by": "eve", "status": "waived", "reason": "known"})
    assert Desk(binding, "during", "before_switch", checks=ILL, documents=[waived]).statuses() == {
        "proof": ("waived", "eve", "approval")
    }


def test_check_that_cannot_be_carried_out_leaves_it_to_a_person(binding):
    why = "its check cannot be carried out (the list is another one): a person has to sign or waive it"
    for answer, status in (("s looked at it", "signed"), ("w not needed", "waived")):
        desk = Desk(binding, "during", "before_switch", answers=[answer], unchecked=why)
        assert desk.statuses() == {"proof": (status, "ann", "prompt")}
        assert why in desk.asked[0]
    (data,) = Desk(binding, "during", "before_switch", unchecked=why).kept
    assert (data["status"], data["reason"]) == ("open", why)
    given = [document(binding, proof={"by": "eve"})]
    approved = Desk(binding, "during", "before_switch", unchecked=why, documents=given)
    assert approved.statuses() == {"proof": ("signed", "eve", "approval")}


def test_nothing_of_a_commit_reaches_the_terminal_but_its_text(binding):
    commits = ["1a2b3c4 Fix\x1b]0;owned\x07 it\x1b[2J", "2b3c4d5 two\nlines \u202ereversed\u2066", "3c4d5e6 \u0623"]
    ill = {"proof": {"ok": False, "evidence": {"said": "\x1b[1A"}, "message": "it said \x9b31m"}}
    phases = [{"phase": "build", "host": "web1", "commits": commits}]
    answers = ["w a reason \x1b[8m"]
    desk = Desk(binding, "during", "before_switch", answers=answers, checks=ill, past=Past("", phases=phases))
    shown = "".join([*desk.asked, *desk.told])
    assert not set("\x1b\x07\x9b\u202e\u2066") & set(shown)
    assert "  2b3c4d5 two lines \ufffdreversed\ufffd\n" in shown
    assert "3c4d5e6 \u0623" in shown


def test_check_that_is_about_no_host_of_the_release_is_passed_over_with_the_reason(binding):
    none = {"proof": {"ok": None, "evidence": {}, "message": "no host of this release is in laravel_horizon"}}
    (data,) = Desk(binding, "during", "before_switch", checks=none).kept
    assert (data["status"], data["reason"]) == ("waived", "no host of this release is in laravel_horizon")


def test_after_the_release_items_wait_for_their_time(binding):
    switched = Past("", switched=NOW - timedelta(minutes=10))
    desk = Desk(binding, "post_deploy", answers=["l", "s"], past=switched)
    watch = next(data for data in desk.kept if data["item"] == "watch")
    assert (watch["status"], watch["since"], watch["until"]) == (
        "open",
        "2026-11-21T12:20:00Z",
        "2026-11-21T13:50:00Z",
    )
    assert not any("Watch it" in text for text in desk.asked)
    assert desk.statuses()["told"] == ("open", "", "none")
    later = Desk(binding, "post_deploy", answers=["s", "s", "q"], past=Past("", switched=NOW - timedelta(minutes=31)))
    assert later.statuses()["watch"] == ("signed", "ann", "prompt")


def test_too_early_is_too_early_for_approvals_as_well(binding):
    given = document(binding, {"release": "r1"}, watch={"by": "eve"})
    for minutes, status in ((10, "open"), (31, "signed")):
        switched = Past("", switched=NOW - timedelta(minutes=minutes))
        assert Desk(binding, "post_deploy", documents=[given], past=switched).statuses()["watch"][0] == status


def test_key_of_the_person_signs_what_is_in_the_record(binding, keys):
    team = people(ann={"key": keys["ann"][1]}, bob={"roles": ["qa"], "key": keys["bob"][1]})
    desk = Desk(binding, "during", "after_verify", answers=["s"], team=team, key=keys["ann"][0])
    (data,) = desk.kept
    assert verify(statement(data), data["signature"], team.signers(), SIGNOFF)[0] == "ann"
    for key in ("status", "commit", "release", "item", "by", "at"):
        changed = {**data, key: "x"}
        with pytest.raises(SignoffError):
            verify(statement(changed), data["signature"], team.signers(), SIGNOFF)


def test_signature_is_of_what_the_record_holds_which_is_no_secret(binding, keys, tmp_path):
    team = people(ann={"key": keys["ann"][1]})
    written = record.RecordFile(str(tmp_path / "r1.jsonl"))
    answers = ["s logged in with password=hunter22-of-ann"]
    desk = Desk(
        binding, "during", "after_verify", answers=answers, team=team, key=keys["ann"][0], mask=written.masker.data
    )
    written.append("signoff", desk.kept[0])
    data = past(written.path).last["late"]
    written.close()
    assert "hunter22" not in Path(written.path).read_text()
    assert data == desk.kept[0]
    assert verify(statement(data), data["signature"], team.signers(), SIGNOFF)[0] == "ann"


def test_nobody_signs_with_the_name_of_another_one(binding, keys, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "")
    team = people(ann={"key": keys["ann"][1]}, bob={"roles": ["qa"], "key": keys["bob"][1]})
    desk = Desk(binding, "during", "after_verify", answers=["n bob", "s", "q"], team=team, key=keys["ann"][0])
    assert desk.statuses() == {"late": ("open", "", "none")}
    assert "or run it with -e signoff_by=bob -e signoff_key=FILE" in desk.asked[2]
    wrong = Desk(binding, "during", "after_verify", answers=["s", "q"], team=team, key=keys["bob"][0])
    assert wrong.statuses() == {"late": ("open", "", "none")}
    assert "that key is bob's, not ann's" in wrong.asked[1]


# Before the build


def missing(binding, interactive, documents=(), team=None):
    desks = [Desk(binding, "pre_deploy", team=team), Desk(binding, "during", "before_switch", checks=WELL, team=team)]
    for desk in desks:
        desk.sitting.approvals = Approvals(documents, team or people())
    return [item["id"] for _stage, item, _why in unsignable([desk.sitting for desk in desks], interactive)]


def test_what_can_never_be_signed_is_known_before_the_build(binding):
    given = document(binding, plan={"by": "eve"})
    binding.commit = ""
    assert missing(binding, interactive=False) == ["tests", "plan", "other"], "a check may prove the rest"
    assert missing(binding, interactive=True) == []
    assert missing(binding, interactive=True, team=People({}, "ann")) == ["tests"], "nobody is qa"
    assert missing(binding, False, [given]) == ["tests", "other"]


def of_text(text):
    return Document("approvals.yml", yaml.safe_load(text)["signoff_approvals"])


def test_snippet_needs_only_names_and_answers(binding):
    items = [item_of(binding.checklist, name) for name in ("tests", "plan")]
    printed = supply(binding, "pre_deploy", items, "", "v1")
    assert f'artifact_sha256: "{SHA}"' in printed
    assert find(binding, [of_text(printed)], "tests")[0] is None, "nobody has filled it in"
    named = printed.replace("<name>", "bob")
    assert find(binding, [of_text(named)], "tests")[0] is None, "nobody has said yes"
    assert find(binding, [of_text(named.replace('status: ""', "status: signed"))], "tests")[0].by == "bob"
    binding.commit = ""
    assert "git rev-parse 'v1^{commit}'" in supply(binding, "pre_deploy", items, "", "v1")
    binding.artifact_sha256 = ""
    assert "artifact_sha256" not in supply(binding, "pre_deploy", items, "", "v1")


# Records of earlier releases


def kept(directory, binding, name="r1", outcome="success", signed=(), minutes=180, approval=""):
    written = record.RecordFile(str(directory / f"{name}.jsonl"))
    switched = (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    binding.release = name
    written.append("checklist", {**binding.data(), "content": binding.checklist, "deployed_by": "ann"})
    written.append("phase", {"phase": "switch", "host": "web1", "changed": True}, at=switched)
    for item in signed:
        more = {"approval": {"sha256": approval, "file": "a"}} if approval else {}
        written.append("signoff", {**binding.data(), "item": item, "status": "signed", "required": True, **more})
    written.append("outcome", {"outcome": outcome, "release": name})
    written.close()
    return written.path


@pytest.mark.parametrize(
    ("arguments", "late"),
    [
        ({}, "watch, told"),
        ({"signed": ["watch"]}, "told"),
        ({"signed": ["watch", "told"]}, ""),
        ({"minutes": 90}, "told"),
        ({"minutes": 30}, ""),
        ({"outcome": "reverted"}, ""),
    ],
)
def test_overdue_sign_offs_are_told(tmp_path, binding, arguments, late):
    kept(tmp_path, binding, **arguments)
    asked = ("checklists/ours.yml", binding.data()["checklist_sha256"])
    told = overdue(earlier(str(tmp_path)), NOW, *asked)
    assert told == (
        [
            f"Release r1 has overdue sign-offs: {late}. Give them with: ansible-playbook signoff.yml -i <inventory> -e "
            f"release=r1 -e release_checklist=checklists/ours.yml"
        ]
        if late
        else []
    )


def test_overdue_sign_offs_of_another_checklist(tmp_path, binding):
    kept(tmp_path, binding)
    (told,) = overdue(earlier(str(tmp_path)), NOW, "checklists/ours.yml", "0" * 64)
    assert told.endswith(f" -e release=r1 -e release_checklist=<its checklist, {binding.checklist['name']}>")


def test_record_that_was_changed_stops_no_release(tmp_path, binding):
    path = kept(tmp_path, binding)
    path = Path(path)
    path.write_text(path.read_text().replace("success", "succe55"))
    assert earlier(str(tmp_path)) == []
    with pytest.raises(ValueError, match="changed"):
        past(str(path))


def test_approvals_are_used_up_by_a_release_on_the_same_hosts(tmp_path, binding):
    kept(tmp_path, binding, signed=["tests"], approval="aa")
    kept(tmp_path, binding, "r2", "aborted", signed=["tests"], approval="bb")
    assert used_approvals(earlier(str(tmp_path)), ["web2", "web1"]) == {"aa": "r1"}
    assert used_approvals(earlier(str(tmp_path)), ["web1"]) == {"aa": "r1"}, "--limit makes no other release of it"
    assert used_approvals(earlier(str(tmp_path)), ["db1"]) == {}


def test_approvals_are_used_up_for_ever_and_whatever_came_after_them(tmp_path, binding):
    path = kept(tmp_path, binding, "20250101", signed=["told"], approval="aa" * 32)
    written = record.RecordFile(path, create=False)
    written.append("signoff", {**binding.data(), "item": "told", "status": "signed", "required": True})
    written.close()
    (tmp_path / "ledger.jsonl").write_text("")
    for number in range(LOOK_BACK):
        kept(tmp_path, binding, f"20260101-{number:03}")
    assert used_approvals(earlier(str(tmp_path), approvals=["aa" * 32]), ["web1"]) == {"aa" * 32: "20250101"}
    assert len(earlier(str(tmp_path))) == LOOK_BACK, "the ledger is no record"


def test_signed_file_can_be_verified_from_the_record_alone(binding, keys):
    given, team = proven(binding, keys, tests={})
    kept = given.proof()
    assert verify(kept["content"].encode(), kept["signature"], team.signers(), APPROVAL) == ("bob", kept["key"])
