# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: memory_share
short_description: Share of a host's memory in bytes
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns the part of the memory that one service may use, in bytes, rounded down to a whole step.
  - The result is never below O(minimum) MiB and, where O(maximum) is given, never above it.
options:
  _input:
    description: Memory of the host in MiB, as in the fact C(memtotal_mb).
    type: float
    required: true
  share:
    description: Part of the memory, above 0 and at most 1.
    type: float
    required: true
  step:
    description: Size in MiB of which the result is a multiple.
    type: int
    default: 1
  minimum:
    description: Smallest result in MiB.
    type: int
    default: 1
  maximum:
    description: Largest result in MiB; 0 is no limit.
    type: int
    default: 0
"""

EXAMPLES = r"""
mysql_buffer_pool_size: "{{ ansible_facts['memtotal_mb'] | slipway.laravel.memory_share(0.25, step=128, minimum=128) }}"
"""

RETURN = r"""
_value:
  description: The share in bytes.
  type: int
"""

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

MIB = 1024 * 1024


def memory_share(memory_mb: float, share: float, step: int = 1, minimum: int = 1, maximum: int = 0) -> int:
    """Part of the memory in bytes: a multiple of step MiB, between minimum and maximum MiB."""
    for name, value in (("memory in MiB", memory_mb), ("share", share)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise AnsibleFilterError(f"memory_share needs a number as {name}, got {native_type_name(value)}")
    if not 0 < share <= 1:
        raise AnsibleFilterError(f"memory_share needs a share above 0 and at most 1, got {share}")
    size = int(memory_mb * share) // step * step
    if maximum:
        size = min(size, maximum)
    return max(size, minimum) * MIB


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"memory_share": memory_share}
