"""Sign-offs that are given after the release, from its record: what is believed of that, by real runs of Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import digest, load
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile, read
from records import RUN

LIST = """\
name: list
version: "1"
stages:
  post_deploy:
    - id: pages
      text: The pages answer
      check:
        name: security_headers
        url: "https://ann:hunter22-of-ann@{{ inventory_hostname }}.example.com"
    - {id: told, text: They were told}
"""
PLAY = """
- hosts: web1
  gather_facts: false
  tasks:
    - slipway.laravel.signoff:
        stage: "{{ item }}"
        of_release: "{{ release }}"
        checklist: "{{ checklist }}"
        prompt: false
        approvals: "{{ approvals | default({}) }}"
      loop: [plan, post_deploy]
      register: result
    - ansible.builtin.copy:
        content: "{{ result.results | to_json }}"
        dest: result.json
"""


class Home:
    def __init__(self, home):
        self.home, self.directory = home, home / "records/production"
        (home / "list.yml").write_text(LIST)
        (home / "play.yml").write_text(PLAY)
        inventory = home / "inventories/production"
        inventory.mkdir(parents=True)
        (inventory / "hosts.yml").write_text(
            "all: {hosts: {web1: {ansible_connection: local, ansible_python_interpreter: "
            '"{{ ansible_playbook_python }}"}}}\n'
        )

    def record(self, change=lambda content: None, user="ann"):
        """A release with the list, which somebody may have changed in its record and entered again."""
        written = RecordFile(str(self.directory / "r1.jsonl"))
        content = load(str(self.home / "list.yml"))
        bound = {"checklist": "list", "checklist_version": "1", "checklist_sha256": digest(content)}
        bound.update(inventory="production", commit="c" * 40, artifact_sha256="", hosts=["web1"], release="r1")
        change(content)
        written.append("run", {**RUN, "user": user})
        written.append("checklist", {**bound, "content": content, "deployed_by": "ann"})
        written.append("phase", {"phase": "switch", "host": "web1", "changed": True})
        written.append("outcome", {"outcome": "success", "release": "r1"})
        Ledger(str(self.directory), None).enter(written)
        written.close()
        return Path(written.path)

    def sign(self, *words, checklist="list.yml"):
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACKS_ENABLED": "slipway.laravel.release_record",
            "ANSIBLE_LOCAL_TEMP": str(self.home / "tmp"),
            "HOME": str(self.home),
            "SSH_AUTH_SOCK": "",
        }
        argv = [Path(sys.executable).parent / "ansible-playbook", "-i", "inventories/production", "play.yml"]
        argv += ["-e", "release=r1", "-e", f"checklist={checklist}", *words]
        result = subprocess.run(argv, cwd=self.home, env=environment, capture_output=True, text=True, check=False)
        told = " ".join((result.stdout + result.stderr).split())
        results = json.loads((self.home / "result.json").read_text()) if result.returncode == 0 else []
        return told, results


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def last(path):
    return {entry["data"]["item"]: entry["data"] for entry in read(str(path)) if entry["event"] == "signoff"}


def test_check_of_the_list_as_it_is_in_its_file_is_carried_out(home):
    path = home.record()
    assert "hunter22" not in path.read_text(), "the record has it masked"
    told, results = home.sign()
    (asked,) = results[0]["checks"]["post_deploy"]["web1"]
    assert asked["parameters"]["url"] == "https://ann:hunter22-of-ann@web1.example.com", told
    assert last(path)["pages"]["checklist_sha256"] == digest(load(str(home.home / "list.yml")))


@pytest.mark.parametrize("checklist", ["list.yml", "", "gone.yml"])
def test_nothing_that_a_record_says_is_run_here(home, checklist):
    def plant(content):
        name = "{{ lookup('pipe', 'touch planted') }}"
        content["stages"]["post_deploy"][0]["check"] = {"name": "health", "url": name}

    path = home.record(plant)
    if checklist == "list.yml":
        (home.home / "list.yml").write_text(LIST.replace("They were told", "They were"))
    told, results = home.sign(checklist=checklist)
    assert not (home.home / "planted").exists()
    assert results[0]["checks"] == {"post_deploy": {}}, told
    pages = last(path)["pages"]
    assert pages["status"] == "open"
    why = {"list.yml": "list.yml is not the checklist that", "": "release_checklist names none", "gone.yml": "No such"}
    assert "its check cannot be carried out (" in pages["reason"]
    assert why[checklist] in pages["reason"]
    assert "a person has to sign or waive it" in pages["reason"]


def test_planted_record_is_not_believed_when_it_names_the_checksum_of_the_list(home):
    def plant(content):
        content["stages"]["post_deploy"][0]["check"]["url"] = "{{ lookup('pipe', 'touch planted') }}"

    home.record(plant)
    told, results = home.sign()
    assert not (home.home / "planted").exists()
    (asked,) = results[0]["checks"]["post_deploy"]["web1"]
    assert asked["parameters"]["url"] == "https://ann:hunter22-of-ann@web1.example.com", told


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.write_text(path.read_text().replace("web1", "web2")), "line 1 was changed"),
        (lambda path: path.with_suffix(".head").unlink(), "r1.head is not there"),
        (lambda path: path.with_name("ledger.jsonl").unlink(), "ledger.jsonl is not there"),
        (lambda path: path.with_name("ledger.head").write_text("# entries 1\n"), "is not what was signed"),
    ],
    ids=["record", "head", "ledger", "ledger-head"],
)
def test_record_that_is_not_as_it_was_written_is_not_signed(home, spoil, fault):
    path = home.record()
    spoil(path)
    before = path.read_bytes()
    told, _results = home.sign()
    assert "nothing can be recorded, so nothing can be signed" in told
    assert fault in told
    assert "a record with a fault is not signed; playbooks/verify_record.yml has all of it" in told
    assert path.read_bytes() == before


def test_record_that_nobody_of_the_allowed_signers_signed_is_not_signed(home):
    path = home.record()
    (home.home / "records/allowed_signers").write_text("ann@example.com ssh-ed25519 AAAA\n")
    before = path.read_bytes()
    assert "is not signed" in home.sign()[0]
    assert path.read_bytes() == before


@pytest.mark.parametrize(("by", "status"), [("ann", "open"), ("joe", "open"), ("eve", "signed")])
def test_who_made_the_release_is_nobody_else_nor_is_their_login(home, by, status):
    text = LIST.replace("They were told", "They were told, who: not_deployer")
    (home.home / "list.yml").write_text(text)
    path = home.record(user="joe")
    given = {"checklist": "list", "checklist_version": "1", "inventory": "production", "commit": "c" * 40}
    given["checklist_sha256"] = digest(load(str(home.home / "list.yml")))
    given.update(release="r1", items={"told": {"status": "signed", "by": by}})
    told, _results = home.sign("-e", json.dumps({"approvals": given}))
    assert last(path)["told"]["status"] == status, told
