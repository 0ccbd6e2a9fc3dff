"""Preflight, build and stage in one run of the module release."""

from __future__ import annotations

import json

import pytest

SECRET = "t0k" + "en-of-packages"


@pytest.fixture
def alone(site, repository):
    """Run the phases before the switch as a host that is alone does."""

    def run(*phases, build=None, **args):
        given = {"root": str(site.root), "repository": repository, "version": "v1.1.0", **(build or {})}
        phases = phases or ("preflight", "build", "stage", "plan")
        return site.run(*phases, release="", version=given["version"], build=given, **args)

    return run


def names(result):
    return [entry["phase"] for entry in result["phases"]]


def test_what_is_built_is_staged(alone, site, git):
    code, result = alone()
    assert (code, names(result)) == (0, ["preflight", "build", "stage", "plan"])
    commit = git("rev-parse", "v1.1.0^{commit}")
    assert result["release"].endswith(commit[:8])
    assert result["build"]["release"] == result["release"]
    assert (site.path(result["release"]) / "REVISION").read_text() == f"{commit}\n"
    manifest = json.loads((site.path(result["release"]) / ".slipway.json").read_text())
    assert manifest["sha256"] == result["build"]["sha256"]
    assert manifest["staged_at"]
    left = json.loads((site.root / ".slipway/run.json").read_text())
    assert (left["release"], left["artifact"]) == (result["release"], result["build"]["artifact"])


def test_result_is_that_of_the_module_release_build(alone, site, run_module, repository, tmp_path):
    built = alone()[1]["build"]
    (tmp_path / "other/.slipway").mkdir(parents=True)
    given = {"root": str(tmp_path / "other"), "repository": repository, "version": "v1.1.0"}
    other = run_module("release_build", **given)[1]
    differ = {"release", "artifact", "steps", "parts", "phases", "invocation", "changed", "warnings"}
    assert {key: built[key] for key in built if key not in differ} == {
        key: other[key] for key in other if key not in differ
    }
    assert set(built) == set(other) - {"phases", "invocation", "changed", "warnings"}


def test_nothing_follows_when_the_version_is_live(alone, site):
    release = alone()[1]["release"]
    assert site.run("switch", "finish", release=release)[0] == 0
    code, result = alone()
    assert (code, names(result), result["build"]["up_to_date"]) == (0, ["preflight", "build"], True)
    forced = alone(build={"force": True})[1]
    assert names(forced)[-1] == "plan"


def test_a_killed_run_is_gone_on_with_or_begun_anew(alone, site):
    killed = alone()[1]["release"]
    (site.root / ".slipway/lock").unlink()
    resumed = alone(run="run-2", resume=True)[1]
    assert (resumed["release"], resumed["build"]["reused"]) == (killed, [])
    (site.root / ".slipway/lock").unlink()
    assert site.run("preflight", release="", run="run-3")[1]["phases"][0]["removed"] == [killed]


def test_check_mode_builds_nothing(alone, site):
    code, result = alone(_ansible_check_mode=True)
    assert (code, names(result)) == (0, ["preflight", "build", "stage", "plan"])
    assert "artifact" not in result["build"]
    assert not list((site.root / "releases").iterdir())
    assert not (site.root / ".slipway/lock").exists()


@pytest.mark.parametrize("check", [False, True])
def test_what_the_host_lacks_is_told_before_anything_is_built(alone, site, git, home, check):
    (home / "origin/composer.json").write_text(json.dumps({"require": {"php": "^8.4", "ext-redis": "*"}}))
    git("add", "--all")
    git("commit", "--quiet", "--message", "ask for more")
    code, result = alone(build={"version": "work"}, _ansible_check_mode=check)
    assert (code, result["msg"], names(result)) == (
        1,
        "build: not ready for work, nothing was changed: php has no extension redis, which the release asks for; "
        "install and enable it",
        ["preflight", "build"],
    )
    assert "composer install" not in (home / "calls").read_text()


def test_commands_of_the_build_tell_why_they_failed(alone, site, git, home):
    (home / "origin/composer-error").write_text("Problem 1: no php ^9\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "break")
    git("tag", "broken")
    code, result = alone(build={"version": "broken"})
    assert (code, result["failed_phase"], names(result)) == (1, "build", ["preflight", "build"])
    assert result["msg"].startswith("build: composer failed, composer exited ")
    assert "no php ^9" in result["stderr"]
    assert "build" not in result


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"repository": ""}, "build: repository is empty; give the address of the git repository"),
        ({"repositry": "x"}, "build: repositry. Supported parameters include"),
        ({"kind": "rails"}, "build: value of kind must be one of: laravel, node, got: rails"),
        ({"version": None}, "build: missing parameter(s) required by 'repository': version"),
    ],
)
def test_options_of_the_build_are_those_of_its_module(alone, site, build, message):
    code, result = alone(build=build)
    assert (code, result["msg"][: len(message)]) == (1, message)


def test_secrets_of_the_build_are_not_shown_and_nothing_else_is_hidden(alone, site):
    code, result = alone(
        build={"composer_auth": {"http-basic": {"packages.example.com": {"username": "deploy", "password": SECRET}}}}
    )
    assert code == 0
    assert SECRET not in json.dumps(result)
    assert result["build"]["artifact"].endswith(f"/.slipway/artifacts/{result['release']}.tar.gz")
    assert result["invocation"]["module_args"]["build"] == {}
    assert "********" not in json.dumps(result["phases"])


def test_a_preflight_that_fails_is_told_with_all_its_words(alone, site):
    auth = {"http-basic": {"packages.example.com": {"username": "app", "password": SECRET}}}
    site.write_env(APP_DEBUG="true", APP_URL="http://main.example.com")
    build = {"version": "main", "composer_auth": auth}
    expect = {"app_url": "http://domain.example.com"}
    code, result = alone(build=build, min_free_mb=10**9, expect=expect)
    assert (code, result["failed_phase"]) == (1, "preflight")
    assert "********" not in json.dumps([result["msg"], result["phases"]])
    for words in (str(site.root), "domain.example.com"):
        assert words in result["msg"]


def test_a_killed_run_is_gone_on_with_by_a_part_of_its_commit(alone, site, git):
    commit = git("rev-parse", "v1.1.0^{commit}")
    killed = alone(build={"version": commit[:8]})[1]["release"]
    (site.root / ".slipway/lock").unlink()
    code, result = alone(build={"version": commit[:8]}, run="run-2", resume=True)
    assert (code, result["release"], result["build"]["commit"]) == (0, killed, commit)
    assert "********" not in json.dumps(result)


@pytest.mark.parametrize("phases", [("build", "stage"), ("stage", "build"), ("preflight", "stage", "build")])
def test_build_follows_preflight(alone, phases):
    code, result = alone(*phases)
    assert (code, result["msg"].partition(",")[0]) == (1, "build follows preflight")


def test_a_lock_that_was_taken_over_meanwhile_stops_it(alone, site, monkeypatch):
    from ansible_collections.slipway.laravel.plugins.module_utils import _build  # noqa: PLC0415

    carry_out = _build.Build.carry_out

    def taken(self):
        result = carry_out(self)
        site.lock("run-2")
        return result

    monkeypatch.setattr(_build.Build, "carry_out", taken)
    code, result = alone()
    assert (code, names(result)) == (1, ["preflight", "build"])
    assert "is not held by run run-1 any more (ann has it, run run-2); stopped after build" in result["msg"]
    assert not list((site.root / "releases").iterdir())
