#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_drain
short_description: Take servers out of HAProxy and bring them back, and wait for both
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Out, a server first gets no new visitors (C(drain)), and then no requests at all (C(maint)), so that those whom a
    cookie or a table binds to it go elsewhere. Requests in hand are not cut off.
  - Back, a server is waited for until a health check has found it well, or until it is in use where it has no checks.
  - In a backend where nobody else is up a server stays in use, since all requests would fail.
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
options:
  servers:
    description: Names of the servers.
    type: list
    elements: str
    required: true
  known:
    description: Names of servers that have to be there, or nothing is done.
    type: list
    elements: str
    default: []
  state:
    description: Whether the servers are to be out (V(drained)) or in use (V(ready)).
    type: str
    choices: [drained, ready]
    required: true
  backend:
    description: Their backend. Empty for each one that has a server of that name.
    type: str
    default: ""
  timeout:
    description:
      - Seconds to wait. Out, visitors that are bound to a server get half of them; sessions that last for longer than
        all of them go on, and nothing fails. Back, a server that is not up by then is a failure.
    type: int
    default: 30
  socket:
    description: Admin socket of HAProxy (C(stats socket … level admin)).
    type: path
    default: /run/haproxy/admin.sock
  name:
    description: What messages call this HAProxy.
    type: str
    default: HAProxy
"""

EXAMPLES = r"""
- name: Take a server out before it restarts
  slipway.laravel.haproxy_drain:
    servers: [app1]
    known: [app1, app2]
    state: drained
  delegate_to: lb1
"""

RETURN = r"""
servers:
  description: The servers, once for each backend that they are in.
  type: list
  elements: dict
  returned: success
  contains:
    backend:
      description: Name of the backend.
      type: str
    name:
      description: Name of the server.
      type: str
    status:
      description: Its status, as HAProxy has it.
      type: str
    sessions:
      description: How many sessions it has.
      type: int
"""

import csv
import socket
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# How often HAProxy is asked.
INTERVAL = 0.2
# For "show stat": servers, and no backends and frontends.
SERVERS = 4
IN_USE = ("UP", "no check")

Server = dict[str, str]


class BalancerError(Exception):
    """HAProxy does not do what it is told."""


class Balancer:
    """An HAProxy, by its admin socket, and those of its servers that are in question."""

    def __init__(self, path: str, names: list[str], backend: str) -> None:
        self._path, self._names, self._backend = path, names, backend

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            try:
                connection.connect(self._path)
                connection.sendall(f"{command}\n".encode())
                with connection.makefile(encoding="utf-8", errors="replace") as answer:
                    return answer.read()
            except OSError as exc:
                raise BalancerError(f"cannot be asked at {self._path}: {exc}") from exc

    def all(self) -> list[Server]:
        """Every server of the backend, or of all backends."""
        answer = self.ask(f"show stat -1 {SERVERS} -1")
        if not answer.startswith("# pxname"):
            raise BalancerError(f"does not tell of its servers at {self._path}: {answer.strip()}")
        found = csv.DictReader(answer[2:].splitlines())
        return [server for server in found if self._backend in ("", server["pxname"])]

    def servers(self) -> list[Server]:
        return [server for server in self.all() if server["svname"] in self._names]

    def put(self, servers: list[Server], state: str) -> None:
        for server in servers:
            answer = self.ask(f"set server {label(server)} state {state}").strip()
            if answer:
                raise BalancerError(f"does not make {label(server)} {state}: {answer}")

    def wait(self, wanted: Callable[[Server], bool], servers: list[Server], until: float) -> list[Server]:
        """Wait for servers, and return those that are not as wanted by then."""
        ours = [label(server) for server in servers]
        while True:
            time.sleep(INTERVAL)
            left = [server for server in self.all() if label(server) in ours and not wanted(server)]
            if not left or time.monotonic() > until:
                return left


def label(server: Server) -> str:
    return f"{server['pxname']}/{server['svname']}"


def is_in_use(server: Server) -> bool:
    """Say whether a server gets requests: just after maintenance it is UP 1/3, before it has been checked."""
    return server["status"].startswith(IN_USE)


def is_proven(server: Server) -> bool:
    return server["status"] in IN_USE


def problem_of(servers: list[Server], known: list[str], backend: str) -> str:
    """Say which servers are not there, '' when all are."""
    there = {server["svname"] for server in servers}
    missing = [name for name in known if name not in there]
    if not missing:
        return ""
    where = f" in backend {backend}" if backend else ""
    return (
        f"has no server {', '.join(missing)}{where}, only {', '.join(sorted(there)) or 'none'}; nothing was changed. "
        "Let release_drain_server be the name that stands there, and release_http_url be empty for hosts that get no "
        "requests"
    )


def to_drain(servers: list[Server], names: list[str]) -> tuple[list[Server], list[Server]]:
    """The servers that can go, and those that cannot, since nobody else is up in their backend."""
    others = {server["pxname"] for server in servers if server["svname"] not in names and is_in_use(server)}
    ours = [server for server in servers if server["svname"] in names]
    return (
        [server for server in ours if server["pxname"] in others],
        [server for server in ours if server["pxname"] not in others],
    )


def drain(balancer: Balancer, servers: list[Server], timeout: int) -> None:
    began = time.monotonic()
    # Maintenance comes second, for those whom a cookie binds to the server and who would never leave it. It cuts off
    # what is in hand where the server has "on-marked-down shutdown-sessions".
    for state, share in (("drain", 0.5), ("maint", 1.0)):
        balancer.put(servers, state)
        balancer.wait(lambda server: server["scur"] == "0", servers, began + timeout * share)


def enable(balancer: Balancer, servers: list[Server], timeout: int) -> None:
    balancer.put(servers, "ready")
    # One whose next check comes later than that is in use, and not known to be unwell.
    late = balancer.wait(is_proven, servers, time.monotonic() + timeout)
    down = [
        f"{label(server)} is {server['status']}"
        f" ({' '.join(server[name] for name in ('check_status', 'check_code', 'last_chk') if server.get(name))})"
        for server in late
        if not is_in_use(server)
    ]
    if down:
        raise BalancerError(
            f"has not taken back into use within {timeout} s: {', '.join(down)}. See what its health check asks for, "
            "or raise release_drain_timeout"
        )


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    balancer = Balancer(options["socket"], options["servers"], options["backend"])
    there = balancer.all()
    problem = problem_of(there, options["known"], options["backend"])
    if problem:
        raise BalancerError(problem)
    before = balancer.servers()
    if options["state"] == "ready":
        if not module.check_mode:
            enable(balancer, before, options["timeout"])
        changed = [server for server in before if not is_in_use(server)]
    else:
        changed, stay = to_drain(there, options["servers"])
        if stay:
            where = ", ".join(label(server) for server in stay)
            module.warn(f"{options['name']}: {where} stays in use, since nobody else is up in that backend")
        if not module.check_mode:
            drain(balancer, changed, options["timeout"])
    told = [
        {"backend": found["pxname"], "name": found["svname"], "status": found["status"], "sessions": int(found["scur"])}
        for found in balancer.servers()
    ]
    return {"changed": bool(changed), "servers": told}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "servers": {"type": "list", "elements": "str", "required": True},
            "known": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["drained", "ready"], "required": True},
            "backend": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 30},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "name": {"type": "str", "default": "HAProxy"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**work(module))
    except BalancerError as exc:
        module.fail_json(msg=f"{module.params['name']} {exc}")


if __name__ == "__main__":
    main()
