"""What the callback phases makes of the names of tasks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.slipway.laravel.plugins.callback.phases import is_release, name_of

TOKEN = "glpat" + "-0123456789"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (f"curl -H Authorization: Bearer {TOKEN} https://x", "curl -H Authorization: ********"),
        (f"curl -H PRIVATE-TOKEN : {TOKEN} https://x", "******** https://x"),
        ("php current/artisan app:announce", "Run after_verify: php current/artisan app:announce"),
    ],
)
def test_command_of_a_hook_is_shown_without_its_secrets(command, shown):
    name = f"slipway.laravel.release : Run after_verify: {command}"
    told = name_of(SimpleNamespace(get_name=lambda include_role_fqcn: name))
    assert told.endswith(shown)
    assert TOKEN not in told


@pytest.mark.parametrize(("path", "part"), [("switch.yml", True), ("layout.yml", False), ("place.yml", False)])
def test_the_place_for_a_release_is_none(path, part):
    role = SimpleNamespace(get_name=lambda include_role_fqcn: "slipway.laravel.release")
    task = SimpleNamespace(_role=role, get_path=lambda: f"/c/roles/release/tasks/{path}:7")
    assert is_release(task) is part
