#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_config
short_description: Bring the configuration of running Redis servers into effect
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Asks each server what it runs with, sets what differs and can be set at run time, and has it read its access list.
  - Tells what it takes at its start only, and whether a restart would lose nothing.
  - Works for Valkey as well, and needs nothing on the host but Python.
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
options:
  instances:
    description: The servers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the result calls the server.
        type: str
        required: true
      host:
        description: Address at which the server answers.
        type: str
        default: 127.0.0.1
      ports:
        description: Ports to try, one after the other.
        type: list
        elements: int
        default: [6379]
      socket:
        description: Unix socket to try before the ports.
        type: path
      tls_ca:
        description: Speak TLS, and know the server by this file with authorities.
        type: path
      user:
        description: Account to log in with.
        type: str
      passwords:
        description: Passwords to try, one after the other; a server without one is taken as it is.
        type: list
        elements: str
        default: []
      settings:
        description: Directives with the values that they have to have.
        type: dict
        default: {}
      reload:
        description: Directives to set even where the value is the same, so that the server reads the files again.
        type: list
        elements: str
        default: []
      load_acl:
        description: Have the server read its access list.
        type: bool
        default: false
      policy:
        description: Only look whether the server answers and has this policy; for servers that cannot be configured.
        type: str
"""

EXAMPLES = r"""
- name: Keep the queue in memory
  slipway.laravel.redis_config:
    instances:
      - name: queue
        ports: [6380]
        passwords: ["{{ vault_redis_password }}"]
        settings: {maxmemory-policy: noeviction, appendonly: "yes"}
"""

RETURN = r"""
instances:
  description: The servers, by their name.
  type: dict
  returned: success
  contains:
    changed:
      description: Directives that were set, and acl when another access list was read.
      type: list
      elements: str
    pending:
      description: Directives that take effect at the next start only.
      type: list
      elements: str
    keys:
      description: Number of keys in all databases.
      type: int
"""

import re
import socket
import ssl
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
# The server writes its data anew; nobody wants to wait for longer than that.
PATIENCE = 3600


class Refused(Exception):
    """The server answered with an error."""


class Server:
    """A connection that speaks Redis's protocol."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")

    def ask(self, *words: str) -> Any:
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            raw = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
        self._sock.sendall(b"".join(parts))
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline().rstrip(b"\r\n")
        if not line:
            raise OSError("the server closed the connection")
        kind, rest = line[:1], line[1:].decode(errors="replace")
        if kind == b"-":
            raise Refused(rest)
        if kind == b"$":
            return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._answer() for dummy in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def config(self, name: str) -> str | None:
        answer = self.ask("CONFIG", "GET", name)
        return dict(zip(answer[::2], answer[1::2])).get(name)

    def info(self, section: str) -> dict[str, str]:
        lines = str(self.ask("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        self._sock.close()


def plain(value: str) -> str:
    """A value in one spelling: sizes in bytes."""
    size = re.fullmatch(r"(\d+)([kmg]?b?)", value.strip().lower())
    return str(int(size[1]) * UNITS[size[2]]) if size else value.strip()


def dial(instance: dict[str, Any]) -> socket.socket:
    """A connection to the first place that takes one."""
    failure = OSError("there is no port or socket to try")
    if instance["socket"]:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        try:
            sock.connect(instance["socket"])
            return sock
        except OSError as error:
            failure = OSError(f"{instance['socket']}: {error}")
            sock.close()
    for port in instance["ports"]:
        try:
            sock = socket.create_connection((instance["host"], port), timeout=30)
            if not instance["tls_ca"]:
                return sock
            context = ssl.create_default_context(cafile=instance["tls_ca"])
            return context.wrap_socket(sock, server_hostname=instance["host"])
        except OSError as error:
            failure = OSError(f"{instance['host']}:{port}: {error}")
    raise failure


def login(server: Server, instance: dict[str, Any]) -> None:
    """Find the password that the server takes; after a change that may be the one of before."""
    refusal = None
    for password in instance["passwords"]:
        try:
            server.ask("AUTH", *([instance["user"]] if instance["user"] else []), password)
            refusal = None
            break
        except Refused as error:
            refusal = error
    try:
        server.ask("PING")
    except Refused as error:
        raise refusal or error from None


def settle(server: Server) -> None:
    """Wait until an append-only file that was turned on is complete: a restart before that would lose data."""
    for dummy in range(PATIENCE * 5):
        state = server.info("persistence")
        if (state.get("aof_rewrite_in_progress"), state.get("aof_rewrite_scheduled")) == ("0", "0"):
            if state.get("aof_last_bgrewrite_status", "ok") != "ok":
                raise OSError("it could not write its append-only file; see its log")
            return
        time.sleep(0.2)
    raise OSError("it did not finish its append-only file in an hour")


def configure(server: Server, instance: dict[str, Any], check_mode: bool) -> dict[str, list[str]]:
    """Set what differs."""
    result: dict[str, list[str]] = {"changed": [], "pending": []}
    for name, wanted in instance["settings"].items():
        found = server.config(name)
        same = found is not None and plain(found) == plain(str(wanted))
        if same and name not in instance["reload"]:
            continue
        if check_mode:
            result["changed"].append(name)
            continue
        try:
            server.ask("CONFIG", "SET", name, str(wanted))
        except Refused:
            result["pending"] += [] if same else [name]
            continue
        if name == "appendonly" and wanted == "yes":
            settle(server)
        if server.config(name) != found or name in instance["reload"]:
            result["changed"].append(name)
    return result


def load_acl(server: Server) -> bool:
    """Have the access list read; true when it says something new."""
    before = server.ask("ACL", "LIST")
    server.ask("ACL", "LOAD")
    return bool(before != server.ask("ACL", "LIST"))


def work(instance: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Everything about one server."""
    server = Server(dial(instance))
    try:
        login(server, instance)
        if instance["policy"]:
            found = server.info("memory").get("maxmemory_policy", "")
            if found != instance["policy"]:
                raise OSError(f"its maxmemory-policy is {found}, not {instance['policy']}")
            return {"changed": [], "pending": [], "keys": 0}
        result: dict[str, Any] = configure(server, instance, check_mode)
        # Where the file itself is still to come into effect, there is none to read.
        if instance["load_acl"] and not check_mode and "aclfile" not in result["pending"] and load_acl(server):
            result["changed"].append("acl")
        counts = re.findall(r"keys=(\d+)", " ".join(server.info("keyspace").values()))
        return {**result, "keys": sum(int(count) for count in counts)}
    finally:
        server.close()


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "default": "127.0.0.1"},
        "ports": {"type": "list", "elements": "int", "default": [6379]},
        "socket": {"type": "path"},
        "tls_ca": {"type": "path"},
        "user": {"type": "str"},
        "passwords": {"type": "list", "elements": "str", "default": [], "no_log": True},
        "settings": {"type": "dict", "default": {}},
        "reload": {"type": "list", "elements": "str", "default": []},
        "load_acl": {"type": "bool", "default": False},
        "policy": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={"instances": {"type": "list", "elements": "dict", "required": True, "options": spec}},
        supports_check_mode=True,
    )
    results: dict[str, dict[str, Any]] = {}
    for instance in module.params["instances"]:
        try:
            results[instance["name"]] = work(instance, module.check_mode)
        except (OSError, Refused) as error:
            module.fail_json(msg=f"The Redis server {instance['name']} cannot be worked with: {error}")
    module.exit_json(changed=any(result["changed"] for result in results.values()), instances=results)


if __name__ == "__main__":
    main()
