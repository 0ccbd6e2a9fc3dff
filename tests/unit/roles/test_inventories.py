"""The example inventories set only variables that a role knows, and groups that the site playbook knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
INVENTORIES = ["demo", "production", "single"]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/defaults/main.yml"))
KNOWN = {name for role in ROLES for name in yaml.safe_load((role / "defaults/main.yml").read_text())}
# What every role reads through its defaults.
SHARED = {
    name
    for path in [*ROOT.glob("roles/*/defaults/main.yml"), *ROOT.glob("playbooks/*.yml")]
    for name in re.findall(r"\blaravel_[a-z_]+", path.read_text())
}
# Names that an inventory keeps for itself, and those of Ansible.
OWN = ("ansible_", "site_", "vault_", "__")


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_variable_is_known(inventory: str) -> None:
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "inventories" / inventory).glob("group_vars/**/*.yml")
        for name in yaml.safe_load(path.read_text())
        if name not in KNOWN | SHARED and not name.startswith(OWN)
    }
    assert unknown == set()


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_groups_are_those_of_the_site(inventory: str) -> None:
    groups = yaml.safe_load((ROOT / "inventories" / inventory / "hosts.yml").read_text())
    known = set(re.findall(r"'(laravel(?:_[a-z]+)?)'", (ROOT / "playbooks/site.yml").read_text()))
    # A group that only gathers hosts for the others.
    known |= {child for group in groups.values() for child in group.get("children", {})}
    assert set(groups) - known == set()
    assert {"laravel", "laravel_web", "laravel_database", "laravel_redis", "laravel_workers"} <= set(groups)


@pytest.mark.parametrize("inventory", ["production", "single"])
def test_no_secret_stands_in_an_example(inventory: str) -> None:
    files = list((ROOT / "inventories" / inventory).rglob("*.yml"))
    assert not [path for path in files if path.name == "vault.yml"]
    for path in files:
        for name, value in re.findall(r"^\s*(\w*(?:password|key|secret)):\s*(.+)$", path.read_text(), re.M | re.I):
            assert value.startswith('"{{ '), f"{path.name}: {name}"
