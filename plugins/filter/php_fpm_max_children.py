# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: php_fpm_max_children
short_description: Number of PHP-FPM children that a host's memory carries
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Returns memory times O(share) divided by O(child_mb), rounded down, between O(minimum) and O(maximum).
options:
  _input:
    description: Memory of the host in MiB, as in the fact C(memtotal_mb).
    type: float
    required: true
  child_mb:
    description: Memory in MiB that one child needs.
    type: int
    required: true
  share:
    description: Part of the memory that all children together may use, above 0 and at most 1.
    type: float
    default: 0.5
  minimum:
    description: Smallest result.
    type: int
    default: 2
  maximum:
    description: Largest result.
    type: int
    default: 100
"""

EXAMPLES = r"""
php_fpm_max_children: "{{ ansible_facts['memtotal_mb'] | slipway.laravel.php_fpm_max_children(64, share=0.5) }}"
"""

RETURN = r"""
_value:
  description: The number of children.
  type: int
"""

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name


def php_fpm_max_children(
    memory_mb: float, child_mb: float, share: float = 0.5, minimum: int = 2, maximum: int = 100
) -> int:
    """How many children of child_mb MiB fit into a share of the memory."""
    for name, value in (("memory in MiB", memory_mb), ("memory of a child in MiB", child_mb), ("share", share)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise AnsibleFilterError(f"php_fpm_max_children needs a number as {name}, got {native_type_name(value)}")
    if child_mb <= 0 or not 0 < share <= 1:
        raise AnsibleFilterError(
            "php_fpm_max_children needs a child above 0 MiB and a share above 0 and at most 1,"
            f" got {child_mb} and {share}"
        )
    return max(minimum, min(maximum, int(memory_mb * share // child_mb)))


class FilterModule:
    """The filter as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"php_fpm_max_children": php_fpm_max_children}
