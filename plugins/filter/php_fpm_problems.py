# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: php_fpm_problems
short_description: What PHP-FPM would refuse about pools
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns a sentence for each thing that PHP-FPM would refuse or that would set two pools against each other.
options:
  _input:
    description: Complete pools, as the filter P(slipway.laravel.php_fpm_pools#filter) returns them.
    type: list
    elements: dictionary
    required: true
  children:
    description: Children that the host's memory carries for all pools together.
    type: int
    required: true
  before:
    description:
      - Pools as they run, each with V(name), V(version) and V(sockets). One that listens on a port cannot move to
        another version, since two versions cannot share the port.
    type: list
    elements: dictionary
    default: []
"""

EXAMPLES = r"""
problems: "{{ pools | slipway.laravel.php_fpm_problems(children=16) }}"
"""

RETURN = r"""
_value:
  description: The problems; empty when there is none.
  type: list
  elements: str
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MANAGERS = ("static", "dynamic", "ondemand")
# On (a path, an address with a port, or a port), as PHP-FPM takes it.
LISTEN = re.compile(r"/[^\s;\"]+|(?:[\w.*-]+:|\[[0-9a-fA-F:]+\]:)?\d{1,5}")
NAME = re.compile(r"[a-z][a-z0-9_-]*")
USER = re.compile(r"[a-z_][a-z0-9_-]*")


def twice(values: Sequence[str]) -> list[str]:
    return [value for value, number in Counter(values).items() if number > 1]


def of_pool(pool: Mapping[str, Any]) -> Iterator[str]:
    """Problems of one pool, each naming the value and the remedy."""
    name, settings = pool["name"], pool["settings"]
    if not NAME.fullmatch(name) or name == "global":
        yield (
            f"php_fpm_pools has {name!r}: a name is of small letters, digits, - and _, begins with a letter and is not"
            " global"
        )
    if not re.fullmatch(r"\d+\.\d+", pool["version"]):
        yield f"pool {name} wants PHP {pool['version']!r}: a version looks like 8.4"
    for key in ("user", "group"):
        if not USER.fullmatch(str(settings[key])):
            yield f"pool {name} has the {key} {settings[key]!r}, which cannot be a {key}'s name"
    if settings["user"] == "root":
        yield f"pool {name} would run as root: give it a user of its own"
    for key in ("listen", "pm.status_listen"):
        if key in settings and not LISTEN.fullmatch(str(settings[key])):
            yield (
                f"pool {name} cannot listen on {settings[key]!r} ({key}): name a path, a port, or an address with a"
                " port"
            )
    broken = [key for key, value in settings.items() if re.search(r"[\r\n\0]", f"{key}{value}")]
    if broken:
        yield f"pool {name} has a line break in {', '.join(broken)}, which its file cannot hold"
    yield from of_manager(name, settings)


def of_manager(name: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """The numbers of children that PHP-FPM would not start with."""
    if settings["pm"] not in MANAGERS:
        yield f"pool {name} has pm {settings['pm']!r}: take {', '.join(MANAGERS)}"
        return
    keys = ["pm.max_children"]
    if settings["pm"] == "dynamic":
        keys = ["pm.min_spare_servers", "pm.start_servers", "pm.max_spare_servers", "pm.max_children"]
    numbers = {key: settings.get(key) for key in keys}
    wrong = [key for key, value in numbers.items() if not re.fullmatch(r"[1-9]\d*", str(value))]
    if wrong:
        yield f"pool {name} has {', '.join(f'{key} {numbers[key]!r}' for key in wrong)}: it has to be a number above 0"
        return
    ordered = [int(str(value)) for value in numbers.values()]
    if ordered != sorted(ordered):
        told = " <= ".join(f"{key} ({value})" for key, value in numbers.items())
        yield f"pool {name} does not keep {told}: correct the numbers, or leave them to the role"


def of_ports(pools: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Ports that another version listens on, and would still listen on when this one starts."""
    taken = {socket: pool for pool in before for socket in pool["sockets"] if not socket.startswith("/")}
    for pool in pools:
        for socket in pool["sockets"]:
            old = taken.get(socket)
            if old and old["version"] != pool["version"]:
                yield (
                    f"pool {pool['name']} wants {socket} for PHP {pool['version']}, where pool {old['name']} of PHP"
                    f" {old['version']} listens: let it listen on a path, which can move between versions, or on"
                    " another port, or take the pool out of php_fpm_pools for one run"
                )


def php_fpm_problems(
    pools: Sequence[Mapping[str, Any]], children: int, before: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """What is wrong with the pools, one by one and together."""
    found = [] if pools else ["php_fpm_pools is empty, but PHP-FPM does not start without a pool: name at least one"]
    names = [pool["name"] for pool in pools]
    found += [f"php_fpm_pools names {name} twice: every pool needs a name of its own" for name in twice(names)]
    taken = {pool["name"]: [*pool["sockets"], *pool["links"].values()] for pool in pools}
    for socket in twice([socket for sockets in taken.values() for socket in sockets]):
        those = " and ".join(name for name, sockets in taken.items() if socket in sockets)
        found.append(f"pools {those} both listen on {socket}: give one of them another place")
    found += of_ports(pools, before)
    for pool in pools:
        found += of_pool(pool)
    if not found:
        needed = sum(int(pool["settings"]["pm.max_children"]) for pool in pools)
        if needed > children:
            found.append(
                f"the pools need {needed} children, but the memory of this host carries {children}: lower max_children"
                " of the pools or php_fpm_child_mb, raise php_fpm_memory_share, or add memory"
            )
    return found


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"php_fpm_problems": php_fpm_problems}
