from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _artifact, _git
from ansible_collections.slipway.laravel.plugins.module_utils._build import Build
from ansible_collections.slipway.laravel.plugins.module_utils._requirements import different


@pytest.fixture
def build(run_module, home, repository):
    root = home / "app"
    (root / ".slipway").mkdir(parents=True)

    def run(version="v1.1.0", **args):
        given = {"root": str(root), "repository": repository, "version": version, **args}
        return run_module("release_build", **{name: value for name, value in given.items() if value is not None})

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


def test_nothing_but_the_artifact_the_mirror_and_the_parts_is_left(build, home):
    build()
    private = home / "app/.slipway"
    assert sorted(path.name for path in private.iterdir()) == ["artifacts", "build", "cache", "repository.git"]
    assert list((private / "build").iterdir()) == []
    assert len(list((private / "artifacts").iterdir())) == 1


@pytest.mark.parametrize("releases", [False, True])
def test_old_artifacts_go_where_nothing_is_released(build, home, git, releases):
    artifacts = home / "app/.slipway/artifacts"
    artifacts.mkdir()
    old = [f"2025010{day}T000000Z-{git('rev-parse', 'v1.1.0^{commit}')[:8]}" for day in range(1, 6)]
    for name in old[1:]:
        (artifacts / f"{name}.tar.gz").touch()
    (artifacts / "notes.txt").touch()
    if releases:
        (home / "app/releases").mkdir()
    # Also when an old release is continued: its artifact is not the one to go.
    result = build(release=old[0])[1]
    assert result["artifact"] == str(artifacts / f"{old[0]}.tar.gz"), result.get("msg")
    left = sorted(path.name.split(".")[0] for path in artifacts.iterdir())
    assert left == [*(old if releases else [old[0], *old[3:]]), "notes"]


def test_the_record_gets_the_phase(build):
    result = build()[1]
    phase = result["phases"][0]
    assert (phase["phase"], phase["changed"], phase["sha256"]) == ("build", True, result["sha256"])
    assert set(phase["steps"]) == {"fetch", "export", "composer", "npm", "pack"}


def test_packages_are_installed_from_the_locks_alone(build, home):
    build()
    assert "composer install --no-dev " in calls(home)
    assert "npm ci --include=dev --no-audit --no-fund\nnpm run build\n" in calls(home)


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


@pytest.fixture
def checkout(home, git, repository):
    """Check the branch `work` out, as CI does: checkout(*words of its git fetch) returns the path of a new one."""
    made = []

    def run(*words):
        path = home / f"checkout{len(made)}"
        made.append(path)
        for line in (
            ["init", "--quiet", str(path)],
            ["-C", str(path), "fetch", "--quiet", f"file://{repository}", *words],
            [
                "-C",
                str(path),
                "checkout",
                "--quiet",
                *(["work"] if words[-1].endswith("heads/work") else ["FETCH_HEAD"]),
            ],
        ):
            subprocess.run(["git", *line], check=True)
        return str(path)

    return run


# GitLab, and GitHub in pull requests: no branch. GitHub: a branch. Each without its history, unless told otherwise.
@pytest.mark.parametrize("depth", [["--depth=1"], []])
@pytest.mark.parametrize("refs", ["+refs/heads/work:refs/remotes/origin/work", "+refs/heads/work:refs/heads/work"])
def test_checkout_of_ci(build, git, checkout, refs, depth):
    for dummy in range(2):
        git("commit", "--quiet", "--allow-empty", "--message", "More work")
        commit = git("rev-parse", "work")
        path = checkout(*depth, refs)
        versions = [commit, "work"] if "heads/work:refs/heads" in refs else [commit]
        for version in versions:
            for check in (True, False):
                result = build(version, repository=path, _ansible_check_mode=check)[1]
                assert result.get("commit") == commit, result.get("msg")
                assert "requires" in result


def test_copy_that_lacks_a_part(build, home, git, repository, monkeypatch):
    build("work")
    mirror = home / "app/.slipway/repository.git"
    before = git("rev-parse", "work^")
    (mirror / "objects" / before[:2] / before[2:]).unlink()
    # It would notice by itself, in words of its own.
    monkeypatch.setattr(_git.Repository, "fetch", lambda *_args: None)
    commit, result = git("rev-parse", "work"), build("work")[1]
    assert result["msg"].startswith(f"build: {mirror}, the copy of {repository}, lacks a part of {commit} (error: ")
    assert result["msg"].endswith("); remove it, then try again")


def test_copy_of_a_build_that_was_killed(build, home, git):
    mirror = home / "app/.slipway/repository.git"
    mirror.mkdir()
    assert build("work")[0] == 0
    (mirror / "HEAD").unlink()
    for name in ("refs/heads/work.lock", "config.lock", "packed-refs.lock"):
        (mirror / name).touch()
    git("commit", "--quiet", "--allow-empty", "--message", "More work")
    code, result = build("work")
    assert (code, result.get("commit")) == (0, git("rev-parse", "work")), result


@pytest.mark.parametrize("check", [False, True])
def test_repository_that_is_not_there(build, home, check):
    code, result = build(repository=f"{home}/nowhere", _ansible_check_mode=check)
    assert code == 1
    assert result["msg"].startswith(f"repository {home}/nowhere cannot be read from this host: fatal: ")
    users = f"and the SSH keys and known_hosts of the user that builds (id {os.geteuid()}); release_deploy_key and "
    assert f"; check release_repository, {users}" in result["msg"]


ROW = "@" * 59
CHANGED = f"""{ROW}
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
{ROW}
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
The fingerprint for the ED25519 key sent by the remote host is
SHA256:0Yi6.
Host key for git.example.com has changed and you have requested strict checking.
Host key verification failed.
"""
LOOSE = f"""{ROW}
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
{ROW}
Permissions 0644 for '/app/key' are too open.
Load key "/app/key": bad permissions
git@git.example.com: Permission denied (publickey).
"""
MISSING = """Warning: Identity file /app/key not accessible: No such file or directory.
git@git.example.com: Permission denied (publickey).
"""
ADDED = """Warning: Permanently added the ED25519 host key for IP address '192.0.2.1' to the list of known hosts.
git@git.example.com: Permission denied (publickey).
"""
DENIED = "git@git.example.com: Permission denied (publickey)"


@pytest.mark.parametrize(
    "said, reason",
    [
        (CHANGED, "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!; Host key verification failed"),
        (LOOSE, f"WARNING: UNPROTECTED PRIVATE KEY FILE!; {DENIED}"),
        (MISSING, f"Warning: Identity file /app/key not accessible: No such file or directory; {DENIED}"),
        (ADDED, DENIED),
        ("", "fatal: Could not read from remote repository"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_reason_of_ssh_is_told(build, home, said, reason, check):
    (home / "said").write_text(said)
    (home / "bin/ssh").write_text(f"#!/bin/sh\ncat '{home}/said' >&2\nexit 255\n")
    (home / "bin/ssh").chmod(0o755)
    result = build(repository="git@git.example.com:app.git", ssh_key="/app/key", _ansible_check_mode=check)[1]
    assert result["msg"] == (
        f"repository git@git.example.com:app.git cannot be read from this host: {reason}; check release_repository, "
        "release_deploy_key and release_known_hosts, and run the site playbook (--tags layout), which writes them to "
        "the hosts"
    )


@pytest.fixture
def watched_git(home):
    """A git that writes its command lines to `calls` before it does what it is asked."""
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    (home / "bin/git").write_text(f'#!/bin/sh\necho "git $*" >> {home}/calls\nexec {real} "$@"\n')
    (home / "bin/git").chmod(0o755)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("userinfo", ["deploy:s3cr3t", "s3cr3t", "deploy:@s3@cr3t"])
def test_password_in_the_address_is_never_shown(build, home, watched_git, http_server, userinfo, check):
    processes = []

    def answer(_request):
        # git waits for the answer of its program for HTTP.
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                processes.append(path.read_text())
        return 404

    address = http_server(answer).replace("//", f"//{userinfo}@")
    code, result = build(repository=f"{address}/app.git", _ansible_check_mode=check)
    assert code == 1
    assert "/app.git cannot be read from this host" in result["msg"]
    assert any("git-remote-http" in process for process in processes)
    shown = json.dumps(result) + calls(home) + "".join(processes)
    assert "cr3t" not in shown
    assert "git " in calls(home)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    "userinfo, credentials",
    [("deploy:s3cr3t", b"deploy:s3cr3t"), ("t0ken", b"t0ken:"), ("d%40b:s%2F:%25", b"d@b:s/:%")],
)
def test_password_in_the_address_is_used(build, http_server, userinfo, credentials, check):
    address = http_server(401, WWW_Authenticate='Basic realm="git"').replace("//", f"//{userinfo}@")
    assert build(repository=address, _ansible_check_mode=check)[0] == 1
    assert "Basic " + base64.b64encode(credentials).decode() in http_server.authorizations


def test_password_in_the_address_comes_before_what_the_user_has(build, home, http_server, monkeypatch):
    (home / "gitconfig").write_text('[credential]\n\thelper = "!f() { echo password=0ther; }; f"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", f"{home}/gitconfig")
    address = http_server(401, WWW_Authenticate='Basic realm="git"')
    for userinfo in ("deploy:s3cr3t", "deploy"):
        build(repository=address.replace("//", f"//{userinfo}@"))
    sent = [base64.b64decode(given.split()[1]) for given in http_server.authorizations if given]
    assert set(sent) == {b"deploy:s3cr3t", b"deploy:0ther"}


@pytest.mark.parametrize("by", ["GIT_ASKPASS", "SSH_ASKPASS", "core.askPass", "environment", "nobody"])
def test_password_that_the_address_lacks_is_asked_for(build, home, http_server, monkeypatch, by):
    program = home / "bin/askpass"
    program.write_text("#!/bin/sh\necho 4sked\n")
    program.chmod(0o755)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.delenv(name, raising=False)
    if by.endswith("_ASKPASS"):
        monkeypatch.setenv(by, str(program))
    (home / "gitconfig").write_text(f"[core]\n\taskPass = {program}\n" if by.startswith("core") else "")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", f"{home}/gitconfig")
    address = http_server(401, WWW_Authenticate='Basic realm="git"').replace("//", "//org@")
    build(repository=address, environment={"GIT_ASKPASS": str(program)} if by == "environment" else {})
    sent = {base64.b64decode(given.split()[1]) for given in http_server.authorizations if given}
    assert sent == {b"org:" if by == "nobody" else b"org:4sked"}


def test_password_in_the_address_is_for_its_server_alone(build, http_server):
    other = http_server(401, WWW_Authenticate='Basic realm="git"')
    requests = http_server.requests
    address = http_server(301, Location=f"{other}/info/refs?service=git-upload-pack").replace("//", "//deploy:s3cr3t@")
    assert build(repository=address)[0] == 1
    assert requests
    assert not any(http_server.authorizations)


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


@pytest.mark.parametrize("name", ["composer.lock", "package-lock.json, yarn.lock or pnpm-lock.yaml"])
def test_missing_lock(build, git, home, name):
    git("rm", "--quiet", name.partition(",")[0])
    git("commit", "--quiet", "--message", "Without a lock")
    code, result = build("work")
    assert code == 1
    assert result["msg"] == (
        f"build: the commit has no {name}; commit it, so that every build installs the same packages"
    )


def test_no_front_end_without_the_script(build, git, home):
    assert build(npm_script="")[0] == 0
    commit_file(git, home, "package.json", json.dumps({"scripts": {"lint": "x"}}))
    assert build("work")[0] == 0
    assert "npm" not in calls(home)


def test_npm_that_refuses_the_lock(build, home):
    said = "code EUSAGE;;`npm ci` needs a lock in sync.;;Missing: b@1.0.0 from lock file;;Usage:;npm ci"
    lines = "".join(f"npm error {line}\n" for line in [*said.split(";"), *["--an-option"] * 500])
    (home / "npm-says").write_text(lines)
    (home / "bin/npm").write_text(
        f"#!/bin/sh\necho 9.2.0\n[ $1 = --version ] || {{ cat {home}/npm-says >&2; exit 1; }}\n"
    )
    result = build()[1]
    assert result["msg"] == (
        "build: npm failed, npm exited 1: `npm ci` needs a lock in sync.; Missing: b@1.0.0 from lock file"
    )
    assert "Missing: b@1.0.0" in result["stderr"]


@pytest.mark.parametrize(
    "scripts, script, told",
    [
        ({"dev": "x", "production": "mix"}, "build", "no script build, only dev, production; name the one"),
        ({"prod": "mix"}, "build", "no script build, only prod; name the one"),
        ({"build": "x"}, "biuld", "no script biuld, only build; name the one"),
        ({}, "biuld", "no script biuld, only none at all; name the one"),
    ],
)
def test_front_end_that_another_script_builds(build, git, home, scripts, script, told):
    commit_file(git, home, "package.json", json.dumps({"scripts": scripts}))
    code, result = build("work", npm_script=script)
    assert (code, told in result["msg"], "npm run" in calls(home)) == (1, True, False), result["msg"]
    if "production" in scripts:
        assert build("work", npm_script="production")[0] == 0


def test_front_end_that_nobody_builds(build, git, home):
    git("rm", "--quiet", "package-lock.json")
    commit_file(git, home, "package.json", json.dumps({"scripts": {"dev": "x", "prod": "mix", "production": "mix"}}))
    assert build("work")[0] == 0
    assert "npm" not in calls(home)
    assert "no script biuld" in build("work", npm_script="biuld")[1]["msg"]


# What is compiled into the front end


@pytest.fixture
def compiled(build, home, git, run_module):
    """Build with a .env.example and return what the script found of its environment: compiled(example, **args)."""
    npm = home / "bin/npm"
    npm.write_text(npm.read_text().replace("    run)", f"    run) env > {home}/env;"))

    def run(example, script="vite build", **args):
        (home / "origin/.env.example").write_text(example)
        # Another front end each time, so that it is built.
        package = {"scripts": {"build": script}, "version": str(time.time_ns())}
        commit_file(git, home, "package.json", json.dumps(package))
        result = build("work", **args)[1]
        compiled.warnings = " ".join((json.dumps(result.get("warnings")) + run_module.stderr).split())
        environment = dict(line.partition("=")[::2] for line in (home / "env").read_text().splitlines())
        return {name: environment[name] for name in (*NAMES, "APP_NAME", "DB_PASSWORD") if name in environment}

    compiled = run
    return run


NAMES = ("VITE_APP_NAME", "VITE_KEY", "MIX_KEY", "ASSET_URL")
ENV = """APP_NAME=Shop
DB_PASSWORD=s3cr3t
VITE_APP_NAME="${APP_NAME}"
VITE_KEY="\\${REVERB_APP_KEY}"
MIX_KEY=mix
ASSET_URL=https://cdn.example
REVERB_APP_KEY=key
"""
VALUES = {"VITE_APP_NAME": "Shop", "VITE_KEY": "key", "MIX_KEY": "mix", "ASSET_URL": "https://cdn.example"}


@pytest.fixture
def env(home):
    """The shared .env of the host that builds."""
    path = home / "app/shared/.env"
    path.parent.mkdir(parents=True)
    path.write_text(ENV)
    return path


def test_front_end_gets_its_values_of_the_environment_and_nothing_else(compiled, env):
    assert compiled("VITE_APP_NAME=\nVITE_KEY=\nMIX_KEY=\n") == VALUES
    assert "undefined" not in compiled.warnings


def test_front_end_gets_its_values_where_the_build_host_has_no_environment(compiled):
    front_end = base64.b64encode(json.dumps(VALUES).encode()).decode()
    hosts = {"gone": {}, "node": {**offer(), "env": None}, "web": offer()}
    hosts["web"]["env"] = {**hosts["web"]["env"], "front_end": front_end}
    assert compiled("", offers=hosts) == VALUES


def test_what_the_front_end_is_given_otherwise_stays(compiled, env, home, git):
    for name, text in {
        ".env": "VITE_APP_NAME=of the commit",
        ".env.staging": "MIX_KEY=of staging",
        ".env.testing": "ASSET_URL=of tests",
    }.items():
        commit_file(git, home, name, text)
    found = compiled("", environment={"VITE_KEY": "of the release"})
    assert found == {"VITE_KEY": "of the release", "MIX_KEY": "mix", "ASSET_URL": "https://cdn.example"}
    assert "MIX_KEY" not in compiled("", script="vite build --mode staging")


def test_values_that_nobody_gives_are_named(compiled, env, home, git):
    commit_file(git, home, ".env.production", "VITE_COMMITTED=1")
    example = "VITE_A=\nMIX_B=\nVITE_C=\nVITE_D=\nVITE_COMMITTED=\nASSET_URL=\nDB_X=\nVITE_KEY=\n"
    compiled(example, environment={"VITE_C": "1"}, offers={"": {**offer(), "optional": ["*"]}})
    assert (
        "VITE_A, MIX_B, VITE_D of .env.example have no value, and will be compiled into the front end as undefined; "
        "add it to the application's .env (where the inventory has laravel_env: there, and run the site playbook) or "
        "to release_environment, empty if it is of no use"
    ) in compiled.warnings


def test_composer_that_fails(build, git, home):
    said = "\x1b[37;41mYour lock file does not fit.\x1b[39;49m\n\n  Problem 1\n    - php ^9 is not satisfied\n\n"
    commit_file(git, home, "composer-error", said)
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


def test_build_notes_what_a_later_run_needs_to_go_on(build, home):
    (home / "app/.slipway/lock").write_text('{"run": "run-1"}')
    result = build(run="run-1")[1]
    noted = json.loads((home / "app/.slipway/run.json").read_text())
    assert noted == {"run": "run-1", "phase": "build"} | {
        name: result[name] for name in ("release", "commit", "artifact", "sha256")
    }
    assert json.loads((home / "app/.slipway/lock").read_text())["release"] == result["release"]


def test_build_stops_when_the_lock_was_taken_over_meanwhile(build, home, monkeypatch):
    lock = home / "app/.slipway/lock"
    lock.write_text('{"run": "run-1"}')
    real = Build.make

    def make(self, release, commit):
        lock.write_text('{"run": "run-2", "owner": "bob"}')
        return real(self, release, commit)

    monkeypatch.setattr(Build, "make", make)
    code, result = build(run="run-1")
    assert (code, result["msg"]) == (1, f"build: {lock} is not held by run run-1 any more; stopped after the build")
    assert not (home / "app/.slipway/run.json").exists()


def test_lock_that_is_no_json(build, git, home):
    commit_file(git, home, "composer.lock", "<<<<<<< HEAD")
    assert build("work")[1]["msg"].startswith("composer.lock of the release is not valid JSON")


# Where it is built


def test_any_directory_can_be_built_in(build, home):
    code, result = build(root=f"{home}/area/shop")
    assert (code, result["artifact"].startswith(f"{home}/area/shop/.slipway/artifacts/")) == (0, True)
    assert [path.name for path in (home / "area/shop").iterdir()] == [".slipway"]
    assert (home / "area/shop/.slipway").stat().st_mode & 0o777 == 0o700


def test_what_a_killed_build_left_is_removed(build, home):
    left = home / "app/.slipway/build/work/tree/left"
    left.mkdir(parents=True)
    assert build()[0] == 0
    assert not left.exists()


def test_two_builds_at_once(build, home):
    area = home / "app/.slipway/build"
    (area / "work").mkdir(parents=True)
    descriptor = os.open(area, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    code, result = build()
    assert (code, result["msg"]) == (1, f"another build is at work in {area}; wait for it, then try again")
    assert (area / "work").is_dir()
    os.close(descriptor)
    assert build()[0] == 0


def test_killed_run_is_continued(build, git, home):
    first = build()[1]
    (home / "calls").write_text("")
    code, result = build(release=first["release"])
    assert code == 0
    assert {key: result[key] for key in ("release", "artifact", "sha256", "size", "manifest", "requires")} == {
        key: first[key] for key in ("release", "artifact", "sha256", "size", "manifest", "requires")
    }
    assert calls(home) == ""
    os.unlink(first["artifact"])
    assert build(release=first["release"])[1]["sha256"] == first["sha256"]
    assert "is not of commit" in build("v1.0.0", release=first["release"])[1]["msg"]


# Parts of a repository, and repositories in it


@pytest.fixture
def monorepo(home, git):
    """Move the application into apps/shop of its repository, beside a package and the lock of a workspace."""
    origin = home / "origin"
    (origin / "apps/shop").mkdir(parents=True)
    for name in ("composer.json", "composer.lock", "package.json", "package-lock.json", "resources", "artisan"):
        (origin / name).rename(origin / "apps/shop" / name)
    commit_file(git, home, "README.md", "of all")
    return git


def test_directory_of_a_repository(build, monorepo, home):
    composer = home / "bin/composer"
    composer.write_text(composer.read_text() + 'echo "mirror=$COMPOSER_MIRROR_PATH_REPOS" >> ' + f"{home}/calls\n")
    code, result = build("work", path="apps/shop")
    files = content(result)
    assert (code, {"artisan", "REVISION", "vendor/autoload.php"} <= files.keys(), "README.md" in files) == (
        0,
        True,
        False,
    )
    assert [name for name in files if name.startswith("public/build/app-")]
    assert "mirror=1" in calls(home)
    # The front end may read what is around it.
    commit_file(monorepo, home, "README.md", "of all and more")
    assert build("work", path="apps/shop")[1]["reused"] == ["node_modules", "vendor"]


def test_workspace_has_its_lock_at_the_root(build, monorepo, home):
    (home / "origin/apps/shop/package-lock.json").rename(home / "origin/package-lock.json")
    commit_file(monorepo, home, "package.json", '{"workspaces": ["apps/*"]}')
    npm = home / "bin/npm"
    npm.write_text(npm.read_text().replace("node_modules/tool)", "../../node_modules/tool)"))
    npm.write_text(npm.read_text().replace("app-$(cat", "app-$(set -e; cat"))
    code, result = build("work", path="apps/shop")
    assert (code, result["parts"]["node_modules"]["reason"]) == (0, "the package has workspaces")
    assert [name for name in content(result) if name.startswith("public/build/app-")]


@pytest.mark.parametrize("path", ["/etc", "../x", "apps/../.."])
def test_path_outside_of_the_repository(build, path):
    assert "is not a directory below the root of the repository" in build(path=path)[1]["msg"]


def test_path_that_the_commit_lacks(build, git):
    code, result = build(path="apps/shop")
    assert (code, result["msg"]) == (
        1,
        f"path apps/shop is no directory of commit {git('rev-parse', 'v1.1.0^{commit}')[:8]}",
    )


@pytest.fixture
def submodules(home, git):
    """Give the application the submodule `lib/ui`, which has one of its own, `icons`; return run(name, *git words)."""

    def run(name, *words):
        result = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *words],
            cwd=home / name,
            check=True,
            capture_output=True,
            text=True,
        )
        return result.stdout.strip()

    for name in ("icons", "ui"):
        (home / name).mkdir()
        run(name, "init", "--quiet", "--initial-branch=main")
        (home / name / f"{name}.js").write_text(name)
        run(name, "add", "--all")
        run(name, "commit", "--quiet", "--message", name)
    run("ui", "submodule", "--quiet", "add", f"{home}/icons", "icons")
    run("ui", "commit", "--quiet", "--message", "Icons")
    run("origin", "submodule", "--quiet", "add", "../ui", "lib/ui")
    run("origin", "commit", "--quiet", "--message", "The user interface")
    return run


def test_submodules_at_their_pinned_commits(build, submodules, home):
    submodules("ui", "commit", "--quiet", "--allow-empty", "--message", "Not pinned")
    (home / "ui/ui.js").write_text("newer")
    submodules("ui", "commit", "--quiet", "--all", "--message", "Newer")
    result = build("work", submodules=True)[1]
    files = content(result)
    assert (files["lib/ui/ui.js"], files["lib/ui/icons/icons.js"]) == ("ui", "icons")
    # Without the servers: the copies have what is pinned.
    for name in ("ui", "icons"):
        (home / name).rename(home / f"{name}-gone")
    time.sleep(1)
    assert build("work", submodules=True)[1]["sha256"] == result["sha256"]


def test_submodules_that_are_left_out_are_named(build, submodules, run_module):
    result = build("work")[1]
    assert "lib/ui/ui.js" not in content(result)
    warnings = json.dumps(result.get("warnings")) + run_module.stderr
    assert "the submodules lib/ui are left out; release_submodules brings them in" in " ".join(warnings.split())


def test_submodule_that_was_not_pushed(build, submodules, home):
    commit = submodules("origin/lib/ui", "commit", "--quiet", "--allow-empty", "--message", "Here alone")
    commit = submodules("origin/lib/ui", "rev-parse", "HEAD")
    submodules("origin", "commit", "--quiet", "--all", "--message", "Pin it")
    assert build("work", submodules=True)[1]["msg"] == (
        f"build: submodule lib/ui is pinned to {commit}, which {home}/ui does not have; push it there"
    )


def test_submodule_that_cannot_be_read(build, submodules, home):
    (home / "ui").rename(home / "ui-gone")
    assert f"repository {home}/ui cannot be read from this host: fatal" in build("work", submodules=True)[1]["msg"]
    assert not (home / "app/.slipway/build/work").exists()


def test_submodule_without_an_address(build, submodules, git):
    git("rm", "--quiet", ".gitmodules")
    git("commit", "--quiet", "--message", "Forgotten")
    assert "is a submodule that .gitmodules lacks; add its path" in build("work", submodules=True)[1]["msg"]


@pytest.mark.parametrize(
    "parent, url, address",
    [
        ("git@git.example.com:shop/app.git", "../ui.git", "git@git.example.com:shop/ui.git"),
        ("git@git.example.com:shop/app.git", "../../design/ui.git", "git@git.example.com:design/ui.git"),
        ("git@git.example.com:app.git", "../ui.git", "git@git.example.com:ui.git"),
        ("https://u:p@git.example.com/shop/app", "../ui", "https://u:p@git.example.com/shop/ui"),
        ("https://u:p@git.example.com/shop/app/", "./ui", "https://u:p@git.example.com/shop/app/ui"),
        ("/srv/app", "../ui", "/srv/ui"),
        ("https://u:p@git.example.com/app", "https://git.example.com/ui", "https://u:p@git.example.com/ui"),
        ("https://u:p@git.example.com/app", "https://other.example.com/ui", "https://other.example.com/ui"),
        ("https://u:p@git.example.com/app", "https://git.example.com:8443/ui", "https://git.example.com:8443/ui"),
        ("https://u:p@git.example.com/app", "http://git.example.com/ui", "http://git.example.com/ui"),
        ("https://u:p@git.example.com/app", "https://a:b@git.example.com/ui", "https://a:b@git.example.com/ui"),
        ("https://u:p@git.example.com/app", "git@git.example.com:ui.git", "git@git.example.com:ui.git"),
    ],
)
def test_address_of_a_submodule(parent, url, address):
    assert _git.submodule_address(parent, url) == address


# Git LFS


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"


@pytest.fixture
def large_files(home, git):
    """Keep five files of the branch `work` by Git LFS."""
    commit_file(git, home, ".gitattributes", "*.woff2 filter=lfs diff=lfs merge=lfs -text\n")
    (home / "origin/notes.txt").write_text(POINTER + " " * 1024)
    for number in range(5):
        commit_file(git, home, f"public/{number}.woff2", POINTER)


def test_files_of_git_lfs_are_not_released_as_pointers(build, large_files, home, git):
    assert build("work")[1]["msg"] == (
        "build: public/0.woff2, public/1.woff2, public/2.woff2 and 2 more are pointers of Git LFS in the place of "
        "files; install git-lfs on this host and run git lfs install as the user that builds, or keep them out of "
        "releases by export-ignore in .gitattributes"
    )
    commit_file(git, home, ".gitattributes", "*.woff2 filter=lfs export-ignore\n")
    assert build("work")[0] == 0


def test_pointers_of_git_lfs_that_no_application_reads(build, large_files, home, git, warned):
    git("rm", "--quiet", "public/*.woff2")
    for name in ("tests/photo.woff2", "docs/guide/a.woff2", ".github/b.woff2"):
        (home / "origin" / name).parent.mkdir(parents=True, exist_ok=True)
        commit_file(git, home, name, POINTER)
    assert build("work")[0] == 0
    assert warned[0].startswith(".github/b.woff2, docs/guide/a.woff2, tests/photo.woff2 are pointers of Git LFS")
    (home / "origin/app/docs").mkdir(parents=True)
    commit_file(git, home, "app/docs/a.woff2", POINTER)
    assert build("work")[1]["msg"].startswith("build: app/docs/a.woff2 are pointers of Git LFS")


def test_git_lfs_knows_the_server(build, large_files, home, monkeypatch):
    # It asks git for the address, as this stand-in does.
    (home / "gitconfig").write_text('[filter "lfs"]\n\tsmudge = "git config remote.origin.url"\n\trequired = true\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", f"{home}/gitconfig")
    assert content(build("work")[1])["public/0.woff2"] == f"{home}/origin\n"


# Credentials


AUTH = {"http-basic": {"packages.example.com": {"username": "app", "password": "s3cr3t-of-packages"}}}


def test_credentials_are_for_composer_alone_and_never_shown(build, home, git):
    for program in ("composer", "npm"):
        path = home / "bin" / program
        path.write_text(
            path.read_text().replace("#!/bin/sh", f'#!/bin/sh\necho "{program}=$COMPOSER_AUTH" >> {home}/env')
        )
    code, result = build(composer_auth=AUTH)
    assert code == 0
    environment = set((home / "env").read_text().splitlines())
    assert environment == {f"composer={json.dumps(AUTH)}", "npm="}
    assert "s3cr3t" not in json.dumps(result) + calls(home)
    # The user's name is a part of the path.
    assert result["artifact"].startswith(f"{home}/app/.slipway/artifacts/2")
    assert not [path for path in (home / "app").rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]


def test_credentials_that_composer_prints_are_not_shown(build, home, git):
    auth = {"http-basic": {"packages.example.com": {"username": "t0ken", "password": "x-oauth-basic"}}}
    commit_file(git, home, "composer-error", "401 for t0ken and x-oauth-basic")
    result = build("work", composer_auth=auth)[1]
    assert result["msg"] == "build: composer failed, composer exited 2: 401 for *** and ***"
    assert "t0ken" not in json.dumps(result)


def test_repository_password_is_not_given_to_what_is_built(build, home):
    npm = home / "bin/npm"
    npm.write_text(npm.read_text().replace("#!/bin/sh", f"#!/bin/sh\nenv >> {home}/env"))
    build()
    environment = (home / "env").read_text()
    assert "GIT_CONFIG_VALUE_0" not in environment
    assert "StrictHostKeyChecking=yes" in environment


# Package managers


@pytest.fixture
def manager(home, git):
    """Let the front end have other locks: manager({name: text}, version of yarn)."""

    def run(locks, version="1.22.22", **package):
        for name in ("yarn", "pnpm"):
            shutil.copy(home / "bin/npm", home / "bin" / name)
        (home / "bin/yarn-version").write_text(version)
        (home / "origin/package-lock.json").unlink(missing_ok=True)
        for name, text in locks.items():
            (home / "origin" / name).write_text(text)
        commit_file(git, home, "package.json", json.dumps({"scripts": {"build": "x"}, **package}))

    return run


BERRY = "# This file is generated\n\n__metadata:\n  version: 8\n"


@pytest.mark.parametrize(
    "locks, version, install, run",
    [
        ({"yarn.lock": "# yarn lockfile v1\n"}, "1.22.22", "yarn install --frozen-lockfile ", "yarn run build"),
        ({"yarn.lock": BERRY}, "4.5.0", "yarn install --immutable\n", "yarn run build"),
        ({"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "", "pnpm install --frozen-lockfile ", "pnpm run build"),
        ({"npm-shrinkwrap.json": "{}"}, "", "npm ci ", "npm run build"),
    ],
)
def test_lock_decides_the_package_manager(build, home, manager, locks, version, install, run):
    manager(locks, version)
    assert build("work")[0] == 0
    called = calls(home)
    assert (install in called, f"{run}\n" in called) == (True, True)
    assert build("work")[1]["reused"] == ["assets", "vendor"]


@pytest.mark.parametrize("lock, version", [(BERRY, "1.22.22"), ("# yarn lockfile v1\n", "4.5.0")])
def test_yarn_of_another_kind_than_the_lock(build, manager, lock, version):
    manager({"yarn.lock": lock}, version)
    kind = "2 or later" if lock == BERRY else "1"
    assert build("work")[1]["msg"] == (
        f"build: yarn.lock is of Yarn {kind}, but yarn on this host is {version}; install the other one there, or "
        f"commit it and name it as yarnPath in .yarnrc.yml"
    )


def test_several_locks(build, home, manager):
    locks = {"yarn.lock": "# yarn lockfile v1\n", "pnpm-lock.yaml": ""}
    manager(locks)
    assert "the commit has locks of yarn and pnpm; remove all but one" in build("work")[1]["msg"]
    assert build("work", package_manager="pnpm")[0] == 0
    assert "pnpm install" in calls(home)
    manager({**locks, "package-lock.json": ""}, packageManager="yarn@1.22.22+sha512.x")
    assert build("work")[0] == 0
    assert "yarn install" in calls(home)


def test_lock_of_another_package_manager_than_asked_for(build):
    assert build(package_manager="pnpm")[1]["msg"].startswith("build: the commit has no pnpm-lock.yaml; commit it")


def test_package_manager_that_is_missing(build, home, manager):
    manager({"pnpm-lock.yaml": ""})
    (home / "bin/pnpm").unlink()
    result = build("work", environment={"PATH": f"{home}/bin:/usr/bin:/bin"})[1]
    assert result["msg"].startswith("build: pnpm needs pnpm, which cannot be run on this host")


# Node applications


@pytest.fixture
def node(build, home, git):
    """Make the application one of Node with some files of a build, and build it: node({name: text}, package)."""

    def run(files=None, package=None, **args):
        for name, text in {"app.js": "x", **(files or {})}.items():
            (home / "origin" / name).parent.mkdir(parents=True, exist_ok=True)
            (home / "origin" / name).write_text(text)
        package = {
            "scripts": {"build": "x"},
            "dependencies": {"next": "16"},
            "engines": {"node": ">=20"},
            **(package or {}),
        }
        commit_file(git, home, "package.json", json.dumps(package))
        return build("work", kind="node", **args)

    return run


def test_node_application_has_its_packages_without_those_of_the_build(node, home):
    code, result = node({".next/server/app.js": "served", ".next/cache/x": "x", ".env.example": "PORT=3000\n"})
    files = content(result)
    assert code == 0
    assert "npm prune --omit=dev --ignore-scripts" in calls(home)
    assert "composer" not in calls(home)
    assert (".next/server/app.js" in files, ".next/cache/x" in files) == (True, False)
    assert [name for name in files if name.startswith("node_modules")] == []
    assert result["requires"] == {"php": "", "extensions": [], "env_keys": ["PORT"], "node": ">=20"}
    again = node({"app.js": "y"})[1]
    # What it builds may be in node_modules: the build runs each time.
    assert (again["reused"], "assets" in again["parts"]) == (["node_modules"], False)
    assert calls(home).count("npm run build") == 2


def test_node_application_with_all_packages(node, home):
    files = content(node(node_prune=False)[1])
    # The notes of npm have the time in them.
    assert [name for name in files if name.startswith("node_modules")] == ["node_modules/tool"]
    assert "npm prune" not in calls(home)


def test_node_application_without_a_build(node, home):
    assert node(package={"scripts": {"start": "node app.js"}})[0] == 0
    assert "npm ci" in calls(home)
    assert "npm run" not in calls(home)


def test_next_standalone_gets_what_it_serves(node):
    files = content(node({".next/standalone/server.js": "x", ".next/static/a.js": "a", "public/logo.svg": "b"})[1])
    assert files[".next/standalone/.next/static/a.js"] == "a"
    assert files[".next/standalone/public/logo.svg"] == "b"
    assert files[".next/static/a.js"] == "a"


@pytest.fixture
def workspace(home, git, build):
    """Build a Next.js application of a workspace: workspace(what the install does, what the build does)."""

    def run(install, made=":", path="apps/web", lock=".", package=None):
        origin = home / "origin"
        (origin / path).mkdir(parents=True, exist_ok=True)
        package = {"scripts": {"build": "next build"}, **(package or {"dependencies": {"next": "16"}})}
        if lock != ".":
            (origin / "package-lock.json").rename(origin / lock / "package-lock.json")
        commit_file(git, home, f"{path}/package.json", json.dumps(package))
        npm = home / "bin/npm"
        npm.write_text(f"#!/bin/sh\ncase $1 in --version) echo 10 ;; ci) {install} ;; run) {made} ;; esac\n")
        return build("work", kind="node", path=path)

    return run


HOISTED = "mkdir -p node_modules/next"
LINKED = f"{HOISTED} apps/web/node_modules && ln -s ../../../node_modules/next apps/web/node_modules/next"


@pytest.mark.parametrize("install", [HOISTED, LINKED])
def test_next_standalone_in_a_workspace(workspace, install):
    made = "mkdir -p public .next/static .next/standalone/apps/web && for f in public/logo .next/static/a.js "
    code, result = workspace(install, made + ".next/standalone/apps/web/server.js; do echo x > $f; done")
    assert code == 0, result["msg"]
    assert {
        ".next/standalone/apps/web/server.js",
        ".next/standalone/apps/web/public/logo",
        ".next/standalone/apps/web/.next/static/a.js",
    } <= content(result).keys()


@pytest.mark.parametrize(
    "install, told",
    [
        (LINKED, "node_modules/next -> ../../../node_modules/next would lead out of the release; "),
        (f"{HOISTED} apps/web/node_modules/react", "node_modules of the application lacks next, which the workspace"),
    ],
)
def test_packages_of_a_workspace_that_a_release_would_lack(workspace, warned, install, told):
    code, result = workspace(install)
    assert code == 0, result["msg"]
    (warning,) = warned
    assert all(words in warning for words in (told, "release_probe_command", "output: 'standalone'")), warning


def test_workspace_that_gives_the_application_no_packages(workspace):
    code, result = workspace(HOISTED)
    assert (code, "npm made no node_modules" in result["msg"], "devDependencies" in result["msg"]) == (1, True, True)


@pytest.mark.parametrize("install", [HOISTED, LINKED])
def test_nitro_brings_its_packages_in_its_output(workspace, warned, install):
    code, result = workspace(install, "mkdir -p .output/server && echo x > .output/server/index.mjs")
    assert (code, warned) == (0, []), result["msg"]


@pytest.mark.parametrize("kind", ["dependencies", "devDependencies"])
def test_package_of_the_repository_that_is_linked(workspace, warned, kind):
    install = "mkdir -p node_modules/next node_modules/@acme && ln -s ../../../../ui node_modules/@acme/ui"
    code = workspace(install, lock="apps/web", package={kind: {"next": "16", "@acme/ui": "file:../../ui"}})[0]
    link = "node_modules/@acme/ui -> ../../../../ui would lead out"
    told = [(link in text, "install-links=true" in text) for text in warned]
    assert (code, told) == (0, [(True, True)] if kind == "dependencies" else [])


def test_links_within_the_application_are_released(workspace):
    install = "mkdir -p node_modules/next node_modules/.pnpm/a ui"
    install += " && ln -s .pnpm/a node_modules/a && ln -s ../ui node_modules/ui"
    assert workspace(install, lock="apps/web")[0] == 0


def test_package_of_composer_that_is_linked(build, home):
    composer = home / "bin/composer"
    composer.write_text(composer.read_text() + "[ $1 = show ] || ln -sfn ../../../packages/ui vendor/acme/ui\n")
    assert build()[1]["msg"] == (
        "build: vendor/acme/ui -> ../../../packages/ui would lead out of the release; remove symlink from the options "
        "of that repository in composer.json, so that Composer copies the package"
    )
    composer.write_text(composer.read_text().replace("../../../packages", "../../packages"))
    assert build()[0] == 0


@pytest.mark.parametrize("place", ["srv/packages", "app/.slipway/build/work/tree/packages"])
def test_package_of_composer_that_each_host_may_have(build, home, warned, place):
    composer = home / "bin/composer"
    link = f"vendor/acme/ui -> {home}/{place}/ui"
    composer.write_text(composer.read_text() + f"[ $1 = show ] || ln -sfn {home}/{place}/ui vendor/acme/ui\n")
    code, result = build()
    if place.startswith("srv"):
        assert (code, [text.partition(" leads to what each host has to have")[0] for text in warned]) == (0, [link])
    else:
        assert (code, f"{link} would lead out of the release" in result["msg"]) == (1, True)


def test_node_application_whose_packages_are_elsewhere(node, home):
    npm = home / "bin/npm"
    npm.write_text(npm.read_text().replace("mkdir -p node_modules/.bin &&", "exit #"))
    code, result = node(package={"scripts": {}})
    assert (code, "npm made no node_modules" in result["msg"]) == (1, True)
    assert node({".next/standalone/server.js": "x"}, {"scripts": {}})[0] == 0


def test_node_application_without_a_package(build, git):
    git("rm", "--quiet", "package.json")
    git("commit", "--quiet", "--message", "Nothing of Node")
    assert "kind node needs one" in build("work", kind="node")[1]["msg"]


# What a release needs


def test_requirements(build, git, home):
    packages = [
        {"name": "a/b", "require": {"php": ">=8.1", "ext-pdo": "*", "ext-mbstring": "*"}, "dist": {"reference": "1"}},
        {"name": "p/f", "provide": {"ext-mbstring": "*"}, "require": {"ext-iconv": "*"}, "dist": {"reference": "1"}},
    ]
    commit_file(git, home, "composer.json", json.dumps({"require": {"php": "^8.2", "ext-intl": "*", "a/b": "1"}}))
    commit_file(
        git, home, "composer.lock", json.dumps({"packages": packages, "packages-dev": [{"require": {"ext-x": 1}}]})
    )
    commit_file(
        git,
        home,
        ".env.example",
        '\ufeffAPP_KEY=\n# OLD=1\nexport DB_HOST = x\n\nVITE_APP_NAME="${APP_NAME}"\nAPP_KEY=\n'
        'PEM="\nmode=1\nZm9v==\n"\n',
    )
    assert build("work")[1]["requires"] == {
        "php": "^8.2",
        "extensions": ["iconv", "intl", "pdo"],
        "env_keys": ["APP_KEY", "DB_HOST", "VITE_APP_NAME", "PEM"],
        "node": "",
    }


def offer(php="8.4.2", extensions=("json",), keys=("APP_KEY",)):
    """What a host has, as preflight tells it."""
    return {
        "kind": "laravel",
        "interpreters": {"php": {"version": php, "extensions": list(extensions)}},
        "problem": "",
        "note": "",
        "env": {"path": "/srv/app/shared/.env", "keys": list(keys), "problem": ""},
        "optional": ["MAIL_*"],
    }


@pytest.fixture
def demanding(git, home):
    """A commit that needs PHP, an extension and keys."""
    commit_file(git, home, "composer.json", json.dumps({"require": {"php": "^8.4", "ext-redis": "*"}}))
    commit_file(git, home, ".env.example", "APP_KEY=\nDB_HOST=\nMAIL_HOST=\n")


@pytest.mark.parametrize("check", [False, True])
def test_what_hosts_lack_is_told_before_anything_is_built(build, demanding, home, check):
    well, worker = offer(extensions=["redis"], keys=["APP_KEY", "DB_HOST"]), offer(php="8.2.1", keys=["APP_KEY"])
    offers = {"web1": {**well, "interpreters": worker["interpreters"]}, "web2": well, "worker": worker, "gone": {}}
    code, result = build("work", offers=offers, _ansible_check_mode=check)
    assert (code, result["msg"]) == (
        1,
        "build: not ready for work, nothing was changed:\n"
        "- web1, worker: php is 8.2.1, the release asks for ^8.4; install another PHP, or another release_version\n"
        "- web1, worker: php has no extension redis, which the release asks for; install and enable it\n"
        "- worker: /srv/app/shared/.env has no DB_HOST, which .env.example of the release names; add them "
        "there, or, where the inventory has laravel_env, to that, and run the site playbook; or to "
        "release_optional_env, when they need not be there",
    )
    assert "composer" not in calls(home)
    assert build("work", offers={"web2": well}, _ansible_check_mode=check)[0] == 0


def with_env(*differing, **prints):
    """What a host has whose values give these prints."""
    return {**offer(), "differing": list(differing), "env": {"path": "", "keys": [], "problem": "", "prints": prints}}


@pytest.mark.parametrize("check", [False, True])
def test_hosts_with_another_key_each_are_no_fleet(build, home, check):
    offers = {
        "web1": with_env(APP_KEY="a1", DB_HOST="b1"),
        "web2": with_env(APP_KEY="a2", DB_HOST="b1"),
        "web3": with_env(APP_KEY="a1", DB_HOST="b1"),
        # One has its key elsewhere, one has no .env, and one cannot be asked.
        "web4": with_env(DB_HOST="b1"),
        "web5": {**offer(), "env": None},
        "web6": {},
    }
    code, result = build("work", offers=offers, _ansible_check_mode=check)
    assert (code, result["msg"]) == (
        1,
        "build: not ready for work, nothing was changed: the hosts have another APP_KEY each (web1, web3 / web2): what "
        "one of them has encrypted, such as sessions, another cannot read; run the site playbook on all of them, or "
        "correct their .env; or name it in release_differing_env, when they have nothing in common",
    )
    assert "composer" not in calls(home)
    del offers["web2"]
    assert build("work", offers=offers, _ansible_check_mode=check)[0] == 0


def test_other_differences_between_hosts_are_told(build, run_module):
    offers = {
        "web1": with_env("SERVER_*", A="1", DB_HOST="b1", REDIS_HOST="c1", SERVER_NAME="d1", APP_PREVIOUS_KEYS="e1"),
        "web2": with_env("SERVER_*", A="1", DB_HOST="b1", REDIS_HOST="c1", SERVER_NAME="d2"),
        "worker": with_env(A="1", DB_HOST="b2", MAIL_HOST="f1"),
    }
    code, result = build("work", offers=offers)
    assert code == 0, result
    warnings = json.dumps(result.get("warnings")) + run_module.stderr
    assert (
        "the hosts have another .env each: DB_HOST, MAIL_HOST, REDIS_HOST (web1, web2 / worker); run the site playbook "
        "on all of them, or correct it; or name what is meant to differ in release_differing_env"
    ) in " ".join(warnings.split())
    assert different({host: with_env(APP_KEY="a", DB_HOST="b") for host in ("web1", "web2")}) == ("", "")


@pytest.mark.parametrize(
    "offers",
    [
        {"a": with_env("APP_KEY", APP_KEY="1"), "b": with_env(APP_KEY="2")},
        {"a": {**with_env(APP_KEY="1"), "kind": "node"}, "b": {**with_env(APP_KEY="2"), "kind": "node"}},
        {"": with_env(APP_KEY="1")},
    ],
    ids=["meant", "of Node", "alone"],
)
def test_key_that_may_differ(build, offers):
    assert build("work", offers=offers)[0] == 0


@pytest.mark.parametrize("fetched", [False, True])
def test_check_mode_knows_what_a_release_needs_and_leaves_nothing(build, demanding, home, fetched):
    if fetched:
        build("work")
    private = home / "app/.slipway"
    before = sorted(private.rglob("*"))
    code, result = build("work", _ansible_check_mode=True)
    assert (code, result["requires"]["extensions"], result["requires"]["env_keys"]) == (
        0,
        ["redis"],
        ["APP_KEY", "DB_HOST", "MAIL_HOST"],
    )
    assert sorted(private.rglob("*")) == before


@pytest.mark.parametrize("annotated", [False, True])
def test_check_mode_gets_a_tag_from_a_server_that_gives_no_commit_by_its_id(
    build, git, demanding, monkeypatch, annotated
):
    git("tag", *(["--annotate", "--message", "x"] if annotated else []), "v2")
    git("commit", "--quiet", "--allow-empty", "--message", "on")
    # As over SSH, where sshd does not take the variable that asks for the second version.
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'protocol.version=0'")
    assert build("v2", _ansible_check_mode=True)[1]["requires"]["php"] == "^8.4"


def test_what_attributes_keep_out_of_a_release_is_not_asked_for(build, git, demanding, home):
    commit_file(git, home, ".gitattributes", ".env.example export-ignore\n")
    requires = build("work", _ansible_check_mode=True)[1]["requires"]
    assert (requires["extensions"], requires["env_keys"]) == (["redis"], [])
    assert build("work")[1]["requires"] == requires


def test_names_of_users_do_not_blot_out_hosts(build, demanding):
    auth = {"http-basic": {"packages.example.com": {"username": "web", "password": "s3cret"}}}
    assert "- web1: php has no extension" in build("work", offers={"web1": offer()}, composer_auth=auth)[1]["msg"]


def test_what_an_application_in_a_directory_needs(build, git, home):
    (home / "origin/shop").mkdir()
    commit_file(git, home, "shop/composer.json", json.dumps({"require": {"php": "^8.1"}}))
    commit_file(git, home, "composer.json", json.dumps({"require": {"php": "^9"}}))
    assert build("work", path="shop", _ansible_check_mode=True)[1]["requires"]["php"] == "^8.1"


def test_link_in_a_commit_is_not_taken_for_the_file(build, git, home):
    os.rename(home / "origin/composer.json", home / "origin/composer.real.json")
    (home / "origin/composer.json").symlink_to("composer.real.json")
    git("add", "--all")
    git("commit", "--quiet", "--message", "link")
    for check in (True, False):
        code, result = build("work", _ansible_check_mode=check)
        assert (code, result["requires"]["php"]) == (0, ""), result


def test_what_a_part_of_a_commit_id_needs_is_known_once_it_was_fetched(build, git, demanding, run_module):
    older = git("rev-parse", "HEAD~1")[:9]
    code, result = build(older, _ansible_check_mode=True)
    assert (code, "requires" in result) == (0, False)
    warnings = json.dumps(result.get("warnings")) + run_module.stderr
    assert f"what {older} needs of the hosts is not known here: " in " ".join(warnings.split())
    build("work")
    assert build(older, _ansible_check_mode=True)[1]["requires"]["php"] == "^8.4"


@pytest.mark.parametrize(
    "constraint, least, expected",
    [
        ("^8.2", 80200, "^8.2"),
        ("^8.2", 80400, "^8.2 >=8.4.0"),
        (">=8.3.1", 80200, ">=8.3.1"),
        ("^8.1|^8.2", 80200, "^8.1 >=8.2.0 || ^8.2 >=8.2.0"),
        ("~8.1.0 || ~8.2.0", 80104, "~8.1.0 >=8.1.4 || ~8.2.0 >=8.1.4"),
        ("", 80104, ">=8.1.4"),
        ("^8.2", None, "^8.2"),
    ],
)
def test_packages_may_need_a_later_php_than_the_application_says(constraint, least, expected):
    files = {"composer.json": json.dumps({"require": {"php": constraint}})}
    if least:
        files["vendor/composer/platform_check.php"] = f"if (!(PHP_VERSION_ID >= {least})) {{\n"
    assert _artifact.requirements(files, "laravel")["php"] == expected


def test_before_the_build_the_lock_tells_which_php_the_packages_need():
    wanted = [">=8.1", "^8.3.2", "^7.4 || ^8.0", "*", None]
    packages = [{"name": "a/b", "require": {"php": php} if php else {}} for php in wanted]
    files = {
        "composer.json": json.dumps({"require": {"php": "^8.2"}}),
        "composer.lock": json.dumps({"packages": packages}),
    }
    assert _artifact.requirements(files, "laravel")["php"] == "^8.2 >=8.3.2"


@pytest.mark.parametrize(
    "name, text",
    [
        ("package.json", '{"engines": ["node >=18"]}'),
        ("package.json", '{"engines": {"node": null}}'),
        ("composer.lock", '{"packages": {"a/b": {}}}'),
        ("composer.lock", '{"packages": ["a/b", {"require": []}]}'),
        ("composer.json", '{"require": [], "extra": 1}'),
        ("composer.json", '{"require": {"php": null}}'),
    ],
)
def test_files_of_another_form_than_they_should_have_ask_for_nothing(name, text):
    wanted = {"php": "", "extensions": [], "env_keys": [], "node": ""}
    kinds = ("laravel", "node")
    assert [_artifact.requirements({name: text}, kind) for kind in kinds] == [wanted, wanted]


# An artifact that is given


@pytest.fixture
def given(build, home, git):
    """An artifact elsewhere on the host, with what its build returned."""
    result = build()[1]
    path = home / "given.tar.gz"
    os.rename(result["artifact"], path)
    shutil.rmtree(home / "app/.slipway")
    return {**result, "path": str(path)}


SAME = ("commit", "version", "sha256", "size", "manifest", "requires", "up_to_date")


def test_artifact_on_the_host_is_described(build, given, home):
    code, result = build(None, repository=None, artifact=given["path"], sha256=given["sha256"])
    assert code == 0
    assert {key: result[key] for key in SAME} == {key: given[key] for key in SAME}
    assert result["artifact"] == given["path"]
    assert (result["reused"], result["parts"], result["commits"]) == ([], {}, [])
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{given['commit'][:8]}", result["release"])
    assert result["phases"][0]["sha256"] == given["sha256"]


def test_artifact_that_is_live_already(build, given):
    code, result = build(None, repository=None, artifact=given["path"], live_commit=given["commit"])
    assert (code, result["up_to_date"], result["changed"], "artifact" in result) == (0, True, False, False)


@pytest.mark.parametrize("check", [False, True])
def test_artifact_by_its_address(build, given, home, http_server, check):
    with open(given["path"], "rb") as handle:
        address = http_server(200, handle.read())
    secret = address.replace("//", "//ci:s3cr3t@") + "/app.tar.gz?signature=s3cr3t"
    code, result = build(
        None, repository=None, artifact_url=secret, sha256=given["sha256"].upper(), _ansible_check_mode=check
    )
    assert (code, result["commit"]) == (0, given["commit"])
    assert http_server.authorizations[-1] == "Basic " + base64.b64encode(b"ci:s3cr3t").decode()
    assert "s3cr3t" not in json.dumps(result)
    assert result["invocation"]["module_args"]["artifact_url"] == f"{address}/app.tar.gz"
    if check:
        assert not (home / "app/.slipway").exists()
    else:
        assert result["artifact"] == f"{home}/app/.slipway/artifacts/{result['release']}.tar.gz"
        assert {key: result[key] for key in SAME} == {key: given[key] for key in SAME}


@pytest.mark.parametrize("by", ["artifact", "artifact_url"])
def test_artifact_with_another_checksum(build, given, home, http_server, by):
    where = given["path"] if by == "artifact" else http_server(200, "other")
    code, result = build(None, repository=None, sha256="0" * 64, **{by: where})
    assert code == 1
    assert f"{where} has sha256 " in result["msg"]
    assert f"not {'0' * 64}: it is another artifact" in result["msg"]
    assert not list((home / "app/.slipway").rglob("*.tar.gz"))
    assert not (home / "app/.slipway/build/work").exists()


def test_artifact_of_another_tool(build, home):
    commit = "a1" * 20
    for name, text in {"REVISION": f"{commit}\n", "composer.json": '{"require": {"php": "^8.1"}}'}.items():
        (home / name).write_text(text)
    subprocess.run(["tar", "-czf", home / "x.tar.gz", "-C", home, "REVISION", "composer.json"], check=True)
    code, result = build("v3", repository=None, artifact=f"{home}/x.tar.gz")
    assert (code, result["commit"], result["version"]) == (0, commit, "v3")
    assert (result["manifest"], result["requires"]["php"]) == ({"commit": commit}, "^8.1")
    (home / "REVISION").write_text("v3")
    subprocess.run(["tar", "-czf", home / "x.tar.gz", "-C", home, "REVISION"], check=True)
    assert (
        "does not say which commit it was built from"
        in build(None, repository=None, artifact=f"{home}/x.tar.gz")[1]["msg"]
    )


def test_artifact_that_is_none(build, home):
    (home / "x.tar.gz").write_text("nonsense")
    assert "is no tar compressed by gzip" in build(None, repository=None, artifact=f"{home}/x.tar.gz")[1]["msg"]
    assert "artifact /nowhere is not on this host" in build(None, repository=None, artifact="/nowhere")[1]["msg"]


@pytest.mark.parametrize(
    "args, message",
    [
        ({"repository": None}, "one of the following is required: repository, artifact, artifact_url"),
        ({"artifact": "/x"}, "parameters are mutually exclusive: repository|artifact|artifact_url"),
        ({"repository": None, "artifact_url": "http://x/"}, "missing parameter(s) required by 'artifact_url': sha256"),
        ({"repository": ""}, "repository is empty"),
        ({"version": None}, "missing parameter(s) required by 'repository': version"),
    ],
)
def test_arguments_that_do_not_go_together(build, args, message):
    version = args.pop("version", "v1.1.0")
    assert message in build(version, **args)[1]["msg"]
