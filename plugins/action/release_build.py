# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of release_build: fetches what was built, for the hosts that did not build it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.laravel.plugins.plugin_utils import record

# Bytes read at a time where the login user may not read the artifact. What a command prints is held in memory, a third
# larger for base64; so this, and not the size of the artifact, is the memory that the controller needs.
CHUNK = 8 * 2**20

# Around what a command prints of it: on a terminal, which ssh may be given, messages of sudo and of the shell's start
# come with it.
BEGIN, END = "=== slipway begins ===", "=== slipway ends ==="


def sha256(path: str) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        super().run(tmp, variables)
        args: dict[str, Any] = dict(self._task.args)
        if record.problem():
            raise AnsibleActionFail(
                f"release_build: nothing was built, for it could not be recorded: {record.problem()}"
            )
        wanted = boolean(args.pop("handover", False))
        on_controller = self._task.delegate_to == "localhost"
        if on_controller:
            # No role has laid this directory out; it holds the code.
            os.makedirs(os.path.join(os.path.expanduser(str(args["root"])), ".slipway"), mode=0o700, exist_ok=True)
        result: dict[str, Any] = self._execute_module(
            module_name="slipway.laravel.release_build", module_args=args, task_vars=variables
        )
        if wanted and result.get("artifact") and not result.get("failed"):
            result["handover"] = result["artifact"] if on_controller else self.fetched(result)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def fetched(self, result: dict[str, Any]) -> str:
        """Bring the artifact to the controller.

        It goes into the directory that ansible-core makes for each of its runs, which nobody else may enter, and which
        it removes when the run ends, well or not.
        """
        source = result["artifact"]
        target = os.path.join(C.DEFAULT_LOCAL_TMP, f"slipway-{result['release']}.tar.gz")
        if self.login_may_read():
            self._connection.fetch_file(source, target)
        else:
            self.read_in_pieces(source, int(result["size"]), target)
        found = sha256(target)
        if found != result["sha256"]:
            os.unlink(target)
            raise AnsibleActionFail(
                f"release_build: {source} came to the controller with sha256 {found}, not {result['sha256']}: it was "
                f"damaged on its way; release again"
            )
        return target

    def login_may_read(self) -> bool:
        """Say whether the user that logs in may read what the user of the release wrote."""
        if self._connection.become is None:
            return True
        login = self._get_remote_user()
        return login in ("root", self.get_become_option("become_user"))

    def read_in_pieces(self, source: str, size: int, target: str) -> None:
        """Read a file as the user that the task becomes, through the connection's commands: they start no Python."""
        with open(target, "xb") as handle:
            for offset in range(0, size, CHUNK):
                command = f"tail -c +{offset + 1} {shlex.quote(source)} | head -c {CHUNK} | base64"
                answer = self._low_level_execute_command(f"echo '{BEGIN}'; {command}; echo '{END}'")
                text = answer["stdout"].partition(BEGIN)[2].partition(END)[0]
                try:
                    piece = base64.b64decode("".join(text.split()), validate=True)
                except binascii.Error:
                    piece = b""
                if not piece:
                    why = answer["stderr"].strip() or text.strip()[:200]
                    raise AnsibleActionFail(f"release_build: {source} cannot be read: {why}")
                handle.write(piece)
