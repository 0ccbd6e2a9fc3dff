"""Runs releases under what an ansible.cfg, an environment and a playbook of the user's own may say, and looks at them.

The runs are made once, in the order in which an operator would make them; each test looks at one of them.
"""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import read
from fleet import HOSTS, ROOT, Fleet, write

WITHOUT = {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.timer"}

# The second application lies beside the first one, on the same hosts.
BOTH = f"""
- name: Release the blog
  ansible.builtin.import_playbook: {ROOT}/release.yml
  vars:
    release_version: v1
    laravel_hosts: web1
    laravel_root: "{{{{ blog }}}}"
    release_http_url: ""

- name: Release the shop
  ansible.builtin.import_playbook: {ROOT}/release.yml
  vars:
    release_version: v3-is-not-well
"""

HIDDEN = """
- name: Look
  hosts: web1
  gather_facts: false
  no_log: true
  tasks:
    - name: Look at the host
      slipway.laravel.release:
        root: "{{ laravel_root }}"
        run: a-run-of-my-own
        phases: [preflight]
"""

HOOKS = {
    "after_preflight": [{"tasks": "hooks/warm.yml", "hosts": "web1"}],
    "after_build": [{"command": ["sh", "-c", "pwd > where"], "hosts": "localhost"}],
}
WARM = """
- name: Warm up
  ansible.builtin.debug:
    msg: warm
"""


def lay_out_another(fleet):
    """Lay out the application of both hosts, and another one of web1."""
    fleet.lay_out()
    os.mkdir(fleet.home / "blogs")
    fleet.play(fleet.home / "layout.yml", "--limit=web1", "-e", f"laravel_root={fleet.home}/blogs/web1")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    lay_out_another(fleet)
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def runs(fleet):
    write(fleet.home / "both.yml", BOTH)
    write(fleet.home / "hidden.yml", HIDDEN)
    write(fleet.home / "hooks/warm.yml", WARM)
    asked = {"release_version": '{{ lookup("ansible.builtin.env", "TAG") }}', "release_hooks": HOOKS}
    programs = {"ANSIBLE_NO_LOG": "true", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "TAG": "v2"}
    return {
        "unsigned": fleet.release("v1", SLIPWAY_SIGNATURE="required", **WITHOUT),
        "unrecorded": fleet.release("v1", **WITHOUT),
        "programs": fleet.play(ROOT / "release.yml", "-e", json.dumps(asked), **programs),
        "both": fleet.play(fleet.home / "both.yml", "-e", f"blog={fleet.home}/blogs/web1"),
        "hidden": fleet.play(fleet.home / "hidden.yml"),
    }


def test_a_release_whose_record_has_to_be_signed_needs_the_callback(runs):
    run = runs["unsigned"]
    assert run.status != 0
    assert "records have to be signed, and the callback slipway.laravel.release_record is not enabled" in run.output
    assert run.live == dict.fromkeys(HOSTS)


def test_a_release_without_a_record_says_so(runs):
    run = runs["unrecorded"]
    assert (run.status, run.files) == (0, []), run.output
    assert "No record of this was kept" in run.output
    assert None not in run.live.values()
    assert "No record of this was kept" not in runs["programs"].output


def test_no_log_hides_no_phase_from_the_record(runs):
    run = runs["programs"]
    assert run.status == 0, run.output
    assert run.outcome()["outcome"] == "success"
    assert run.outcome()["live"] == run.live
    assert run.phases("web2") == ["preflight", "stage", "switch", "restart", "verify", "finish"]


def test_the_record_has_the_version_that_a_template_named(runs):
    run = runs["programs"]
    assert run.of("run")[0]["version"] == "v2"
    assert "success: v2 is live as " in run.error


def test_the_output_of_a_callback_for_programs_stays_theirs(runs):
    assert json.loads(runs["programs"].output)["plays"]


def test_hooks_are_found_where_ansible_was_started(runs, fleet):
    assert runs["programs"].status == 0
    assert (fleet.home / "where").read_text().strip() == str(fleet.home)


def test_two_applications_of_a_run_have_a_record_each(runs, fleet):
    run = runs["both"]
    ended = {}
    for path in run.files:
        if path.suffix == ".jsonl":
            entries = read(str(path))
            assert [entry["event"] for entry in entries].count("run") == 1
            ended[entries[0]["data"]["version"]] = entries[-1]["data"]
    outcomes = {version: end["outcome"] for version, end in ended.items()}
    assert outcomes == {"v1": "success", "v3-is-not-well": "reverted"}
    assert ended["v1"]["live"] == {"web1": os.path.basename(os.readlink(fleet.home / "blogs/web1/current"))}
    assert ended["v3-is-not-well"]["live"] == runs["programs"].live


def test_what_no_log_of_another_playbook_hides_is_not_known(runs):
    run = runs["hidden"]
    assert run.outcome()["outcome"] == "partial"
    assert run.outcome()["live"] == {"web1": "unknown"}
    assert run.of("failure")[0]["message"] == "what it did is not known, for no_log hides it"
