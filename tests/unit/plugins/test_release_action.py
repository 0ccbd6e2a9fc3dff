"""The controller's side of release and release_build, over a real local connection."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.slipway.laravel.plugins.action import release_build
from ansible_collections.slipway.laravel.plugins.action.release import clock_skew
from ansible_collections.slipway.laravel.plugins.plugin_utils.controller import gone, identity

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("clock", "skew"),
    [(100.0, 0), (101.5, 0), (103.0, 0), (99.0, -1.0), (40.0, -60.0), (104.25, 1.25)],
)
def test_clock_skew_is_what_the_time_of_the_run_does_not_explain(clock, skew):
    assert clock_skew(clock, began=100.0, ended=103.0) == skew


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Run it
      slipway.laravel.{{ module }}: "{{ arguments }}"
      register: result
      ignore_errors: true
    - name: Keep the result, and a copy of what came to the controller
      ansible.builtin.copy:
        content: "{{ result | to_json }}"
        dest: "{{ home }}/result.json"
        mode: "0600"
      check_mode: false
    - name: Look at the artifact on the controller while the run lasts
      ansible.builtin.shell: cp "{{ result.handover }}" "{{ home }}/copy"; stat -c %a "$(dirname {{ result.handover }})"
      register: found
      when: result.handover is defined
    - name: Keep it
      ansible.builtin.copy:
        content: "{{ found.stdout | default('') }}"
        dest: "{{ home }}/mode"
        mode: "0600"
"""

# Played in the module's place, so that the connection and the action plugins are all that is real.
MODULE = """
import hashlib, json, os
from ansible.module_utils.basic import AnsibleModule
spec = {name: {} for name in "artifact sha256 root content controller dead_run".split()}
spec.update(phases={"type": "list"}, size={"type": "int"})
module = AnsibleModule(spec, supports_check_mode=True)
given = module.params
if given["phases"]:
    seen = {"phase": given["phases"][0], "clock": %r, "artifact": given["artifact"]}
    seen["controller"] = given["controller"]
    if given["root"] and given["root"] != given["dead_run"]:
        # The root says what carries the run that holds the lock.
        seen["holder"] = {"run": given["root"], "controller": given["root"]}
        module.fail_json(msg="held", phases=[seen])
    if given["artifact"]:
        seen["read"] = open(given["artifact"]).read()
    module.exit_json(phases=[seen])
open(given["artifact"], "wb").write(given["content"].encode() * given["size"])
size = os.stat(given["artifact"]).st_size
digest = given["sha256"] or hashlib.sha256(open(given["artifact"], "rb").read()).hexdigest()
module.exit_json(release="r1", artifact=given["artifact"], sha256=digest, size=size, failed=given["root"] == "bad")
"""


class Controller:
    def __init__(self, home):
        self.home = home
        collection = home / "ansible_collections/slipway/laravel"
        (collection / "plugins/modules").mkdir(parents=True)
        for name in ("action", "callback", "module_utils", "plugin_utils"):
            (collection / "plugins" / name).symlink_to(ROOT / "plugins" / name)
        for name in ("release", "release_build"):
            (collection / f"plugins/modules/{name}.py").write_text(MODULE % (time.time() - 3600))
        (home / "play.yml").write_text(PLAY.replace("{{ module }}", "MODULE"))
        (home / "artifact").write_text("the artifact")

    def run(self, module, *options, environment=None, **arguments):
        (self.home / "play.yml").write_text(PLAY.replace("{{ module }}", module))
        variables = {"arguments": arguments, "home": str(self.home)}
        settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))},
            "ANSIBLE_COLLECTIONS_PATH": str(self.home),
            "ANSIBLE_HOME": str(self.home / "controller"),
            "ANSIBLE_REMOTE_TMP": str(self.home / "remote"),
            "ANSIBLE_PIPELINING": "true",
            **(environment or {}),
        }
        words = ["-i", "host,", "-c", "local", "-e", json.dumps(variables), *options]
        python = f"ansible_python_interpreter={sys.executable}"
        command = [Path(sys.executable).parent / "ansible-playbook", "play.yml", "-e", python, *words]
        done = subprocess.run(command, cwd=self.home, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((self.home / "result.json").read_text())

    def left(self):
        return [path for place in ("controller", "remote") for path in (self.home / place).rglob("*.tar.gz")]


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    return Controller(tmp_path_factory.mktemp("controller"))


def test_artifact_goes_along_and_is_gone_afterwards(controller):
    source = str(controller.home / "artifact")
    (phase,) = controller.run("release", phases=["stage"], artifact_from=source)["phases"]
    assert phase["read"] == "the artifact"
    assert phase["artifact"].startswith(str(controller.home / "remote"))
    assert controller.left() == []


def test_clock_of_the_host_is_compared_with_ours(controller):
    (phase,) = controller.run("release", phases=["preflight"])["phases"]
    assert phase["artifact"] is None
    assert -3700 < phase["clock_skew"] < -3500


def test_lock_of_a_run_whose_process_has_ended_is_taken(controller):
    (phase,) = controller.run("release", phases=["preflight"])["phases"]
    ended, living = phase["controller"], identity(os.getpid())
    assert ended.rpartition(" ")[0].rpartition(" ")[0] == living.rpartition(" ")[0].rpartition(" ")[0]
    held = {holder: controller.run("release", phases=["preflight"], root=holder) for holder in (ended, living)}
    assert {holder: result["failed"] for holder, result in held.items()} == {ended: False, living: True}


def test_of_processes_elsewhere_nobody_can_tell():
    with subprocess.Popen(["sleep", "60"]) as child:
        known = identity(child.pid)
        assert (gone(known), gone(f"x{known}"), gone("")) == (False, False, False)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert gone(known), "a process that nobody has waited for"
    assert gone(known)
    place, _pid, started = known.rsplit(" ", 2)
    assert gone(f"{place} {os.getpid()} {started}"), "another process has its number"


def test_process_that_proc_hides_is_not_gone(monkeypatch):
    known = identity(os.getpid())
    monkeypatch.setattr("ansible_collections.slipway.laravel.plugins.plugin_utils.controller._started", lambda _pid: "")
    assert not gone(known)


def test_check_mode_takes_nothing_along(controller):
    result = controller.run("release", "--check", phases=["stage"], artifact_from="/nowhere")
    assert result["phases"][0]["artifact"] is None


def test_artifact_that_is_not_on_the_controller(controller):
    result = controller.run("release", phases=["stage"], artifact_from="/nowhere")
    assert "the artifact /nowhere is not on the controller" in result["msg"]


def test_artifact_comes_to_the_controller(controller):
    path = controller.home / "built"
    result = controller.run("release_build", artifact=str(path), content="12\n4", size=70000, handover=True)
    assert (controller.home / "copy").read_bytes() == path.read_bytes()
    assert (controller.home / "mode").read_text() == "700"
    assert result["handover"].startswith(str(controller.home / "controller"))
    assert controller.left() == [], "ansible-playbook has removed its directory"


class Shell(release_build.ActionModule):
    """The action over a connection whose login is another user than the release's: commands alone are run as that."""

    def __init__(self, login="", become_user=None):
        self._connection = SimpleNamespace(become=become_user and object())
        self.login, self.become_user, self.commands = login, become_user, 0

    def _get_remote_user(self):
        return self.login

    def get_become_option(self, option):
        return {"become_user": self.become_user}[option]

    def _low_level_execute_command(self, command):
        self.commands += 1
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
        return {"stdout": done.stdout, "stderr": done.stderr, "rc": done.returncode}


@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (100, 1), (101, 2), (1000, 10), (1001, 11)])
def test_artifact_is_read_in_pieces(tmp_path, monkeypatch, size, pieces):
    monkeypatch.setattr(release_build, "CHUNK", 100)
    shell = Shell()
    (tmp_path / "it's here").write_bytes(os.urandom(size))
    shell.read_in_pieces(str(tmp_path / "it's here"), size, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "it's here").read_bytes()
    assert shell.commands == pieces


def test_artifact_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(AnsibleActionFail, match="nothing cannot be read: tail: cannot open"):
        Shell().read_in_pieces(str(tmp_path / "nothing"), 10, str(tmp_path / "copy"))


@pytest.mark.parametrize(
    ("login", "become_user", "may"),
    [("ann", None, True), ("ann", "deploy", False), ("deploy", "deploy", True), ("root", "deploy", True)],
)
def test_who_may_read_the_artifact(login, become_user, may):
    assert Shell(login, become_user).login_may_read() is may


def test_artifact_stays_where_nobody_else_needs_it(controller):
    result = controller.run("release_build", artifact=str(controller.home / "built"), content="x", size=1)
    assert "handover" not in result


def test_failed_build_hands_nothing_over(controller):
    built = str(controller.home / "built")
    result = controller.run("release_build", artifact=built, content="x", size=1, root="bad", handover=True)
    assert "handover" not in result


def test_artifact_that_was_damaged_on_its_way(controller):
    digest = hashlib.sha256(b"another").hexdigest()
    built = str(controller.home / "built")
    result = controller.run("release_build", artifact=built, content="x", size=1, sha256=digest, handover=True)
    assert "damaged on its way" in result["msg"]
    assert controller.left() == []


RECORDED = {"ANSIBLE_CALLBACKS_ENABLED": "slipway.laravel.release_record"}
PASSED_OVER = {**RECORDED, "SLIPWAY_SIGNATURE": "requird"}


@pytest.mark.parametrize(
    ("module", "arguments"), [("release", {"phases": ["preflight", "stage"]}), ("release_build", {"root": "/nowhere"})]
)
def test_nothing_is_released_when_ansible_passes_over_the_callback_that_records(controller, module, arguments):
    result = controller.run(module, environment=PASSED_OVER, **arguments)
    assert result["failed"] is True
    assert "could not be recorded: the callback slipway.laravel.release_record is enabled, but is not" in result["msg"]


@pytest.mark.parametrize(
    ("environment", "phase"),
    [(RECORDED, "preflight"), ({"SLIPWAY_SIGNATURE": "requird"}, "preflight"), (PASSED_OVER, "revert")],
    ids=["recorded", "not enabled", "what follows preflight is never stopped"],
)
def test_a_release_that_is_recorded_or_need_not_be_goes_on(controller, environment, phase):
    result = controller.run("release", environment=environment, phases=[phase])
    assert result["phases"][0]["phase"] == phase


def test_check_mode_needs_no_record(controller):
    result = controller.run("release", "--check", environment=PASSED_OVER, phases=["preflight"])
    assert result["phases"][0]["phase"] == "preflight"
