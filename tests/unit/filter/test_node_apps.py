"""What the role node makes of its applications."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.node_apps import node_apps


def one(**given: Any) -> dict[str, Any]:
    return node_apps([{"name": "web", "directory": "/srv/web/current/", "port": 3000, **given}], user="deploy")[0]


def test_instances_are_units_with_ports_of_their_own() -> None:
    app = one(instances="2")
    assert app["service"] == "node-web.service"
    assert app["ports"] == [3000, 3001]
    assert app["units"] == ["node-web@3000.service", "node-web@3001.service"]
    assert (app["user"], app["directory"], app["writable"]) == ("deploy", "/srv/web/current", ["/srv/web"])
    assert app["awaits"] == "/srv/web/current/server.js"


def test_under_pm2_they_share_one() -> None:
    app = one(manager="pm2", instances=2, args=["-p", "{port}"], memory_mb=100, restart="on-failure")
    assert (app["ports"], app["units"]) == ([3000], ["node-web.service"])
    assert app["pm2"]["args"] == ["-p", "3000"]
    assert (app["pm2"]["max_memory_restart"], app["pm2"]["stop_exit_codes"]) == ("100M", [0])
    assert app["pm2"]["exec_mode"] == "cluster"


def test_arguments_are_quoted_for_systemd() -> None:
    app = one(args=["--port={port}", "--host={address}", '50% "$A" \\'])
    assert app["arguments"] == [
        '"/usr/bin/node"',
        '"server.js"',
        '"--port=%i"',
        '"--host=127.0.0.1"',
        r'"50%% \"$$A\" \\"',
    ]


def test_what_is_compared_holds_no_secret() -> None:
    app = one(environment={"TOKEN": "secret"})
    assert "secret" not in str(app["wanted"])
    assert "secret" not in str(app["pm2"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"manager": "pm2", "command": "/usr/bin/npm"}, "PM2 cannot reload"),
        ({"command": "npm"}, "it has to be a full path"),
        ({"directory": "srv"}, "it has to be a full path"),
        ({"instances": 0}, "it needs at least 1"),
        ({"environment": {"a-b": 1}}, "has a-b; names hold"),
        ({"environment": {"PORT": 1}}, "PORT comes from port"),
    ],
)
def test_faults(given: dict[str, Any], says: str) -> None:
    faults = one(**given)["faults"]
    assert len(faults) == 1
    assert says in faults[0]


def test_no_fault() -> None:
    assert one(environment={"A_1": 1})["faults"] == []


def test_what_is_missing_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="needs port for every application"):
        node_apps([{"name": "web", "directory": "/srv"}], user="deploy")
    with pytest.raises(AnsibleFilterError, match="needs a list"):
        node_apps({}, user="deploy")  # type: ignore[arg-type]
