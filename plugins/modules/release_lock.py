#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lock
short_description: Take, renew, give back or take over the lock of releases on one host
version_added: 0.1.0
description:
  - Holds the same lock as M(slipway.laravel.release), for work that must not meet a release, such as a restore or a
    change of the database by hand.
  - The lock belongs to a run, a name of your choice, not to a process or a host. It counts as left behind when its run
    gave no sign of life for O(ttl) seconds; taking it with O(state=present) again is such a sign. A reboot of the host
    frees no lock, since the run may go on.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application, which holds C(.slipway).
    type: path
    required: true
  run:
    description:
      - Name of the run that takes the lock or gives it back.
    type: str
    required: true
  state:
    description:
      - What is to be.
    type: str
    choices:
      present: The run holds the lock. Fails when another run holds it that may be alive, or a module of a run that gave
        it back is still at work.
      absent: The run does not hold the lock. Fails when another run holds it.
      takeover: The run holds the lock, whoever had it. Make sure that nothing of that run is alive.
    default: present
  owner:
    description:
      - Who that is, for those who find the lock held.
    type: str
    default: unknown
  ttl:
    description:
      - Seconds without a sign of life after which the lock of another run is taken over by O(state=present).
    type: int
    default: 3600
attributes:
  check_mode:
    description: Says whether the lock would change hands, and fails where it could not be had.
    support: full
  diff_mode:
    description: Shows the holder before and after.
    support: full
"""

EXAMPLES = r"""
- name: Keep releases away while the database is restored
  slipway.laravel.release_lock:
    root: /var/www/app
    run: restore-4711
    owner: ann@example.com

- name: Let them in again
  slipway.laravel.release_lock:
    root: /var/www/app
    run: restore-4711
    state: absent
"""

RETURN = r"""
holder:
  description:
    - Who holds the lock now, null when it is free, with C(run), C(owner), C(since), C(age) (seconds since its last
      sign of life), C(rebooted) (whether this host was restarted since), and where known C(release), C(phase) and
      C(taken_from).
  returned: always
  type: dict
taken_from:
  description: Who held it before, when it was taken over.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, LayoutError


def _shown(holder: dict[str, Any] | None) -> str:
    return f"{holder.get('owner')} (run {holder.get('run')})\n" if holder else "free\n"


def carry_out(module: AnsibleModule, layout: Layout) -> dict[str, Any]:
    """Bring about the state; return what changed.

    :raises LayoutError: another run holds the lock
    """
    params, run = module.params, module.params["run"]
    before = layout.lock_holder()
    ours = before is not None and before.get("run") == run
    planned: dict[str, Any] | None = None
    taken_from = None
    if params["state"] == "absent":
        if before is not None and not ours:
            raise LayoutError(layout.held(before))
        changed = ours
        if not module.check_mode:
            layout.unlock(run)
    else:
        takeover = params["state"] == "takeover"
        planned = before if ours else {"run": run, "owner": params["owner"]}
        changed = not ours
        if not module.check_mode:
            taken_from = layout.lock(run, params["owner"], params["ttl"], takeover)
        elif changed and before is not None:
            if not takeover and before["age"] <= params["ttl"]:
                raise LayoutError(layout.held(before))
            taken_from = before
    diff = {"before": _shown(before), "after": _shown(planned)}
    return {"changed": changed, "taken_from": taken_from, "holder": layout.lock_holder(), "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "takeover"], "default": "present"},
            "owner": {"type": "str", "default": "unknown"},
            "ttl": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    layout = Layout(module.params["root"])
    try:
        module.exit_json(**carry_out(module, layout))
    except LayoutError as exc:
        module.fail_json(msg=str(exc), holder=layout.lock_holder())
    except OSError as exc:
        module.fail_json(
            msg=f"{layout.private_dir} cannot be used: {exc.strerror}; run the site playbook, which lays out the "
            f"application, or correct root",
            holder=None,
        )


if __name__ == "__main__":
    main()
