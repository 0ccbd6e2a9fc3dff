#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dotenv
short_description: Write the .env file of an application
version_added: 0.1.0
description:
  - Writes names and values so that Laravel reads back exactly the same, and tells by name what differs.
  - The file is replaced by one rename and has its owner and mode from its first moment.
  - No value is shown in results, diffs or logs.
author:
  - The slipway.laravel authors (@slipway)
options:
  path:
    description:
      - The file. Where it is a link, the file that it leads to is written; as root only if the link
        is root's own, or of the owner of that file.
    type: path
    required: true
  values:
    description:
      - Names and values; values are text, numbers, booleans (written as C(true) and C(false)) or nothing (C(null)).
    type: dict
    default: {}
  state:
    description:
      - What becomes of the rest of the file.
    type: str
    choices:
      merged: Other names, comments and the order stay. A name that is written several times has its last line changed.
      replaced: The file holds these values and nothing else.
      owned:
        - As V(replaced), under a first line that says so. A file without that line was made by somebody else. It is not
          replaced as long as it has names that O(values) lacks, and is kept beside it as if O(backup) were true.
    default: merged
  example:
    description:
      - Path of the application's C(.env.example) on the host. Its names that the file lacks are in RV(missing).
    type: path
  owner:
    description:
      - User that owns the file; the one who runs the module unless given, or the owner of an existing file.
    type: str
  group:
    description:
      - Group that owns the file.
    type: str
  mode:
    description:
      - Permissions of the file.
    type: raw
    default: "0600"
  backup:
    description:
      - Keep the file as it was beside it. The copy holds secrets as well, so it has the same mode, without rights for
        everybody.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: Shows the names that are added, removed or changed, without values.
    support: full
"""

EXAMPLES = r"""
- name: Set the database of the application and leave everything else
  slipway.laravel.dotenv:
    path: /var/www/app/shared/.env
    values:
      DB_HOST: db.example.com
      DB_PASSWORD: "{{ vault_db_password }}"
    example: /var/www/app/current/.env.example
  register: env

- name: Stop when the application knows settings that nobody made
  ansible.builtin.assert:
    that: env.missing | length == 0
    fail_msg: "set {{ env.missing | join(', ') }} in laravel_env"
"""

RETURN = r"""
path:
  description: The file that was looked at, after links.
  returned: success
  type: str
added:
  description: Names that the file lacked.
  returned: success
  type: list
  elements: str
removed:
  description: Names that are not in the file any more.
  returned: success
  type: list
  elements: str
modified:
  description: Names that had another value.
  returned: success
  type: list
  elements: str
missing:
  description: Names of O(example) that the file, as it is afterwards, lacks.
  returned: when O(example) is given
  type: list
  elements: str
backup_file:
  description: The copy of the file as it was.
  returned: when an existing file was replaced and O(backup) is true, or O(state=owned) and somebody else had made it
  type: str
"""

import grp
import os
import pwd
import stat
import tempfile
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import DotenvError, merge, parse_dotenv, render

OWNED = "# Written by Ansible from its inventory: what is changed here is lost.\n"


def take_values(module: AnsibleModule) -> dict[str, Any]:
    """Return the values, and take them out of what the module shows.

    ``no_log`` hides them in the log of the host. It would also blot each of them out of the result wherever it occurs,
    and with them names and paths: a value such as ``a`` or ``1`` occurs everywhere. The result holds no value at all.
    """
    values: dict[str, Any] = module.params["values"]
    module.params["values"] = {}
    module.no_log_values.clear()
    return values


def read(module: AnsibleModule, path: str) -> str | None:
    try:
        # Line ends as they are.
        with open(path, encoding="utf-8", newline="") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        # The text of UnicodeDecodeError holds a part of the file.
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        module.fail_json(msg=f"{path} cannot be read: {reason}")
        return None


def followed(module: AnsibleModule, path: str) -> str:
    """Return the file that a path leads to. Whoever may put a link there must not choose what root overwrites."""
    real = os.path.realpath(path)
    if os.path.islink(path) and os.geteuid() == 0:
        there, owner = os.stat(real).st_uid if os.path.exists(real) else None, os.lstat(path).st_uid
        if owner not in (0, there):
            module.fail_json(msg=f"{path} leads to {real}, which its owner does not own; put the file in its place")
    return real


def id_of(module: AnsibleModule, kind: str, name: str) -> int:
    """Return the id of a user or group, -1 for one that check mode has only pretended to make."""
    try:
        return int(name)
    except ValueError:
        pass
    try:
        return pwd.getpwnam(name).pw_uid if kind == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg=f"{name} does not exist on this host; correct {kind}")
        return -1


def mode_of(module: AnsibleModule, there: os.stat_result) -> int:
    mode: int | str | None = module.params["mode"]
    if mode is None:
        return stat.S_IMODE(there.st_mode)
    if isinstance(mode, str):
        try:
            mode = int(mode, 8)
        except ValueError:
            try:
                mode = int(module._symbolic_mode_to_octal(there, mode))
            except ValueError as exc:
                module.fail_json(msg=f"mode: {exc}")
    if mode != stat.S_IMODE(int(mode)):
        module.fail_json(msg=f"mode: {module.params['mode']} is more than permissions")
    return int(mode)


def own(module: AnsibleModule, descriptor: int, path: str, there: os.stat_result) -> bool:
    """Give an open file its owner, group and mode, where it lacks them; whether it does.

    There is what tells those that are not given. Not by the path: whoever may write to its directory could have put a
    link to another file there by now.
    """
    now = os.fstat(descriptor)
    owner, group = module.params["owner"], module.params["group"]
    uid = there.st_uid if owner is None else id_of(module, "owner", owner)
    gid = there.st_gid if group is None else id_of(module, "group", group)
    mode = mode_of(module, there)
    if (uid, gid, mode) == (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)):
        return False
    if module.check_mode:
        return True
    try:
        if (uid, gid) != (now.st_uid, now.st_gid):
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    except OSError as exc:
        module.fail_json(
            msg=f"{path} cannot get owner {owner or uid}, group {group or gid} and mode {mode:04o} from the user with "
            f"id {os.geteuid()}: {exc.strerror}"
        )
    return True


def write(module: AnsibleModule, path: str, text: str) -> None:
    """Replace the file by one rename; nobody but its owner can read it at any moment."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".env.", dir=os.path.dirname(path))
    except OSError as exc:
        module.fail_json(msg=f"{os.path.dirname(path)} cannot be written to: {exc.strerror}; make it, or correct path")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
            handle.flush()
            there = os.fstat(descriptor)
            if os.geteuid() == 0 and os.path.lexists(path):
                there = os.lstat(path)
            own(module, descriptor, path, there)
            os.fsync(descriptor)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def keep_attributes(module: AnsibleModule, path: str) -> bool:
    """Put the attributes of a file right whose content is; whether they are not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return own(module, descriptor, path, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def back_up(path: str) -> str:
    copy = f"{path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S')}~"
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
        there = os.fstat(source.fileno())
        # Never through something that lies there already.
        with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(source.read())
            if os.geteuid() == 0:
                os.fchown(handle.fileno(), there.st_uid, there.st_gid)
            os.fchmod(handle.fileno(), stat.S_IMODE(there.st_mode) & ~0o007)
    return copy


def missing_names(module: AnsibleModule, text: str) -> list[str]:
    example: str = module.params["example"]
    template = read(module, example)
    if template is None:
        module.fail_json(msg=f"{example} does not exist; correct example")
    names = parse_dotenv(text)
    return [name for name in parse_dotenv(template or "") if name not in names]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "values": {"type": "dict", "default": {}, "no_log": True},
            "state": {"type": "str", "choices": ["merged", "replaced", "owned"], "default": "merged"},
            "example": {"type": "path"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "raw", "default": "0600"},
            "backup": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    values = take_values(module)
    path = followed(module, module.params["path"])
    before = read(module, path)
    state: str = module.params["state"]
    foreign = state == "owned" and before is not None and not before.startswith(OWNED)
    try:
        text = merge(before or "", values) if state == "merged" else render(values)
    except DotenvError as exc:
        module.fail_json(msg=f"values: {exc}")
    if state == "owned":
        text = OWNED + text
    old, new = parse_dotenv(before or ""), parse_dotenv(text)
    result: dict[str, Any] = {
        "path": path,
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "modified": [name for name in new if name in old and new[name] != old[name]],
    }
    if foreign and result["removed"]:
        module.fail_json(
            msg=f"{path} was not written by Ansible, and has {', '.join(result['removed'])}, which the inventory "
            f"lacks: nothing was changed. Add them to laravel_env, or take them out of the file, if they are of no "
            f"use; to go on keeping the file by hand, leave laravel_env empty",
            **result,
        )
    marks = {"added": "+", "removed": "-", "modified": "~"}
    lines = [f"{mark} {name}" for key, mark in marks.items() for name in result[key]]
    changed = before != text
    if module.params["example"]:
        result["missing"] = missing_names(module, text)
    if changed and not module.check_mode:
        if before is not None and (module.params["backup"] or foreign):
            result["backup_file"] = back_up(path)
        write(module, path, text)
    elif before is not None and keep_attributes(module, path):
        changed = True
        lines.append("owner, group or mode")
    if changed and not lines:
        lines = ["order, comments or quoting"]
    diff = {"prepared": "".join(f"{path}: {line}\n" for line in lines)}
    module.exit_json(changed=changed, diff=diff, **result)


if __name__ == "__main__":
    main()
