from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import tarfile
import time

import pytest


@pytest.fixture
def build(run_module, home, repository):
    root = home / "app"
    (root / ".slipway").mkdir(parents=True)

    def run(version="v1.1.0", **args):
        return run_module("release_build", **{"root": str(root), "repository": repository, "version": version, **args})

    return run


def content(result):
    with tarfile.open(result["artifact"]) as archive:
        files = {
            name.removeprefix("./"): archive.extractfile(name)
            for name in archive.getnames()
            if archive.getmember(name).isfile()
        }
        return {name: handle.read().decode() for name, handle in files.items()}


def calls(home):
    return (home / "calls").read_text()


def test_artifact(build, git, home):
    code, result = build()
    commit = git("rev-parse", "v1.1.0^{commit}")
    assert (code, result["changed"], result["up_to_date"]) == (0, True, False)
    assert (result["commit"], result["version"]) == (commit, "v1.1.0")
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{commit[:8]}", result["release"])
    with open(result["artifact"], "rb") as handle:
        packed = handle.read()
    assert result["sha256"] == hashlib.sha256(packed).hexdigest()
    assert result["size"] == len(packed)

    files = content(result)
    assert files["REVISION"] == commit + "\n"
    assert json.loads(files[".slipway.json"])["commit"] == commit
    assert files["vendor/autoload.php"] == "<?php // packages\n"
    asset = next(name for name in files if name.startswith("public/build/app-"))
    assert files[asset] == "v1.1.0"
    assert not [name for name in files if name.startswith(("node_modules", ".git/"))]


def test_nothing_but_the_artifact_and_the_mirror_is_left(build, home):
    build()
    private = home / "app/.slipway"
    assert sorted(path.name for path in private.iterdir()) == ["artifacts", "build", "repository.git"]
    assert list((private / "build").iterdir()) == []
    assert len(list((private / "artifacts").iterdir())) == 1


def test_the_record_gets_the_phase(build):
    result = build()[1]
    phase = result["phases"][0]
    assert (phase["phase"], phase["changed"], phase["sha256"]) == ("build", True, result["sha256"])
    assert set(phase["steps"]) == {"fetch", "export", "composer", "npm", "pack"}


def test_packages_are_installed_from_the_locks_alone(build, home):
    build()
    composer = next(line for line in calls(home).splitlines() if line.startswith("composer"))
    assert composer.startswith("composer install --no-dev")
    assert "npm ci --no-audit --no-fund\nnpm run build\n" in calls(home)


def test_same_commit_gives_the_same_bytes(build):
    first = build()[1]
    time.sleep(1)
    second = build()[1]
    assert first["release"] != second["release"]
    assert first["sha256"] == second["sha256"]
    assert build("v1.0.0")[1]["sha256"] != first["sha256"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    "version, means", [("work", "work"), ("v1.0.0", "v1.0.0^{commit}"), ("SHORT", "v1.0.0^{commit}")]
)
def test_version(build, git, version, means, check):
    commit = git("rev-parse", means)
    code, result = build(commit[:9] if version == "SHORT" else version, _ansible_check_mode=check)
    assert code == 0
    assert commit.startswith(result["commit"])
    assert len(result["commit"]) == 40 or check


@pytest.mark.parametrize("check", [False, True])
def test_tag_wins_over_a_branch_of_the_same_name(build, git, check):
    git("branch", "v1.0.0", "work")
    assert build("v1.0.0", _ansible_check_mode=check)[1]["commit"] == git("rev-parse", "refs/tags/v1.0.0^{commit}")


def test_moved_branch_is_fetched_again(build, git):
    build("work")
    git("commit", "--quiet", "--allow-empty", "--message", "More work")
    assert build("work")[1]["commit"] == git("rev-parse", "work")


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("version", ["v9", "abcdef", "--help", "v1.0.0..v1.1.0"])
def test_unknown_version_names_the_newest_tags(build, git, repository, version, check):
    git("tag", "v1.10.0")
    code, result = build(version, _ansible_check_mode=check)
    assert code == 1
    assert result["msg"] == (
        f"{version} is no tag, branch or commit of {repository}; its newest tags are v1.10.0, v1.1.0, v1.0.0"
    )
    assert result["phases"][0]["error"] == result["msg"]


@pytest.mark.parametrize("check", [False, True])
def test_repository_that_is_not_there(build, home, check):
    code, result = build(repository=f"{home}/nowhere", _ansible_check_mode=check)
    assert code == 1
    assert result["msg"].startswith(f"repository {home}/nowhere cannot be read from this host: fatal: ")
    assert result["msg"].endswith("check release_repository, release_deploy_key and release_known_hosts")


@pytest.fixture
def watched_git(home):
    """A git that writes its command lines to `calls` before it does what it is asked."""
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    (home / "bin/git").write_text(f'#!/bin/sh\necho "git $*" >> {home}/calls\nexec {real} "$@"\n')
    (home / "bin/git").chmod(0o755)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("userinfo", ["deploy:s3cr3t", "s3cr3t", "deploy:@s3@cr3t"])
def test_password_in_the_address_is_never_shown(build, home, watched_git, http_server, userinfo, check):
    address = http_server(404).replace("//", f"//{userinfo}@")
    code, result = build(repository=f"{address}/app.git", _ansible_check_mode=check)
    assert code == 1
    assert "/app.git cannot be read from this host" in result["msg"]
    shown = json.dumps(result) + calls(home)
    assert "cr3t" not in shown
    assert "git " in calls(home)


@pytest.mark.parametrize("check", [False, True])
def test_password_in_the_address_is_used(build, http_server, check):
    address = http_server(401, WWW_Authenticate='Basic realm="git"').replace("//", "//deploy:s3cr3t@")
    assert build(repository=address, _ansible_check_mode=check)[0] == 1
    assert "Basic " + base64.b64encode(b"deploy:s3cr3t").decode() in http_server.authorizations


def test_password_is_not_kept_on_disk(build, home, http_server):
    build(repository=http_server(404).replace("//", "//deploy:s3cr3t@"))
    assert not [path for path in (home / "app").rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]


def test_user_of_an_ssh_address_is_shown(build):
    code, result = build(repository="ssh://git@127.0.0.1:1/app.git")
    assert code == 1
    assert "repository ssh://git@127.0.0.1:1/app.git cannot be read" in result["msg"]
    assert "Connection refused" in result["msg"]


def test_ssh_uses_the_key_and_always_checks_the_host(build, home):
    (home / "bin/ssh").write_text(f'#!/bin/sh\necho "ssh $*" >> {home}/calls\nexit 255\n')
    (home / "bin/ssh").chmod(0o755)
    build(repository="git@git.example.com:app.git", ssh_key=f"{home}/a key", known_hosts=f"{home}/hosts")
    ssh = next(line for line in calls(home).splitlines() if line.startswith("ssh") and "app.git" in line)
    assert f"-i {home}/a key -o IdentitiesOnly=yes" in ssh
    assert f"-o UserKnownHostsFile={home}/hosts" in ssh
    assert "-o StrictHostKeyChecking=yes" in ssh


def commit_file(git, home, name, text):
    (home / "origin" / name).write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--message", name)


@pytest.mark.parametrize("name", ["composer.lock", "package-lock.json"])
def test_missing_lock(build, git, home, name):
    git("rm", "--quiet", name)
    git("commit", "--quiet", "--message", "Without a lock")
    code, result = build("work")
    assert code == 1
    assert result["msg"] == (
        f"build: the commit has no {name}; commit it, so that every build installs the same packages"
    )


def test_no_front_end_without_the_script(build, git, home):
    assert build(npm_script="other")[0] == 0
    assert "npm" not in calls(home)


def test_composer_that_fails(build, git, home):
    commit_file(
        git, home, "composer-error", "Your lock file does not fit.\n\n  Problem 1\n    - php ^9 is not satisfied\n\n"
    )
    code, result = build("work")
    assert code == 1
    assert result["msg"] == (
        "build: composer failed, composer exited 2: Your lock file does not fit.; Problem 1; - php ^9 is not satisfied"
    )
    assert result["rc"] == 2
    assert list((home / "app/.slipway/build").iterdir()) == []
    assert not list((home / "app/.slipway").glob("artifacts/*"))


@pytest.mark.parametrize("program", ["composer", "npm"])
def test_program_that_is_missing(build, home, program):
    code, result = build(**{program: "nowhere-to-be-found"})
    assert code == 1
    assert result["msg"].startswith(f"build: {program} needs nowhere-to-be-found, which cannot be run on this host")
    assert list((home / "app/.slipway/build").iterdir()) == []


@pytest.mark.parametrize("check", [False, True])
def test_live_commit_is_not_built_again(build, git, home, check):
    live = git("rev-parse", "v1.1.0^{commit}")
    code, result = build(live_commit=live, _ansible_check_mode=check)
    assert (code, result["changed"], result["up_to_date"]) == (0, False, True)
    assert "artifact" not in result
    assert not (home / "app/.slipway/artifacts").exists()


def test_live_commit_is_built_again_by_force(build, git):
    result = build(live_commit=git("rev-parse", "v1.1.0^{commit}"), force=True)[1]
    assert (result["up_to_date"], result["commits"]) == (False, [])
    assert os.path.isfile(result["artifact"])


def test_commits_since_the_live_one(build, git):
    result = build("work", live_commit=git("rev-parse", "v1.0.0^{commit}"))[1]
    assert [line.split(" ", 1)[1] for line in result["commits"]] == ["Work on it", "Release v1.1.0"]
    assert build("work", live_commit="0" * 40)[1]["commits"] == []


def test_check_mode_writes_nothing(build, home):
    code, result = build(_ansible_check_mode=True)
    assert (code, result["changed"], result["up_to_date"]) == (0, True, False)
    assert list((home / "app/.slipway").iterdir()) == []
    assert calls(home) == ""


def test_build_gives_the_lock_a_heartbeat(build, home):
    lock = home / "app/.slipway/lock"
    lock.write_text('{"run": "run-1"}')
    os.utime(lock, (0, 0))
    build(run="run-2")
    assert lock.stat().st_mtime == 0
    build(run="run-1")
    assert lock.stat().st_mtime > 0
