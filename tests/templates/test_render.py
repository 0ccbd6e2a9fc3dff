"""What the roles besides nginx write."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def test_redis(role):
    text = role("redis", laravel_redis_password='a"b\\c').render("etc/redis/slipway.conf.j2")  # noqa: S106
    assert text.splitlines()[3:] == [
        "appendonly yes",
        "bind 127.0.0.1",
        "maxmemory 428867584",
        "maxmemory-policy noeviction",
        "port 6379",
        r'requirepass "a\"b\\c"',
    ]


def test_redis_without_a_password(role):
    assert "requirepass" not in role("redis").render("etc/redis/slipway.conf.j2")


def test_ssh(role):
    settings = {"PasswordAuthentication": False, "PermitRootLogin": "no", "Port": 2222}
    text = role("base", base_ssh_settings=settings).render("etc/ssh/sshd_config.d/00-slipway.conf.j2")
    assert text.splitlines()[3:] == ["PasswordAuthentication no", "PermitRootLogin no", "Port 2222"]


def test_ssh_keeps_passwords_while_the_login_has_no_key(role):
    settings = {"passwordauthentication": "no", "PermitRootLogin": "no", "MaxAuthTries": 4}
    base = role("base", base_ssh_settings=settings, __base_login_key={"rc": 1})
    assert base.render("etc/ssh/sshd_config.d/00-slipway.conf.j2").splitlines()[3:] == ["MaxAuthTries 4"]


def test_jails(role):
    jails = {"sshd": {"enabled": True}, "nginx-http-auth": {"enabled": False, "maxretry": 3}}
    base = role("base", base_fail2ban_jails=jails, __base_sshd={"stdout": "port 22\nport 2222\n"})
    text = base.render("etc/fail2ban/jail.d/slipway.local.j2")
    assert "[nginx-http-auth]\nenabled = false\nmaxretry = 3\n" in text
    assert "[sshd]\nenabled = true\nport = 22,2222\n" in text


def test_upgrades(role):
    base = role("base", base_upgrades_blacklist=["mariadb-"], base_upgrades_reboot=True)
    text = base.render("etc/apt/apt.conf.d/52slipway-upgrades.j2")
    assert 'APT::Periodic::Unattended-Upgrade "1";\n' in text
    assert 'Unattended-Upgrade::Automatic-Reboot "true";\n' in text
    assert 'Unattended-Upgrade::Package-Blacklist:: "mariadb-";\n' in text


@pytest.mark.skipif(not shutil.which("visudo"), reason="sudo is not installed")
@pytest.mark.parametrize(("name", "template"), [("php_fpm", "php-fpm")])
def test_sudo_accepts_it(role, tmp_path, name, template):
    (tmp_path / "sudoers").write_text(role(name).render(f"etc/sudoers.d/{template}.j2"))
    test = subprocess.run(["visudo", "-cf", tmp_path / "sudoers"], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
