#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Tell what is live on a host, what is kept, and who is at work
version_added: 0.1.0
description:
  - Reads the layout of an application, whoever made it (this collection, Deployer or Capistrano), and changes nothing.
  - Processes are seen as far as the user who runs the module may see them, those of other users only as root.
author:
  - The slipway.laravel authors (@slipway)
options:
  root:
    description:
      - Directory of the application, which holds C(current), C(releases) and C(shared).
    type: path
    required: true
  size:
    description:
      - Measure each release as well, which reads all of its directories.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any case.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Look at the application
  slipway.laravel.release_info:
    root: /var/www/app
  register: app

- name: Tell where a rollback would go
  ansible.builtin.debug:
    msg: "live is {{ app.current }}, a rollback goes to {{ app.rollback_target }}"
"""

RETURN = r"""
current:
  description: Release id that is live, null when there is none.
  returned: success
  type: str
link:
  description: C(current) itself, with C(target), as the link has it, C(absolute), and C(exists), whether it leads to a
    directory. Null when there is no link.
  returned: success
  type: dict
rollback_target:
  description: Release id that a rollback would go to, null when there is none.
  returned: success
  type: str
releases:
  description:
    - The releases on this host, oldest first, each with C(release), C(version), C(commit), C(made_by) (C(slipway) or
      C(another tool)), C(staged_at), C(switched_at) (the last time), C(bad), C(live), C(complete) (staged to the end;
      null for another tool's), C(bytes) where O(size) is true, and C(processes).
    - Each process has C(pid), C(kind), C(command), C(started) (UTC) and C(parent), a pid of the list or 0. C(in_use)
      says whether any process, these or another, needs the directory.
  returned: success
  type: list
  elements: dict
lock:
  description: Who holds the lock, as RV(slipway.laravel.release_lock#module:holder); null when it is free.
  returned: success
  type: dict
unfinished:
  description: What the run is about that is at work or was killed, with C(run), C(owner), C(since), C(phase), and where
    known C(release), C(commit), C(artifact) and C(sha256); null when the last one ended.
  returned: success
  type: dict
maintenance:
  description: Whether the live release has been put into maintenance. C(down) is true while the file is there by which
    Laravel keeps that, which it does not with the cache as its place. C(run) and C(since) tell which release put it up,
    and C(flags) those of nginx; they are null and empty when a person did, or nobody. C(held) says why no release may
    end it, empty when one may.
  returned: success
  type: dict
problems:
  description: What would keep a release from this layout.
  returned: success
  type: list
  elements: str
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._layout import Layout, LayoutError, read_json
from ansible_collections.slipway.laravel.plugins.module_utils._processes import releases_in_use, workers


def directory_size(path: str) -> int:
    """Return the bytes of the files below a directory, each once however many names it has; links are not followed."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for directory, dummy, files in os.walk(path):
        for name in files:
            status = os.lstat(os.path.join(directory, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def link(layout: Layout) -> dict[str, Any] | None:
    if not os.path.islink(layout.current_link):
        return None
    target = os.readlink(layout.current_link)
    return {"target": target, "absolute": os.path.isabs(target), "exists": os.path.isdir(layout.current_link)}


def releases(layout: Layout, size: bool) -> list[dict[str, Any]]:
    current, used, running = layout.current(), releases_in_use(layout.root), workers(layout.root, node=True)
    shown = ("pid", "kind", "command", "started", "parent")
    found = []
    for name in layout.installed():
        entry = layout.about(name)
        del entry["made"]
        entry["live"] = name == current
        entry["complete"] = layout.is_staged(name) if entry["made_by"] == "slipway" else None
        entry["in_use"] = name in used
        entry["processes"] = [{key: worker[key] for key in shown} for worker in running if worker["release"] == name]
        if size:
            entry["bytes"] = directory_size(layout.release_path(name))
        found.append(entry)
    return found


def maintenance(layout: Layout) -> dict[str, Any]:
    marker = read_json(layout.maintenance_path) or {}
    down = os.path.lexists(os.path.join(layout.current_link, "storage", "framework", "down"))
    known = {name: marker.get(name) for name in ("run", "since")}
    return {"down": down, **known, "flags": marker.get("flags", []), "held": marker.get("held", "")}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "required": True}, "size": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    layout = Layout(module.params["root"])
    try:
        there = os.path.isdir(layout.releases_dir)
        module.exit_json(
            changed=False,
            current=layout.current(),
            link=link(layout),
            rollback_target=layout.rollback_target(),
            releases=releases(layout, module.params["size"]) if there else [],
            lock=layout.lock_holder(),
            unfinished=layout.run_state() or None,
            maintenance=maintenance(layout),
            problems=layout.problems(),
        )
    except LayoutError as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or layout.root} cannot be read: {exc.strerror}")


if __name__ == "__main__":
    main()
