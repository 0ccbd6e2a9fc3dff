"""Checks that look at the controller and the phases, and what all checks have in common."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils._checks import SPECS, Facts
from ansible_collections.slipway.laravel.plugins.plugin_utils import check_project, checks

from .conftest import write

SECRET = "s3" + "cr3t"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def prove(tmp_path):
    """Judge a check on this controller."""

    def run(name, parameters=None, **context):
        verdict = checks.evaluate(name, parameters, {"directory": str(tmp_path), "commit": COMMIT, **context})
        assert SECRET not in json.dumps(verdict)
        assert verdict["ok"] or ";" in verdict["message"] or ":" in verdict["message"], verdict
        return verdict

    return run


# The record


SNAPSHOT = {"id": "20261121T010000Z-before-01234567", "size": 1234, "sha256": "ab" * 32, "path": "/x", "seconds": 1.5}


def test_snapshot(prove):
    found = prove("database_snapshot", phases={"snapshot": {"db1": SNAPSHOT, "web1": {"changed": False}}})
    assert (found["ok"], found["message"]) == (True, checks.summary("database_snapshot"))
    assert found["evidence"] == {"host": "db1", "id": SNAPSHOT["id"], "size": 1234, "sha256": "ab" * 32}


def test_no_snapshot(prove):
    found = prove("database_snapshot", phases={})
    assert (found["ok"], found["evidence"]) == (False, {})
    assert "this release has taken no snapshot; set release_snapshot" in found["message"]
    skipped = {"snapshot": {"db1": {"id": "", "skipped": "there is no mysqldump"}}}
    assert "no snapshot (there is no mysqldump)" in prove("database_snapshot", phases=skipped)["message"]


def test_snapshot_only_with_migrations(prove):
    allowed = {"only_with_migrations": True}
    assert prove("database_snapshot", allowed, phases={"plan": {"db1": {"pending": []}}})["ok"]
    assert not prove("database_snapshot", allowed, phases={"plan": {"db1": {"pending": ["2026_x"]}}})["ok"]
    # Of a release that has not come that far nothing is known.
    assert not prove("database_snapshot", allowed, phases={})["ok"]


def test_snapshot_of_another_tool(prove):
    phases = {"snapshot": {"db1": {"id": "rds:snap-1", "size": 0, "sha256": ""}}}
    assert "neither size nor sha256 are known" in prove("database_snapshot", phases=phases)["message"]
    assert prove("database_snapshot", {"managed": True}, phases=phases)["evidence"]["id"] == "rds:snap-1"


@pytest.mark.parametrize("phases", [[], {"snapshot": ["x"]}, {"snapshot": {"db1": None}}, "text"])
def test_record_of_another_shape(prove, phases):
    assert not prove("database_snapshot", phases=phases)["ok"]


# Tests


def junit(cases="<testcase/><testcase/>", commit=COMMIT):
    properties = f'<properties><property name="commit" value="{commit}"/></properties>' if commit else ""
    return f'<testsuites><testsuite tests="9" failures="0">{properties}{cases}</testsuite></testsuites>'


def test_tests_of_junit(prove, tmp_path):
    write(tmp_path / "result.xml", junit("<testcase/><testcase><skipped/></testcase><testcase/>"))
    found = prove("tests_passed", {"file": "result.xml", "minimum": 2, "skipped": 1})
    assert found["ok"], found
    content = (tmp_path / "result.xml").read_bytes()
    assert found["evidence"] == {
        "file": str(tmp_path / "result.xml"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "tests": 3,
        "failed": 0,
        "skipped": 1,
        "commit": COMMIT,
    }


def test_tests_of_json(prove, tmp_path):
    write(tmp_path / "result.json", json.dumps({"tests": 12, "failed": 0, "commit": COMMIT[:12]}))
    assert prove("tests_passed", {"file": str(tmp_path / "result.json")})["evidence"]["tests"] == 12


def test_tests_whose_commit_ci_names(prove, tmp_path):
    write(tmp_path / "result.xml", junit(commit=""))
    assert prove("tests_passed", {"file": "result.xml", "commit": COMMIT})["ok"]
    assert "does not tell its commit" in prove("tests_passed", {"file": "result.xml"})["message"]


@pytest.mark.parametrize(
    "text, parameters, told",
    [
        (junit("<testcase/><testcase><failure/></testcase>"), {}, "1 of 2 tests failed"),
        (junit("<testcase><error/></testcase>"), {}, "1 of 1 tests failed"),
        (junit(""), {}, "0 tests ran, 1 are asked for"),
        (junit("<testcase><skipped/></testcase>"), {}, "0 tests ran"),
        (junit(), {"minimum": 500}, "2 tests ran, 500 are asked for"),
        (junit("<testcase/><testcase><skipped/></testcase>"), {"skipped": 0}, "1 tests were skipped, 0 may be"),
        (junit(commit="f" * 40), {}, f"is of commit {'f' * 40}, not of {COMMIT}"),
        # What the file says counts, not what somebody says of it.
        (junit(commit="f" * 40), {"commit": COMMIT}, f"is of commit {'f' * 40}"),
        (junit(commit=COMMIT[:3]), {}, "is of commit 012, not of"),
        ('{"tests": 3, "failed": 1, "commit": "' + COMMIT + '"}', {}, "1 of 3 tests failed"),
        ('{"tests": 3}', {}, "an object with tests, failed and commit is needed"),
        ("", {}, "is no result of tests"),
        ("<testsuite>", {}, "is no result of tests"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><testsuite>&a;</testsuite>', {}, "it defines entities"),
    ],
)
def test_tests_that_prove_nothing(prove, tmp_path, text, parameters, told):
    write(tmp_path / "result", text)
    found = prove("tests_passed", {"file": "result", **parameters})
    assert not found["ok"]
    assert told in found["message"]


def test_tests_without_a_file_or_commit(prove, tmp_path):
    found = prove("tests_passed", {"file": "none.xml"})
    assert (found["ok"], found["evidence"]) == (False, {})
    assert f"{tmp_path}/none.xml cannot be read on the controller: No such file" in found["message"]
    write(tmp_path / "result.xml", junit())
    assert "not of a commit that is known" in prove("tests_passed", {"file": "result.xml"}, commit="")["message"]


# Release notes


ENGLISH, ARABIC = (
    "Orders can be exported now, and search is faster.",
    "يمكن الآن تصدير الطلبات، والبحث أسرع. Laravel 11",
)
NOTES = {"path": "notes/<version>.<language>.md", "languages": ["en", "ar"]}


def test_release_notes(prove, tmp_path):
    write(tmp_path / "notes/v1.4.0.en.md", ENGLISH)
    write(tmp_path / "notes/v1.4.0.ar.md", ARABIC)
    variables = {"release_version": "v1.4.0"}
    found = prove("release_notes", NOTES, variables=variables)
    assert found["ok"], found
    assert found["evidence"]["ar"] == {
        "file": "notes/v1.4.0.ar.md",
        "characters": len(ARABIC),
        "sha256": hashlib.sha256(ARABIC.encode()).hexdigest(),
    }
    assert (
        "ar: notes/v1.4.0.ar.md has"
        in prove("release_notes", {**NOTES, "characters": 100}, variables=variables)["message"]
    )
    write(tmp_path / "notes/v1.4.0.ar.md", ENGLISH)
    found = prove("release_notes", NOTES, variables=variables)
    assert (found["ok"], found["message"]) == (
        False,
        "ar: notes/v1.4.0.ar.md is not written in that language; translate it",
    )
    (tmp_path / "notes/v1.4.0.ar.md").unlink()
    found = prove("release_notes", NOTES, variables=variables)
    assert found["message"].startswith(f"ar: {tmp_path}/notes/v1.4.0.ar.md cannot be read on the controller")
    assert "the version is not known" in prove("release_notes", NOTES)["message"]
    assert not prove("release_notes", {**NOTES, "languages": []}, variables=variables)["ok"]


def test_release_notes_of_the_commit(prove, home, git):
    write(home / "origin/notes/v2.en.md", ENGLISH)
    git("add", "--all")
    git("commit", "--quiet", "--message", "Notes")
    commit = git("rev-parse", "HEAD")
    # In the working copy, but not released.
    write(home / "origin/notes/v2.ar.md", ARABIC)
    parameters = {**NOTES, "version": "v2", "repository": str(home / "origin")}
    found = prove("release_notes", parameters, commit=commit)
    assert list(found["evidence"]) == ["en"]
    assert f"ar: commit {commit[:8]} of {home}/origin has no notes/v2.ar.md" in found["message"]
    assert prove("release_notes", {**parameters, "languages": ["en"]}, commit=commit)["ok"]
    assert "the commit of the release is not known" in prove("release_notes", parameters, commit="")["message"]


# Tags


@pytest.fixture
def origin(repository, git):
    """A repository with the annotated tags v1.0.0 and v1.1.0; the commit of the latter."""
    return {"release_repository": repository, "release_version": "v1.1.0"}, git("rev-parse", "v1.1.0^{commit}")


def test_git_tag(prove, origin, git):
    variables, commit = origin
    found = prove("git_tag", variables=variables, commit=commit)
    assert found["ok"], found
    assert found["evidence"] == {"repository": variables["release_repository"], "tag": "v1.1.0", "commit": commit}
    git("tag", "light", commit)
    assert prove("git_tag", {"tag": "light"}, variables=variables, commit=commit)["ok"]


def test_git_tag_that_is_not_right(prove, origin):
    variables, commit = origin
    assert "names" in prove("git_tag", {"tag": "v1.0.0"}, variables=variables, commit=commit)["message"]
    found = prove("git_tag", {"tag": "v9"}, variables=variables, commit=commit)
    assert "has no tag v9; push it: git push origin v9" in found["message"]
    assert found["evidence"]["commit"] == ""
    # A pattern names no tag.
    assert not prove("git_tag", {"tag": "v1.1*"}, variables=variables, commit=commit)["ok"]
    assert "commit of the release is not known" in prove("git_tag", variables=variables, commit="")["message"]
    assert "the tag is not known" in prove("git_tag")["message"]
    assert "the repository is not known" in prove("git_tag", {"tag": "v1"})["message"]


def test_git_tag_of_a_repository_that_is_not_there(prove):
    parameters = {"tag": "v1", "repository": f"http://ann:{SECRET}@127.0.0.1:1/app.git"}
    found = prove("git_tag", parameters)
    assert not found["ok"]
    assert "http://127.0.0.1:1/app.git cannot be asked from the controller" in found["message"]


def test_git_tag_shows_no_password_in_a_list_of_processes(prove, http_server):
    processes = []

    def answer(_request):
        # git waits for the answer of its program for HTTP.
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                processes.append(path.read_text())
        return 401

    address = http_server(answer, WWW_Authenticate='Basic realm="git"')
    found = prove("git_tag", {"tag": "v1", "repository": address.replace("//", f"//ann:{SECRET}@")})
    assert not found["ok"]
    assert any("git-remote-http" in process and address in process for process in processes)
    assert SECRET not in "".join(processes)
    assert "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode() in http_server.authorizations


def test_git_tag_not_pushed(prove, origin, home):
    variables, commit = origin
    clone = home / "clone"
    subprocess.run(["git", "clone", "--quiet", variables["release_repository"], clone], check=True)
    subprocess.run(["git", "-C", clone, "tag", "v3", commit], check=True)
    assert not prove("git_tag", {"tag": "v3"}, variables=variables, commit=commit)["ok"]
    subprocess.run(["git", "-C", clone, "push", "--quiet", "origin", "v3"], check=True)
    assert prove("git_tag", {"tag": "v3"}, variables=variables, commit=commit)["ok"]


def test_git_that_is_missing_or_does_not_end(prove, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = {"tag": "v1", "repository": "x"}
    assert "there is no git on the controller; install it" in prove("git_tag", asked)["message"]
    write(tmp_path / "git", "#!/bin/sh\nexec /bin/sleep 5\n").chmod(0o755)
    monkeypatch.setattr(check_project._git, "__defaults__", ("", 0.2))
    assert "git gave no answer within 0.2 s" in prove("git_tag", asked)["message"]


def test_git_can_ask_nobody(prove, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("GIT_ASKPASS", "a-window")
    # The sixth field of stat is the session: one of its own has no terminal.
    session = '$(test "$(cut -d" " -f6 /proc/$$/stat)" = $$ && echo yes)'
    told = f"askpass=$GIT_ASKPASS, $SSH_ASKPASS_REQUIRE, own session: {session}"
    write(tmp_path / "git", f"#!/bin/sh\necho {told} >&2\nexit 1\n").chmod(0o755)
    found = prove("git_tag", {"tag": "v1", "repository": "x"})
    assert "askpass=, never, own session: yes" in found["message"]


# What all have in common


def test_names():
    assert {name for name in checks.NAMES if checks.needs(name) == "host"} == set(SPECS)
    assert {checks.needs(name) for name in checks.NAMES} == {"host", "controller", "evidence"}
    assert all(callable(getattr(Facts, name)) for name in SPECS)
    for name in checks.NAMES:
        assert checks.summary(name).endswith("."), name
        assert checks.UNITS[name].evidence.endswith("."), name
        # A checklist has the parameters beside the name of the check.
        assert "name" not in checks.UNITS[name].parameters
        for option in checks.UNITS[name].parameters.values():
            assert option["description"].endswith("."), (name, option)
            assert not set(option) - {"type", "elements", "required", "choices", "default", "description"}, (
                name,
                option,
            )


@pytest.mark.parametrize("name", checks.NAMES)
def test_nothing_that_a_check_gets_makes_it_raise_or_be_well(name):
    parameters = {
        option: "http://127.0.0.1:1/" for option, spec in checks.UNITS[name].spec.items() if spec.get("required")
    }
    strange = [{}, {"hosts": {}}, {"hosts": {"web1": {}}}, {"hosts": {"web1": None}}, {"hosts": {"web1": {name: {}}}}]
    strange += [
        {"hosts": {"web1": {name: {"release": 1, "workers": "x"}}}},
        {"hosts": ["web1"]},
        {"hosts": {"web1": "x"}},
    ]
    strange += [{"phases": {"snapshot": None}}, {"variables": {}}, {"hosts": {"web1": {name: []}}}]
    for context in strange:
        found = checks.evaluate(name, parameters, context)
        assert (found["ok"], sorted(found)) == (False, ["evidence", "message", "ok"])
        assert found["message"]


def test_problems():
    assert checks.problems("magic", {}) == [f"there is no check magic; there are {', '.join(checks.NAMES)}"]
    assert checks.problems("workers", None) == []
    assert checks.problems("workers", ["x"]) == ["the parameters of the check workers have to be a mapping"]
    assert checks.problems("certificate", {"url": "https://x.example.com", "days": "30"}) == []
    (fault,) = checks.problems("certificate", {"url": "https://x.example.com", "day": 30})
    assert fault.startswith("the check certificate: day. Supported parameters include: address, days, timeout, url")
    (fault,) = checks.problems("smoke", {"url": "https://x", "headers": f"Authorization {SECRET}"})
    assert fault == "the check smoke: argument 'headers' is of type str and we were unable to convert to dict"
    (fault,) = checks.problems("certificate", {"days": 30})
    assert fault == "the check certificate: missing required arguments: url"
    (fault,) = checks.problems("certificate", {"url": "shop", "days": 1})
    assert fault.startswith("the check certificate: url is no address: it has to be like https://")
    assert checks.problems("certificate", {"url": "https://x", "days": -1}) == [
        "the check certificate: days is -1, and may not be less than 0"
    ]
    (fault,) = checks.problems("security_headers", {"url": "https://x", "headers": {"X-A": "("}})
    assert "the pattern for X-A is no regular expression" in fault


def test_problems_with_templates():
    assert checks.problems("certificate", {"url": "{{ shop_url }}", "days": "{{ days }}"}) == []
    assert checks.problems("dns", {"domain": "x", "addresses": ["{{ address }}"]}) == []
    assert checks.problems("certificate", {"url": "{{ shop_url }}", "day": "{{ days }}"}) != []
    # Whoever evaluates has to render them first.
    context = {"hosts": {"web1": {"certificate": {"days_left": 9, "verified": True, "url": "u", "not_after": "x"}}}}
    assert not checks.evaluate("certificate", {"url": "https://x", "days": "{{ days }}"}, context)["ok"]


def test_request():
    assert checks.request("certificate", {"url": "https://x", "days": 3}, "main") == {
        "name": "certificate",
        "id": "main",
        "parameters": {"url": "https://x", "address": "", "timeout": 10},
    }


def test_versions_of_tls_that_cannot_be_tried():
    versions = {"TLSv1.0": None, "TLSv1.1": False, "TLSv1.2": False, "TLSv1.3": None}
    hosts = {"web1": {"tls_versions": {"url": "https://x", "peer": "", "versions": versions}}}
    found = checks.evaluate("tls_versions", {"url": "https://x"}, {"hosts": hosts})
    assert not found["ok"]
    assert "TLSv1.0 cannot be tried from here" in found["message"]
    assert "accepts nothing from TLSv1.2 on" in found["message"]


def test_same_check_twice():
    facts = {"hours": 1.0, "size": 5, "path": "/a"}
    hosts = {"web1": {"database": facts, "files": {**facts, "hours": 90.0}}}
    assert checks.evaluate("backup", {"path": "/a"}, {"hosts": hosts, "id": "database"})["ok"]
    assert not checks.evaluate("backup", {"path": "/a"}, {"hosts": hosts, "id": "files"})["ok"]


def test_hosts_that_say_the_same_are_named_together():
    hosts = {name: {"failed_jobs": {"failed_jobs": 3}} for name in ("web1", "web2")}
    hosts["web3"] = {"failed_jobs": {"missing": "nothing is live", "remedy": "release first"}}
    found = checks.evaluate("failed_jobs", {}, {"hosts": hosts})
    assert found["message"] == (
        "web3: nothing is live; release first; "
        "web1, web2: 3 jobs have failed, 0 are allowed; see artisan queue:failed, then retry or flush them"
    )
    assert found["evidence"] == {"web1": {"failed_jobs": 3}, "web2": {"failed_jobs": 3}}
