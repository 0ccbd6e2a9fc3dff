"""Renders what the roles render, without a host: their defaults and vars, facts of a platform, Ansible's own engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"
init_plugin_loader()

PLATFORMS = {
    "bookworm": ("Debian", "12.12"),
    "trixie": ("Debian", "13.2"),
    "forky": ("Debian", "forky/sid"),
    "jammy": ("Ubuntu", "22.04"),
    "noble": ("Ubuntu", "24.04"),
}

DEFAULTS = yaml.safe_load((ROLES / "base/defaults/main.yml").read_text())
# What files/state.py of role base says of a fresh host.
HOST: dict[str, Any] = json.loads((Path(__file__).parent / "host.json").read_text()) | {
    "sysctl": {key: str(value) for key, value in DEFAULTS["base_sysctl"].items()} | {"vm.swappiness": "10"},
}


def trusted(value: Any) -> Any:
    """What a playbook would bring: its strings are templates."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: trusted(inner) for key, inner in value.items()}
    return [trusted(inner) for inner in value] if isinstance(value, list) else value


class Role:
    """A role as it stands before its first task runs on a host."""

    def __init__(self, name: str, platform: str, given: dict[str, Any]) -> None:
        distribution, version = PLATFORMS.get(platform, (platform, "1"))
        self.path = ROLES / name
        self.loader = DataLoader()
        self.defaults = self.load("defaults/main.yml")
        self.variables = self.defaults | self.load("vars/main.yml")
        self.variables |= {
            "ansible_check_mode": False,
            "ansible_managed": "Ansible managed",
            "ansible_search_path": [str(self.path)],
            "ansible_facts": {
                "distribution": distribution,
                "distribution_version": version,
                "distribution_release": platform,
                "memtotal_mb": 4096,
                "processor_vcpus": 2,
                "user_id": "root",
                "env": {"SUDO_USER": "admin"},
            },
            # What tasks have registered by then: the state of a host whose login has a key; sshd listens on one port.
            "__base_host_before": {"stdout": json.dumps(HOST)},
            "__base_host_after": {"stdout": json.dumps(HOST)},
            "__base_sshd": {"stdout": "port 22\n"},
            **trusted(given),
        }

    def load(self, name: str) -> dict[str, Any]:
        path = self.path / name
        loaded = self.loader.load_from_file(str(path), trusted_as_template=True) if path.exists() else {}
        return dict(loaded or {})

    def template(self, value: Any, **more: Any) -> Any:
        return Templar(loader=self.loader, variables=self.variables | more).template(value)

    def value(self, name: str) -> Any:
        """A variable of the role with everything in it resolved."""
        return self.template(self.variables[name])

    def render(self, template: str, **more: Any) -> str:
        """A file as the template module would write it."""
        lookup = trust_as_template("{{ lookup('ansible.builtin.template', '" + template + "') }}")
        return str(self.template(lookup, **more))


@pytest.fixture
def role() -> Callable[..., Role]:
    def load(name: str, platform: str = "trixie", **given: Any) -> Role:
        return Role(name, platform, given)

    return load
