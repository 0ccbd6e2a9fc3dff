"""The built artifact, installed alone into an empty path, is all that a user needs."""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import re
import subprocess
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/*.yml"))
PLUGINS = {
    kind: sorted(path.stem for path in ROOT.glob(f"plugins/{folder}/*.py") if path.stem != "__init__")
    for kind, folder in {"module": "modules", "filter": "filter", "lookup": "lookup", "callback": "callback"}.items()
}
INVENTORY = "[laravel]\nhost ansible_connection=local\n"


class Installed:
    """The collection as a user of Galaxy has it; the checkout is out of reach."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.artifact = Path()
        collections = place / "collections" / "ansible_collections"
        collections.mkdir(parents=True)
        for namespace in ("ansible", "community"):
            site = Path(sysconfig.get_path("purelib")) / "ansible_collections" / namespace
            (collections / namespace).symlink_to(site)
        self.root = collections / "slipway" / "laravel"

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.place / "collections"),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_HOME": str(self.place / "home"),
            "ANSIBLE_NOCOLOR": "true",
        }
        env.pop("ANSIBLE_CONFIG", None)
        done = subprocess.run(argv, cwd=self.place, env=env, text=True, capture_output=True, check=False, timeout=120)
        if check and done.returncode:
            pytest.fail(f"{' '.join(argv)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    @functools.cache  # noqa: B019  one object for all tests
    def documented(self, kind: str) -> dict[str, Any]:
        """What ansible-doc knows of all plugins of a kind: it takes seconds to start."""
        names = [f"slipway.laravel.{name}" for name in {**PLUGINS, "role": ROLES}[kind]]
        found: dict[str, Any] = json.loads(self.run("ansible-doc", "--json", "--type", kind, *names).stdout)
        return found


@pytest.fixture(name="installed", scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    installed = Installed(tmp_path_factory.mktemp("galaxy"))
    installed.run("ansible-galaxy", "collection", "build", "--output-path", str(installed.place), str(ROOT))
    (installed.artifact,) = installed.place.glob("slipway-laravel-*.tar.gz")
    target = str(installed.place / "collections")
    installed.run(
        "ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", target, str(installed.artifact)
    )
    (installed.place / "inventory").write_text(INVENTORY)
    return installed


def test_artifact_holds_what_users_need_and_nothing_else(installed: Installed) -> None:
    with tarfile.open(installed.artifact) as archive:
        top = {name.split("/")[0] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.json", "meta", "playbooks", "plugins", "roles"} <= top
    assert not {name for name in top if name.startswith(".")}
    assert not top & {"tests", "lab", "examples", "molecule", "records", "Makefile", "pyproject.toml"}


def test_artifact_holds_no_inventory_of_ones_own(installed: Installed) -> None:
    """Both the directory that README.md names and a vault in another one are left out."""
    with tarfile.open(installed.artifact) as archive:
        held = {name.split("/")[1] for name in archive.getnames() if name.startswith("inventories/") and name[12:]}
    assert held == {"production", "single"}
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]
    for own in ("inventories/mine", "inventories/shop/group_vars/all/vault.yml"):
        assert any(fnmatch.fnmatch(own, pattern) for pattern in ignored)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in PLUGINS.items() for name in names])
def test_plugin_resolves_by_full_name(installed: Installed, kind: str, name: str) -> None:
    documented = installed.documented(kind)[f"slipway.laravel.{name}"]["doc"]
    assert Path(documented["filename"]).resolve().is_relative_to(installed.root.resolve())


@pytest.mark.parametrize("name", ROLES)
def test_role_resolves_by_full_name(installed: Installed, name: str) -> None:
    assert installed.documented("role")[f"slipway.laravel.{name}"]["entry_points"]


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbook_resolves_by_full_name(installed: Installed, name: str) -> None:
    done = installed.run("ansible-playbook", f"slipway.laravel.{name}", "-i", "inventory", "--syntax-check")
    assert f"playbook: {installed.root}/playbooks/{name}.yml" in done.stdout


def test_release_without_a_version_is_one_clear_error(installed: Installed) -> None:
    done = installed.run("ansible-playbook", "slipway.laravel.release", "-i", "inventory", check=False)
    assert done.returncode != 0
    assert "release_version" in done.stdout + done.stderr


def test_dependencies_are_the_named_ones() -> None:
    """Every other collection that roles, playbooks and plugins use stands in galaxy.yml and requirements.yml."""
    used = set()
    for path in [*ROOT.glob("roles/**/*.yml"), *ROOT.glob("playbooks/*.yml")]:
        used |= set(re.findall(r"\b((?:ansible|community)\.[a-z]+)\.[a-z_]+:", path.read_text()))
    named = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    required = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert used - {"ansible.builtin"} <= set(named)
    assert {one["name"]: one["version"] for one in required} == named
