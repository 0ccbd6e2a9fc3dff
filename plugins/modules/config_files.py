#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write a set of configuration files, all or none
version_added: 0.1.0
author: The slipway.laravel authors (@slipway)
description:
  - Renders the files of one service on the controller and brings them onto the host in one module run.
  - Each file is replaced at once, never half-written. Then O(check) looks at them together, as C(nginx -t) does; when
    it fails, every file is put back as it was and the task fails with what the command said.
  - Remembers which files a set has written. A file that the set wrote before and no longer lists is removed; files of
    others are never touched.
  - Several calls for one service need sets of different names. Runs at the same time on one host wait for each other.
attributes:
  check_mode:
    support: partial
    details: Says which files would change. O(check) and O(files[].validate) need the files, and do not run.
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
options:
  name:
    description: Name of the set; small letters, digits, and C(. _ -).
    type: str
    required: true
  files:
    description: The files of the set. Directories that lie above them are made when they are missing.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Where the file goes, absolute.
          - With O(files[].each), C({key}) stands for the value of that key of the element.
        type: path
        required: true
      template:
        description: Template of the file, looked up as M(ansible.builtin.template) does.
        type: str
      content:
        description: Content of the file, instead of a template.
        type: str
      link:
        description: Makes a symbolic link that points here; C({key}) as in O(files[].path).
        type: str
      state:
        description:
          - V(file) has the content of O(files[].template) or O(files[].content).
          - V(directory) is only made; what is in it belongs to others. A link to one is followed if it is root's own,
            or of the owner of that directory.
          - V(absent) is removed, a directory only when it is empty.
        type: str
        choices: [file, directory, absent]
        default: file
      each:
        description: Write the file once for each element, which its template finds as C(item).
        type: list
        elements: dict
      vars:
        description: Variables for the template on top of those of the task.
        type: dict
      owner:
        description: Owner of the file.
        type: str
        default: root
      group:
        description: Group of the file.
        type: str
        default: root
      mode:
        description: Permissions in octal, as a string.
        type: str
        default: "0644"
      validate:
        description:
          - Command that looks at the file before it is put in place, as a list; C(%s) stands for the new file.
          - For what must never be wrong for a moment, such as a file of sudoers.
        type: list
        elements: str
      secret:
        description: Keep the content out of the diff.
        type: bool
        default: false
  keep:
    description:
      - Files that stay for now though they are no longer listed, as patterns in which V(*) stands for anything; for
        what a service that still runs reads. They are remembered, and go with a later run that does not keep them.
    type: list
    elements: str
    default: []
  check:
    description: Command that looks at all files once they are in place, as a list of arguments without a shell.
    type: list
    elements: str
    default: []
  by:
    description:
      - Who writes, by names that stay the same from run to run. Each file remembers those who have written it. One that
        the set no longer lists, and that others alone have written, fails the task instead of being removed.
      - In a playbook the names of the inventory and of the application (C(laravel_app)), unless given.
    type: list
    elements: str
    default: []
  take_over:
    description:
      - Remove files that others alone have written as well. In a playbook C(laravel_host_taken_over), unless given.
    type: bool
    default: false
  state_dir:
    description: Directory on the host in which the sets are remembered.
    type: path
    default: /var/lib/slipway
"""

EXAMPLES = r"""
- name: Write the sites
  slipway.laravel.config_files:
    name: nginx
    files:
      - path: /etc/nginx/nginx.conf
        template: etc/nginx/nginx.conf.j2
      - path: /etc/nginx/sites-available/{name}.conf
        template: etc/nginx/sites-available/site.conf.j2
        each: "{{ nginx_sites }}"
      - path: /etc/nginx/sites-enabled/{name}.conf
        link: ../sites-available/{name}.conf
        each: "{{ nginx_sites }}"
      - path: /etc/nginx/sites-enabled/default
        state: absent
    check: [/usr/sbin/nginx, -t]
  notify: nginx config changed
"""

RETURN = r"""
changed_paths:
  description: Files that were written, linked or given another owner or mode.
  type: list
  elements: str
  returned: success
removed_paths:
  description: Files that were removed, since they are listed as V(absent) or no longer listed.
  type: list
  elements: str
  returned: success
kept_paths:
  description: Files that are no longer listed and that O(keep) left.
  type: list
  elements: str
  returned: success
"""

import contextlib
import fcntl
import fnmatch
import grp
import json
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule


@dataclass
class State:
    """What is, or shall be, at a path; a link has no mode."""

    kind: str  # file, link, directory or absent
    content: bytes = b""
    link: str = ""
    uid: int = -1
    gid: int = -1
    mode: int = -1


ABSENT = State("absent")


class Refused(Exception):
    """Why the set cannot be written, in one sentence."""


def read_state(path: str, directory: bool = False) -> State:
    """Say what is at a path; where a directory is wanted, a link to one is what it leads to."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if stat.S_ISLNK(found.st_mode) and directory and os.path.isdir(path):
        found = os.stat(path)
    if stat.S_ISLNK(found.st_mode):
        return State("link", link=os.readlink(path), uid=found.st_uid, gid=found.st_gid)
    if stat.S_ISDIR(found.st_mode):
        return State("directory", mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid)
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path} is neither a file nor a link nor a directory; move it away")
    # Not by way of a link that was put there meanwhile: what is read is what a failed check brings back.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        found = os.fstat(stream.fileno())
        mode = stat.S_IMODE(found.st_mode)
        return State("file", content=stream.read(), mode=mode, uid=found.st_uid, gid=found.st_gid)


def id_of(kind: str, name: str, missing_ok: bool) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        if missing_ok:
            return -1
        raise Refused(f"the {kind} {name} that a file shall belong to does not exist on this host") from None


def wanted_state(entry: dict[str, Any], missing_ok: bool) -> State:
    if entry["state"] == "absent":
        return ABSENT
    uid, gid = id_of("user", entry["owner"], missing_ok), id_of("group", entry["group"], missing_ok)
    if entry["link"] is not None:
        return State("link", link=entry["link"], uid=uid, gid=gid)
    if not re.fullmatch("[0-7]{3,4}", entry["mode"]):
        raise Refused(f"the mode of {entry['path']} has to be octal digits such as 0644, not {entry['mode']}")
    kind = "directory" if entry["state"] == "directory" else "file"
    return State(kind, content=(entry["content"] or "").encode(), mode=int(entry["mode"], 8), uid=uid, gid=gid)


@contextlib.contextmanager
def opened_directory(path: str) -> Iterator[int]:
    """Open a directory, to be given away by its descriptor.

    Its path may be another's by then, and whoever may put a link there must not choose what root gives away: a link
    has to be root's own, or of the owner of the directory that it leads to.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        there, found = os.lstat(path), os.fstat(directory)
        if not os.path.samestat(there, found) and (
            not stat.S_ISLNK(there.st_mode) or there.st_uid not in (0, found.st_uid)
        ):
            raise Refused(
                f"{path} leads to {os.path.realpath(path)}, which its owner does not own; put the directory in its "
                f"place"
            )
        yield directory
    finally:
        os.close(directory)


def make_parents(path: str, made: list[str]) -> None:
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_parents(parent, made)
        os.mkdir(parent, 0o755)
        # Services and users read there, whatever the umask is.
        with opened_directory(parent) as directory:
            os.fchmod(directory, 0o755)
        made.append(parent)


def put(path: str, state: State) -> None:
    """Bring a path into a state in one step; a link or file is made beside it and renamed onto it."""
    if state.kind == "absent":
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        elif os.path.lexists(path):
            os.unlink(path)
        return
    if state.kind == "directory":
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
        with opened_directory(path) as directory:
            set_owner(directory, state)
        return
    # The dot keeps it out of what services include by a pattern.
    folder = os.path.dirname(path)
    if state.kind == "link":
        temporary = os.path.join(folder, f".slipway-{os.getpid()}-{os.path.basename(path)}")
        os.symlink(state.link, temporary)
        os.lchown(temporary, state.uid, state.gid)
    else:
        temporary = write_beside(path, state)
    try:
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_beside(path: str, state: State) -> str:
    handle, temporary = tempfile.mkstemp(prefix=".slipway-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(state.content)
            stream.flush()
            set_owner(stream.fileno(), state)
            os.fsync(stream.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def set_owner(descriptor: int, state: State) -> None:
    """Not by the path, where services' users may have put a link to another file."""
    os.fchown(descriptor, state.uid, state.gid)
    os.fchmod(descriptor, state.mode)


def complaint(out: str, err: str) -> str:
    """The lines in which a checker names the trouble, the gravest kind of line that there is; without any, the last."""
    lines = [line.strip() for line in (err + "\n" + out).splitlines() if line.strip()]
    for grave in (r"emerg|fatal|error", r"fail|invalid|unknown|bad|not "):
        telling = [line for line in lines if re.search(grave, line, re.IGNORECASE)]
        if telling:
            return "; ".join(telling[:3])
    return "; ".join(lines[-3:]) or "it said nothing"


def describe(path: str, before: State, after: State, secret: bool) -> dict[str, str]:
    def text(state: State) -> str:
        if state.kind == "absent":
            return ""
        head = f"{state.kind} {state.link}".strip()
        if state.mode != -1:
            head += f" {state.mode:04o} {state.uid}:{state.gid}"
        content = "(secret)" if secret and state.content else state.content.decode(errors="replace")
        return f"{head}\n{content}"

    return {"before_header": path, "after_header": path, "before": text(before), "after": text(after)}


class Change:
    """One run over a set: what is there, what shall be, and the way back."""

    def __init__(self, module: AnsibleModule, entries: list[dict[str, Any]], known: list[str]) -> None:
        self.module = module
        keep: list[str] = module.params["keep"]
        self.secrets: set[str] = {entry["path"] for entry in entries if entry["secret"]}
        self.validators: dict[str, list[str]] = {e["path"]: e["validate"] for e in entries if e["validate"]}
        wanted = {entry["path"]: wanted_state(entry, module.check_mode) for entry in entries}
        unlisted = [path for path in known if path not in wanted]
        self.kept = [path for path in unlisted if any(fnmatch.fnmatchcase(path, pattern) for pattern in keep)]
        stale = [path for path in unlisted if path not in self.kept]
        # A directory is left when others have put something into it.
        wanted.update((path, ABSENT) for path in stale if not os.path.isdir(path) or not os.listdir(path))
        self.steps: list[tuple[str, State, State]] = []
        for path, after in wanted.items():
            before = read_state(path, directory=after.kind == "directory")
            if before != after:
                if before.kind == "directory" and after.kind in ("file", "link"):
                    raise Refused(f"{path} is a directory; remove it, since a file has to be there")
                self.steps.append((path, before, after))
        # What is removed goes last and the deepest first, so that a directory is empty by then.
        self.steps.sort(key=lambda step: (step[2].kind == "absent", -len(step[0]) if step[2].kind == "absent" else 0))

    def apply(self, check: list[str]) -> None:
        done: list[tuple[str, State]] = []
        made: list[str] = []
        try:
            for path, _before, after in self.steps:
                if after.kind != "absent":
                    make_parents(path, made)
            self.validate()
            for path, before, after in self.steps:
                done.append((path, before))
                put(path, after)
            if check:
                rc, out, err = self.module.run_command(check, environ_update={"LC_ALL": "C.UTF-8"})
                if rc != 0:
                    raise Refused(
                        f"{' '.join(check)} refused the new files, the old ones are back: {complaint(out, err)}"
                    )
        except BaseException:
            for path, before in reversed(done):
                put(path, before)
            for path in reversed(made):
                if not os.listdir(path):
                    os.rmdir(path)
            raise

    def validate(self) -> None:
        for path, _before, after in self.steps:
            command = self.validators.get(path)
            if not command or after.kind != "file":
                continue
            temporary = write_beside(path, after)
            try:
                argv = [part.replace("%s", temporary) for part in command]
                rc, out, err = self.module.run_command(argv, environ_update={"LC_ALL": "C.UTF-8"})
            finally:
                os.unlink(temporary)
            if rc != 0:
                said = complaint(out, err).replace(temporary, path)
                raise Refused(f"{' '.join(command[:-1])} refused the new {path}, nothing was changed: {said}")


def read_known(memory: str) -> tuple[list[str], dict[str, list[str]]]:
    """The files that the set has written, and who wrote each of them."""
    try:
        with open(memory, encoding="utf-8") as stream:
            known = json.load(stream)
            return [str(path) for path in known["paths"]], dict(known.get("by", {}))
    except FileNotFoundError:
        return [], {}
    except (ValueError, KeyError) as error:
        raise Refused(
            f"{memory} cannot be read ({error}); remove it, and files that are no longer listed by hand"
        ) from None


def refuse_theirs(removed: list[str], writers: dict[str, list[str]], by: list[str]) -> None:
    """Stop before the files of another inventory go, whose sets have the same names as ours."""
    theirs = [path for path in removed if writers.get(path) and not set(writers[path]) & set(by)]
    if theirs:
        names = sorted({name for path in theirs for name in writers[path]})
        raise Refused(
            f"{', '.join(theirs)} came from {', '.join(names)}, and {', '.join(by)} would remove it: this "
            f"task has changed nothing. A host belongs to one inventory; let that list all its applications. If this "
            f"one has taken the place of that one, add -e laravel_host_taken_over=true"
        )


def take_files(module: AnsibleModule) -> list[dict[str, Any]]:
    """Return the files, and take them out of what the module shows.

    ``no_log`` keeps them out of the log of the host. It would also blot out of the result all that they hold, and with
    it paths and names; what is secret there is left out of the diff.
    """
    files: list[dict[str, Any]] = module.params["files"]
    module.params["files"] = []
    module.no_log_values.clear()
    return files


def run(module: AnsibleModule, entries: list[dict[str, Any]]) -> dict[str, Any]:
    paths = [entry["path"] for entry in entries]
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", module.params["name"]):
        raise Refused(f"a set is named with small letters, digits and . _ -, not {module.params['name']}")
    for path in paths:
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            raise Refused(f"{path} has to be an absolute path without detours")
        if paths.count(path) > 1:
            raise Refused(f"{path} is listed twice")

    memory = os.path.join(module.params["state_dir"], f"{module.params['name']}.json")
    known, writers = read_known(memory)
    by: list[str] = module.params["by"]
    change = Change(module, entries, known)
    if by and not module.params["take_over"]:
        gone = [path for path, _before, after in change.steps if after.kind == "absent" and path not in paths]
        refuse_theirs(gone, writers, by)
    wanted = {entry["path"] for entry in entries if entry["state"] != "absent"}
    owned = sorted([*wanted, *change.kept])
    # What is kept has not been written by this inventory, and may be of another one.
    by_now = {path: {*writers.get(path, []), *(by if path in wanted else [])} for path in owned}
    written = {path: sorted(names) for path, names in by_now.items() if names}
    result = {
        "changed": bool(change.steps),
        "changed_paths": [path for path, _before, after in change.steps if after.kind != "absent"],
        "removed_paths": [path for path, _before, after in change.steps if after.kind == "absent"],
        "kept_paths": change.kept,
        "diff": [describe(path, before, after, path in change.secrets) for path, before, after in change.steps],
    }
    if module.check_mode:
        return result
    if change.steps:
        change.apply(module.params["check"])
    if (owned, written) != (sorted(known), writers):
        remembered = json.dumps({"paths": owned, "by": written}, indent=1) + "\n"
        make_parents(memory, [])
        put(memory, State("file", remembered.encode(), uid=os.geteuid(), gid=os.getegid(), mode=0o644))
    return result


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait for other runs of this module on this host: they would check, and put back, each other's files."""
    # A directory that is always there, so that no file needs to be made for it.
    root = os.open("/", os.O_RDONLY)
    try:
        fcntl.flock(root, fcntl.LOCK_EX)
        yield
    finally:
        os.close(root)


def main() -> None:
    file_options = {
        "path": {"type": "path", "required": True},
        "template": {"type": "str"},
        "content": {"type": "str"},
        "link": {"type": "str"},
        "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
        "each": {"type": "list", "elements": "dict"},
        "vars": {"type": "dict"},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": "0644"},
        "validate": {"type": "list", "elements": "str"},
        "secret": {"type": "bool", "default": False, "no_log": False},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict", "default": [], "options": file_options, "no_log": True},
            "keep": {"type": "list", "elements": "str", "default": []},
            "check": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "list", "elements": "str", "default": []},
            "take_over": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "default": "/var/lib/slipway"},
        },
        supports_check_mode=True,
    )
    entries = take_files(module)
    try:
        with alone():
            result = run(module, entries)
        module.exit_json(**result)
    except (Refused, OSError) as error:
        module.fail_json(msg=f"config_files {module.params['name']}: {error}")


if __name__ == "__main__":
    main()
