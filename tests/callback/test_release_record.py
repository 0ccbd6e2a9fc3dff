"""Runs release.yml and rollback.yml on two hosts that are directories of this machine, and looks at what they record.

The runs are made once, in the order in which an operator would make them; each test looks at one of them.
"""

from __future__ import annotations

import getpass
import json
import re
import subprocess

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import faults, read
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory
from fleet import HOSTS, ROOT, SECRETS, Fleet, write
from records import allow, make_key


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


# It fails, and prints what would hide text on a terminal.
HOOK = {
    "after_build": [
        {
            "command": [
                *("sh", "-c", "printf 'the queue of web1 is \\033[8mlong' >&2; false"),
                "Authorization: Bearer t0ken-of-a-hook",
            ],
            "hosts": "web1",
        }
    ]
}
VAULTED = {"vault_word": "v4ult-of-the-inventory", "vault_plain": ["of no kind that anybody knows"]}


def tell_secrets(fleet):
    """Release what prints secrets when it fails: of the inventory, of its vault, and some that only look like one."""
    password = fleet.home / "vault-password"
    write(password, "a password")
    vault = fleet.home / "inventories/production/group_vars/laravel/vault.yml"
    write(vault, json.dumps(VAULTED))
    fleet.environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(password)
    subprocess.run(["ansible-vault", "encrypt", vault], env=fleet.environment, check=True, capture_output=True)
    told = [*SECRETS.values(), "https://ann:P4ss@example.com", "mysql --password=Typed1n", *VAULTED["vault_plain"]]
    write(fleet.home / "origin/composer-error", f"Problem: {' and '.join(told)} and {VAULTED['vault_word']}\n")
    fleet.commit("v6-tells-secrets")
    return fleet.release("v6-tells-secrets")


def share_records(fleet):
    """Roll back, with the records in git from now on."""
    for words in (
        ["init", "--quiet", "--bare", fleet.home / "shared"],
        ["init", "--quiet", "--initial-branch=main", fleet.home / "records"],
        ["-C", fleet.home / "records", "remote", "add", "origin", fleet.home / "shared"],
    ):
        subprocess.run(["git", *words], env=fleet.environment, check=True)
    return fleet.play(ROOT / "rollback.yml", SLIPWAY_RECORDS_GIT="true")


@pytest.fixture(scope="module")
def runs(home):
    fleet = Fleet(home)
    write(home / "no-directory", "")
    key = make_key(home / "ann")
    allow(home / "records/allowed_signers", ann=key)
    layout = fleet.lay_out("-vvv", "--diff")
    yield {
        "layout": layout,
        "unwritable": fleet.release("v1", SLIPWAY_RECORDS_DIR=str(home / "no-directory")),
        "unsigned": fleet.release("v1", SLIPWAY_SIGNATURE="required"),
        "full": fleet.release("v1", SLIPWAY_RECORDS_DIR="/proc/sys/fs"),
        "first": fleet.release("v1", SLIPWAY_SIGNING_KEY=key, SLIPWAY_SIGNATURE="required"),
        "second": fleet.release("v2", "-vvv", "--diff"),
        "unchanged": fleet.release("v2", "--limit=web1"),
        "check": fleet.release("v1", "--check", "--limit=web1"),
        "reverted": fleet.release("v3-is-not-well"),
        "aborted": fleet.release("v5-does-not-build"),
        "hook": fleet.release("v4-does-not-migrate", "-e", json.dumps({"release_hooks": HOOK})),
        "migration": fleet.release("v4-does-not-migrate"),
        "talkative": tell_secrets(fleet),
        "rollback": share_records(fleet),
    }
    fleet.close()


RELEASED = {
    "web1": ["preflight", "build", "stage", "plan", "snapshot", "migrate", "switch", "restart", "verify", "finish"]
}
RELEASED["web2"] = [phase for phase in RELEASED["web1"] if phase not in ("build", "plan", "snapshot", "migrate")]


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
    assert f"success: v2 is live as {release} on web1, web2, " in run.output
    page = run.files[0].with_suffix(".html")
    assert f"report      {page}" in run.output
    assert f"<title>Release v2: success {began['inventory']}</title>" in page.read_text()
    assert f'href="./{release}.html"' in page.with_name("index.html").read_text()
    assert run.of("failure") == []


def screen(run):
    """What a run printed, without what differs from run to run: times, ids, ports, directories."""
    text = run.output
    for pattern, word in (
        (r"\d{8}T\d{6}Z(-before)?-[0-9a-f]{8}", r"ID\1"),
        (r" +\d+\.\d s", " N s"),
        (r"(fetch|export|composer|pack) [0-9.]+ s", r"\1 N s"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"(record|report)      .*/records/", r"\1      RECORDS/"),
        (r"\d{8}T\d{6}Z-(aborted|rolled-back)", r"TIME-\1"),
    ):
        text = re.sub(pattern, word, text)
    return text.strip("\n").splitlines()


def test_screen_shows_phases_and_a_summary(runs):
    assert screen(runs["first"]) == [
        "PLAY [Release] *****************************************************************",
        "  preflight  web1 web2 N s  live: none",
        "  build      web1 N s  fetch N s, export N s, composer N s, pack N s",
        "  stage      web1 web2 N s  the application answered /up with 200",
        "  plan       web1 N s  1 pending",
        "  snapshot   web1 N s  ID-before, 107 bytes",
        "  migrate    web1 N s  1 applied",
        "  switch     web1 web2 N s  from none",
        "  restart    web1 web2 N s  0 workers ended",
        "  verify     web1 web2 N s  http://ADDRESS/web1/up; http://ADDRESS/web2/up",
        "  finish     web1 web2 N s",
        "",
        "RELEASE ************************************************************************",
        "success: v1 is live as ID on web1, web2, N s",
        "  migrations  create_notes",
        "  module runs web1 7, web2 5",
        "  record      RECORDS/production/ID.jsonl, signed by ann@example.com",
        "  report      RECORDS/production/ID.html",
    ]


def test_screen_shows_a_failure_where_it_happens(runs):
    lines = screen(runs["reverted"])
    at = next(number for number, line in enumerate(lines) if line.startswith("  FAILED"))
    assert lines[at].startswith("  FAILED     web2  Carry out restart, verify: verify: ID is not well after ")
    assert [line.split()[0] for line in lines[at + 1 : at + 6]] == ["restart", "verify", "revert", "FAILED", "FAILED"]
    assert "RELEASE **" in lines[at + 7]
    assert screen(runs["aborted"])[2].startswith("  FAILED     web1  Build: build: composer failed")
    assert "aborted: v5-does-not-build did not go live, nothing was switched; live is ID on web1, web2, N s" in screen(
        runs["aborted"]
    )


def test_screen_says_why_a_command_failed(runs):
    lines = screen(runs["hook"])
    at = next(number for number, line in enumerate(lines) if "FAILED" in line)
    assert lines[at].startswith("  FAILED     web1  Run after_build: sh -c ")
    # As core 2.19 and 2.20, and as 2.21 say it.
    assert lines[at].endswith((": non-zero return code", ": The command exited with a non-zero return code."))
    assert lines[at + 1] == "    the queue of web1 is \ufffd[8mlong"
    assert "t0ken-of-a-hook" not in runs["hook"].output + runs["hook"].error


def test_screen_is_that_of_ansible_where_it_is_asked_for_or_no_release(runs):
    assert "TASK [slipway.laravel.release : Stage] ***" in runs["second"].output
    assert "PLAY RECAP ***" in runs["second"].output
    assert "TASK [slipway.laravel.release : Layout | Write the environment of the application]" in runs["layout"].output
    assert "TASK [" not in "".join(runs[name].output for name in ("first", "reverted", "rollback", "check"))


def test_seconds_of_the_phases_add_up_to_the_whole(runs):
    outcome = runs["second"].outcome()
    assert set(outcome["phases"]) == set(RELEASED["web1"])
    assert 0 < sum(outcome["phases"].values()) <= outcome["seconds"] + 1


def test_every_change_of_a_byte_or_a_line_of_a_real_record_is_found(runs):
    content = runs["second"].files[0].read_bytes()
    assert len(content) > 3000
    for place, byte in enumerate(content):
        assert next(faults(content[:place] + bytes([byte ^ 1]) + content[place + 1 :]), None), place
    lines = content.splitlines(keepends=True)
    for one in range(len(lines)):
        removed = lines[:one] + lines[one + 1 :]
        # An end that was cut off is found by the ledger.
        assert one == len(lines) - 1 or next(faults(b"".join(removed)), None), ("removed", one)
        for two in range(len(lines) + 1):
            repeated = [*lines[:two], lines[one], *lines[two:]]
            assert next(faults(b"".join(repeated)), None), ("repeated", one, two)
            moved = [*removed[:two], lines[one], *removed[two:]]
            assert moved == lines or next(faults(b"".join(moved)), None), ("moved", one, two)


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
    assert f"reverted: live is {run.live['web1']} on web1, web2, " in run.output


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


def test_aborted_by_a_migration(runs, home):
    run = runs["migration"]
    assert run.status != 0
    assert run.live == runs["second"].live
    assert run.outcome()["outcome"] == "aborted"
    assert [run.phases(host)[-1] for host in HOSTS] == ["revert", "revert"]
    failed = next(phase for phase in run.of("phase") if phase["phase"] == "migrate")
    assert failed["migrations"] == ["add_tags"]
    assert "Column already exists (add_tags_again)" in failed["error"]
    for host in HOSTS:
        assert not (home / "hosts" / host / "releases" / run.outcome()["release"]).exists()
    assert run.output.count("These migrations were applied and stay: add_tags.") >= len(HOSTS)


def test_rolled_back(runs):
    run = runs["rollback"]
    assert run.status == 0, run.output
    assert run.live == runs["first"].live
    assert (run.outcome()["outcome"], run.outcome()["release"]) == ("rolled back", run.live["web1"])
    assert [path.name.partition("-")[2] for path in run.files] == ["rolled-back.jsonl", "rolled-back.md"]
    assert run.phases("web2") == ["preflight", "load", "switch", "restart", "verify", "finish"]
    assert run.report.startswith("# Rollback: rolled back\n")


@pytest.mark.parametrize(
    "name, why",
    [
        ("unwritable", "Not a directory: '"),
        ("full", "No such file or directory: '/proc/sys/fs/production'"),
        ("unsigned", "records have to be signed, but there is no key in ~/.ssh and none in an agent; make one with:"),
    ],
)
def test_a_release_that_cannot_be_recorded_stops_in_preflight(runs, home, name, why):
    run = runs[name]
    assert run.status != 0
    assert (run.files, run.live) == ([], {"web1": None, "web2": None})
    output = " ".join(run.output.split()).replace("''", "'")
    assert "release: nothing was changed, for it could not be recorded: " in output
    assert why in output
    assert "went live" not in run.output
    assert "Traceback" not in run.output + run.error


def test_every_record_is_in_the_ledger_and_nothing_is_wrong_with_it(runs, home):
    result = verify_directory(str(home / "records/production"), str(home / "records/allowed_signers"), False)
    assert result.faults == []
    recorded = [path.name for run in runs.values() for path in run.files if path.suffix == ".jsonl"]
    assert [entry["data"]["record"] for entry in read(str(home / "records/production/ledger.jsonl"))] == recorded
    assert len(recorded) == 8
    assert [told["signers"] for told in result.records if told["version"] == "v1"] == [["ann@example.com"]]
    assert "signed by ann@example.com" in runs["first"].output
    assert "not signed: there is no key in ~/.ssh" in runs["second"].output


def test_records_are_shared_by_git(runs, home):
    def git(*words):
        return subprocess.run(["git", "-C", home / "shared", *words], capture_output=True, text=True, check=True).stdout

    record = next(path for path in runs["rollback"].files if path.suffix == ".jsonl")
    assert git("log", "--format=%s", "main") == f"Record production {record.stem}\n"
    shared = git("ls-tree", "-r", "--name-only", "main").splitlines()
    here = {f"production/{path.name}" for path in (home / "records/production").iterdir()}
    pages = {name for name in here if name.endswith(".html")}
    assert (here - pages, len(pages)) == (set(shared), 9), "pages are not shared: each of the records, and the index"
    assert git("show", f"main:production/{record.name}") == record.read_text()
    assert "was not shared" not in runs["rollback"].error


@pytest.mark.parametrize("name", ["first", "second", "rollback"])
def test_record_tells_how_long_recording_took(runs, name):
    outcome = runs[name].outcome()
    assert 0 < outcome["recording_seconds"] < outcome["seconds"]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_nowhere(runs, secret):
    for name, run in runs.items():
        for text in (run.output, run.error, run.report, json.dumps(run.entries)):
            assert SECRETS[secret] not in text, name


def test_what_a_command_tells_is_masked_in_record_and_report(runs):
    run = runs["talkative"]
    assert run.outcome()["outcome"] == "aborted"
    (failure,) = run.of("failure")
    assert "Problem: ******** and ******** and ******** and" in failure["message"], failure
    assert failure["message"].count("********") == 6, "and the address without its password"
    secrets = [*SECRETS.values(), "P4ss", "Typed1n", *VAULTED["vault_plain"], VAULTED["vault_word"]]
    for secret in secrets:
        assert secret not in run.report + json.dumps(run.entries)
    assert "P4ss" not in run.output and "Typed1n" not in run.output, "the module masks what looks like a secret"


def test_secrets_did_reach_the_host(runs, home):
    shared = (home / "hosts/web2/shared/.env").read_text()
    assert all(value in shared for value in SECRETS.values())
    assert SECRETS["DEPLOY_KEY"] in (home / "hosts/web1/.slipway/deploy_key").read_text()


def test_nothing_is_left_of_the_lock_and_of_the_handover(runs, home):
    assert not list((home / "hosts").glob("*/.slipway/lock"))
    assert not list((home / ".ansible/tmp").rglob("*.tar.gz"))
