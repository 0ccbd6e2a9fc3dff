"""The controller's side of release and release_build, over a real local connection."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.slipway.laravel.plugins.action import release_build
from ansible_collections.slipway.laravel.plugins.action.release import apart, clock_skew
from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.controller import gone, identity

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("clock", "skew"),
    [(100.0, 0), (101.5, 0), (103.0, 0), (99.0, -1.0), (40.0, -60.0), (104.25, 1.25)],
)
def test_clock_skew_is_what_the_time_of_the_run_does_not_explain(clock, skew):
    assert clock_skew(clock, began=100.0, ended=103.0) == skew


HERE = {"__release_settled": {"run": "r"}}


@pytest.mark.parametrize(
    ("left", "batch", "failed", "said"),
    [
        (["web1", "web2"], ["web1", "web2"], set(), ""),
        (["web1"], ["web1"], {"web2"}, "web2 failed before this began"),
        (["web1"], ["web1"], None, "web2 failed before this began"),
        # Ended by the play.
        (["web1"], ["web1"], set(), ""),
        # Here, though Ansible counts them out; one has failed in the very task that asks.
        ([], [], None, ""),
        (["web2"], ["web2"], {"web1"}, ""),
        (["web1", "web2"], ["web1"], set(), "serial of this play has web2 in another batch"),
    ],
)
def test_hosts_that_would_be_left_behind(monkeypatch, left, batch, failed, said):
    monkeypatch.setattr(record, "_failed", failed)
    hostvars = {"web1": HERE, "web2": HERE if "web2" in left or not left else {}}
    play = {"ansible_play_hosts_all": ["web1", "web2"], "ansible_play_hosts": left, "ansible_play_batch": batch}
    found = apart("linear", "r", {**play, "hostvars": hostvars})
    assert (found.startswith(said), bool(found)) == (True, bool(said))


@pytest.mark.parametrize("strategy", ["free", "ansible.builtin.host_pinned", "mitogen_free"])
def test_hosts_that_do_not_wait_for_each_other(strategy):
    def found(*hosts):
        names = ("ansible_play_hosts_all", "ansible_play_hosts", "ansible_play_batch")
        return apart(strategy, "r", {"hostvars": {}, **{name: list(hosts) for name in names}})

    assert f"with the strategy {strategy} hosts do not wait" in found("web1", "web2")
    assert found("web1") == ""


# One host for each case: to start Ansible takes longer than all of its tasks.
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Release
      slipway.laravel.release: "{{ arguments }}"
      register: released
      ignore_errors: true
      when: module == "release"
    - name: Build
      slipway.laravel.release_build: "{{ arguments }}"
      register: built
      ignore_errors: true
      when: module == "release_build"
    - name: Look at the artifact on the controller while the run lasts
      ansible.builtin.shell: cp "{{ built.handover }}" "{{ copy }}"; stat -c %a "$(dirname {{ built.handover }})"
      register: found
      when: built.handover is defined
    - name: Tell the result
      ansible.builtin.debug:
        msg: >-
          result
          {{ [released if module == 'release' else built, found.stdout | default('')] | to_json | b64encode }}
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
found = {"release": os.path.basename(given["artifact"]), "sha256": digest, "size": size}
module.exit_json(artifact=given["artifact"], failed=given["root"] == "bad", **found)
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
        (home / "play.yml").write_text(PLAY)
        (home / "artifact").write_text("the artifact")

    def run(self, *options, environment=None, others=(), **cases):
        """Run a module for each case, given with its arguments; return what came of each, by its name.

        :param others: hosts of the play besides, which the options leave out
        """
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts = {
            name: {**common, "module": module, "arguments": arguments, "copy": str(self.home / f"copy-{name}")}
            for name, (module, arguments) in cases.items()
        }
        hosts |= dict.fromkeys(others, common)
        (self.home / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
        settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))},
            "ANSIBLE_COLLECTIONS_PATH": str(self.home),
            "ANSIBLE_HOME": str(self.home / "controller"),
            "ANSIBLE_REMOTE_TMP": str(self.home / "remote"),
            "ANSIBLE_PIPELINING": "true",
            **(environment or {}),
        }
        command = [Path(sys.executable).parent / "ansible-playbook", "play.yml", "-i", "hosts.yml", *options]
        done = subprocess.run(command, cwd=self.home, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        told = dict(re.findall(r'ok: \[(\w+)\] => \{\s+"msg": "result (\S+)"', done.stdout))
        assert set(told) == set(cases), done.stdout
        self.said = " ".join((done.stdout + done.stderr).split())
        results = {}
        for name, text in told.items():
            results[name], mode = json.loads(base64.b64decode(text))
            results[name]["mode"] = mode
        return results

    def left(self):
        return [path for place in ("controller", "remote") for path in (self.home / place).rglob("*.tar.gz")]


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    return Controller(tmp_path_factory.mktemp("controller"))


@pytest.fixture(scope="module")
def plain(controller):
    """What comes of a run as an operator starts it."""
    source, built = str(controller.home / "artifact"), str(controller.home / "built")
    another = hashlib.sha256(b"another").hexdigest()
    build = {"content": "x", "size": 1}
    results = controller.run(
        staged=("release", {"phases": ["stage"], "artifact_from": source}),
        looked=("release", {"phases": ["preflight"]}),
        nowhere=("release", {"phases": ["stage"], "artifact_from": "/nowhere"}),
        handed=("release_build", {"artifact": built, "content": "12\n4", "size": 70000, "handover": True}),
        kept=("release_build", {**build, "artifact": f"{built}-2"}),
        failed=("release_build", {**build, "artifact": f"{built}-3", "root": "bad", "handover": True}),
        damaged=("release_build", {**build, "artifact": f"{built}-4", "sha256": another, "handover": True}),
    )
    assert controller.left() == [], "of what went along, and ansible-playbook has removed its directory"
    return results


def test_artifact_goes_along_and_is_gone_afterwards(controller, plain):
    (phase,) = plain["staged"]["phases"]
    assert phase["read"] == "the artifact"
    assert phase["artifact"].startswith(str(controller.home / "remote"))


def test_clock_of_the_host_is_compared_with_ours(plain):
    (phase,) = plain["looked"]["phases"]
    assert phase["artifact"] is None
    assert -3700 < phase["clock_skew"] < -3500


def test_strategy_without_steps_is_refused_before_anything_else(controller):
    found = controller.run(
        environment={"ANSIBLE_STRATEGY": "free"},
        begins=("release", {"phases": ["preflight"]}),
        goes_back=("release", {"phases": ["revert"]}),
    )
    assert {name: result["failed"] for name, result in found.items()} == {"begins": True, "goes_back": False}
    assert "nothing was changed: with the strategy free" in found["begins"]["msg"]


def test_lock_of_a_run_whose_process_has_ended_is_taken(controller, plain):
    ended, living = plain["looked"]["phases"][0]["controller"], identity(os.getpid())
    assert ended.rpartition(" ")[0].rpartition(" ")[0] == living.rpartition(" ")[0].rpartition(" ")[0]
    held = controller.run(
        ended=("release", {"phases": ["preflight"], "root": ended}),
        living=("release", {"phases": ["preflight"], "root": living}),
    )
    assert {holder: result["failed"] for holder, result in held.items()} == {"ended": False, "living": True}


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


def test_macos_tells_a_process_by_ps(tmp_path, monkeypatch):
    controller = "ansible_collections.slipway.laravel.plugins.plugin_utils.controller"
    monkeypatch.setattr(f"{controller}.PROC", str(tmp_path / "no"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shown = tmp_path / "shown"
    for name, text in (("ps", f"cat {shown}"), ("sysctl", "echo 1A2B-3C4D")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    shown.write_text("Ss   Sun Nov 22 09:35:40 2026\n")
    known = identity(os.getpid())
    assert known == f"1A2B-3C4D macos {os.getpid()} Sun-Nov-22-09:35:40-2026"
    assert not gone(known)
    shown.write_text("Z    Sun Nov 22 09:35:40 2026\n")
    assert gone(known), "a process that nobody has waited for"
    shown.write_text("Ss   Sun Nov 22 09:41:02 2026\n")
    assert gone(known), "another process has its number"
    (tmp_path / "sysctl").unlink()
    assert (identity(os.getpid()), gone(known)) == ("", False)


def test_hosts_that_the_limit_leaves_out_are_told(controller, plain):
    assert plain["looked"]["left_out"] == []
    looks = ("release", {"phases": ["preflight"]})
    results = controller.run("--limit=all:!away:!afar", others=["afar", "away"], first=looks, second=looks)
    assert [result["left_out"] for result in results.values()] == [["afar", "away"]] * 2
    assert controller.said.count("--limit leaves out afar, away: what is live there stays as it is") == 1


def test_artifact_that_is_not_on_the_controller(plain):
    assert "the artifact /nowhere is not on the controller" in plain["nowhere"]["msg"]


def test_artifact_comes_to_the_controller(controller, plain):
    assert (controller.home / "copy-handed").read_bytes() == (controller.home / "built").read_bytes()
    assert plain["handed"]["mode"] == "700"
    assert plain["handed"]["handover"].startswith(str(controller.home / "controller"))


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


def test_what_a_terminal_shows_besides_is_not_the_artifact(tmp_path):
    class Terminal(Shell):
        def _low_level_execute_command(self, command):
            answer = super()._low_level_execute_command(command)
            text = "sudo: unable to resolve host web1: Name or service not known\n" + answer["stdout"]
            return {**answer, "stdout": f"{text}logout\n".replace("\n", "\r\n")}

    (tmp_path / "artifact").write_bytes(os.urandom(1000))
    Terminal().read_in_pieces(str(tmp_path / "artifact"), 1000, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "artifact").read_bytes()


def test_artifact_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(AnsibleActionFail, match="nothing cannot be read: tail: cannot open"):
        Shell().read_in_pieces(str(tmp_path / "nothing"), 10, str(tmp_path / "copy"))


@pytest.mark.parametrize(
    ("login", "become_user", "may"),
    [("ann", None, True), ("ann", "deploy", False), ("deploy", "deploy", True), ("root", "deploy", True)],
)
def test_who_may_read_the_artifact(login, become_user, may):
    assert Shell(login, become_user).login_may_read() is may


@pytest.mark.parametrize("case", ["kept", "failed"])
def test_artifact_stays_where_nobody_else_needs_it_and_of_a_failed_build(plain, case):
    assert "handover" not in plain[case]
    assert plain[case]["artifact"]


def test_artifact_that_was_damaged_on_its_way(plain):
    assert "damaged on its way" in plain["damaged"]["msg"]


RECORDED = {"ANSIBLE_CALLBACKS_ENABLED": "slipway.laravel.release_record"}
PASSED_OVER = {**RECORDED, "SLIPWAY_SIGNATURE": "requird"}


@pytest.fixture(scope="module")
def passed_over(controller):
    """What comes of a run for which Ansible passes over the callback that records."""
    return controller.run(
        environment=PASSED_OVER,
        released=("release", {"phases": ["preflight", "stage"]}),
        built=("release_build", {"root": "/nowhere"}),
        reverted=("release", {"phases": ["revert"]}),
    )


@pytest.mark.parametrize("case", ["released", "built"])
def test_nothing_is_released_when_ansible_passes_over_the_callback_that_records(passed_over, case):
    result = passed_over[case]
    assert result["failed"] is True
    assert "could not be recorded: the callback slipway.laravel.release_record is enabled, but is not" in result["msg"]


def test_what_follows_preflight_is_never_stopped(passed_over):
    assert passed_over["reverted"]["phases"][0]["phase"] == "revert"


@pytest.mark.parametrize("environment", [RECORDED, {"SLIPWAY_SIGNATURE": "requird"}], ids=["recorded", "not enabled"])
def test_a_release_that_is_recorded_or_need_not_be_goes_on(controller, environment):
    result = controller.run(environment=environment, looked=("release", {"phases": ["preflight"]}))["looked"]
    assert result["phases"][0]["phase"] == "preflight"


def test_check_mode_takes_nothing_along_and_needs_no_record(controller):
    results = controller.run(
        "--check",
        environment=PASSED_OVER,
        staged=("release", {"phases": ["stage"], "artifact_from": "/nowhere"}),
        looked=("release", {"phases": ["preflight"]}),
    )
    assert results["staged"]["phases"][0]["artifact"] is None
    assert results["looked"]["phases"][0]["phase"] == "preflight"
