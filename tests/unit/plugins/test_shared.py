"""Records that a team shares: real git repositories, several clones, pushes at the same time."""

from __future__ import annotations

import multiprocessing
import os
import subprocess

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import read
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile
from ansible_collections.slipway.laravel.plugins.plugin_utils.shared import GitError, Shared, added_here
from records import allow, faults, make_key, make_record, release, signer

forked = multiprocessing.get_context("fork")


def git(directory, *words):
    result = subprocess.run(["git", *words], cwd=directory, capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.fixture(autouse=True)
def _git_of_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    (tmp_path / ".gitconfig").write_text("[init]\n\tdefaultBranch = main\n")


class Person:
    """Somebody with a clone and a key."""

    def __init__(self, home, who, key):
        self.root, self.signer, self.who = home / who, signer(who, key), who
        git(home, "clone", "--quiet", str(home / "origin"), who)
        self.directory = self.root / "production"

    def release(self, name):
        release(self.directory, name, self.signer)

    def share(self):
        Shared(str(self.root), self.signer, f"{self.who}@host").share(f"Record by {self.who}")

    def take(self):
        Shared(str(self.root), self.signer, f"{self.who}@host").take()

    def sign_off(self, name):
        record = RecordFile(str(self.directory / f"{name}.jsonl"), create=False)
        record.append("run", {"later": True, "user": self.who})
        record.append("signoff", {"item": "watched", "by": self.who})
        Ledger(str(self.directory), self.signer).enter(record)
        record.close()

    def names(self):
        return [entry["data"]["record"] for entry in read(str(self.directory / "ledger.jsonl"))]

    def status(self):
        return git(self.root, "status", "--porcelain", "--untracked-files=no")


@pytest.fixture
def allowed(tmp_path):
    keys = {who: make_key(tmp_path / f"keys/{who}") for who in ("ann", "bob")}
    return allow(tmp_path / "allowed_signers", **keys)


@pytest.fixture
def team(tmp_path, allowed):
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    return [Person(tmp_path, who, str(tmp_path / f"keys/{who}")) for who in ("ann", "bob")]


def whole(person, allowed):
    assert faults(person.directory, allowed, signed=True) == []
    assert person.status() == ""


def test_what_one_shares_the_other_one_gets(team, allowed):
    ann, bob = team
    ann.release("r1")
    ann.share()
    bob.take()
    assert bob.names() == ["r1.jsonl"]
    assert git(bob.root, "log", "--format=%an %ae %s") == "ann ann@host Record by ann"
    assert sorted(git(bob.root, "ls-files").splitlines()) == [
        f"production/{name}" for name in ("ledger.head", "ledger.jsonl", "ledger.sig", "r1.head", "r1.jsonl", "r1.sig")
    ]
    bob.release("r2")
    bob.share()
    ann.take()
    assert ann.names() == ["r1.jsonl", "r2.jsonl"]
    for person in team:
        whole(person, allowed)
        assert git(person.root, "log", "--format=%p").count(" ") == 0, "there was nothing to merge"


def test_pages_are_everybodys_own(team, allowed):
    ann, bob = team
    ann.release("r1")
    for person in team:
        for name in ("index.html", "r1.html", "r1.json"):
            person.directory.mkdir(exist_ok=True)
            (person.directory / name).write_text(person.who)
    ann.share()
    bob.take()
    bob.sign_off("r1")
    bob.share()
    ann.release("r2")
    ann.share()
    assert not [name for name in git(bob.root, "ls-files").splitlines() if name.endswith((".html", ".json"))]
    for person in team:
        assert (person.directory / "r1.html").read_text() == person.who
        whole(person, allowed)


@pytest.mark.parametrize("first", [True, False])
def test_two_who_release_at_the_same_time_lose_nothing(team, allowed, first):
    """Also when neither of them had anything: then the histories have nothing in common."""
    ann, bob = team
    if first:
        ann.release("r0")
        ann.share()
        bob.take()
    ann.release("r1")
    bob.release("r2")
    bob.release("r3")
    ann.share()
    bob.share()
    ann.take()
    for person in team:
        assert person.names() == [*(["r0.jsonl"] if first else []), "r1.jsonl", "r2.jsonl", "r3.jsonl"]
        whole(person, allowed)
    previous = [entry["data"]["previous"] for entry in read(str(bob.directory / "ledger.jsonl"))]
    assert previous == ["", *bob.names()[:-1]]


def test_many_pushes_at_once(team, allowed):
    def work(person):
        for number in range(4):
            person.release(f"{person.who}{number}")
            person.share()

    processes = [forked.Process(target=work, args=(person,)) for person in team]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for person in team:
        person.take()
        assert sorted(person.names()) == sorted(f"{who}{number}.jsonl" for who in ("ann", "bob") for number in range(4))
        whole(person, allowed)


def test_two_who_sign_off_the_same_release_later(team, allowed):
    ann, bob = team
    ann.release("r1")
    ann.share()
    bob.take()
    ann.sign_off("r1")
    bob.sign_off("r1")
    ann.share()
    bob.share()
    ann.take()
    for person in team:
        entries = read(str(person.directory / "r1.jsonl"))
        assert [entry["data"]["by"] for entry in entries if entry["event"] == "signoff"] == ["ann", "bob"]
        assert person.names() == ["r1.jsonl"] * 3
        whole(person, allowed)


def test_a_push_that_failed_is_made_up_for(team, allowed, tmp_path):
    ann, bob = team
    ann.release("r1")
    os.rename(tmp_path / "origin", tmp_path / "away")
    with pytest.raises(GitError, match=r"git fetch failed: .*does not appear to be a git repository"):
        ann.share()
    assert git(ann.root, "log", "--format=%s") == "Record by ann", "it is committed"
    os.rename(tmp_path / "away", tmp_path / "origin")
    bob.release("r2")
    bob.share()
    ann.release("r3")
    ann.share()
    bob.take()
    assert bob.names() == ["r2.jsonl", "r1.jsonl", "r3.jsonl"]
    for person in team:
        whole(person, allowed)


def test_a_push_that_is_refused_says_why_and_does_not_go_on(team, tmp_path):
    hook = tmp_path / "origin/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'https://ann:S3cret@example.com is read-only' >&2\nexit 1\n")
    hook.chmod(0o755)
    team[0].release("r1")
    with pytest.raises(GitError, match=r"git push failed: .*is read-only") as told:
        team[0].share()
    assert "S3cret" not in str(told.value)


def test_a_run_at_work_is_not_committed(team, allowed):
    ann, bob = team
    ann.release("r1")
    at_work = make_record(ann.directory, "r2", outcome="")
    ann.share()
    assert "production/r2.jsonl" not in git(ann.root, "ls-files").splitlines()
    bob.take()
    bob.release("r3")
    bob.share()
    ann.release("r4")
    ann.share()
    at_work.append("outcome", {"outcome": "success"})
    Ledger(str(ann.directory), ann.signer).enter(at_work)
    at_work.close()
    ann.share()
    bob.take()
    assert bob.names() == ["r1.jsonl", "r3.jsonl", "r4.jsonl", "r2.jsonl"]
    whole(bob, allowed)


def test_other_files_that_both_changed_are_left_to_people(team, allowed):
    ann, bob = team
    for person in team:
        (person.root / "README").write_text(f"{person.who}\n")
        git(person.root, "add", "README")
        person.release(f"of-{person.who}")
    ann.share()
    with pytest.raises(GitError, match="README was changed there and here; merge it by hand"):
        bob.share()
    assert bob.names() == ["of-bob.jsonl"]
    whole(bob, allowed)
    (bob.root / "README").write_text("ann\n")
    git(bob.root, "-c", "user.name=bob", "-c", "user.email=bob@host", "commit", "--quiet", "-am", "Agree")
    bob.share()
    assert bob.names() == ["of-ann.jsonl", "of-bob.jsonl"]
    whole(bob, allowed)


def test_a_repository_without_a_remote_is_committed_to(tmp_path, allowed):
    root = tmp_path / "records"
    release(root / "production", "r1")
    with pytest.raises(GitError, match="is not a git repository of its own; make it one"):
        Shared(str(root), None, "ann@host")
    git(root, "init", "--quiet")
    Shared(str(root), None, "ann@host").share("Record")
    Shared(str(root), None, "ann@host").share("Record")
    assert git(root, "log", "--format=%s") == "Record"
    with pytest.raises(GitError, match="is not a git repository of its own"):
        Shared(str(root / "production"), None, "ann@host")


def test_a_new_repository_is_pushed_to_its_remote(tmp_path, allowed):
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    root = tmp_path / "records"
    release(root / "production", "r1")
    git(root, "init", "--quiet")
    git(root, "remote", "add", "origin", str(tmp_path / "origin"))
    Shared(str(root), None, "ann@host").share("Record")
    assert git(tmp_path / "origin", "log", "--format=%s", "main") == "Record"


def test_a_detached_head_is_told(team):
    ann = team[0]
    ann.release("r1")
    ann.share()
    git(ann.root, "checkout", "--quiet", "--detach")
    ann.release("r2")
    with pytest.raises(GitError, match="HEAD is detached; check out a branch"):
        ann.share()
    assert "production/r2.jsonl" in git(ann.root, "ls-files"), "it is committed"


@pytest.mark.parametrize("environment", ["", "other-ssh -4"])
def test_ssh_is_the_one_that_the_repository_names(team, tmp_path, monkeypatch, environment):
    said = tmp_path / "said"
    for name in ("my-ssh", "other-ssh"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {said}\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    if environment:
        monkeypatch.setenv("GIT_SSH_COMMAND", environment)
    ann = team[0]
    git(ann.root, "remote", "set-url", "origin", "ssh://git@records.invalid/r.git")
    git(ann.root, "config", "core.sshCommand", "my-ssh -F none")
    ann.release("r1")
    with pytest.raises(GitError):
        ann.share()
    expected = environment or "my-ssh -F none -o BatchMode=yes"
    assert all(f"{expected} " in line for line in said.read_text().splitlines()), said.read_text()


def test_what_was_spoilt_there_is_not_taken(team, allowed):
    ann, bob = team
    ann.release("r1")
    path = ann.directory / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"success", b"failure"))
    git(ann.root, "add", "production")
    git(ann.root, "-c", "user.name=ann", "-c", "user.email=ann@host", "commit", "--quiet", "-m", "Spoil")
    git(ann.root, "push", "--quiet")
    bob.release("r2")
    with pytest.raises(GitError, match=r"what others pushed could not be merged: .*line 1 was changed"):
        bob.share()
    whole(bob, allowed)


def test_what_was_smuggled_in_there_is_not_signed_here(team, allowed):
    ann, bob = team
    ann.release("r1")
    ann.share()
    bob.take()
    record = RecordFile(str(ann.directory / "r1.jsonl"), create=False)
    record.append("signoff", {"item": "smuggled", "by": "bob"})
    record.close()
    ann.release("r2")
    git(ann.root, "add", "production")
    git(ann.root, "-c", "user.name=ann", "-c", "user.email=ann@host", "commit", "--quiet", "-m", "Smuggle")
    git(ann.root, "push", "--quiet")
    bob.sign_off("r1")
    with pytest.raises(GitError, match=r"r1\.jsonl line 6 was added by no run"):
        bob.share()
    whole(bob, allowed)


def test_lines_that_only_we_have():
    assert added_here(b"1\n2\n", b"1\n2\n3\n4\n") == [b"3\n", b"4\n"]
    assert added_here(b"1\n2\n9\n", b"1\n2\n3\n") == [b"3\n"]
    assert added_here(b"1\n2\n", b"1\n") == []
    assert added_here(b"", b"1\n") == [b"1\n"]
