from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def info(site, run_module):
    def run(**args):
        code, result = run_module("release_info", **{"root": str(site.root), **args})
        assert (code, result.get("changed")) == (0, False), result.get("msg")
        return result

    return run


def everything(root):
    return {path: path.lstat().st_mtime_ns for path in [root, *root.rglob("*")]}


def test_what_is_live_and_kept(site, info):
    site.go_live("r1", "r2", "r3")
    site.lock("run-9")
    site.run("switch", release="r2", run="run-9")
    site.run("finish", release="r2", bad="r3", run="run-9")
    site.add("begun")
    before = everything(site.root)
    found = info()
    assert everything(site.root) == before
    assert (found["current"], found["rollback_target"], found["lock"], found["unfinished"]) == ("r2", "r1", None, None)
    assert found["link"] == {"target": "releases/r2", "absolute": False, "exists": True}
    releases = {entry["release"]: entry for entry in found["releases"]}
    assert list(releases) == ["begun", "r1", "r2", "r3"]
    assert [name for name, entry in releases.items() if entry["live"]] == ["r2"]
    assert [name for name, entry in releases.items() if entry["bad"]] == ["r3"]
    assert (releases["r2"]["commit"], releases["r2"]["made_by"]) == ("commit of r2", "slipway")
    assert releases["r2"]["switched_at"] > "2026"
    assert releases["begun"]["complete"] is False
    assert "bytes" not in releases["r1"]
    assert found["problems"] == []


def test_who_is_at_work(site, info):
    site.go_live("r1")
    site.run("preflight", "stage", owner="eve", takeover=True, resume=True, **site.artifact())
    found = info()
    assert (found["lock"]["run"], found["lock"]["phase"], found["lock"]["release"]) == ("run-1", "stage", "r3")
    assert (found["unfinished"]["phase"], found["unfinished"]["release"]) == ("stage", "r3")
    assert found["unfinished"]["commit"] is not None
    assert [entry["complete"] for entry in found["releases"] if entry["release"] == "r3"] == [True]


def test_processes(site, info):
    site.go_live("r1")
    argv = [sys.executable, "-ISc", "print(flush=True); import time; time.sleep(60)", "artisan", "queue:work"]
    with subprocess.Popen(argv, cwd=site.path("r1"), stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        entry = info()["releases"][0]
        child.kill()
    assert entry["in_use"] is True
    started = entry["processes"][0].pop("started")
    assert started > "2026"
    assert entry["processes"] == [{"pid": child.pid, "kind": "artisan", "command": "queue:work", "parent": 0}]


def test_size_counts_each_file_once_and_follows_no_link(site, info):
    site.go_live("r1")
    path = site.path("r1")
    (path / "big").write_bytes(b"x" * 100000)
    (path / "again").hardlink_to(path / "big")
    (path / "storage").symlink_to("../../shared/storage")
    (site.root / "shared/storage/upload").write_bytes(b"x" * 200000)
    assert 100000 < info(size=True)["releases"][0]["bytes"] < 110000


def test_layout_of_deployer(site, info):
    for path in site.root.glob(".slipway/*"):
        path.rmdir()
    (site.root / ".slipway").rmdir()
    for name in ("9", "10", "11"):
        (site.path(name) / "storage/framework").mkdir(parents=True)
        (site.path(name) / "REVISION").write_text(f"commit-{name}\n")
    (site.root / ".dep").mkdir()
    log = [{"created_at": "2026-01-01T00:00:00+0000", "release_name": "10", "target": "main"}]
    (site.root / ".dep/releases_log").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    (site.root / "current").symlink_to(site.path("10"))
    found = info()
    assert found["link"] == {"target": str(site.path("10")), "absolute": True, "exists": True}
    assert found["current"] == "10"
    assert {entry["made_by"] for entry in found["releases"]} == {"another tool"}
    named = [(entry["release"], entry["commit"], entry["version"]) for entry in found["releases"]]
    assert sorted(named) == [("10", "commit-10", "main"), ("11", "commit-11", None), ("9", "commit-9", None)]
    assert found["maintenance"] == {"down": False, "run": None, "since": None, "flags": [], "held": ""}
    (site.path("10") / "storage/framework/down").touch()
    assert info()["maintenance"]["down"] is True
    assert found["problems"] == [
        f"{site.root}/.slipway does not exist; run the site playbook, which lays out the application, first"
    ]


def test_nothing_there(site, info, tmp_path):
    found = info(root=str(tmp_path / "none"))
    assert (found["current"], found["link"], found["releases"], len(found["problems"])) == (None, None, [], 1)


def test_damaged_state(site, run_module):
    (site.root / ".slipway/state.json").write_text("{")
    code, result = run_module("release_info", root=str(site.root))
    assert code == 1
    assert "state.json is not valid JSON" in result["msg"]
