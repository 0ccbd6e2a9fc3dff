"""Releases two hosts that are directories of this machine with a checklist: at a terminal, with approvals, and later.

The runs are made once, in an order that a team could have made them in; each test looks at one of them.
"""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import read
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import SIGNOFF, People, statement, verify
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_entered
from fleet import HOSTS, ROOT, Fleet, write
from terminal import Terminal

SHORT = """\
name: short
version: "1"
stages:
  pre_deploy:
    - {id: tests, text: Tests pass}
  during:
    - {id: go, text: Go ahead}
    - {id: smoke, text: It works, at: after_verify}
  post_deploy:
    - {id: verified, text: Verified by somebody else, who: not_deployer, deadline: 0s}
    - {id: told, text: They were told, deadline: 1d}
"""


class Team:
    """People with keys, and what they do."""

    def __init__(self, home):
        self.home, self.fleet = home, Fleet(home)
        self.fleet.lay_out()
        write(home / "checklists/short.yml", SHORT)
        self.public = {name: self.make_key(name) for name in ("ann", "bob")}
        people = {name: {"key": key} for name, key in self.public.items()}
        self.people = People(people, "ann")
        write(home / "people.json", json.dumps({"signoff_people": people, "laravel_operator": "ann"}))

    def make_key(self, name):
        path = self.home / "keys" / name
        path.parent.mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
        return path.with_suffix(".pub").read_text().strip()

    def release(self, version, *words, checklist="checklists/short.yml", **environment):
        return self.fleet.release(version, "-e", f"release_checklist={checklist}", *words, **environment)

    def at_terminal(self, playbook, answers, *words):
        """Run a playbook and answer each question that has a text in it; return what was shown."""
        inventory = self.home / "inventories/production"
        argv = ["ansible-playbook", ROOT / playbook, "-i", inventory, *words]
        terminal = Terminal(argv, self.home, self.fleet.environment)
        for text, answer in answers:
            terminal.until(re.escape(text) + r"(.|\n)*?stop asking  \[\w+\] \n")
            terminal.say(answer)
        terminal.status = terminal.end()
        return terminal

    def records(self):
        paths = [path for path in self.fleet.records.glob("*.jsonl") if path.name != "ledger.jsonl"]
        return sorted(paths, key=lambda path: path.stat().st_mtime)

    def commit(self, version):
        argv = ["git", "rev-parse", f"{version}^{{commit}}"]
        result = subprocess.run(argv, cwd=self.home / "origin", capture_output=True, text=True, check=True)
        return result.stdout.strip()

    def live(self):
        return {host: self.fleet.live(host) for host in HOSTS}


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    made = Team(tmp_path_factory.mktemp("fleet"))
    yield made
    made.fleet.close()


def signed(path):
    """The last word on each item of a record."""
    last = {entry["data"]["item"]: entry["data"] for entry in read(str(path)) if entry["event"] == "signoff"}
    return {item: (data["status"], data["by"], data["method"]) for item, data in last.items()}


def entries(path, event):
    return [entry["data"] for entry in read(str(path)) if entry["event"] == event]


def phases(run):
    return {phase["phase"] for phase in run.of("phase")}


def told(run):
    return " ".join((run.output + run.error).split())


@pytest.fixture(scope="module")
def approved(team):
    """A release in CI: first without approvals, then with those of another commit, then with the right ones."""
    runs = {"none": team.release("v1")}
    printed = re.search(r"# approvals\.yml\n(.*?)\n\n", runs["none"].output, re.DOTALL)[1]
    content = yaml.safe_load(printed.replace("<name>", "ann").replace('status: ""', "status: signed"))
    for name, version in (("other", "v2"), ("right", "v1")):
        content["signoff_approvals"]["commit"] = team.commit(version)
        write(team.home / f"{name}.yml", yaml.safe_dump(content))
        asked = ["-e", "release_signoff_prompt=false"] if name == "other" else []
        runs[name] = team.release("v1", "-e", f"@{team.home / name}.yml", *asked)
    return {**runs, "printed": content}


def test_without_a_terminal_it_stops_before_the_build_and_says_how_to_go_on(approved):
    run = approved["none"]
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert phases(run) == {"preflight", "revert"}
    for line in ("3 required items of the checklist short 1 are not signed", "pre_deploy tests: there is no approval"):
        assert line in told(run)
    assert "Run it on a terminal, or put what is printed above into a file approvals.yml" in told(run)
    assert "with -e @approvals.yml" in told(run)
    assert set(approved["printed"]["signoff_approvals"]["items"]) == {"tests", "go", "smoke"}
    assert "git rev-parse 'v1^{commit}'" in run.output, "the commit is not known before the build"


def test_approvals_of_another_commit_stop_it_before_a_host_is_changed(approved, team):
    run = approved["other"]
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert phases(run) == {"preflight", "build", "revert"}
    assert f"is for commit {team.commit('v2')}, and here it is {team.commit('v1')}" in told(run)
    assert f'commit: "{team.commit("v1")}"' in run.output, "what is printed now has the commit"
    assert "Put what is printed above into" in told(run)
    assert "on a terminal" not in told(run), "where nobody is to be asked"


def test_release_by_approvals_as_in_ci(approved, team):
    run = approved["right"]
    assert (run.status, run.outcome()["outcome"]) == (0, "success"), run.output
    (path,) = (path for path in run.files if path.suffix == ".jsonl" and path.name != "ledger.jsonl")
    assert signed(path) == {
        "tests": ("signed", "ann", "approval"),
        "go": ("signed", "ann", "approval"),
        "smoke": ("signed", "ann", "approval"),
        "verified": ("open", "", "none"),
        "told": ("open", "", "none"),
    }
    order = [entry["data"].get("phase") or entry["data"].get("item") for entry in run.entries]
    assert order.index("build") < order.index("tests") < order.index("stage")
    assert order.index("migrate") < order.index("go") < order.index("switch")
    assert order.index("verify") < order.index("smoke") < order.index("finish") < order.index("told")
    (checklist,) = run.of("checklist")
    build = next(phase for phase in run.of("phase") if phase["phase"] == "build")
    for data in [checklist, *run.of("signoff")]:
        bound = {name: data[name] for name in ("commit", "artifact_sha256", "hosts", "release", "inventory")}
        assert bound == {
            "commit": team.commit("v1"),
            "artifact_sha256": build["sha256"],
            "hosts": HOSTS,
            "release": run.live["web1"],
            "inventory": "production",
        }
    assert f"told is open until {run.of('signoff')[-1]['until']}" in told(run)
    assert f"-e release={run.live['web1']}" in told(run)
    counted = run.outcome()["module_runs"]
    assert (counted["web1"] <= 8, counted["web2"] <= 6) == (True, True), "a sign-off is no run of a module"


def test_approvals_that_were_used_hold_no_more(approved, team):
    run = team.release("v1", "-e", "release_force=true", "-e", f"@{team.home / 'right.yml'}")
    assert (run.status, run.outcome()["outcome"]) == (2, "aborted"), run.output
    assert f"was used for release {approved['right'].live['web1']}; approve this one anew" in told(run)
    assert "has overdue sign-offs: verified. Give them with" in told(run), "the next release tells of the last one"
    assert phases(run) == {"preflight", "revert"}


def test_release_without_the_callback_stops_before_the_build(team):
    run = team.release("v2", ANSIBLE_CALLBACKS_ENABLED="ansible.builtin.junit", JUNIT_OUTPUT_DIR=str(team.home / "tmp"))
    assert (run.status, run.files) == (2, [])
    assert "callbacks_enabled = slipway.laravel.release_record" in told(run)


def test_checklist_with_a_fault_stops_before_the_build(team):
    write(team.home / "checklists/faulty.yml", SHORT.replace("deadline: 1d", "deadline: soon"))
    run = team.release("v2", checklist="checklists/faulty.yml")
    assert run.status == 2
    assert "faulty.yml:11: item told: deadline is a time after the switch" in told(run)
    assert phases(run) == {"preflight", "revert"}


def test_second_pair_of_eyes_needs_to_know_whose_the_first_is(team):
    run = team.release("v2", "-e", f"@{team.home / 'people.json'}", "-e", "laravel_operator=jenkins")
    assert run.status == 2
    assert "verified: to be signed by somebody other than who deploys, and jenkins, who deploys, is not in" in told(run)
    assert "-e laravel_operator=NAME" in told(run)
    assert phases(run) == {"preflight", "revert"}


def test_people_that_are_no_people_stop_it_before_the_build(team):
    run = team.release("v1", "-e", json.dumps({"signoff_people": {"ann": "qa"}}))
    assert run.status == 2
    assert "signoff_people.ann has roles, a list, and key, a public SSH key" in told(run)
    assert "build" not in phases(run)


def test_check_mode_asks_for_nothing(team):
    before = len(team.records())
    run = team.release("v2", "--check")
    assert (run.status, len(team.records())) == (0, before), run.output


def test_failed_at_the_terminal_right_before_the_switch(team):
    before = team.live()
    answers = [("Tests pass", "s"), ("Go ahead", "f the shop is full of people")]
    run = team.at_terminal(
        "release.yml", answers, "-e", "release_version=v2", "-e", "release_checklist=checklists/short.yml"
    )
    assert run.status == 2, run.output
    assert team.live() == before
    path = team.records()[-1]
    assert entries(path, "outcome")[0]["outcome"] == "aborted"
    assert signed(path)["go"][0] == "failed"
    assert "switch" not in {phase["phase"] for phase in entries(path, "phase")}
    assert "during go: failed the shop is full of people" in " ".join(run.output.split())


def test_failed_when_it_is_live_takes_all_hosts_back(team):
    before = team.live()
    answers = [("Tests pass", "s"), ("Go ahead", "s"), ("It works", "f no pictures")]
    run = team.at_terminal(
        "release.yml", answers, "-e", "release_version=v2", "-e", "release_checklist=checklists/short.yml"
    )
    assert run.status == 2, run.output
    assert team.live() == before
    path = team.records()[-1]
    assert entries(path, "outcome")[0]["outcome"] == "reverted"
    assert {phase["host"] for phase in entries(path, "phase") if phase["phase"] == "revert"} == set(HOSTS)


@pytest.fixture(scope="module")
def halves(team):
    """Ann releases with her key and signs half; Bob signs the other half later, with his."""
    options = ["-e", f"@{team.home / 'people.json'}"]
    answers = [
        ("Tests pass", "s CI run 17"),
        ("Go ahead", "s"),
        ("It works", "w the staging environment is away"),
        ("Verified by somebody else", "l"),
        ("They were told", "f the mail server is away"),
    ]
    words = [
        "-e",
        "release_version=v2",
        "-e",
        "release_checklist=checklists/short.yml",
        "-e",
        f"signoff_key={team.home}/keys/ann",
    ]
    now = team.at_terminal("release.yml", answers, *options, *words)
    path = team.records()[-1]
    between = signed(path)
    release = entries(path, "outcome")[0]["release"]
    words = ["-e", f"release={release}", "-e", "signoff_by=bob", "-e", f"signoff_key={team.home}/keys/bob"]
    answers = [("Verified by somebody else", "s"), ("They were told", "s by phone")]
    records = set(team.records())
    later = team.at_terminal("signoff.yml", answers, *options, *words)
    assert set(team.records()) == records, "a sign-off makes no record of its own"
    return {"now": now, "later": later, "path": path, "between": between, "release": release}


def test_half_now(halves):
    assert halves["now"].status == 0, halves["now"].output
    assert halves["between"] == {
        "tests": ("signed", "ann", "prompt"),
        "go": ("signed", "ann", "prompt"),
        "smoke": ("waived", "ann", "prompt"),
        "verified": ("open", "", "none"),
        "told": ("failed", "ann", "prompt"),
    }
    assert entries(halves["path"], "outcome")[0]["outcome"] == "success"
    text = " ".join(halves["now"].output.split())
    assert "Sign-offs that are missing: " in text
    assert "told FAILED: the mail server is away" in text
    assert f"-e release={halves['release']} -e release_checklist=checklists/short.yml" in text
    assert "it is for somebody other than ann, who deploys" in text


def test_half_later(halves):
    assert halves["later"].status == 0, halves["later"].output
    assert signed(halves["path"])["verified"] == ("signed", "bob", "prompt")
    assert signed(halves["path"])["told"] == ("signed", "bob", "prompt")
    found = read(str(halves["path"]))
    assert [entry["seq"] for entry in found] == list(range(1, len(found) + 1)), "the chain goes on"
    last = [entry["data"] for entry in found if entry["event"] == "signoff"][-1]
    assert (last["release"], last["deployed_by"], last["evidence"]) == (halves["release"], "ann", {"given": "by phone"})


def test_each_signed_with_their_own_key(halves, team):
    people = team.people
    proven = [data for data in entries(halves["path"], "signoff") if data["method"] == "prompt"]
    assert [data["by"] for data in proven] == ["ann"] * 4 + ["bob"] * 2
    for data in proven:
        assert verify(statement(data), data["signature"], people.signers(), SIGNOFF) == (data["by"], data["key"])
    assert entries(halves["path"], "checklist")[0]["signers"] == people.lines()
    assert verify_entered(str(halves["path"]), "", False).faults == [], "the record alone shows whose they are"


def test_signed_items_are_not_asked_again(halves, team):
    run = team.fleet.play(ROOT / "signoff.yml", "-e", f"release={halves['release']}")
    assert run.status == 0, run.output
    assert len(signed(halves["path"])) == 5


@pytest.mark.parametrize(
    ("release", "message"),
    [("20200101T000000Z-11111111", "there is no record of the release"), ("../production/x", "there is no record")],
)
def test_later_sign_off_of_what_is_not_there(team, release, message):
    run = team.fleet.play(ROOT / "signoff.yml", "-e", f"release={release}")
    assert run.status == 2
    assert message in told(run)
    assert "has no attribute" not in told(run), "the other hosts have nothing to add"


LIVE_ROOMS = [
    ("All TC-* Critical and High cases pass", "s TC run 88"),
    ("No open S1 / S2 bugs", "s"),
    ("Mobile builds uploaded", "n bob"),
    ("As bob", "s build 1042"),
    ("Feature flags", "l"),
    ("On-call engineer named", "s Bob, until tomorrow noon"),
    ("Feature flags", "s"),
    ("Maintenance banner shown", "w no downtime is expected"),
    ("API deployed", "s"),
    ("Web deployed", "s"),
    ("Mobile binaries promoted", "s"),
    ("Run the smoke suite", "s all six pass"),
    ("Stakeholders notified", "l"),
]


def test_release_checklist_of_the_live_rooms_from_end_to_end(team):
    for language, text in (("en", "Rooms open faster, for everybody."), ("ar", "تُفتح الغرف بسرعة أكبر للجميع.")):
        write(team.home / f"release-notes/v1.{language}.md", text)
    options = ["-e", "release_version=v1", "-e", "release_checklist=ispeaker-live", "-e", "laravel_operator=ann"]
    run = team.at_terminal("release.yml", LIVE_ROOMS, *options)
    assert run.status == 0, run.output
    path = team.records()[-1]
    assert signed(path) == {
        "tests": ("signed", "ann", "prompt"),
        "bugs": ("signed", "ann", "prompt"),
        "release-notes": ("signed", "check release_notes", "check"),
        "mobile-builds": ("signed", "bob", "prompt"),
        "feature-flags": ("signed", "bob", "prompt"),
        "on-call": ("signed", "bob", "prompt"),
        "snapshot": ("signed", "check database_snapshot", "check"),
        "banner": ("waived", "ann", "prompt"),
        "api": ("signed", "ann", "prompt"),
        "web": ("signed", "ann", "prompt"),
        "mobile": ("signed", "ann", "prompt"),
        "workers": ("waived", "check restarted", "check"),
        "smoke-suite": ("signed", "ann", "prompt"),
        "watch": ("open", "", "none"),
        "banner-removed": ("signed", "check maintenance_off", "check"),
        "stakeholders": ("open", "", "none"),
        "tagged": ("signed", "check git_tag", "check"),
    }
    texts = {data["item"]: data["text"] for data in entries(path, "signoff")}
    assert texts["stakeholders"]["ar"] == "أُبلغ أصحاب المصلحة."
    assert entries(path, "outcome")[0]["outcome"] == "success"


def test_whoever_is_listed_beside_the_records_signs_with_their_key(team):
    key = team.make_key("carol")
    write(team.fleet.records.parent / "allowed_signers", f"carol {key}\n")
    options = ["-e", json.dumps({"release_version": "v1", "release_force": True, "signoff_by": "carol"})]
    options += ["-e", "release_checklist=checklists/short.yml", "-e", "laravel_operator=carol"]
    answers = [(text, "s") for text in ("Tests pass", "Go ahead", "It works")]
    later = [("Verified by somebody else", "l"), ("They were told", "l")]
    run = team.at_terminal("release.yml", [*answers, *later], *options, "-e", f"signoff_key={team.home}/keys/carol")
    assert run.status == 0, run.output
    path = team.records()[-1]
    assert all(data["signature"] for data in entries(path, "signoff") if data["status"] == "signed")
    found = verify_entered(str(path), str(team.fleet.records.parent / "allowed_signers"), False)
    assert [fault for fault in found.faults if "signed" in fault["text"]] == []
