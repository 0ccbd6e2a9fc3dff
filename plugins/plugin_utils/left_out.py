# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of a play are no part of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.playbook.play import Play


def left_out(play: Play) -> list[str]:
    """Return the hosts that a play names and --limit keeps out, in the order of the inventory."""
    # There is no public way from a plugin to the inventory.
    inventory = play.get_variable_manager()._inventory
    part = {host.name for host in inventory.get_hosts(play.hosts, ignore_restrictions=True)}
    named = inventory.get_hosts(play.hosts, ignore_limits=True, ignore_restrictions=True)
    return [host.name for host in named if host.name not in part]
