"""What role base writes, and what it makes of the state of a host."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.template import trust_as_template

ROLE = Path(__file__).parents[2] / "roles/base"
HOST = json.loads((Path(__file__).parent / "host.json").read_text())
SSH = "etc/ssh/sshd_config.d/00-slipway.conf.j2"


def lines(text: str) -> list[str]:
    """What follows the header."""
    return text.splitlines()[3:]


def host(**known) -> dict:
    """The register of a task that has read such a host."""
    sysctl = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["base_sysctl"] | {"vm.swappiness": 10}
    return {"stdout": json.dumps(HOST | {"sysctl": {key: str(value) for key, value in sysctl.items()}} | known)}


def refusals(base) -> list[str]:
    """What preflight would say, in its order."""
    return [guard["says"] for guard in base.value("__base_guards") if not guard["that"]]


def test_ssh(role):
    settings = {"PasswordAuthentication": False, "PermitRootLogin": "no", "Port": [22, 2222], "MaxAuthTries": None}
    base = role("base", base_ssh_settings=settings, base_ssh_settings_extra={"PermitRootLogin": "yes"})
    assert lines(base.render(SSH)) == [
        "HostKey /etc/ssh/ssh_host_ed25519_key",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        "Port 22",
        "Port 2222",
    ]


def test_ssh_keeps_passwords_while_the_login_has_no_key(role):
    settings = {"passwordauthentication": "no", "PermitRootLogin": "no", "MaxAuthTries": 4}
    base = role("base", base_ssh_settings=settings, __base_host_before=host(users={"admin": {"keys": []}}))
    assert lines(base.render(SSH)) == ["HostKey /etc/ssh/ssh_host_ed25519_key", "MaxAuthTries 4"]
    coming = role(
        "base",
        base_ssh_settings=settings,
        base_user="admin",
        base_authorized_keys=["ssh-ed25519 AAAA a"],
        __base_host_before=host(users={"admin": {"keys": []}}),
    )
    assert "PermitRootLogin no" in lines(coming.render(SSH))


@pytest.mark.parametrize(("platform", "first"), [("bookworm", "sntrup761x25519"), ("trixie", "mlkem768x25519")])
def test_ssh_offers_what_its_version_knows(role, platform, first):
    text = role("base", platform).render(SSH)
    kex = next(line for line in text.splitlines() if line.startswith("KexAlgorithms "))
    assert kex.split()[1].startswith(first)
    assert "nistp" not in text
    assert "sha1" not in text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_locale": "de_DE.UTF-8"}, "base_locale de_DE.UTF-8 is not generated"),
        ({"base_swap_size": 8600}, "base_swap_size 8600 MiB does not fit"),
        ({"base_users": [{"name": "deploy"}]}, "names a user twice"),
        ({"base_users": [{"name": "Jane Doe"}]}, "names that no user can have"),
        ({"base_users": [{"name": "admin", "state": "absent"}]}, "Ansible logs in as admin"),
        ({"base_authorized_keys": ["AAAA"]}, "no public key: AAAA"),
        ({"base_ssh_settings_extra": {"Port": 2222}}, "would close port 22"),
        ({"__base_host_before": host(timezone_known=False)}, "no time zone"),
        ({"__base_host_before": host(managed_users=["admin"])}, "Ansible logs in as admin"),
        (
            {
                "base_ssh_settings_extra": {"PermitRootLogin": False},
                "__base_host_before": host(login=HOST["login"] | {"user": "root"}),
            },
            "forbid root's login",
        ),
    ],
)
def test_refused(role, given, says):
    found = refusals(role("base", **given))
    assert len(found) == 1
    assert says in found[0]


def test_a_host_as_it_comes_is_accepted(role):
    assert refusals(role("base")) == []
    assert refusals(role("base", base_ssh_settings_extra={"Port": ["22", "2222"]})) == []


def test_keys_are_written_by_their_user_whom_check_mode_may_not_have_made(role):
    keys = {"base_users": [{"name": name, "keys": ["ssh-ed25519 AAAA a"]} for name in ("jane", "admin")]}
    base = role("base", **keys)
    every = base.loader.load_from_file(str(ROLE / "tasks/users.yml"), trusted_as_template=True)
    task = next(task for task in every if "Authorize" in task["name"])
    assert (task["become"], base.template(task["become_user"], item={"name": "jane"})) == (True, "jane")
    condition = trust_as_template("{{ " + task["when"] + " }}")
    for check, name, asked in [(False, "jane", True), (True, "jane", False), (True, "admin", True)]:
        now = {"users": {"jane": {}, "admin": {"keys": []}}}
        found = base.template(condition, ansible_check_mode=check, item={"name": name}, __base_now=now)
        assert found is asked


def test_sudo_is_as_narrow_as_asked(role, tmp_path):
    users = [
        {"name": "jane", "sudo": True},
        {"name": "backup", "sudo_commands": ["/usr/bin/restic backup *"]},
        {"name": "plain"},
    ]
    base = role("base", base_users=users, base_user_sudo_commands=["/usr/bin/systemctl reload caddy.service"])
    texts = {
        user["name"]: base.render("etc/sudoers.d/user.j2", item=user) for user in base.value("__base_users_with_sudo")
    }
    assert {name: lines(text) for name, text in texts.items()} == {
        "deploy": ["deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reload caddy.service"],
        "jane": ["jane ALL=(ALL:ALL) NOPASSWD: ALL"],
        "backup": ["backup ALL=(root) NOPASSWD: /usr/bin/restic backup *"],
    }
    if shutil.which("visudo"):
        (tmp_path / "sudoers").write_text("".join(texts.values()))
        subprocess.run(["visudo", "-cf", tmp_path / "sudoers"], check=True)


def test_who_leaves_the_list_is_locked_once(role):
    known = {"jane": {"expired": False}, "joe": {"expired": True}, "ann": {}}
    base = role("base", __base_host_before=host(managed_users=["deploy", "jane", "joe", "ann"], users=known))
    assert base.value("__base_users_gone") == ["jane"]


def test_containers_set_the_network_only(role):
    base = role("base")
    base.variables["ansible_facts"] |= {"virtualization_role": "guest", "virtualization_type": "docker"}
    assert all(key.startswith("net.") for key in base.value("__base_sysctl_ours"))
    assert base.value("base_swap_size") == 0
    assert role("base").value("base_swap_size") == 1024
    assert "vm.swappiness = 10\n" in base.render("etc/sysctl.d/zz-slipway.conf.j2")


def test_swap_of_others_is_left_alone(role):
    swap = HOST["swap"] | {"others": ["/dev/vda2"]}
    assert role("base", __base_host_before=host(swap=swap)).value("__base_swap_wanted") == 0
    assert role("base").value("__base_swap_wanted") == 1024


def test_values_that_another_file_has_overridden_are_named(role):
    known = role("base").value("__base_now")["sysctl"]
    base = role("base", __base_host_after=host(sysctl=known | {"kernel.sysrq": "438", "vm.swappiness": None}))
    assert base.value("__base_sysctl_wrong") == ["kernel.sysrq is 438", "vm.swappiness is unknown to this kernel"]
    sshd = {"wanted": ["maxauthtries 3", "port 22"], "effective": ["maxauthtries 3"], "root": ["maxauthtries 9"]}
    assert role("base", __base_host_after=host(sshd=sshd)).value("__base_sshd_wrong") == ["maxauthtries 3"]


def test_jails(role):
    jails = {"sshd": {"enabled": True}, "nginx-http-auth": {"enabled": False, "maxretry": 3}}
    base = role("base", base_fail2ban_jails=jails, __base_net_before={"stdout": "port 22\nport 2222\n"})
    text = base.render("etc/fail2ban/jail.d/slipway.local.j2")
    assert "[nginx-http-auth]\nenabled = false\nmaxretry = 3\n" in text
    assert "[sshd]\nenabled = true\nport = 22,2222\n" in text


def test_upgrades(role):
    base = role(
        "base", base_upgrades_blacklist=["mariadb-"], base_upgrades_reboot=True, base_upgrades_origins=["site=x"]
    )
    text = base.render("etc/apt/apt.conf.d/52slipway-upgrades.j2")
    assert 'APT::Periodic::Unattended-Upgrade "1";\n' in text
    assert 'Unattended-Upgrade::Automatic-Reboot "true";\n' in text
    assert 'Unattended-Upgrade::Package-Blacklist:: "mariadb-";\n' in text
    assert text.index("#clear Unattended-Upgrade::Origins-Pattern;") < text.index('Pattern:: "site=x";')


def test_logrotate_takes_paths_as_they_are(role):
    log = {"name": "app", "paths": ["/var/www/my app/*.log"], "options": ["daily"]}
    text = role("base").render("etc/logrotate.d/log.j2", item=log)
    assert lines(text) == ['"/var/www/my app/*.log"', "{", "    missingok", "    notifempty", "    daily", "}"]
