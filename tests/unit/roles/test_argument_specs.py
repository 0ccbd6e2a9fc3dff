"""Every default of a role stands in its argument specs with the same value, and the other way round."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROLES = Path(__file__).parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "tasks").is_dir())


@functools.cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def specs(role: str) -> dict[str, Any]:
    found: dict[str, Any] = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"]
    return found


def defaults(role: str) -> dict[str, Any]:
    return load(ROLES / role / "defaults/main.yml") or {}


def options(role: str) -> dict[str, Any]:
    """The options of all entry points together."""
    return {name: option for spec in specs(role).values() for name, option in spec.get("options", {}).items()}


def nested(found: dict[str, Any]) -> list[dict[str, Any]]:
    """All options, those inside of others too."""
    return [inner for option in found.values() for inner in [option, *nested(option.get("options", {}))]]


@pytest.mark.parametrize("role", NAMES)
def test_every_default_is_in_the_specs(role: str) -> None:
    assert sorted(set(defaults(role)) - set(options(role))) == []


@pytest.mark.parametrize("role", NAMES)
def test_every_option_has_a_default_or_is_required(role: str) -> None:
    missing = [
        name for name, option in options(role).items() if name not in defaults(role) and not option.get("required")
    ]
    assert missing == []


@pytest.mark.parametrize("role", NAMES)
def test_every_entry_point_tells_the_same_default(role: str) -> None:
    wrong = {
        f"{entry}.{name}": (option.get("default"), defaults(role)[name])
        for entry, spec in specs(role).items()
        for name, option in spec.get("options", {}).items()
        if name in defaults(role) and option.get("default") != defaults(role)[name]
    }
    assert wrong == {}


@pytest.mark.parametrize("role", NAMES)
def test_every_option_has_a_type_and_a_description(role: str) -> None:
    assert all(option.get("type") and option.get("description") for option in nested(options(role)))
    assert all(option.get("elements") for option in nested(options(role)) if option["type"] == "list")


@pytest.mark.parametrize("role", NAMES)
def test_every_public_variable_carries_the_name_of_its_role(role: str) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role}_")] == []
    private = load(ROLES / role / "vars/main.yml") or {}
    assert [name for name in private if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", NAMES)
def test_every_default_has_a_comment(role: str) -> None:
    text = (ROLES / role / "defaults/main.yml").read_text()
    # One comment may speak for several variables without a blank line between them.
    blocks = [block for block in re.split(r"\n\n", text.removeprefix("---\n")) if block.strip()]
    assert [block.splitlines()[0] for block in blocks if not block.lstrip().startswith("# ")] == []


@pytest.mark.parametrize("role", NAMES)
def test_secrets_are_marked(role: str) -> None:
    open_secrets = [
        name
        for name, option in options(role).items()
        if re.search(r"(password|_key|secret|token)$", name) and option["type"] == "str" and not option.get("no_log")
    ]
    assert open_secrets == []


@pytest.mark.parametrize(
    ("notify", "error"),
    [
        ({"kind": "slack", "url": "https://chat.example.com/hook"}, ""),
        ({"kind": "mail", "to": ["ops@example.com"], "port": "25", "from": "slipway@example.com"}, ""),
        ({"kind": "mail", "to": "ops@example.com", "secure": "starttls", "username": "robot", "password": "x"}, ""),
        ({"kind": "teams", "url": "https://chat.example.com"}, "value of kind must be one of: slack, mail, got: teams"),
        ({"url": "https://chat.example.com/hook"}, "missing required arguments: kind"),
        ({"kind": "mail", "to": "ops@example.com", "sender": "x"}, "release_notify.sender. Supported"),
        ({"kind": "slack"}, "kind is slack but all of the following are missing: url"),
        ({"kind": "mail"}, "kind is mail but all of the following are missing: to"),
    ],
)
def test_notification_that_would_reach_nobody_is_refused(notify: dict[str, str], error: str) -> None:
    spec = {"release_notify": options("release")["release_notify"]}
    found = ArgumentSpecValidator(spec).validate({"release_notify": [notify]}).error_messages
    assert all(error in message for message in found)
    assert bool(found) is bool(error)


@pytest.mark.parametrize(
    ("sentry", "error"),
    [
        ({}, ""),
        ({"url": "https://sentry.example.com", "token": "x", "org": "acme", "projects": ["shop"]}, ""),
        ({"url": "https://sentry.example.com"}, "parameters are required together: url, token, org, projects"),
        ({"adress": "https://sentry.example.com"}, "release_sentry.adress. Supported parameters include: org, proj"),
    ],
)
def test_sentry_that_could_not_be_told_is_refused(sentry: dict[str, Any], error: str) -> None:
    spec = {"release_sentry": options("release")["release_sentry"]}
    found = ArgumentSpecValidator(spec).validate({"release_sentry": sentry}).error_messages
    assert all(error in message for message in found)
    assert bool(found) is bool(error)
