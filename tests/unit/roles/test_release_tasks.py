"""What the tasks of the role release say against settings of a user's own, which stand for everything else there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TASKS = ROOT / "roles/release/tasks"
# Those that bring a host to do what it should neither stop in the middle nor begin twice.
ENTRIES = ("release", "rollback", "maintenance", "revert")
PLAYBOOKS = ("release", "rollback", "maintenance", "signoff")


def load(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("entry", ENTRIES)
def test_neither_a_timeout_nor_ssh_repeats_a_phase(entry: str) -> None:
    blocks = [task for task in load(TASKS / f"{entry}.yml") if "block" in task and task["name"] != SAID]
    assert [(block.get("timeout"), block.get("vars", {}).get("ansible_ssh_retries")) for block in blocks] == [
        (0, 0)
    ] * len(blocks)
    assert blocks


# It runs on the controller alone.
SAID = "Revert | Say what happened"


def test_nothing_on_the_controller_becomes_another_user() -> None:
    tasks = [task for path in TASKS.glob("*.yml") for task in load(path)]
    here = [task for task in tasks if task.get("delegate_to") == "localhost"]
    assert {task["name"]: task.get("vars", {}).get("ansible_become") for task in here} == {
        task["name"]: False for task in here
    }
    assert len(here) >= 5


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbook_is_carried_out_as_a_whole_and_in_step(name: str) -> None:
    (play,) = load(ROOT / f"playbooks/{name}.yml")
    (role,) = play.get("roles") or play["tasks"]
    assert (play["strategy"], role["tags"]) == ("ansible.builtin.linear", ["always"])


def test_role_beside_others_is_left_out_with_them() -> None:
    """A playbook with several roles and --tags for one of them: nothing of a release runs, not even its questions."""
    assert [task for path in TASKS.glob("*.yml") for task in load(path) if "always" in task.get("tags", [])] == []
