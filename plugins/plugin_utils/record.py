# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a release: a file of entries, each bound to the one before, see chain.py.

Of a run there is one record. The callback release_record opens it in the main process before any task begins that
needs it; Ansible's workers are forks of that process, so that action plugins find it here as well:

    from ansible_collections.slipway.laravel.plugins.plugin_utils import record

    if record.problem():
        raise AnsibleActionFail(...)  # the callback is on, but nothing can be recorded: nothing may be changed
    if record.current():
        record.current().append("signoff", {...})
"""

from __future__ import annotations

import getpass
import os
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.loader import callback_loader
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import (
    FIRST,
    ChainError,
    ChainFile,
    entry_hash,
    now,
    read,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import Masker

__all__ = [
    "FIRST",
    "ChainError",
    "RecordFile",
    "current",
    "entry_hash",
    "failed_hosts",
    "now",
    "problem",
    "read",
    "records_of",
    "user",
]

CALLBACK = "slipway.laravel.release_record"

# Names that files of inventories have everywhere; the second half is what plugins ask for. Their directory tells more.
COMMON = {
    *("all", "dynamic", "hosts", "inventory", "main", "static"),
    *("aws_ec2", "azure_rm", "cloudscale", "constructed", "digitalocean", "do", "docker", "docker_swarm", "ec2"),
    *("exoscale", "gcp", "gcp_compute", "hcloud", "hetzner", "icinga2", "libvirt", "linode", "lxd", "nb_inventory"),
    *("netbox", "openstack", "ovirt", "proxmox", "scaleway", "terraform", "tfstate", "upcloud", "vmware", "vultr"),
}


def records_of(root: str, sources: tuple[str, ...]) -> str:
    """Return the directory of an inventory's records, by the name of its directory, or of its file without the ending.

    :param root: what holds the records of all inventories
    """
    source = sources[-1] if sources else ""
    if not source or "," in source:
        return os.path.join(root, "adhoc")
    path = os.path.abspath(source)
    above, file = os.path.split(path)
    plain = os.path.join(root, os.path.splitext(file)[0])
    if not os.path.isfile(path) or above == os.sep:
        return plain
    by_directory = os.path.join(root, os.path.splitext(os.path.basename(above))[0])
    if os.path.splitext(file)[0] == "hosts":
        return by_directory
    # Beside the records, it is the only one of its name among them, while the project may be cloned to any name.
    if file.partition(".")[0] not in COMMON or above == os.path.dirname(os.path.abspath(root)):
        return plain
    # A ledger that was begun by the name of the file is gone on with.
    begun = os.path.exists(os.path.join(plain, "ledger.jsonl"))
    return plain if begun and not os.path.exists(by_directory) else by_directory


def user() -> str:
    """Return the name of whoever runs Ansible, or their number where that has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class RecordFile(ChainFile):
    """A record that is being written. Each entry is on disk when ``append`` returns, and holds no secret."""

    # Knows only what looks like a secret, until the callback tells it the secrets of the inventory.
    masker = Masker()
    # The file of those who may sign it, where there is one.
    allowed_signers = ""

    def append(self, event: str, data: dict[str, Any], at: str = "") -> dict[str, Any]:
        return super().append(event, self.masker.data(data), at)

    def rename(self, path: str) -> None:
        """Give the file its lasting name, unless that is taken."""
        if not os.path.lexists(path):
            os.rename(self.path, path)
            self.path = path

    def discard(self) -> None:
        """Remove the record of a run that did nothing."""
        self.close()
        os.unlink(self.path)


# Of this run. Only the main process sets them.
_current: RecordFile | None = None
_problem = ""
_failed: set[str] | None = None


def current() -> RecordFile | None:
    """Return the record of this run, None when none is kept (the callback is off, check mode, no release)."""
    return _current


def problem() -> str:
    """Say why this run, which should have a record, cannot keep one; empty when all is well."""
    if _problem or _current is not None or context.CLIARGS.get("check"):
        return _problem
    if CALLBACK not in C.CALLBACKS_ENABLED:
        return _unsigned_without()
    # Ansible goes on without a callback that it cannot set up, such as one with an option that is misspelt.
    return f"the callback {CALLBACK} is enabled, but is not at work; a warning at the start of the run says why"


def _unsigned_without() -> str:
    """Say that records have to be signed, where none is kept: a list of callbacks that lacks ours is soon written."""
    options = callback_loader.get(CALLBACK)
    try:
        options.set_options()
    except AnsibleError:
        return ""  # what is misspelt is of no matter while the callback is off
    required = options.get_option("signature") == "required"
    return f"records have to be signed, and the callback {CALLBACK} is not enabled" if required else ""


def failed_hosts() -> set[str] | None:
    """Return the hosts whose last task failed, or could not be carried out; None when nobody knows (no callback)."""
    return _failed


def set_failed_hosts(hosts: set[str] | None) -> None:
    """Tell which hosts have failed; who tells changes the set as things happen."""
    global _failed  # noqa: PLW0603  only the main process tells
    _failed = hosts


def set_current(record: RecordFile | None, why_not: str = "") -> None:
    """Tell what the record of this run is, or why there is none."""
    global _current, _problem
    _current, _problem = record, why_not
