"""What the roles besides nginx write."""

from __future__ import annotations

import shutil
import subprocess

import pytest


@pytest.mark.skipif(not shutil.which("visudo"), reason="sudo is not installed")
@pytest.mark.parametrize(("name", "template"), [("php_fpm", "php-fpm")])
def test_sudo_accepts_it(role, tmp_path, name, template):
    (tmp_path / "sudoers").write_text(role(name).render(f"etc/sudoers.d/{template}.j2"))
    test = subprocess.run(["visudo", "-cf", tmp_path / "sudoers"], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
