# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hosts
short_description: Patterns of hosts, of which at least one host is there
version_added: 0.1.0
description:
  - Returns patterns of hosts as they are, for C(hosts) of a play, and fails where the play would have no host. Ansible
    itself passes over such a play, and the run counts as a success.
  - It goes by the inventory, and by C(--limit).
author:
  - The slipway.laravel authors (@slipway)
options:
  _terms:
    description: The patterns.
    required: true
"""

EXAMPLES = r"""
- name: Release
  hosts: "{{ query('slipway.laravel.hosts', laravel_hosts | default('laravel')) }}"
  roles:
    - slipway.laravel.release
"""

RETURN = r"""
_list:
  description: The patterns.
  type: list
  elements: str
"""

from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

# What looks at a playbook, often without an inventory, and runs nothing.
LOOKS = ("syntax", "listhosts", "listtasks", "listtags")


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core ships no types
    """The lookup hosts."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **_options: Any) -> list[str]:
        patterns = [str(name) for term in terms for name in ([term] if isinstance(term, str) else term)]
        if not any(context.CLIARGS.get(option) for option in LOOKS):
            self.look_for(patterns, variables or {})
        return patterns

    def look_for(self, patterns: list[str], variables: dict[str, Any]) -> None:
        manager = InventoryManager(self._loader, parse=False)
        for group, hosts in variables["groups"].items():
            manager.add_group(group)
            for host in hosts:
                manager.add_host(host, group=group)
        wanted, limit = ", ".join(patterns), variables.get("ansible_limit")
        found = [host.name for host in manager.get_hosts(patterns)]
        if not found:
            sources = ", ".join(variables.get("ansible_inventory_sources") or ["none"])
            raise AnsibleError(
                f"no host of the inventory {sources} matches {wanted}, so that nothing would be done: correct -i, put "
                f"the hosts into that group, or name another one by -e laravel_hosts=<group>"
            )
        if limit:
            manager.subset(limit)
            if not manager.get_hosts(patterns):
                raise AnsibleError(
                    f"--limit {limit} leaves none of the hosts that {wanted} matches ({', '.join(found)}), so that "
                    f"nothing would be done: correct it"
                )
