"""Runs a release in the midst of tasks that fail, of which none makes it a worse release, and looks at its record."""

from __future__ import annotations

import json

import pytest
from fleet import HOSTS, ROOT, SECRETS, Fleet, write

BEFORE = f"""
- name: Prepare
  hosts: laravel
  gather_facts: false
  tasks:
    - name: Try
      block:
        - name: Fail at first
          ansible.builtin.command: "false"
      rescue:
        - name: Go another way
          ansible.builtin.debug:
            msg: well

- name: Release
  ansible.builtin.import_playbook: {ROOT}/release.yml

- name: Follow
  hosts: web1
  gather_facts: false
  tasks:
    - name: Tell the chat
      ansible.builtin.command:
        argv: [sh, -c, "seq 9; echo cannot post with {SECRETS["DB_PASSWORD"]} >&2; exit {{{{ item }}}}"]
      loop: [0, 3]
      changed_when: false
"""

HOOK = """
- name: Warm up
  block:
    - name: Warm up the cache
      ansible.builtin.command:
        argv: [sh, -c, "seq 100; exit 1"]
  rescue:
    - name: Tell others
      block:
        - name: Tell nobody
          ansible.builtin.command: "false"
          no_log: true
      rescue:
        - name: Do without
          ansible.builtin.debug:
            msg: well
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    write(fleet.home / "playbook.yml", BEFORE)
    write(fleet.home / "hook.yml", HOOK)
    fleet.lay_out()
    variables = {
        "release_version": "v1",
        "release_hooks": {"after_stage": [{"tasks": f"{fleet.home}/hook.yml"}]},
    }
    yield fleet.play(fleet.home / "playbook.yml", "-e", json.dumps(variables))
    fleet.close()


def test_what_was_rescued_or_failed_afterwards_does_not_make_the_release_partial(run):
    assert run.status != 0, "the last play failed"
    assert run.outcome()["outcome"] == "success", run.output
    assert f"success: v1 is live as {run.live['web1']} on web1, web2, " in run.output


def test_a_failure_tells_what_the_command_printed(run):
    failures = run.of("failure")
    warm = [failure for failure in failures if failure["task"].endswith("Warm up the cache")]
    assert sorted(failure["host"] for failure in warm) == HOSTS
    message, *lines = warm[0]["message"].splitlines()
    assert "non-zero return code" in message
    assert lines == [str(number) for number in range(81, 101)]


def test_a_failed_item_of_a_loop_is_named(run):
    (chat,) = [failure for failure in run.of("failure") if failure["task"] == "Tell the chat"]
    message, *lines = chat["message"].splitlines()
    assert message.startswith("(3) ")
    assert lines == ["cannot post with ********"]


def test_what_may_not_be_told_says_so(run):
    censored = [failure for failure in run.of("failure") if failure["task"].endswith("Tell nobody")]
    assert ["no_log: true" in failure["message"] for failure in censored] == [True, True]
