#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_snapshot
short_description: Take, restore and remove snapshots of an application's database
version_added: 0.1.0
description:
  - Takes a snapshot of the database that an C(.env) file names, with the credentials in it. MySQL and MariaDB are
    dumped by C(mariadb-dump) or C(mysqldump) and PostgreSQL by C(pg_dump), consistently and without a lock (tables of
    MyISAM excepted, which have no transactions); of SQLite the file is copied by its own backup interface.
  - A dump goes as a stream through gzip into a file of mode 0600 and is hashed meanwhile. It counts only when the
    program exited with 0 and the dump ends as a whole one does; otherwise no file is left.
  - Restoring checks the sha256, takes a snapshot of what is there, empties the database, and loads. When loading fails,
    what was there is loaded again; on PostgreSQL both are one transaction.
  - A managed database has its snapshots taken by O(command) and restored by O(restore_command), in the same order.
  - Passwords are handed over in a file in memory that only the program can open, never on a command line.
author:
  - The slipway.laravel authors (@slipway)
options:
  directory:
    description:
      - Directory of the snapshots. It is made, with mode 0700, when the first one is taken.
    type: path
    required: true
  env_file:
    description:
      - The C(.env) file whose C(DB_*) or C(DB_URL) names the database. Needed to take and to restore a dump.
    type: path
  state:
    description:
      - What to do.
    type: str
    choices:
      present: Take a snapshot. Each run takes another one.
      restored: Make the database what the snapshot O(id) holds.
      absent: Remove the snapshot O(id).
      listed: Change nothing; RV(snapshots) is returned in any case.
    default: present
  id:
    description:
      - The snapshot to restore or to remove.
    type: str
  label:
    description:
      - Word at the end of the id of a new snapshot.
    type: str
    default: manual
  command:
    description:
      - Command, as a list of words, that takes the snapshot, for a managed database. The last line that it prints is
        the id. Such a snapshot is only recorded here, and restored by O(restore_command). C({snapshot}) in a word
        stands for a name that no other snapshot has.
    type: list
    elements: str
    default: []
  restore_command:
    description:
      - Command, as a list of words, that restores a snapshot which O(command) took. It must not end before the database
        serves again. C({snapshot}) in a word stands for the id of the snapshot and has to be there. O(command) takes a
        snapshot of what is there first. When the command fails, it is asked to restore that.
    type: list
    elements: str
    default: []
  keep:
    description:
      - Number of snapshots to keep after one was taken. Those of the newest release are kept in any case. V(0) keeps
        all.
    type: int
    default: 0
extends_documentation_fragment:
  - slipway.laravel.laravel
attributes:
  check_mode:
    description: A snapshot to restore is checked, its sha256 too; nothing is changed.
    support: full
  diff_mode:
    description: Shows the ids of the snapshots, before and after.
    support: full
"""

EXAMPLES = r"""
- name: Take a snapshot before something risky
  slipway.laravel.database_snapshot:
    directory: /var/www/app/.slipway/snapshots
    env_file: /var/www/app/shared/.env
    label: before-import
    keep: 5
  register: before

- name: Go back to it
  slipway.laravel.database_snapshot:
    directory: /var/www/app/.slipway/snapshots
    env_file: /var/www/app/shared/.env
    state: restored
    id: "{{ before.snapshot.id }}"

- name: Go back to a snapshot of a managed database
  slipway.laravel.database_snapshot:
    directory: /var/www/app/.slipway/snapshots
    state: restored
    id: arn:aws:rds:eu-central-1:1:snapshot:shop-1
    command: [/usr/local/bin/rds-snapshot, shop]
    restore_command: [/usr/local/bin/rds-restore, shop, "{snapshot}"]
"""

RETURN = r"""
snapshot:
  description: The snapshot that was taken, restored or removed.
  returned: when it is about one
  type: dict
  contains:
    id:
      description: Its id; what the command printed when one took it.
      type: str
      returned: always
    path:
      description: Its file, empty when a command took it.
      type: str
      returned: always
    size:
      description: Bytes of the file.
      type: int
      returned: always
    sha256:
      description: Checksum of the file.
      type: str
      returned: always
    created_at:
      description: When it was whole, in UTC.
      type: str
      returned: always
    seconds:
      description: How long it took.
      type: float
      returned: always
    driver:
      description: V(mysql), V(pgsql), V(sqlite) or V(command).
      type: str
      returned: always
    database:
      description: Name of the database.
      type: str
      returned: always
    release:
      description: The release that it was taken before, if any.
      type: str
      returned: always
safety:
  description: Id of the snapshot of what was there before restoring.
  returned: when one was restored
  type: str
removed:
  description: Ids of the old snapshots that O(keep) removed.
  returned: when one was taken
  type: list
  elements: str
snapshots:
  description: All snapshots, oldest first, each as RV(snapshot).
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._artisan import take_environment
from ansible_collections.slipway.laravel.plugins.module_utils._errors import SnapshotError
from ansible_collections.slipway.laravel.plugins.module_utils._layout import LayoutError
from ansible_collections.slipway.laravel.plugins.module_utils._snapshot import (
    Snapshots,
    database_of,
)


def work(snapshots: Snapshots, params: dict[str, Any], environment: dict[str, str], check: bool) -> dict[str, Any]:
    """Do what the state asks for and return the result."""
    state = params["state"]
    if state == "listed":
        return {"changed": False}
    if state == "absent":
        known = [entry for entry in snapshots.entries() if params["id"] in (entry["id"], entry["name"])]
        if known and not check:
            snapshots.remove(params["id"])
        return {"changed": bool(known), **({"snapshot": known[0]} if known else {})}
    if state == "restored" and snapshots.is_managed(params["id"]):
        commands = params["command"], params["restore_command"]
        entry = snapshots.check_managed(params["id"], *commands)
        restored = {} if check else {"safety": snapshots.restore_managed(params["id"], *commands)["safety"]}
        return {"changed": True, "snapshot": entry, **restored}
    if state == "restored" and not params["env_file"]:
        raise SnapshotError(f"env_file is needed to restore {params['id']}: it names the database")
    database = None if params["command"] and state == "present" else database_of(params["env_file"], environment)
    if state == "restored" and database:
        entry = snapshots.check(params["id"], database)
        restored = {} if check else {"safety": snapshots.restore(params["id"], database)["safety"]}
        return {"changed": True, "snapshot": entry, **restored}
    if check:
        return {"changed": True}
    if database:
        entry = snapshots.take(database, params["label"])
    else:
        entry = snapshots.by_command(params["command"], params["label"])
    return {"changed": True, "snapshot": entry, "removed": snapshots.prune(params["keep"]) if params["keep"] else []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "env_file": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "restored", "absent", "listed"], "default": "present"},
            "id": {"type": "str"},
            "label": {"type": "str", "default": "manual"},
            "command": {"type": "list", "elements": "str", "default": []},
            "restore_command": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 0},
            "environment": {"type": "dict", "default": {}, "no_log": True},
        },
        required_if=[("state", "restored", ("id",)), ("state", "absent", ("id",))],
        supports_check_mode=True,
    )
    params = module.params
    if params["state"] == "present" and not params["command"] and not params["env_file"]:
        module.fail_json(msg="state is present but neither env_file nor command says of what to take a snapshot")
    if not params["label"] or "/" in params["label"]:
        module.fail_json(msg=f"label {params['label']!r} has to be a word without a slash")
    environment = take_environment(module)
    snapshots = Snapshots(params["directory"], environment)
    try:
        before = [entry["id"] for entry in snapshots.entries()]
        result = work(snapshots, params, environment, module.check_mode)
        entries = snapshots.entries()
    except (SnapshotError, LayoutError) as exc:
        module.fail_json(msg=str(exc))
    after = [entry["id"] for entry in entries]
    diff = {"before": "".join(f"{name}\n" for name in before), "after": "".join(f"{name}\n" for name in after)}
    module.exit_json(**result, snapshots=entries, diff=diff)


if __name__ == "__main__":
    main()
