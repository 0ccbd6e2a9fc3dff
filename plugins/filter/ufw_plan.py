# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: ufw_plan
short_description: Steps from the rules that a host's ufw has to the wanted ones
version_added: 0.1.0
description:
  - Compares a list of rules with the tuples in the comments of F(/etc/ufw/user.rules) and F(/etc/ufw/user6.rules) and
    returns one mapping of arguments for M(community.general.ufw) for each difference; none when there is none.
  - Rules whose comment begins with C(slipway:) and which are not wanted are deleted; other people's rules stay.
  - The order of the list holds wherever neighbours have different verdicts.
author: The slipway.laravel authors (@slipway)
options:
  _input:
    description:
      - Rules with O(_input[].port), C(proto), C(rule), C(from), C(to), C(direction), C(interface), C(log), C(comment),
        as in C(base_firewall_rules) of the role P(slipway.laravel.base#role).
      - C(ahead) puts a rule before those of other people too.
    type: list
    elements: dict
    required: true
    suboptions:
      port:
        description: Ports, separated by commas, or ranges as C(6000:6010); all when empty.
        type: str
  present:
    description: Text of both files; other lines in it do no harm.
    type: str
    required: true
  ipv6:
    description: Whether ufw writes rules for IPv6.
    type: bool
    default: true
"""

EXAMPLES = r"""
# [] when both rules are there, in this order
- ansible.builtin.debug:
    msg: "{{ [{'rule': 'deny', 'from': '192.0.2.7'}, {'port': '443'}] | slipway.laravel.ufw_plan(rules.stdout) }}"
"""

RETURN = r"""
_value:
  description: Arguments of M(community.general.ufw), to be called one after the other.
  type: list
  elements: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.plugin_utils import ufw


def ufw_plan(wanted: Iterable[Mapping[str, Any]], present: str, ipv6: bool = True) -> list[dict[str, Any]]:
    """Steps from the rules that a host's ufw has to the wanted ones."""
    families = (4, 6) if ipv6 else (4,)
    try:
        rules = [rule for item in wanted for rule in ufw.expand(item)]
    except ValueError as error:
        raise AnsibleFilterError(f"ufw_plan: {error}") from error
    return ufw.plan(
        [rule for rule in ufw.read(str(present)) if rule.family in families],
        [rule for rule in rules if rule.family in families],
    )


class FilterModule:
    """The filter ufw_plan."""

    def filters(self) -> dict[str, Any]:
        return {"ufw_plan": ufw_plan}
