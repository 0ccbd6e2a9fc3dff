# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the controller and the phases so far tell. The docstrings make docs/checks.md."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import unicodedata
from typing import Any
from xml.etree import ElementTree

from ansible_collections.slipway.laravel.plugins.module_utils import _git as repositories
from ansible_collections.slipway.laravel.plugins.module_utils._runner import without_password
from ansible_collections.slipway.laravel.plugins.plugin_utils.check_unit import UnprovenError, check

Values = dict[str, Any]

# Languages whose letters tell them from English: how Unicode calls these.
_SCRIPTS: dict[str, str | tuple[str, ...]] = {
    **dict.fromkeys(("ar", "fa", "ps", "ur"), "ARABIC"),
    **dict.fromkeys(("be", "bg", "mk", "ru", "sr", "uk"), "CYRILLIC"),
    **dict.fromkeys(("hi", "mr", "ne"), "DEVANAGARI"),
    "el": "GREEK",
    "he": "HEBREW",
    "hy": "ARMENIAN",
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "ka": "GEORGIAN",
    "ko": "HANGUL",
    "th": "THAI",
    "zh": "CJK",
}


# The record


@check("evidence")
def database_snapshot(p: Values, evidence: Values, context: Values) -> list[str]:
    """A snapshot of the database was taken before the migrations.

    notes: Told by the phase C(snapshot) of this release, so the item belongs behind it.
    parameters:
      only_with_migrations:
        type: bool
        default: false
        description: Whether it is well too that there is none, when the plan says that no migration was pending.
      managed:
        type: bool
        default: false
        description: Whether a snapshot by C(release_snapshot_command) does, of which only the id is known.
    evidence: Host, id, size in bytes and sha256 of the snapshot.
    """
    phases = context.get("phases") or {}
    taken = {host: told for host, told in (phases.get("snapshot") or {}).items() if told.get("id")}
    if not taken:
        plans = (phases.get("plan") or {}).values()
        pending = [name for plan in plans for name in plan.get("pending", [])]
        if p["only_with_migrations"] and plans and not pending:
            evidence["pending"] = []
            return []
        skipped = [told["skipped"] for told in (phases.get("snapshot") or {}).values() if told.get("skipped")]
        why = f" ({skipped[0]})" if skipped else ""
        raise UnprovenError(
            f"this release has taken no snapshot{why}; set release_snapshot, which by default takes one only before "
            f"migrations, or allow that by only_with_migrations"
        )
    host, told = next(iter(taken.items()))
    evidence.update({"host": host, **{name: told.get(name) for name in ("id", "size", "sha256")}})
    if not p["managed"] and not (told.get("sha256") and told.get("size")):
        return [f"of the snapshot {told['id']} neither size nor sha256 are known; say managed, if another tool took it"]
    return []


# Files of the controller


def _place(path: str, context: Values) -> str:
    return os.path.join(context.get("directory") or "", os.path.expanduser(path))


def _read(path: str, remedy: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError as exc:
        raise UnprovenError(f"{path} cannot be read on the controller: {exc.strerror}; {remedy}") from exc


def _of_junit(content: bytes) -> Values:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("it defines entities, which no result of tests does")
    root = ElementTree.fromstring(content)  # noqa: S314  without entities it is as large as it looks
    # Suites hold suites, and tell their sums: only test cases are counted.
    cases = list(root.iter("testcase"))
    counts = {tag: sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error", "skipped")}
    commits = [each.get("value", "") for each in root.iter("property") if each.get("name") == "commit"]
    return {
        "tests": len(cases),
        "failed": counts["failure"] + counts["error"],
        "skipped": counts["skipped"],
        "commit": commits[0] if commits else "",
    }


def _of_json(content: bytes) -> Values:
    told = json.loads(content)
    if not isinstance(told, dict) or not {"tests", "failed"} <= told.keys():
        raise ValueError("an object with tests, failed and commit is needed")
    counts = {name: int(told.get(name, 0)) for name in ("tests", "failed", "skipped")}
    return {**counts, "commit": str(told.get("commit", ""))}


@check("controller")
def tests_passed(p: Values, evidence: Values, context: Values) -> list[str]:
    """The tests of this very commit have passed.

    notes: The file is JUnit XML, with the commit as a C(<property name="commit">), or JSON with C(tests), C(failed),
      C(commit) and maybe C(skipped).
    parameters:
      file:
        type: str
        required: true
        description: Result of CI on the controller; relative to where Ansible is started.
      commit:
        type: str
        default: ""
        description: Commit that the result is of, where the file does not tell; 7 characters of it at least.
      minimum: {type: int, default: 1, description: Tests that have to have run.}
      skipped: {type: int, description: Tests that may have been skipped; any number when it is left out.}
    evidence: The file and its sha256, the commit, and the numbers of tests, of failed and of skipped ones.
    """
    path = _place(p["file"], context)
    content = _read(path, "let CI put it there, or correct file")
    try:
        told = _of_json(content) if content.lstrip()[:1] == b"{" else _of_junit(content)
    except (ValueError, TypeError, ElementTree.ParseError) as exc:
        raise UnprovenError(
            f"{path} is no result of tests: {exc}; give JUnit XML or the JSON of the documentation"
        ) from exc
    commit = told["commit"] or p["commit"]
    evidence.update({"file": path, "sha256": hashlib.sha256(content).hexdigest(), **told, "commit": commit})
    found = []
    ran = told["tests"] - told["skipped"]
    if told["failed"]:
        found.append(f"{told['failed']} of {told['tests']} tests failed; mend them, and release that commit")
    if ran < max(1, p["minimum"]):
        found.append(f"{ran} tests ran, {max(1, p['minimum'])} are asked for; see why CI ran so few")
    if p["skipped"] is not None and told["skipped"] > p["skipped"]:
        found.append(f"{told['skipped']} tests were skipped, {p['skipped']} may be; run them")
    released = context.get("commit") or ""
    if not commit:
        found.append(f"{path} does not tell its commit; let CI write it there, or give the parameter commit")
    elif not released or len(commit) < 7 or not released.lower().startswith(commit.lower()):
        found.append(f"{path} is of commit {commit}, not of {released or 'a commit that is known'}; test that one")
    return found


# What the repository is called for the one question; no configuration has a remote of this name.
_REMOTE = "slipway-release"


def _git(argv: list[str], repository: str = "", seconds: int = 30) -> subprocess.CompletedProcess[bytes]:
    # Nothing may be asked of whoever sits at the terminal, and the answers have to be in English.
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=15"),
        "LC_ALL": "C",
        **(repositories.environment(repository, _REMOTE) if repository else {}),
    }
    try:
        return subprocess.run(
            ["git", *argv],
            capture_output=True,
            check=False,
            timeout=seconds,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise UnprovenError("there is no git on the controller; install it") from exc
    except subprocess.TimeoutExpired as exc:
        raise UnprovenError(
            f"git gave no answer within {seconds} s; see whether the repository can be reached"
        ) from exc


def _git_error(result: subprocess.CompletedProcess[bytes]) -> str:
    return without_password(" ".join(result.stderr.decode("utf-8", "replace").split()))[:300]


@check("controller")
def release_notes(p: Values, evidence: Values, context: Values) -> list[str]:
    """Release notes are there in every language that is asked for.

    notes: Of a language with letters of its own (Arabic, Russian, Chinese and others) a fifth of the letters at least
      have to be such, so that a copy of the English text does not do.
    parameters:
      path:
        type: str
        required: true
        description: Path of the notes, in which C(<version>) and C(<language>) are replaced; relative to where Ansible
          is started.
      languages: {type: list, elements: str, default: [en], description: "Languages, such as C(ar) or C(pt-BR)."}
      version: {type: str, default: "", description: "Version in the path, by default C(release_version)."}
      repository:
        type: str
        default: ""
        description: Clone of the repository on the controller. With it, C(path) is read from the commit of the release.
      characters: {type: int, default: 20, description: Characters that the notes in each language need at least.}
    evidence: For each language the file, its size in characters and its sha256.
    """
    version = p["version"] or str((context.get("variables") or {}).get("release_version", ""))
    if "<version>" in p["path"] and not version:
        raise UnprovenError("the version is not known; give release_version, or the parameter version")
    found = []
    for language in p["languages"]:
        path = p["path"].replace("<version>", version).replace("<language>", language)
        try:
            content = _notes(path, p["repository"], context)
        except UnprovenError as exc:
            found.append(f"{language}: {exc}")
            continue
        text = content.decode("utf-8", "replace").strip()
        digest = hashlib.sha256(content).hexdigest()
        evidence[language] = {"file": path, "characters": len(text), "sha256": digest}
        if len(text) < max(1, p["characters"]):
            found.append(f"{language}: {path} has {len(text)} characters, {p['characters']} are asked for; write more")
        script = _SCRIPTS.get(language.lower().split("-")[0])
        letters = [letter for letter in text if letter.isalpha()]
        if script and 5 * sum(unicodedata.name(letter, "").startswith(script) for letter in letters) < len(letters):
            found.append(f"{language}: {path} is not written in that language; translate it")
    return found if p["languages"] else ["no language is asked for; name one in languages"]


def _notes(path: str, repository: str, context: Values) -> bytes:
    if not repository:
        return _read(_place(path, context), "write them, or correct path")
    commit, clone = context.get("commit"), _place(repository, context)
    if not commit:
        raise UnprovenError("the commit of the release is not known; check it after the build")
    result = _git(["-C", clone, "cat-file", "blob", f"{commit}:{path}"])
    if result.returncode != 0:
        raise UnprovenError(f"commit {commit[:8]} of {clone} has no {path} ({_git_error(result)}); commit it, or fetch")
    return result.stdout


@check("controller")
def git_tag(p: Values, evidence: Values, context: Values) -> list[str]:
    """The tag of the release is in the shared repository, and names the commit that was released.

    parameters:
      tag: {type: str, default: "", description: "Name of the tag, by default C(release_version)."}
      repository:
        type: str
        default: ""
        description: Address of the repository, by default C(release_repository). A password in it is not shown.
    evidence: Repository, tag, and the commit that it names.
    """
    variables = context.get("variables") or {}
    tag = p["tag"] or str(variables.get("release_version", ""))
    repository = p["repository"] or str(variables.get("release_repository", ""))
    if not tag or not repository:
        raise UnprovenError(f"the {'repository' if tag else 'tag'} is not known; give it as a parameter")
    shown = without_password(repository)
    # Peeled: a tag with a message is an object of its own.
    result = _git(["ls-remote", "--", _REMOTE, f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"], repository)
    if result.returncode != 0:
        raise UnprovenError(f"{shown} cannot be asked from the controller: {_git_error(result)}; see its access")
    refs = dict(line.split("\t")[::-1] for line in result.stdout.decode().splitlines())
    commit = refs.get(f"refs/tags/{tag}^{{}}") or refs.get(f"refs/tags/{tag}", "")
    evidence.update({"repository": shown, "tag": tag, "commit": commit})
    if not commit:
        return [f"{shown} has no tag {tag}; push it: git push origin {tag}"]
    released = context.get("commit") or ""
    if not re.fullmatch("[0-9a-f]{40,64}", released):
        return ["the commit of the release is not known; check it after the build"]
    if commit != released:
        return [f"the tag {tag} of {shown} names {commit[:8]}, and {released[:8]} was released; use another tag"]
    return []
