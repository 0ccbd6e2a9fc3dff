"""Every role resolves all of its variables on every platform, and names those that it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.template import trust_as_template

ROLES = Path(__file__).parents[2] / "roles"
PLATFORMS = ["bookworm", "trixie", "forky", "jammy", "noble"]
NAMES = sorted(path.parts[-3] for path in ROLES.glob("*/vars/main.yml") if "platforms:" in path.read_text())
PASSWORDS = {"laravel_db_password": "db", "laravel_redis_password": "redis"}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", NAMES)
def test_every_variable_resolves(role, name, platform):
    loaded = role(name, platform, laravel_db_name="app", laravel_db_user="app", **PASSWORDS)
    for variable in loaded.variables:
        if variable.startswith((f"{name}_", f"__{name}_")):
            assert "{{" not in str(loaded.value(variable)), variable


@pytest.mark.parametrize("name", NAMES)
def test_every_role_supports_the_same_platforms(role, name):
    assert set(role(name).value(f"__{name}_platforms")) == set(PLATFORMS)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_platform_is_named(role, name):
    """The borrowed row lets the specs pass, so that preflight can tell what is wrong."""
    loaded = role(name, "plucky")
    tasks = yaml.safe_load((ROLES / name / "tasks/preflight.yml").read_text())
    check = tasks[0]["ansible.builtin.assert"]
    assert loaded.template(trust_as_template("{{ " + check["that"] + " }}")) is False
    message = loaded.template(trust_as_template(check["fail_msg"]))
    assert message.startswith(f"{name} supports Debian 12, Debian 13")
    assert message.endswith("not plucky 1")


@pytest.mark.parametrize(
    ("platform", "version"),
    [("bookworm", "8.2"), ("trixie", "8.4"), ("forky", "8.4"), ("jammy", "8.1"), ("noble", "8.3")],
)
def test_php_is_the_distributions_own(role, platform, version):
    loaded = role("php_fpm", platform)
    assert loaded.value("php_fpm_version") == version
    assert f"php{version}-fpm" in loaded.value("__php_fpm_packages")


def test_another_php_wins(role):
    loaded = role("php_fpm", laravel_php_version=8.3)
    assert loaded.value("php_fpm_version") == "8.3"
    assert {"php8.3-fpm", "php8.3-cli"} <= set(loaded.value("__php_fpm_packages"))
