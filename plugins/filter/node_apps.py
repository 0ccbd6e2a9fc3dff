# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: node_apps
short_description: Complete the applications of the role node
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Fills in what an application does not name itself, and works out its units, ports and command lines.
options:
  _input:
    description: Applications, as the variable C(node_apps) of the role C(node) has them.
    type: list
    elements: dictionary
    required: true
  user:
    description: User of an application that names none.
    type: str
    required: true
  manager:
    description: What runs an application that does not say.
    type: str
    choices: [systemd, pm2]
    default: systemd
"""

EXAMPLES = r"""
apps: "{{ [{'name': 'web', 'directory': '/srv/web', 'port': 3000}] | slipway.laravel.node_apps(user='deploy') }}"
"""

RETURN = r"""
_value:
  description:
    - The applications with all their values, besides with C(service), C(units), C(ports), C(arguments) as systemd
      quotes them, C(pm2) for PM2's own file, C(faults), and C(wanted), which holds what the host is compared with and
      no secrets.
  type: list
  elements: dictionary
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

DEFAULTS: dict[str, Any] = {
    "script": "server.js",
    "command": "",
    "args": [],
    "node_args": [],
    "instances": 1,
    "address": "127.0.0.1",
    "group": "",
    "environment": {},
    "memory_mb": 0,
    "restart": "always",
    "start_timeout": 30,
    "stop_timeout": 10,
    "health": "/",
    "settings": {},
}


def quoted(word: str, address: str) -> str:
    """A word of a command line as systemd reads it; %i is the port of the instance."""
    text = re.sub(r'(["\\])', r"\\\1", word).replace("$", "$$").replace("%", "%%")
    return '"' + text.replace("{port}", "%i").replace("{address}", address) + '"'


def ecosystem(app: Mapping[str, Any]) -> dict[str, Any]:
    """The application as PM2 reads it. Its output goes to PM2's own, and so into the journal."""
    words = [str(word).replace("{port}", str(app["port"])).replace("{address}", app["address"]) for word in app["args"]]
    file = {
        "name": app["name"],
        "cwd": app["directory"],
        "script": app["script"],
        "args": words,
        "node_args": [str(word) for word in app["node_args"]],
        "exec_mode": "cluster",
        "instances": app["instances"],
        "autorestart": app["restart"] != "no",
        "listen_timeout": app["start_timeout"] * 1000,
        "kill_timeout": app["stop_timeout"] * 1000,
        "vizion": False,
        "out_file": "/dev/null",
        "error_file": "/dev/null",
    }
    if app["restart"] == "on-failure":
        file["stop_exit_codes"] = [0]
    if app["memory_mb"]:
        file["max_memory_restart"] = f"{app['memory_mb']}M"
    return file


def faults(app: Mapping[str, Any]) -> list[str]:
    """What a spec cannot say, one sentence each."""
    found = []
    name = app["name"]
    if app["command"] and app["manager"] == "pm2":
        found.append(
            f"{name} in node_apps has a command, which PM2 cannot reload; give it a script, or manager: systemd"
        )
    if app["command"] and not app["command"].startswith("/"):
        found.append(
            f"The command of {name} in node_apps is {app['command']}; it has to be a full path, such as /usr/bin/npm"
        )
    if not app["directory"].startswith("/"):
        found.append(f"The directory of {name} in node_apps is {app['directory']}; it has to be a full path")
    if app["instances"] < 1:
        found.append(f"{name} in node_apps has {app['instances']} instances; it needs at least 1")
    wrong = [
        key for key in app["environment"] if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(key)) or key == "PORT"
    ]
    if wrong:
        found.append(
            f"The environment of {name} in node_apps has {', '.join(map(str, wrong))}; names hold letters, digits and "
            "_, and PORT comes from port"
        )
    return found


def complete(given: Mapping[str, Any], user: str, manager: str) -> dict[str, Any]:
    missing = [key for key in ("name", "directory", "port") if given.get(key) in (None, "")]
    if missing:
        raise AnsibleFilterError(f"node_apps needs {' and '.join(missing)} for every application")
    app = {**DEFAULTS, **{key: value for key, value in given.items() if value is not None}}
    for key in ("port", "instances", "memory_mb", "start_timeout", "stop_timeout"):
        app[key] = int(app[key])
    app["directory"] = directory = re.sub(r"(?<=.)/+$", "", str(app["directory"]))
    app.setdefault("manager", manager)
    app.setdefault("user", user)
    app.setdefault("writable", [re.sub(r"(?<=.)/current$", "", directory)])
    app["service"] = f"node-{app['name']}.service"
    if app["manager"] == "pm2":
        app["ports"] = [app["port"]]
        app["units"] = [app["service"]]
    else:
        app["ports"] = list(range(app["port"], app["port"] + app["instances"]))
        app["units"] = [f"node-{app['name']}@{port}.service" for port in app["ports"]]
    # What the first release brings, and the unit waits for.
    app["awaits"] = directory if app["command"] else f"{directory}/{app['script']}"
    start = [app["command"]] if app["command"] else ["/usr/bin/node", *app["node_args"], app["script"]]
    app["arguments"] = [quoted(str(word), app["address"]) for word in [*start, *app["args"]]]
    app["pm2"] = ecosystem(app)
    anywhere = app["address"] in ("0.0.0.0", "::", "*")  # noqa: S104
    app["probe"] = "127.0.0.1" if anywhere else app["address"]
    app["faults"] = faults(app)
    # A change of the first is in effect after a reload; PM2 itself has to restart for one of the second.
    app["unit_files"] = [f"/etc/systemd/system/{unit}" for unit in (app["service"], f"node-{app['name']}@.service")]
    app["files"] = [*app["unit_files"], *(f"/etc/slipway/node/{app['name']}.{kind}" for kind in ("env", "json"))]
    shown = "name manager service units ports instances user directory awaits probe health files unit_files"
    app["wanted"] = {key: app[key] for key in shown.split()} | {"address": "*" if anywhere else app["address"]}
    return app


def node_apps(apps: Sequence[Mapping[str, Any]], user: str, manager: str = "systemd") -> list[dict[str, Any]]:
    """Every application with all its values."""
    if isinstance(apps, (str, Mapping)) or not isinstance(apps, Sequence):
        raise AnsibleFilterError(f"node_apps needs a list of applications, got {native_type_name(apps)}")
    return [complete(app, user, manager) for app in apps]


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"node_apps": node_apps}
