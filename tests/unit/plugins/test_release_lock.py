from __future__ import annotations

import json
import os
import shutil
import time

import pytest


@pytest.fixture
def lock(site, run_module):
    def run(state="present", run="restore", **args):
        return run_module(
            "release_lock", **{"root": str(site.root), "run": run, "state": state, "owner": "eve", **args}
        )

    run.site = site
    run.path = site.root / ".slipway/lock"
    return run


def test_present_and_absent(lock):
    code, result = lock(_ansible_diff=True)
    assert (code, result["changed"], result["holder"]["run"], result["taken_from"]) == (0, True, "restore", None)
    assert result["diff"] == {"before": "free\n", "after": "eve (run restore)\n"}
    assert lock()[1]["changed"] is False
    code, result = lock("absent")
    assert (code, result["changed"], result["holder"]) == (0, True, None)
    assert not lock.path.exists()
    assert lock("absent")[1]["changed"] is False


def test_present_again_is_a_sign_of_life(lock):
    lock()
    os.utime(lock.path, (0, 0))
    assert lock()[1]["holder"]["age"] < 5


def test_a_release_and_this_module_keep_each_other_out(lock):
    lock()
    assert "is held by eve since" in lock.site.run("preflight", release="")[1]["msg"]
    lock("absent")
    assert lock.site.run("preflight", release="")[0] == 0
    for state in ("present", "absent"):
        code, result = lock(state)
        assert (code, result["holder"]["phase"]) == (1, "preflight")
        assert "is held by unknown since" in result["msg"]
    assert json.loads(lock.path.read_text())["run"] == "run-1"


@pytest.mark.parametrize("state, age, ttl", [("takeover", 0, 3600), ("present", 100, 60)])
@pytest.mark.parametrize("check", [False, True])
def test_takeover(lock, state, age, ttl, check):
    lock(run="dead")
    os.utime(lock.path, (time.time() - age, time.time() - age))
    code, result = lock(state, ttl=ttl, _ansible_check_mode=check)
    assert (code, result["changed"], result["taken_from"]["run"]) == (0, True, "dead")
    assert result["holder"]["run"] == ("dead" if check else "restore")


def test_check_mode_takes_and_frees_nothing(lock):
    assert lock(_ansible_check_mode=True)[1]["changed"] is True
    assert not lock.path.exists()
    lock()
    assert lock("absent", _ansible_check_mode=True)[1]["changed"] is True
    assert lock.path.exists()
    code, result = lock(run="another", _ansible_check_mode=True)
    assert (code, result["holder"]["run"]) == (1, "restore")


def test_host_without_a_layout(lock):
    shutil.rmtree(lock.site.root)
    code, result = lock()
    assert code == 1
    assert result["msg"].startswith(
        f"{lock.site.root}/.slipway cannot be used: No such file or directory; run the site"
    )
