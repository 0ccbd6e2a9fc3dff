# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: ufw_refusals
short_description: What is wrong with a list of firewall rules
version_added: 0.1.0
description:
  - Returns one sentence for each rule that ufw would not understand, that would open every port to everyone, that
    contradicts another, or that would deny SSH.
author: The slipway.laravel authors (@slipway)
options:
  _input:
    description: Rules, as in C(base_firewall_rules) of the role P(slipway.laravel.base#role).
    type: list
    elements: dict
    required: true
  ssh_ports:
    description: Ports on which the SSH server listens.
    type: list
    elements: str
    required: true
  client:
    description: Address from which the connection in use comes; empty when it is none of SSH.
    type: str
    default: ""
  ipv6:
    description: Whether ufw writes rules for IPv6.
    type: bool
    default: true
"""

EXAMPLES = r"""
# ["{'port': '22', 'rule': 'deny'} would deny SSH (port 22)"]
- ansible.builtin.debug:
    msg: "{{ [{'port': '22', 'rule': 'deny'}] | slipway.laravel.ufw_refusals(['22']) }}"
"""

RETURN = r"""
_value:
  description: Sentences; empty when nothing is wrong.
  type: list
  elements: str
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils import ufw


def _ports(text: str) -> tuple[int, int] | None:
    """First and last port, or None when it is no port and no range."""
    if text == "any":
        return 1, 65535
    found = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    return (first, last) if 0 < first <= last <= 65535 else None


def _rule(rule: ufw.Rule, ssh_ports: set[int]) -> Iterator[str]:
    """What is wrong with one rule by itself."""
    (proto, port), way = rule.match[:2], rule.match[5]
    ports = _ports(port)
    denies = rule.verdict in ("deny", "reject")
    if ports is None:
        yield f"has the port {port}, which is neither a number up to 65535 nor a range as 6000:6010"
        return
    if ":" in port and proto == "any":
        yield f"has the range {port}, for which proto has to be tcp or udp"
    if port == "any" and proto != "any":
        yield f"has proto {proto}, which needs a port"
    if port == "any" and way == "in" and rule.everywhere and not denies:
        yield "opens every port to everyone; give it a port, an address or an interface"
    cut = sorted(number for number in ssh_ports if ports[0] <= number <= ports[1])
    if denies and way.startswith("in") and proto in ("tcp", "any") and cut and not rule.ahead:
        yield (
            f"would deny SSH (port {cut[0]}); name other ports, or shut an address out by base_firewall_blocked, "
            "or name those that may use SSH in base_firewall_ssh_from"
        )
    if re.search(r"[^ -~]|'", rule.comment):
        yield "has a comment with a quote or something else than plain ASCII"


def _within(client: str, rule: ufw.Rule) -> bool:
    """Whether the rule speaks of this address."""
    address = ipaddress.ip_address(client.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    network = ipaddress.ip_network(rule.match[4])
    return address.version == network.version and address in network


def _connection(rules: Iterable[ufw.Rule], client: str, ipv6: bool) -> Iterator[str]:
    """What would end the connection in use: the rules that stand before all others decide on it."""
    ahead = [rule for rule in rules if rule.ahead]
    if not client:
        return
    if ":" in client.partition("%")[0] and "." not in client and not ipv6:
        yield f"base_firewall_ipv6 is off, but Ansible is connected from {client}; connect over IPv4 or leave it on"
    if any(rule.verdict in ("deny", "reject") and _within(client, rule) for rule in ahead):
        yield f"base_firewall_blocked holds {client}, from which Ansible is connected; take it out"
    elif not any(rule.verdict in ("allow", "limit") and _within(client, rule) for rule in ahead):
        yield f"base_firewall_ssh_from lacks {client}, from which Ansible is connected; add it"


def ufw_refusals(
    wanted: Iterable[Mapping[str, Any]], ssh_ports: Iterable[str], client: str = "", ipv6: bool = True
) -> list[str]:
    """What is wrong with a list of firewall rules."""
    numbers = {int(port) for port in ssh_ports}
    said: dict[tuple[str, ...], str] = {}
    found = []
    read: list[ufw.Rule] = []
    for item in wanted:
        told = {key: value for key, value in item.items() if key != "ahead"}
        try:
            rules = list(ufw.expand(item))
        except ValueError as error:
            found.append(f"the firewall rule {told} is none: {error}")
            continue
        wrong = [text for rule in rules for text in _rule(rule, numbers)]
        if not ipv6 and all(rule.family == 6 for rule in rules):
            wrong.append("is for IPv6, which base_firewall_ipv6 switches off")
        wrong += [
            f"contradicts one before it, which says {said[rule.match]}"
            for rule in rules
            if said.setdefault(rule.match, rule.action) != rule.action
        ]
        found += [f"the firewall rule {told} {text}" for text in dict.fromkeys(wrong)]
        read += rules
    return [*found, *_connection(read, client, ipv6)]


class FilterModule:
    """The filter ufw_refusals."""

    def filters(self) -> dict[str, Any]:
        return {"ufw_refusals": ufw_refusals}
