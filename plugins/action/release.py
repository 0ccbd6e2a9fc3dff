# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of release: takes an artifact along, compares the clocks, and tells of hosts that are no part of the
run, all in the one run of the module.

It stops a run at its first phase where not all hosts of the play would go through it together.

A lock whose run was carried by a process of this controller that has ended is taken in a second one.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.slipway.laravel.plugins.plugin_utils import controller, record
from ansible_collections.slipway.laravel.plugins.plugin_utils.left_out import left_out


def clock_skew(clock: float, began: float, ended: float) -> float:
    """Seconds that a host's clock is ahead of ours, negative when behind.

    The host read its clock at some moment between two of ours, and nobody knows at which: within them nothing is wrong.
    """
    if clock < began:
        return round(clock - began, 3)
    return round(max(0.0, clock - ended), 3)


def apart(strategy: str, run: str, variables: dict[str, Any]) -> str:
    """Say why the hosts of a play would not go live together; empty when they would.

    A host that was ended (meta: end_host), or that the play passes over, is left out on purpose. Only the callback can
    tell the first of these from one that failed: without it, whoever is gone counts as failed.
    """
    everyone: list[str] = variables.get("ansible_play_hosts_all") or []
    left: list[str] = variables.get("ansible_play_hosts") or []
    batch: list[str] = variables.get("ansible_play_batch") or []
    if len(everyone) > 1 and strategy.rpartition(".")[2].removeprefix("mitogen_") in ("free", "host_pinned"):
        return (
            f"with the strategy {strategy} hosts do not wait for each other, and one would go live though another "
            f"fails; give this play strategy: linear"
        )
    later = [host for host in left if host not in batch]
    if later:
        return (
            f"serial of this play has {', '.join(later)} in another batch, which would go live, or back, without this "
            f"one; leave it out, release_strategy=rolling has batches that go back together"
        )
    failed = record.failed_hosts()
    lost = [
        host
        for host in everyone
        # Ansible also forgets to take back in whom others had stopped, and who was rescued then.
        if host not in left
        and (failed is None or host in failed)
        and not (run and (variables["hostvars"][host].get("__release_settled") or {}).get("run") == run)
    ]
    if lost:
        return (
            f"{', '.join(lost)} failed before this began, see above, and would be left behind; see to that first, or "
            f"leave such hosts out: --limit 'all:!{':!'.join(lost)}'"
        )
    return ""


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    # A temporary directory costs a round trip: it is made when there is something to put into it.
    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        super().run(tmp, variables)
        args: dict[str, Any] = dict(self._task.args)
        begins = "preflight" in (args.get("phases") or [])
        if record.problem() and begins:
            raise AnsibleActionFail(f"release: nothing was changed, for it could not be recorded: {record.problem()}")
        # Maintenance that is begun or ended by itself has no preflight.
        if "preflight" in (args.get("phases") or []) or args.get("maintenance_kept"):
            play = getattr(self._task._parent, "_play", None)
            why = apart(str(getattr(play, "strategy", "")), str(args.get("run") or ""), variables)
            if why:
                raise AnsibleActionFail(f"release: nothing was changed: {why}")
        source = args.pop("artifact_from", None)
        if source and "stage" in (args.get("phases") or []) and not self._task.check_mode:
            args["artifact"] = self.transferred(str(source))
        others: list[str] = []
        if begins:
            # Ansible carries each task in a child.
            args["controller"] = controller.identity(os.getppid())
            others = left_out(self._task.get_play())
        if others:
            # Now: with a build in it this run of the module may take minutes.
            Display().warning(f"--limit leaves out {', '.join(others)}: what is live there stays as it is")
        result = self.carried_out(args, variables)
        held_by: list[dict[str, Any]] = [phase["holder"] for phase in result.get("phases") or [] if "holder" in phase]
        if held_by and controller.gone(held_by[0]["controller"] or ""):
            result = self.carried_out({**args, "dead_run": held_by[0]["run"]}, variables)
        if begins:
            result["left_out"] = others
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def carried_out(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        began = time.time()
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.laravel.release", module_args=args, task_vars=variables
        )
        ended = time.time()
        for phase in result.get("phases") or []:
            if "clock" in phase:
                phase["clock_skew"] = clock_skew(float(phase["clock"]), began, ended)
        return result

    def transferred(self, source: str) -> str:
        """Put the controller's copy of the artifact on the host, where the module may read it."""
        if not os.path.isfile(source):
            raise AnsibleActionFail(f"release: the artifact {source} is not on the controller; release again")
        directory = self._make_tmp_path()
        # The directory goes when the task ends, however it ends.
        path: str = self._connection._shell.join_path(directory, "artifact.tar.gz")
        self._transfer_file(source, path)
        self._fixup_perms2([directory, path])
        return path
