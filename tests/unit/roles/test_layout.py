"""The layout of an application on a real file system, made by root for a user whose links lead elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PLAY = """
- hosts: localhost
  gather_facts: false
  become: true
  tasks:
    - import_role: {name: slipway.laravel.release, tasks_from: layout}
"""
USER, GROUP = "nobody", "nogroup"
# One that this user may run.
PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("su") or not os.path.exists(PYTHON), reason="root has to become another user"
)


@pytest.fixture
def www():
    # Not in tmp_path, where nobody but root may enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path) / "www"


@pytest.fixture
def lay_out(www, tmp_path):
    (tmp_path / "play.yml").write_text(PLAY)

    def run(*words, **given):
        variables = {
            "ansible_python_interpreter": PYTHON,
            "ansible_become_method": "ansible.builtin.su",
            "ansible_become_flags": "-s /bin/sh",
            "release_root": f"{www}/app",
            "release_user": USER,
            "release_group": GROUP,
            "release_env": {"APP_ENV": "production"},
            "release_deploy_key": "the key",
            "release_known_hosts": ["a host"],
            **given,
        }
        argv = ["ansible-playbook", "play.yml", "-i", "localhost,", "-c", "local", "-e", json.dumps(variables), *words]
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        env["SLIPWAY_RECORDS_DIR"] = str(tmp_path / "records")
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return run


def tree(folder):
    found = [folder, *folder.rglob("*")]
    return {f"{path.relative_to(folder)}": (path.owner(), f"{path.stat().st_mode & 0o7777:o}") for path in found}


def test_new_application(lay_out, www):
    done = lay_out("--check", release_user="nobody-yet", release_group="nobody-yet")
    assert (done.returncode, www.exists()) == (0, False), done.stdout
    done = lay_out()
    assert done.returncode == 0, done.stdout
    assert tree(www) == {
        ".": ("root", "755"),
        "app": (USER, "755"),
        "app/releases": (USER, "755"),
        "app/shared": (USER, "755"),
        "app/shared/.env": (USER, "600"),
        "app/.slipway": (USER, "700"),
        "app/.slipway/artifacts": (USER, "700"),
        "app/.slipway/deploy_key": (USER, "600"),
        "app/.slipway/deploy-key.json": (USER, "644"),
        "app/.slipway/known_hosts": (USER, "644"),
        "app/.slipway/known-hosts.json": (USER, "644"),
    }
    assert (www / "app/.slipway/deploy_key").read_text() == "the key\n"
    done = lay_out()
    assert re.search(r"changed=0 .*failed=0", done.stdout), done.stdout


def test_deploy_key_that_is_no_longer_given_is_removed_and_one_of_another_hand_stays(lay_out, www):
    key = www / "app/.slipway/deploy_key"
    assert lay_out().returncode == 0
    done = lay_out(release_deploy_key="")
    assert (done.returncode, key.exists()) == (0, False), done.stdout
    assert "the key" not in done.stdout
    key.write_text("by hand\n")
    done = lay_out(release_deploy_key="")
    assert re.search(r"changed=0 .*failed=0", done.stdout), done.stdout
    assert key.read_text() == "by hand\n"


def test_environment_is_open_to_the_group_for_a_worker_of_another_user(lay_out, www):
    done = lay_out(release_workers=[{"name": "default"}, {"name": "mail", "user": "mailer"}])
    assert done.returncode == 0, done.stdout
    assert (www / "app/shared/.env").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["app", "app/releases", "app/.slipway", "app/shared"])
def test_link_of_the_user_leads_root_nowhere(lay_out, www, name):
    victim = www / "etc"
    (victim / "artifacts").mkdir(parents=True)
    (victim / "deploy_key").write_text("root's\n")
    (www / name).parent.mkdir(exist_ok=True)
    (www / name).symlink_to(victim)
    for path in {www / name, (www / name).parent} - {www}:
        os.lchown(path, 65534, 65534)
    before = tree(victim)
    assert lay_out().returncode != 0
    assert (tree(victim), (victim / "deploy_key").read_text()) == (before, "root's\n")
