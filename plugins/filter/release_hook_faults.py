# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_hook_faults
short_description: What is wrong with the hooks of a release
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns one sentence for each hook that the role C(release) could not carry out.
options:
  _input:
    description: Hooks, as the variable C(release_hooks) has them.
    type: dict
    required: true
  hosts:
    description: Hosts of the release.
    type: list
    elements: string
    required: true
  groups:
    description: Hosts by group, which hooks may name.
    type: dict
    default: {}
  places:
    description:
      - Directories of the controller in which a command of its own with a relative path, such as V(./purge.sh), is
        looked for. Without any it is not looked for.
    type: list
    elements: string
    default: []
"""

EXAMPLES = r"""
# ["release_hooks.before_switch, hook 1: command is a list of words, such as …"]
faults: "{{ {'before_switch': [{'command': 'uptime'}]} | slipway.laravel.release_hook_faults(['app1']) }}"
"""

RETURN = r"""
_value:
  description: Sentences; empty when nothing is wrong.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.hooks import hook_faults


def release_hook_faults(
    hooks: Any,
    hosts: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    places: Sequence[str] = (),
) -> list[str]:
    """One sentence for each fault."""
    return hook_faults(hooks, hosts, groups or {}, places)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_hook_faults": release_hook_faults}
