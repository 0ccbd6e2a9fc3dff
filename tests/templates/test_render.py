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


@pytest.mark.skipif(not shutil.which("visudo"), reason="sudo is not installed")
@pytest.mark.parametrize(("name", "template"), [("php_fpm", "php-fpm")])
def test_sudo_accepts_it(role, tmp_path, name, template):
    (tmp_path / "sudoers").write_text(role(name).render(f"etc/sudoers.d/{template}.j2"))
    test = subprocess.run(["visudo", "-cf", tmp_path / "sudoers"], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
