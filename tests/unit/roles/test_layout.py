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
    - import_role: {name: slipway.laravel.release, tasks_from: "{{ entry_point }}"}
"""
PLACE = Path(__file__).parents[3] / "roles/release/files/place.sh"
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

    def run(*words, entry_point="layout", **given):
        variables = {
            "entry_point": entry_point,
            "ansible_python_interpreter": PYTHON,
            "ansible_become_method": "ansible.builtin.su",
            "ansible_become_flags": "-s /bin/sh",
            "release_root": f"{www}/app",
            "release_user": USER,
            "release_group": GROUP,
            "release_env": {"APP_ENV": "production"},
            "release_deploy_key": "the key",
            "release_known_hosts": ["a host"],
            "laravel_app": "app",
            "__release_etc": str(tmp_path),
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


def test_another_user_or_directory_stops_before_anything_is_changed(lay_out, www, tmp_path):
    app, sites = www / "app", tmp_path / "nginx/sites-enabled"
    for folder in ("releases/r1", "shared"):
        (app / folder).mkdir(parents=True)
        os.chown(app / folder, 65534, 65534)
    os.chown(app / "releases", 65534, 65534)
    sites.mkdir(parents=True)
    (sites / "app.conf").write_text(f"server {{\n    root {app}/current/public;\n}}\n")
    (app / "current").symlink_to("releases/r1")
    before = tree(www)
    done = lay_out(entry_point="place", release_user="daemon")
    assert done.returncode != 0
    assert f"{app}/releases belongs to {USER}, {app}/shared belongs to {USER}, but" in done.stdout
    assert f"chown -hR daemon:{GROUP} {app}, run site.yml" in done.stdout
    done = lay_out(entry_point="place", release_root=f"{www}/moved")
    assert done.returncode != 0
    assert f"scheduler use {app}, but laravel_root is {www}/moved, " in done.stdout
    assert f"mv {app} {www}/moved and at once ln -s {www}/moved" in done.stdout
    assert tree(www) == before


def look_at_place(root, etc, user=USER):
    argv = ["sh", str(PLACE), str(root), "app", user, str(etc)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def test_place_of_an_application(www, tmp_path):
    app, conf = www / "app", tmp_path / "supervisor/conf.d"
    assert look_at_place(app, tmp_path) == []
    (app / "releases/r1").mkdir(parents=True)
    os.chown(app / "releases", 65534, 65534)
    assert look_at_place(f"{app}/", tmp_path) == []
    assert look_at_place(app, tmp_path, "daemon") == [f"owner {USER} {app}/releases"]
    conf.mkdir(parents=True)
    (conf / "app-queue-default.conf").write_text(f"[program:x]\ncommand=php artisan\ndirectory={app}/current\n")
    # One of another application.
    (conf / "app-two-queue-default.conf").write_text("directory=/current\n")
    # Nothing has been released, so nothing serves.
    assert look_at_place(www / "moved", tmp_path) == []
    (app / "current").symlink_to("releases/r1")
    assert look_at_place(app, tmp_path) == []
    assert look_at_place(www / "moved", tmp_path) == [f"root {app}"]
    app.rename(www / "moved")
    app.symlink_to("moved")
    assert look_at_place(www / "moved", tmp_path) == []


USES = {
    "nginx/sites-enabled/app.conf": "    root {}/current/public;\n",
    "cron.d/app": "* * * * * deploy test ! -f {0}/current/artisan || (cd {0}/current && php artisan schedule:run)\n",
    "systemd/system/app-scheduler.service": "[Unit]\nConditionPathExists={}/current/artisan\n",
    "supervisor/conf.d/app-reverb.conf": "[program:x]\ncommand=php artisan\ndirectory={}/current\n",
}


@pytest.mark.parametrize("name", USES)
def test_where_a_file_has_the_application(www, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    for app in ("app", "docs"):
        (www / app / "releases/r1").mkdir(parents=True)
        (www / app / "current").symlink_to("releases/r1")
    file.write_text(USES[name].format(www / "app"))
    assert look_at_place(www / "moved", tmp_path) == [f"root {www}/app"]
    # What it has of another application moves nothing, before the first release as well.
    for of_docs in ("        alias {}/current/public;\n", "        root {}/current/public;\n", "# cd {}/current\n"):
        file.write_text(USES[name].format(www / "new") + of_docs.format(www / "docs"))
        assert look_at_place(www / "new", tmp_path) == []
    file.write_text(f"    root /srv/static;\n        alias {www}/docs/current/public;\n")
    assert look_at_place(www / "new", tmp_path) == []
    (www / "new").mkdir()
    (www / "new/current").symlink_to("releases/none")
    assert look_at_place(www / "new", tmp_path) == []


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
