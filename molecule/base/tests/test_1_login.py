"""Settings that would end the login in use: they are taken back, and the login is there again. Over real SSH."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

WORK = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
DROP_IN = "/etc/ssh/sshd_config.d/00-slipway.conf"


def all_hosts() -> list[Host]:
    return testinfra.get_hosts(["ansible://role_hosts"], ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="module")
def over_ssh(play):
    """The role run as admin by SSH with a set of variables, on all hosts at once."""
    login = {
        "ansible_connection": "ssh",
        "ansible_user": "admin",
        "ansible_ssh_private_key_file": str(WORK / "key"),
        "ansible_ssh_common_args": "-o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
    }
    hosts = {
        host.backend.host: {"ansible_host": host.check_output("hostname -I").split()[0], **login}
        for host in all_hosts()
    }
    inventory = WORK / "over_ssh.json"
    inventory.write_text(json.dumps({"all": {"children": {"role_hosts": {"hosts": hosts}}}}))

    def run(**variables):
        # The later inventory wins: it says how to log in.
        given = ["-i", str(inventory), "--extra-vars", json.dumps(variables), "--tags", "base_ssh,base_users"]
        return play("molecule/shared/role.yml", *given)

    return run


@pytest.fixture(scope="module")
def locked_out(over_ssh):
    return over_ssh(base_ssh_settings_extra={"AllowUsers": "nobody"}, base_ssh_way_back=20)


def test_what_would_lock_out_is_refused_in_words(locked_out):
    assert locked_out.status != 0
    # Ansible breaks long lines.
    said = " ".join(locked_out.output.split())
    assert said.count("admin could not log in any more, so the old ones are back") >= len(all_hosts())


# All hosts in one test, since the next run changes all of them.
def test_the_old_settings_are_back(locked_out):
    for host in all_hosts():
        assert "AllowUsers" not in host.file(DROP_IN).content_string
        assert "allowusers" not in host.check_output("sshd -T -C user=admin,host=localhost,addr=127.0.0.1")


def test_what_works_is_kept(over_ssh, locked_out):
    kept = over_ssh(base_ssh_settings_extra={"AllowUsers": "admin root deploy"})
    assert kept.status == 0, kept.errors
    for host in all_hosts():
        assert "AllowUsers admin root deploy" in host.file(DROP_IN).content_string
        assert host.check_output("systemctl list-units --all --plain --no-legend 'slipway-way-back*'") == ""
