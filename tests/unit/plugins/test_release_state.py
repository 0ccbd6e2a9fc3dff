"""A release that was killed or whose lock is taken over, one of a Node application, the first after another tool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _phases
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout

NODE = {"kind": "node", "shared_dirs": ["uploads"], "shared_files": [], "assets_dir": ""}


def evidence(result):
    return result["phases"][-1]


@pytest.fixture
def live(site):
    """A site with r1 and r2 live in this order; the lock is ours."""
    site.go_live("r1", "r2")
    return site


def leave_killed(site, *phases, **args):
    """Let a run be killed after these phases; the next one has another name."""
    site.lock("killed")
    assert site.run("preflight", *phases, run="killed", owner="ann", takeover=True, **args)[0] == 0


def preflight(site, **args):
    code, result = site.run("preflight", release="", takeover=True, **args)
    assert code == 0, result["msg"]
    return evidence(result)


# Resume


def test_killed_run_is_told_and_its_leftovers_are_replaced(live):
    artifact = live.artifact()
    leave_killed(live, "stage", **artifact)
    found = preflight(live)
    told = found["unfinished"]
    assert (told["run"], told["owner"], told["release"], told["phase"]) == ("killed", "ann", "r3", "stage")
    assert (told["commit"], told["sha256"], told["staged"]) == ("c" * 40, artifact["sha256"], True)
    assert (found["removed"], found["changed"]) == (["r3"], True)
    assert not live.path("r3").exists()
    assert not os.path.exists(artifact["artifact"])
    assert preflight(live)["unfinished"] is None


def test_killed_run_is_continued_and_its_stage_is_recognised(live):
    artifact = live.artifact()
    leave_killed(live, "stage", **artifact)
    found = preflight(live, resume=True)
    assert (found["unfinished"]["release"], found["removed"]) == ("r3", [])
    (live.home / "calls").write_text("")
    code, result = live.run("stage", resume=True, **artifact)
    assert (code, result["changed"], evidence(result)["probe"]) == (0, False, "the application answered /up with 200")
    assert "config:cache" not in (live.home / "calls").read_text()
    assert live.run("switch", "restart", "verify", "finish")[0] == 0
    assert live.current() == "r3"
    assert not (live.root / ".slipway/run.json").exists()


def test_killed_run_of_another_version_is_not_continued(live):
    leave_killed(live, "stage", version="main", **live.artifact())
    state = (live.root / ".slipway/run.json").read_text()
    code, result = live.run("preflight", release="", takeover=True, resume=True, version="v3", run="other")
    assert code == 1
    assert result["msg"] == (
        "preflight: release_resume goes on with main, which the killed run of ann was about, not with v3; give "
        "release_version=main, or begin anew without release_resume"
    )
    assert (live.root / ".slipway/run.json").read_text() == state
    assert live.path("r3").exists()
    for number, version in enumerate(("c" * 40, "main", "")):
        found = preflight(live, resume=True, version=version, run=f"again-{number}")
        assert found["unfinished"]["version"] == "main"
    # A release that an earlier run has built under its own name tells by that.
    (live.root / ".slipway/run.json").write_text(json.dumps({"run": "killed", "release": "r3", "owner": "ann"}))
    code, result = live.run("preflight", release="", takeover=True, resume=True, version="v3", run="other")
    assert "goes on with v2," in result["msg"]


def test_current_that_is_no_link_is_told_in_a_sentence(site):
    (site.root / "current").mkdir()
    for phases in (["preflight"], ["preflight", "finish"]):
        code, result = site.run(*phases, release="r1")
        assert (code, result["failed_phase"], result["current"]) == (1, "preflight", None)
        assert f"{site.root}/current is not a symbolic link; move it away" in result["msg"]
    assert site.run("revert", release="")[0] == 0


# A release that is live and was never proven


def test_unproven_release_is_remembered_until_one_finishes(live):
    leave_killed(live, "stage", "switch", **live.artifact())
    found = preflight(live, run="second")
    assert (found["unproven"], found["unfinished"]["phase"]) == ("r3", "switch")
    # It fails in its build, before there is a release of its own.
    assert live.run("revert", release="", previous="r3", run="second")[0] == 0
    # The next one is killed in its preflight.
    found = preflight(live, run="third")
    assert (found["unproven"], found["unfinished"]["run"]) == ("r3", "killed")
    # And one when it has staged a release.
    preflight(live, run="fourth")
    live.add("r4")
    assert live.run("probe", release="r4", run="fourth")[0] == 0
    found = preflight(live, run="fifth")
    assert (found["unproven"], found["unfinished"]["release"]) == ("r3", "r4")
    live.add("r5")
    assert live.run("switch", "restart", "verify", "finish", release="r5", run="fifth")[0] == 0
    found = preflight(live, run="sixth")
    assert (found["unproven"], found["unfinished"]) == ("", None)


def test_killed_rollback_is_remembered_until_one_finishes(live):
    leave_killed(live, "switch", release="r1", bad="r2")
    found = preflight(live, run="second")
    assert (live.current(), found["unproven"], found["rolled_back_from"]) == ("r1", "", "r2")
    # A release that fails and goes back to it says nothing of it.
    live.add("r3")
    assert live.run("switch", "revert", release="r3", previous="r1", run="second")[0] == 0
    found = preflight(live, run="third")
    assert (live.current(), found["unproven"], found["rolled_back_from"]) == ("r1", "", "r2")
    assert live.run("switch", "restart", "verify", "finish", release="r1", bad="r2", run="third")[0] == 0
    assert (preflight(live, run="fourth")["rolled_back_from"], live.state()[1]["bad"]) == ("", True)


def test_killed_rollback_says_nothing_of_a_release_after_it(live):
    leave_killed(live, "switch", release="r1", bad="r2")
    preflight(live, run="second", resume=True)
    live.add("r3")
    assert live.run("switch", release="r3", run="second")[0] == 0
    found = preflight(live, run="third")
    assert (found["unproven"], found["rolled_back_from"]) == ("r3", "")


@pytest.mark.parametrize(("leave", "left"), [(True, "r3"), (False, "")])
def test_host_that_had_not_switched_leaves_what_is_unproven_with_the_others(live, leave, left):
    leave_killed(live, "stage", "switch", **live.artifact())
    preflight(live, run="second")
    live.add("r4")
    given = {"release": "r4", "previous": "r2", "run": "second", "leave_unproven": leave}
    assert evidence(live.run("revert", _ansible_check_mode=True, **given)[1])["reverted"] is leave
    assert live.run("probe", release="r4", run="second")[0] == 0
    code, result = live.run("revert", **given)
    found = evidence(result)
    assert (code, found["left"], found["reverted"], live.current()) == (0, left, leave, "r2" if leave else "r3")
    assert not live.path("r4").exists()
    assert preflight(live, run="third")["unproven"] == ("" if leave else "r3")


def test_unproven_release_is_forgotten_when_it_is_live_no_more(live):
    leave_killed(live, "stage", "switch", **live.artifact())
    preflight(live, run="second")
    live.add("r4")
    assert live.run("switch", "revert", release="r4", previous="r2", run="second")[0] == 0
    assert (live.current(), preflight(live, run="third")["unfinished"]) == ("r2", None)


def test_unproven_release_that_is_continued_and_fails_again_before_it_is_built(live):
    leave_killed(live, "stage", "switch", **live.artifact())
    preflight(live, run="second", resume=True)
    assert live.run("revert", release="", previous="r2", run="second", resume=True)[0] == 0
    found = preflight(live, run="third")
    assert (live.current(), found["unproven"], found["unfinished"]["release"]) == ("r3", "r3", "r3")


def test_stage_that_was_interrupted_is_begun_again(live):
    artifact = live.artifact(fail={"event:cache": "killed here"})
    live.run("stage", **artifact)
    (live.path("r3") / "half-written").touch()
    assert live.run("stage", **live.artifact())[0] == 0
    assert not (live.path("r3") / "half-written").exists()


def test_stage_from_another_artifact_is_begun_again(live):
    live.run("stage", **live.artifact())
    code, result = live.run("stage", **live.artifact(version="11.0"))
    assert (code, result["changed"]) == (0, True)
    assert "11.0" in (live.path("r3") / "app.json").read_text()


def test_what_was_live_is_never_unpacked_again(live):
    live.run("stage", "switch", **live.artifact())
    (live.path("r3") / "mark").touch()
    code, result = live.run("stage", **live.artifact(version="11.0"))
    assert code == 1
    assert "was live already, from another artifact" in result["msg"]
    assert (live.path("r3") / "mark").exists()


def test_caches_older_than_env_are_made_again_in_place(live, fpm):
    artifact = live.artifact()
    live.run("stage", **artifact)
    later = time.time() + 60
    os.utime(live.root / "shared/.env", (later, later))
    (live.path("r3") / "mark").touch()
    fpm.by_script["opcache.php"] = b"\r\n\r\nfalse"
    code, result = live.run("stage", fpm_socket=fpm.address, **artifact)
    assert (code, result["changed"], (live.path("r3") / "mark").exists()) == (0, True, True)
    # PHP-FPM never looks at a file twice. Before it is probed it is asked for what it has preloaded.
    asked = [request["QUERY_STRING"] for request in fpm.requests if "/opcache-" in request["SCRIPT_FILENAME"]]
    assert asked == [f"forget={live.path('r3')}", ""]
    (script,) = (live.root / ".slipway").glob("opcache-*.php")
    assert "opcache_invalidate" in script.read_text()


def test_nothing_that_was_live_or_that_runs_is_removed(live):
    """Whatever the killed run was about: what it had made live, what it was going back to, what a process needs."""
    leave_killed(live, "stage", "switch", **live.artifact())
    live.add("used")
    live.add("begun")
    with subprocess.Popen([sys.executable, "-ISc", "input()"], cwd=live.path("used"), stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{child.pid}/cwd") != str(live.path("used")) and time.monotonic() < deadline:
            time.sleep(0.01)
        found = preflight(live)
        child.stdin.close()
    assert (found["removed"], found["unfinished"]["release"]) == (["begun"], "r3")
    assert {path.name for path in (live.root / "releases").iterdir()} == {"r1", "r2", "r3", "used"}
    assert found["rollback_target"] == "r2"


def test_releases_of_another_tool_are_no_leftovers(live):
    (live.path("12") / "public").mkdir(parents=True)
    assert preflight(live)["removed"] == []
    assert live.path("12").exists()


def test_check_mode_tells_and_removes_nothing(live):
    leave_killed(live, "stage", **live.artifact())
    found = preflight(live, _ansible_check_mode=True)
    assert (found["unfinished"]["release"], found["removed"]) == ("r3", [])
    assert live.path("r3").exists()
    assert Layout(str(live.root)).run_state()["run"] == "killed"


def test_revert_leaves_nothing_to_continue(live):
    live.run("preflight", "stage", takeover=True, **live.artifact())
    assert live.run("revert", previous="r2")[0] == 0
    assert preflight(live)["unfinished"] is None


# Takeover in the middle


def test_stage_stops_before_its_next_change_when_the_lock_was_taken_over(live):
    artifact = live.artifact()
    lock = live.root / ".slipway/lock"
    steal = f"import json; open({str(lock)!r}, 'w').write(json.dumps({{'run': 'run-2', 'owner': 'bob'}}))"
    (live.home / "bin/tar").write_text(f'#!/bin/sh\n{sys.executable} -c "{steal}"\nexec /bin/tar "$@"\n')
    (live.home / "bin/tar").chmod(0o755)
    code, result = live.run("stage", **artifact)
    assert code == 1
    assert "is not held by run run-1 any more (bob has it, run run-2); nothing further was done" in result["msg"]
    assert not live.path("r3").exists()
    assert json.loads(lock.read_text()) == {"run": "run-2", "owner": "bob"}


def test_no_phase_follows_one_during_which_the_lock_was_taken_over(live):
    live.add("r3")
    steal = ["sh", "-c", f'echo \'{{"run": "run-2"}}\' > {live.root}/.slipway/lock']
    code, result = live.run("restart", "finish", release="r2", restart_commands=[steal])
    assert (code, result["failed_phase"], len(result["phases"])) == (1, "restart", 1)
    assert result["msg"].endswith("(None has it, run run-2); stopped after restart")


def test_the_lock_has_heartbeats_while_a_phase_works(live):
    seen = live.home / "seen"
    wait = f"touch -d @0 {live.root}/.slipway/lock; sleep 1; stat -c %Y {live.root}/.slipway/lock > {seen}"
    live.lock("x")
    live.run("preflight", release="", takeover=True, lock_ttl=2)
    live.run("restart", release="r2", lock_ttl=2, restart_commands=[["sh", "-c", wait]])
    assert int(seen.read_text()) > 0


def test_lock_tells_the_phase_and_the_release(live):
    live.run("switch", release="r1")
    lock = json.loads((live.root / ".slipway/lock").read_text())
    assert (lock["phase"], lock["release"]) == ("switch", "r1")


# What PHP-FPM may hold


def preloaded(site, release):
    status = {
        "memory_usage": {"used_memory": 10, "free_memory": 90, "wasted_memory": 0},
        "opcache_statistics": {"num_cached_keys": 1, "max_cached_keys": 100},
        "preload_statistics": {"scripts": ["/usr/share/php/x.php", f"{site.path(release)}/preload.php"]},
    }
    return b"\r\n\r\n" + json.dumps(status).encode()


@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("release, reason", [("r1", "it has preloaded code of another release"), ("r2", "")])
def test_fpm_that_preloaded_another_release_is_reloaded(live, fpm, release, reason, in_batch):
    fpm.by_script["opcache.php"] = preloaded(live, release)
    args = {"fpm_socket": fpm.address, "fpm_reload_command": ["sudo", "-n", "true"], "verify_workers": not in_batch}
    assert evidence(live.run("restart", release="r2", **args)[1])["fpm_reloaded"] == reason


def test_fpm_is_reloaded_in_the_batch_and_not_once_more(live, fpm):
    args = {"fpm_socket": fpm.address, "fpm_reload": "always", "fpm_reload_command": ["sudo", "-n", "true"]}
    found = [
        evidence(live.run("restart", release=release, verify_workers=workers, **args)[1])["fpm_reloaded"]
        for release, workers in (("r2", False), ("r2", True), ("r1", True))
    ]
    assert found == ["always", "", "always"]


def test_release_is_not_probed_with_the_classes_of_another_one(live, fpm):
    live.run("stage", fpm_socket=fpm.address, **live.artifact())
    fpm.by_script = {"opcache.php": preloaded(live, "r2"), "index.php": b"Status: 500\r\n\r\nWhoops"}
    probe = evidence(live.run("probe", fpm_socket=fpm.address)[1])["probe"]
    assert probe.startswith("the application answered /up with 200, asked on the command line since PHP-FPM has ")
    fpm.by_script["opcache.php"] = preloaded(live, "r3")
    assert live.run("probe", fpm_socket=fpm.address)[0] == 1


@pytest.mark.parametrize("code, status", [("class A {}", 0), ("class A extends Missing {}", 1)])
def test_what_fpm_would_preload_is_tried_before_it_is_live(live, fpm, code, status):
    """At the reload PHP-FPM would end, and answer for no release at all."""
    live.run("stage", fpm_socket=fpm.address, **live.artifact())
    (live.path("r3") / "preload.php").write_text(f"<?php\n{code}\n")
    told = {"preload": f"{live.root}/current/preload.php"}
    fpm.by_script["opcache.php"] = b"\r\n\r\n" + json.dumps(told).encode()
    found, result = live.run("probe", fpm_socket=fpm.address)
    assert found == status, result
    if status:
        ours = live.path("r3") / "preload.php"
        assert result["msg"] == (
            f'probe: {ours}, which PHP-FPM preloads, exits 255: PHP Fatal error:  Class "Missing" not found in {ours} '
            "on line 2; correct it, or php_fpm_preload"
        )


def test_each_of_many_answers_has_to_be_of_the_release(live, fpm, http_server, monkeypatch):
    monkeypatch.setattr(
        "ansible_collections.slipway.laravel.plugins.module_utils._processes.fpm_processes", lambda address: 8
    )
    args = {"release": "r2", "fpm_socket": fpm.address}
    assert evidence(live.run("verify", health_url=http_server(X_Release_Id="r2"), **args)[1])["answers"] == 8
    assert len(http_server.requests) == 9
    assert evidence(live.run("verify", health_url=http_server(), **args)[1])["answers"] == 0, "none names its release"
    answers = []

    def status(_request):
        answers.append(200 if len(answers) < 4 else 502)
        return answers[-1]

    code, result = live.run("verify", health_url=http_server(status, X_Release_Id="r2"), **args)
    assert code == 1
    assert result["msg"].endswith("answered 502 at times")


def test_what_one_worker_started_does_not_stand_for_another(live):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-ISc', 'print(flush=True); import time;"
    code += " time.sleep(60)', 'artisan', 'horizon:work'])"
    argv = [sys.executable, "-ISc", code, "artisan", "horizon"]
    with subprocess.Popen(argv, cwd=live.path("r2"), stdout=subprocess.PIPE, start_new_session=True) as child:
        child.stdout.readline()
        one = live.run("verify", release="r2", workers={"horizon": 1})
        two = live.run("verify", release="r2", workers={"horizon": 2})
        stopped = evidence(live.run("restart", release="r2")[1])["stopped"]
        live.run("switch", release="r1")
        asked = evidence(live.run("restart", release="r1")[1])["stopped"]
        os.killpg(child.pid, 9)
    assert (one[0], len(evidence(one[1])["workers"]), two[0]) == (0, 2, 1)
    assert "1 of 2 horizon run r2" in two[1]["msg"]
    assert (stopped, asked) == ([], [child.pid]), "it ends what it has started by itself"


# kind: node


def node_artifact(
    site, server="import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]))"
):
    tree = site.home / "tree"
    (tree / "uploads").mkdir(parents=True)
    (tree / ".slipway.json").write_text(json.dumps({"commit": "d" * 40}))
    (tree / "server.py").write_text(f"import sys\n{server}\n")
    (tree / "up").write_text("well")
    return site.pack(tree)


def test_node_release(site):
    (site.root / "shared/.env").unlink()
    commands = [["sudo", "-n", "systemctl", "reload-or-restart", "node-shop.service"]]
    args = {**NODE, "restart_commands": commands, **node_artifact(site)}
    code, result = site.run("preflight", "stage", "switch", "restart", "finish", **args)
    assert (code, site.current()) == (0, "r3"), result.get("msg")
    assert result["phases"][1]["probe"] == "not asked: no release_probe_command is given"
    assert os.path.realpath(site.path("r3") / "uploads") == str(site.root / "shared/uploads")
    calls = (site.home / "calls").read_text().splitlines()
    reload = "systemctl reload-or-restart node-shop.service"
    assert calls == [f"sudo -n -l {reload}", f"sudo -n {reload}"], "asked for beforehand, and nothing of PHP"


def test_node_release_answers_before_it_is_live(site):
    site.lock()
    probe = [sys.executable, "server.py", "{port}"]
    code, result = site.run("stage", probe_command=probe, timeout=10, **NODE, **node_artifact(site))
    assert (code, evidence(result).get("probe")) == (0, f"{' '.join(probe)} answered /up"), result.get("msg")
    assert not [path for path in os.listdir("/proc") if path.isdigit() and runs_in(path, site.path("r3"))]


def test_node_release_has_its_keys_from_its_unit_unless_env_is_shared(site):
    (site.root / "shared/.env").write_text("HOST=here\n")
    site.lock()
    args = {**NODE, "requires": {"env_keys": ["GREETING", "HOST"]}, **node_artifact(site)}
    shared = site.run("stage", **{**args, "shared_files": [".env"]})
    assert "shared/.env has no GREETING, which" in shared[1]["msg"]
    assert site.run("stage", **args)[0] == 0


def runs_in(pid, directory):
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(directory)
    except OSError:
        return False


@pytest.mark.parametrize(
    "server, text",
    [
        ("print('no module x'); sys.exit(1)", "it said: no module x"),
        ("import time; time.sleep(60)", "does not answer"),
    ],
)
def test_node_release_that_does_not_answer_is_not_staged(site, server, text):
    site.lock()
    args = {"probe_command": [sys.executable, "server.py"], "timeout": 1, **NODE, **node_artifact(site, server)}
    code, result = site.run("stage", **args)
    assert code == 1
    assert f"in {site.path('r3')} did not come to answer /up: " in result["msg"]
    assert text in result["msg"]
    assert not [path for path in os.listdir("/proc") if path.isdigit() and runs_in(path, site.path("r3"))]


def test_node_probe_that_cannot_be_started(site):
    site.lock()
    result = site.run("stage", probe_command=["none-such"], **NODE, **node_artifact(site))[1]
    assert result["msg"] == f"stage: none-such cannot be started in {site.path('r3')}: No such file or directory"


def test_node_processes_are_proven_and_not_signalled(site):
    for release in ("r1", "r2"):
        site.path(release).mkdir()
    site.lock()
    site.run("switch", release="r1", **NODE)
    node = shutil.copy(shutil.which("sleep"), site.home / "bin/node")
    with subprocess.Popen([node, "60"], cwd=site.path("r1")) as child:
        deadline = time.monotonic() + 5
        while not os.readlink(f"/proc/{child.pid}/exe").endswith("/node") and time.monotonic() < deadline:
            time.sleep(0.01)
        code, result = site.run("verify", release="r1", workers={"node": 1}, **NODE)
        assert (code, evidence(result)["workers"][0]["pid"]) == (0, child.pid)
        site.run("switch", release="r2", **NODE)
        assert evidence(site.run("restart", release="r2", **NODE)[1])["stopped"] == []
        code, result = site.run("verify", release="r2", workers={"node": 1}, **NODE)
        assert f"still on another release: node (pid {child.pid}); 0 of 1 servers that this user" in result["msg"]
        child.kill()


def test_node_server_that_took_long_to_load_has_to_last_as_well(site, monkeypatch, at_age):
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    at_age(5.0)
    site.path("r1").mkdir()
    site.lock()
    site.run("switch", release="r1", **NODE)
    node = shutil.copy(shutil.which("sleep"), site.home / "bin/node")
    with subprocess.Popen([node, "0.5"], cwd=site.path("r1")):
        code, result = site.run("verify", release="r1", workers={"node": 1}, **NODE)
    assert code == 1
    assert "ended as soon as it had started" in result["msg"]


def test_node_server_that_is_started_again_has_to_last_longer_than_the_one_before(site, monkeypatch):
    monkeypatch.setattr(_phases, "_SETTLED", 1.0)
    site.path("r1").mkdir()
    site.lock()
    site.run("switch", release="r1", **NODE)
    node = shutil.copy(shutil.which("sleep"), site.home / "bin/node")
    # The second one lasts longer than what was asked of the first one.
    with subprocess.Popen(["sh", "-c", f"{node} 0.8; {node} 2; exec true"], cwd=site.path("r1")):
        code, result = site.run("verify", release="r1", workers={"node": 1}, timeout=4, **NODE)
    assert code == 1
    assert "r1 is not well after 4 s: 0 of 1 servers" in result["msg"]


def test_one_of_two_node_servers_that_is_missing_is_named(site):
    site.path("r1").mkdir()
    site.lock()
    site.run("switch", release="r1", **NODE)
    node = shutil.copy(shutil.which("sleep"), site.home / "bin/node")
    with subprocess.Popen([node, "60"], cwd=site.path("r1")) as child:
        code, result = site.run("verify", release="r1", workers={"node": 2}, timeout=1, **NODE)
        child.kill()
    assert code == 1
    assert "1 of 2 servers that this user may see run r1" in result["msg"]


def test_node_servers_restart_with_their_batch_and_not_once_more(site):
    for release in ("r1", "r2"):
        site.path(release).mkdir()
    site.lock()
    node = shutil.copy(shutil.which("sleep"), site.home / "bin/node")
    start = ["sh", "-c", f"cd {site.root}/current && {{ {node} 60 & echo $! > {site.home}/pid; }} >/dev/null 2>&1"]
    args = {"workers": {"node": 1}, "restart_commands": [start], **NODE}
    pids = []
    try:
        # In its batch, once more with those of all hosts, and when a restored database asks for it.
        for more in ({"verify_workers": False}, {}, {"restart_all": True}):
            result = site.run("switch", "restart", release="r1", **more, **args)[1]
            pids.append(int((site.home / "pid").read_text()))
            assert result["phases"][1]["changed"] == (more != {}), result
        assert pids[0] == pids[1] != pids[2]
        code, result = site.run(
            "verify", release="r1", verify_workers=False, timeout=0, **{**args, "workers": {"node": 3}}
        )
        assert (code, "2 of 3 servers that this user may see run r1" in result["msg"]) == (1, True)
    finally:
        for pid in set(pids):
            os.kill(pid, 9)


def test_node_servers_of_another_user_restart_with_their_batch_and_not_once_more(site):
    """None of them is to be seen, so that none is counted."""
    site.go_live("r1", "r2")
    restart = ["sh", "-c", f"echo restarted >> {site.home}/restarts"]
    args = {**NODE, "release": "r2", "restart_commands": [restart]}
    # Its batch, and the end of the release on all hosts; then the way back, as one of the others was not well.
    for more in ({"verify_workers": False}, {}):
        assert site.run("restart", **more, **args)[0] == 0
    assert (site.home / "restarts").read_text() == "restarted\n"
    assert site.run("revert", previous="r1", **args)[0] == 0
    assert (site.home / "restarts").read_text() == "restarted\n" * 2


# Another tool's server


@pytest.fixture(params=["relative", "absolute"])
def deployer(request, site):
    """A server laid out by Deployer, with release 11 live, before the first release of ours."""
    for name in ("9", "10", "11"):
        site.add(name)
        (site.path(name) / ".slipway.json").unlink()
        (site.path(name) / "storage").symlink_to("../../shared/storage")
    (site.root / "shared/storage/framework").mkdir()
    (site.root / "shared/storage/framework/session").write_text("of a user")
    (site.root / ".dep").mkdir()
    (site.root / ".dep/releases_log").write_text(
        "".join(
            json.dumps({"created_at": f"2026-01-{day:02}T00:00:00+0000", "release_name": str(day)}) + "\n"
            for day in (9, 10, 11)
        )
    )
    target = "releases/11" if request.param == "relative" else str(site.path("11"))
    (site.root / "current").symlink_to(target)
    return site


def test_first_release_after_deployer(deployer):
    args = deployer.artifact()
    code, result = deployer.run("preflight", "stage", "switch", "restart", "verify", "finish", keep=3, **args)
    assert code == 0, result.get("msg")
    assert (result["phases"][0]["current"], deployer.current()) == ("11", "r3")
    # The oldest one goes; the one that was live is where a rollback goes to.
    assert evidence(result)["removed"] == ["9"]
    assert (deployer.root / "shared/storage/framework/session").read_text() == "of a user"
    assert os.path.realpath(deployer.path("r3") / "storage") == str(deployer.root / "shared/storage")
    assert preflight(deployer)["rollback_target"] == "11"


def test_first_release_after_deployer_that_goes_wrong(deployer):
    deployer.run("preflight", "stage", "switch", **deployer.artifact())
    code = deployer.run("revert", previous="11")[0]
    assert (code, deployer.current()) == (0, "11")
    assert sorted(path.name for path in (deployer.root / "releases").iterdir()) == ["10", "11", "9", "r3"]
