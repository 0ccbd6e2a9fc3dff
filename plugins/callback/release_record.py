# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: release_record
type: notification
short_description: Keep a record of every release
version_added: 0.1.0
description:
  - Writes one JSON-lines file for each release or rollback on the controller, while it happens. Each line is bound to
    the line before by its hash, so that a later change shows.
  - At the end it writes a report in Markdown and as a page beside the record, and C(index.html), a page with all
    records of the inventory. They can be made anew at any time, see M(slipway.laravel.record_report).
  - The record holds who released what, when and onto which hosts, which of the play C(--limit) left out, each phase
    with its evidence, failures, and the outcome, which is one of V(success), V(rolled back), V(reverted), V(aborted)
    (before anything was live) or V(partial) (hosts differ that did not before, or what is live on one of them is not
    known); besides what is live on each host, and how many modules the run of the playbook carried out there.
  - Where a run has several releases, such as those of two applications, each leaves a record of its own.
  - A run that found nothing to do, and a run in check mode, leave no record. Playbooks without a release are left
    alone.
  - Records of an inventory are entered in its ledger, C(ledger.jsonl), a chain as well. Each record and the ledger are
    signed by an SSH key, where there is one that asks for nothing; see the guide C(docs/record.md).
  - When the record cannot be begun (no right to write, no space, no key where O(signature=required)), the release
    stops in preflight, before anything was changed. After that nothing about the record stops it or changes it; what
    cannot be written is told in one warning.
  - Secrets are masked, those of the inventory by their values, others by what they look like.
  - What it tells at the end goes to the standard error where a program reads the standard output
    (C(stdout_callback = ansible.posix.json)).
author:
  - The slipway.laravel authors (@slipway)
requirements:
  - enabled with C(callbacks_enabled = slipway.laravel.release_record) in C(ansible.cfg)
options:
  records_dir:
    description:
      - Directory of the records; each inventory has a directory of its own in it.
    type: path
    default: records
    ini:
      - section: callback_release_record
        key: records_dir
    env:
      - name: SLIPWAY_RECORDS_DIR
  signature:
    description:
      - Whether records are signed. V(auto) signs when there is a key that can, and says at the end why there is none.
        V(required) stops a release in preflight when there is none. V(never) does not sign.
    type: str
    choices: [auto, required, never]
    default: auto
    ini:
      - section: callback_release_record
        key: signature
    env:
      - name: SLIPWAY_SIGNATURE
  signing_key:
    description:
      - The SSH key that signs, a file or the public key of one that an agent holds. A key with a passphrase has to be
        in an agent; nobody is asked for it.
      - Without it, the first that can sign of the usual files in C(~/.ssh) (ed25519, ecdsa, rsa), then those of the
        agent.
      - The key of a security device wants to be touched at the end of each release, within a minute; else
        the record is entered without a signature.
    type: path
    ini:
      - section: callback_release_record
        key: signing_key
    env:
      - name: SLIPWAY_SIGNING_KEY
  signer:
    description:
      - Who signs, as O(allowed_signers) names them. Without it, whoever the key belongs to there, else the user's name
        and that of the controller.
    type: str
    ini:
      - section: callback_release_record
        key: signer
    env:
      - name: SLIPWAY_SIGNER
  allowed_signers:
    description:
      - File that says whose keys are whose, in the format of C(ssh-keygen). Without it, C(allowed_signers) in
        O(records_dir).
    type: path
    ini:
      - section: callback_release_record
        key: allowed_signers
    env:
      - name: SLIPWAY_ALLOWED_SIGNERS
  git:
    description:
      - O(records_dir) is a git repository of its own, which the team shares. What a release left is committed and,
        where there is a remote, pushed when the release has ended; what others pushed in the meantime is merged. A push
        that fails is a warning, and is made up for by the next release.
    type: bool
    default: false
    ini:
      - section: callback_release_record
        key: git
    env:
      - name: SLIPWAY_RECORDS_GIT
"""

import atexit
import os
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.vault import VaultHelper
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from ansible.template import Templar
from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import ChainError
from ansible_collections.slipway.laravel.plugins.plugin_utils.failures import failure_text
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger, release_of, summary, unfinished
from ansible_collections.slipway.laravel.plugins.plugin_utils.left_out import left_out
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import Masker, secrets_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile, records_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import DONE, markdown
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import report as told_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.report_html import write_pages
from ansible_collections.slipway.laravel.plugins.plugin_utils.shared import GitError, Shared
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import Signer, SigningError, find_signer
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_entered

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.playbook import Playbook
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

PREFIX = "slipway.laravel."
ROLE = PREFIX + "release"
RELEASE_ACTIONS = (PREFIX + "release", PREFIX + "release_build")
# The record must be there before the first of these changes or signs anything.
SIGNOFF = PREFIX + "signoff"
RECORDED = (*RELEASE_ACTIONS, SIGNOFF)

# Files of the role that a release begins with: when one of them is at work, the release before has ended.
FIRST_FILES = ("request.yml", "run.yml")

# Names of callbacks that print for programs.
FOR_PROGRAMS = ("json", "jsonl")

# Bytes that must be free for a record to begin: a long one has some 100 KiB.
ROOM = 2**20

# What may go wrong about a record without the release being any worse for it.
FAILURES = (OSError, ChainError, SigningError, GitError)

# The phases that a release has and a rollback has not.
BROUGHT = ("build", "stage")

FAIL = "ansible.builtin.fail"

# Actions of ansible-core that run nothing on a host. All others run a module there.
ON_CONTROLLER = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "import_playbook",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "pause",
    "set_fact",
    "set_stats",
    "signoff",
    "validate_argument_spec",
}


def in_vaults(values: Any) -> set[str]:
    """Return the texts that were encrypted one by one."""
    if isinstance(values, dict):
        return {text for value in values.values() for text in in_vaults(value)}
    if isinstance(values, (list, tuple)):
        return {text for value in values for text in in_vaults(value)}
    return {str(values)} if VaultHelper.get_ciphertext(values, with_tags=False) else set()


def texts_of(values: Any) -> set[str]:
    if isinstance(values, dict):
        return {text for value in values.values() for text in texts_of(value)}
    if isinstance(values, (list, tuple)):
        return {text for value in values for text in texts_of(value)}
    return {str(values)} if isinstance(values, str) and "{{" not in values else set()


def vault_files(directories: list[str]) -> list[str]:
    """Return the encrypted files of variables in directories of inventories and playbooks."""
    found = []
    for name in [os.path.join(directory, kind) for directory in directories for kind in ("group_vars", "host_vars")]:
        for directory, dummy, files in os.walk(name):
            for file in files:
                with open(os.path.join(directory, file), "rb") as handle:
                    if handle.read(14) == b"$ANSIBLE_VAULT":
                        found.append(os.path.join(directory, file))
    return found


def action_of(task: Task) -> str:
    """Return the full name of what a task does, also where the play names its collections."""
    return str(task._resolved_action or task.action)


def file_of_role(task: Task) -> str:
    """Return the file of the role release that a task stands in; a task of a hook stands in a file of the user's."""
    role = task._role
    if role is None or role.get_name(include_role_fqcn=True) != ROLE:
        return ""
    path = os.path.realpath((task.get_path() or "").rpartition(":")[0])
    return os.path.basename(path) if path.startswith(f"{role.get_role_path()}{os.sep}") else ""


def runs_no_module(action: str) -> bool:
    """Say whether a task does its work on the controller alone."""
    return action.rpartition(".")[2] in ON_CONTROLLER


def parted(phases: list[dict[str, Any]]) -> bool:
    """Say whether hosts that served the same before a run went back to different releases.

    Others differed before it: a new host has none, and a fleet may have been split on purpose.
    """
    before = {phase["host"]: phase.get("current") for phase in phases if phase["phase"] == "preflight"}
    lives = {phase["host"]: phase.get("current") for phase in phases if phase["phase"] == "revert"}
    pairs = {(before.get(host, ""), live) for host, live in lives.items()}
    return len(pairs) > len({had for had, dummy in pairs})


def outcome_of(phases: list[dict[str, Any]], failed: bool, lost: bool = False) -> str:
    """Say in one word how a run ended, from its phases in order.

    :param lost: nobody knows what is live on a host, which went away when or after it may have switched, or whose
        result is hidden
    """
    if lost:
        return "partial"
    switched = {phase["host"] for phase in phases if phase["phase"] == "switch" and phase["changed"]}
    if failed:
        reverted = {phase["host"] for phase in phases if phase["phase"] == "revert" and phase.get("reverted")}
        if not switched:
            return "aborted"
        return "reverted" if switched <= reverted and not parted(phases) else "partial"
    if any(phase["phase"] in BROUGHT for phase in phases):
        return "success" if switched else "unchanged"
    # One that finishes what a killed rollback has begun may find each host switched.
    rolled = any(phase["phase"] == "switch" or (phase["phase"] == "restore" and phase["changed"]) for phase in phases)
    return "rolled back" if rolled else "unchanged"


def signoffs_told(signoffs: list[dict[str, Any]]) -> str:
    """Say how many items are signed, and which have to be yet."""
    if not signoffs:
        return ""
    done = sum(item["status"] in DONE for item in signoffs)
    still = [item for item in signoffs if item["required"] and item["status"] not in DONE]
    names = [f"{item['item']} (until {item['until']})" if item["until"] else str(item["item"]) for item in still]
    return ", ".join([f"{done} of {len(signoffs)} signed", *([f"open: {', '.join(names)}"] if names else [])])


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """Writes the record of a release."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "slipway.laravel.release_record"
    CALLBACK_NEEDS_ENABLED = True
    ANSIBLE_SUPPORTS_MASKING = True

    def __init__(self) -> None:
        super().__init__()
        self._playbook = self._playbook_directory = ""
        self._play: Play | None = None
        self._hosts: list[str] = []
        self._left_out: list[str] = []
        self._record: RecordFile | None = None
        self._signer: Signer | None = None
        self._unsigned = ""
        self._refused = False
        self._task_started = 0.0
        # Hosts that failed and have done nothing since: not those that were rescued. One set for the whole run, which
        # the action plugins look at.
        self._failed: set[str] = set()
        self._forget()

    def _forget(self) -> None:
        """Forget the release before: a run may have several, each with a record."""
        self._version = ""
        self._later = False
        self._started = self._spent = 0.0
        self._phases: list[dict[str, Any]] = []
        self._release = ""
        self._told_failed = self._named = self._hidden = False
        self._asked: list[str] = []
        self._broken: set[str] = set()
        # How the run ended, and report and signer of its record as soon as that is closed.
        self._ended = ""
        self._closed: tuple[str, str] | None = None
        self._module_runs: dict[str, int] = {}
        self._live: dict[str, str | None] = {}
        self._lost: set[str] = set()
        self._missing = 0

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        sources = tuple(context.CLIARGS.get("inventory") or ())
        self._root = os.path.abspath(self.get_option("records_dir"))
        self._directory = records_of(self._root, sources)
        self._sources = [os.path.abspath(source) for source in sources if "," not in source]
        self._allowed_signers = self.get_option("allowed_signers") or os.path.join(self._root, "allowed_signers")
        self._who = f"{record.user()}@{socket.gethostname()}"

    # Writing

    def _append(self, event: str, data: dict[str, Any]) -> None:
        """Add an entry. What cannot be written is counted, and told as soon as something can be."""
        if self._record is None:
            return
        began = time.perf_counter()
        try:
            if self._missing:
                self._record.append("gap", {"entries": self._missing})
                self._missing = 0
            self._record.append(event, data)
        except (OSError, ChainError) as exc:
            if not self._missing:
                self._display.warning(f"release_record: {exc}; the record of this run is not complete")
            self._missing += 1
        self._spent += time.perf_counter() - began

    def _rename(self, name: str) -> None:
        if self._record is None:
            return
        try:
            self._record.rename(os.path.join(self._directory, f"{name}.jsonl"))
        except OSError as exc:
            self._display.warning(f"release_record: {exc}; the record stays under the name {self._record.path}")

    def _open(self, task: Task) -> None:
        """Begin a record under a name for the time being: a release gets its id after the build."""
        began = time.perf_counter()
        self._started = time.time()
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._started))
        try:
            # Nobody has to wait for a key before the release has ended, unless it may not begin without one.
            if self.get_option("signature") == "required":
                self._find_signer()
            self._record = self._continued() if action_of(task) == SIGNOFF else None
            if self._record is None:
                self._record = RecordFile(os.path.join(self._directory, f"{self._stamp}-{os.getpid()}.jsonl"))
            if not self._record.keep():
                raise OSError(f"another run is at work on {self._record.path}")
            room = os.statvfs(self._directory)
            if room.f_bavail * room.f_frsize < ROOM:
                raise OSError(f"{self._directory} is on a file system with less than 1 MiB free")
            self._record.masker = Masker(self._secrets())
            if os.path.isfile(self._allowed_signers):
                self._record.allowed_signers = self._allowed_signers
            self._version = "" if self._later else self._asked_version(task)
            self._record.append("run", self._about())
        except FAILURES as exc:
            self._refuse(str(exc))
            return
        record.set_current(self._record)
        self._asked = self._hosts
        # A run that is interrupted does not get to its statistics.
        atexit.register(self._interrupted, os.getpid())
        self._spent += time.perf_counter() - began

    def _refuse(self, why: str) -> None:
        """Let the release stop in preflight: a callback cannot stop a run, the action plugins can."""
        self._refused = True
        if self._record is not None:
            if not self._later:
                self._record.discard()
            self._record = None
        record.set_current(None, why)

    def _about(self) -> dict[str, Any]:
        about = {
            "playbook": self._playbook,
            "version": self._version,
            "inventory": os.path.basename(self._directory),
            "hosts": self._hosts,
            **({"left_out": self._left_out} if self._left_out else {}),
            "user": record.user(),
            "controller": socket.gethostname(),
            "ansible_core": ansible_version,
        }
        return {**about, "later": True} if self._later else about

    def _asked_version(self, task: Task) -> str:
        """Return the version that is released, wherever it stands; it may be a template."""
        variables = self._variables()
        try:
            host = next(iter(variables._inventory.get_hosts(self._play.hosts if self._play else [])), None)
            # Of the variables, which may be secrets, only the version is taken.
            values = variables.get_vars(play=self._play, host=host, task=task)
            if values.get("__release_kind_of_run") == "rollback":
                return ""
            given = task.args.get("version", values.get("release_version", ""))
            return str(Templar(loader=variables._loader, variables=values).template(given))
        except AnsibleError as exc:
            self._display.vv(f"release_record: the version is not known: {exc}")
            return ""

    def _find_signer(self) -> None:
        if self._signer or self._unsigned:
            return
        if self.get_option("signature") == "never":
            self._unsigned = "signature is never"
            return
        key = self.get_option("signing_key") or ""
        try:
            self._signer = find_signer(key, self.get_option("signer") or "", self._allowed_signers, self._who)
        except SigningError as exc:
            if self.get_option("signature") == "required":
                raise SigningError(f"records have to be signed, but {exc}") from exc
            self._unsigned = str(exc)

    def _continued(self) -> RecordFile | None:
        """Return the record of a release that is signed off later, None when this is a release itself."""
        release = str(self._variables().extra_vars.get("release", ""))
        if not release:
            return None
        if self.get_option("git"):
            try:
                self._find_signer()
                Shared(self._root, self._signer, self._who).take()
            except FAILURES as exc:
                self._display.warning(f"release_record: {exc}; what others signed off is perhaps not here yet")
        path = os.path.join(self._directory, f"{os.path.basename(release)}.jsonl")
        if not os.path.exists(path):
            raise OSError(f"there is no record of the release {release}: {path} does not exist")
        # Nobody signs what somebody else may have written; and what is signed anew here has to be what it was.
        listed = os.path.isfile(self._allowed_signers)
        found = verify_entered(path, self._allowed_signers if listed else "", listed)
        if found.faults:
            more = f", and {len(found.faults) - 1} more" if len(found.faults) > 1 else ""
            raise OSError(
                f"{found.faults[0]['text']}{more}: a record with a fault is not signed; "
                "playbooks/verify_record.yml has all of it"
            )
        self._later = self._named = True
        continued = RecordFile(path, create=False)
        continued.mended()
        return continued

    def _variables(self) -> Any:
        return self._play.get_variable_manager() if self._play else None

    def _secrets(self) -> set[str]:
        """Return what inventory and vaults hold of secrets; what a template makes of them is not known here."""
        secrets: set[str] = set()
        variables = self._variables()
        try:
            for number, host in enumerate(variables._inventory.get_hosts(self._play.hosts if self._play else [])):
                # The variables of all hosts stand in those of each.
                values = variables.get_vars(play=self._play, host=host, include_hostvars=number == 0)
                secrets |= secrets_of(values) | in_vaults(values)
            directories = [path if os.path.isdir(path) else os.path.dirname(path) for path in self._sources]
            for path in vault_files([*directories, self._playbook_directory]):
                secrets |= texts_of(variables._loader.load_from_file(path))
        except (AnsibleError, OSError) as exc:
            self._display.vv(f"release_record: not all secrets of the inventory are known: {exc}")
        return secrets

    def _resumes(self, result: CallbackTaskResult) -> bool:
        return boolean((result.task_fields.get("args") or {}).get("resume") or False, strict=False) is True

    def _resume(self, release: str) -> None:
        """Go on in the record of the run that was killed, whose release this run goes on with."""
        path = os.path.join(self._directory, f"{os.path.basename(release)}.jsonl")
        begun = self._record
        if begun is None or not os.path.exists(path) or os.path.samefile(path, begun.path):
            return
        try:
            killed = RecordFile(path, create=False)
            entries = killed.mended() if killed.keep() else []
            killed_once = unfinished(entries) or summary(entries)["outcome"] == "killed"
            if not killed_once or release_of(entries) != release:
                killed.close()
                return
            killed.masker, killed.allowed_signers = begun.masker, begun.allowed_signers
            killed.append("resumed", {"by": self._who})
            for entry in begun.entries:
                killed.append(entry["event"], entry["data"], entry["time"])
            self._record = killed
            record.set_current(killed)
            begun.discard()
        except (OSError, ChainError) as exc:
            self._display.warning(f"release_record: {exc}; this run has a record of its own")

    # What happens in the run

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        self._playbook = os.path.basename(playbook._file_name)
        self._playbook_directory = os.path.dirname(os.path.abspath(playbook._file_name))
        record.set_failed_hosts(self._failed)

    def v2_playbook_on_play_start(self, play: Play) -> None:
        self._play = play
        # There is no public way from a callback to the inventory.
        self._hosts = [host.name for host in play.get_variable_manager()._inventory.get_hosts(play.hosts)]
        self._left_out = left_out(play)

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        if self._record is not None and file_of_role(task) in FIRST_FILES:
            # The next one, of another application say. Of this one, whatever failed has told by now.
            self._conclude(self._broken)
            self._forget()
        begin = self._record is None and not self._refused and action_of(task) in RECORDED
        if begin and not context.CLIARGS.get("check"):
            self._open(task)
        self._task_started = time.time()

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._failed.discard(result.host.get_name())

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._failed.discard(result.host.get_name())
        self._count(result)
        self._note(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        (self._failed.discard if ignore_errors else self._failed.add)(result.host.get_name())
        self._count(result)
        self._note(result)
        if not ignore_errors:
            self._note_broken(result)
            # Of a loop, each item that failed has told.
            if not (result.task.loop and "results" in result.result):
                self._note_failure(result, self._message(result.result))

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        self._count(result, item=True)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        self._count(result, item=True)
        if not result.task_fields.get("ignore_errors"):
            content = result.result
            label = f"({self._get_item_label(content)}) " if content.get("ansible_loop_var") else ""
            self._note_failure(result, label + self._message(content))

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        (self._failed.discard if result.task.ignore_unreachable else self._failed.add)(result.host.get_name())
        # The role lets hosts that went away take part to the end, where it fails for them.
        self._note_failure(result, f"unreachable: {result.result.get('msg', '')}")
        if not result.task.ignore_unreachable:
            self._note_broken(result)
        host = result.host.get_name()
        phases = (result.task_fields.get("args") or {}).get("phases") or []
        switched = any((phase["host"], phase["phase"]) == (host, "switch") for phase in self._phases)
        if "switch" in phases or (switched and "finish" not in phases):
            # Until a later run of the module says otherwise.
            self._lost.add(host)
            self._live[host] = "unknown"

    def _count(self, result: CallbackTaskResult, item: bool = False) -> None:
        """Count a module that ran on a host: of a loop, each of its items."""
        if bool(result.task.loop) != item or runs_no_module(result.task.action):
            return
        delegated = result.result.get("_ansible_delegated_vars") or {}
        host = delegated.get("ansible_delegated_host") or result.host.get_name()
        if host != "localhost" or "localhost" in self._hosts:
            self._module_runs[host] = self._module_runs.get(host, 0) + 1

    def _note_broken(self, result: CallbackTaskResult) -> None:
        """Remember where the release failed; whether that was rescued is known at the end."""
        file = file_of_role(result.task)
        if file or action_of(result.task) in RECORDED:
            self._broken.add(result.host.get_name())
        # Whatever failed in the role, it goes back, and says so by this task.
        self._told_failed = self._told_failed or (file == "revert.yml" and action_of(result.task) == FAIL)

    def _note_failure(self, result: CallbackTaskResult, message: str) -> None:
        if action_of(result.task) == FAIL and file_of_role(result.task):
            return  # the role tells how it ended; the failure itself has an entry
        self._append("failure", {"host": result.host.get_name(), "task": result.task.get_name(), "message": message})

    def _message(self, content: dict[str, Any]) -> str:
        return failure_text(content, (self._record or RecordFile).masker.text)

    def _note(self, result: CallbackTaskResult) -> None:
        if self._record is None or action_of(result.task) not in RELEASE_ACTIONS:
            return
        content = dict(result.result)
        host = content.get("_ansible_delegated_vars", {}).get("inventory_hostname") or result.host.get_name()
        if "censored" in content and action_of(result.task) == RELEASE_ACTIONS[0]:
            self._hidden = True
            self._live[host] = "unknown"
            self._note_failure(result, "what it did is not known, for no_log hides it")
        phases = [dict(phase) for phase in content.get("phases", [])]
        # What Ansible and the network needed around the module counts for the first phase of the run.
        around = time.time() - self._task_started - sum(phase["seconds"] for phase in phases)
        for phase in phases:
            if phase["phase"] == "preflight" and self._resumes(result):
                self._resume(str((phase.get("unfinished") or {}).get("release") or ""))
            phase.update(host=host, wall=round(phase["seconds"] + max(around, 0), 3))
            if content.get("release"):
                phase["release"] = content["release"]
            self._phases.append(phase)
            self._append("phase", self._phases[-1])
            around = 0
        if action_of(result.task) == RELEASE_ACTIONS[0]:
            self._lost.discard(host)
            if "current" in content:
                self._live[host] = content["current"]
        if content.get("release"):
            self._release = str(content["release"])
            if any(phase["phase"] in BROUGHT for phase in phases):
                self._named = True
                self._rename(self._release)

    # The end

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        if self._record is not None:
            self._conclude({*stats.failures, *stats.dark})

    def _conclude(self, failed: set[str]) -> None:
        """Say how a release ended.

        :param failed: hosts that failed in it, or in what else the playbook does before and after it
        """
        outcome = outcome_of(self._phases, self._has_failed(failed), self._hidden or bool(self._lost))
        events = {entry["event"] for entry in self._entries()}
        if outcome == "unchanged" and "signoff" not in events and not self._later:
            self._discard()
        else:
            self._end(outcome)

    def _has_failed(self, failed: set[str]) -> bool:
        """Say whether the release failed, whatever else the playbook does before and after it."""
        # Hosts that failed before the release came to them have not got it.
        left_out = failed & set(self._asked) - {phase["host"] for phase in self._phases}
        return self._told_failed or bool(left_out or failed & self._broken)

    def _entries(self) -> list[dict[str, Any]]:
        try:
            return self._record.entries if self._record else []
        except (OSError, ChainError):
            return []

    def _interrupted(self, process: int) -> None:
        """Close the record of a run that ends without its statistics; workers are forks, and have this handler too."""
        if self._record is not None and os.getpid() == process:
            # What hosts were doing at that moment is not known: the same as if this process had been killed.
            self._end("killed", share=False)

    def _discard(self) -> None:
        if self._record is not None:
            try:
                self._record.discard()
            except OSError as exc:
                self._display.warning(f"release_record: {exc}")
        self._record = None
        record.set_current(None)

    def _end(self, outcome: str, share: bool = True) -> None:
        """Close the record: outcome, report, signature, ledger. The release has ended, whatever fails here."""
        kept = self._record
        if kept is None:
            return
        # Whoever interrupts this, such as the wait for a key, gets here again, and changes nothing about the outcome.
        outcome = self._ended = self._ended or outcome
        total = round(time.time() - self._started, 1)
        seconds: dict[str, float] = {}
        for phase in self._phases:
            seconds[phase["phase"]] = max(seconds.get(phase["phase"], 0), phase["wall"])
        if not self._later:
            if not self._named:
                # The release that a rollback returns to has a record of its own, under its id.
                self._rename(f"{self._stamp}-{outcome.replace(' ', '-')}")
            about = {
                "outcome": outcome,
                "release": self._release,
                "seconds": total,
                "phases": seconds,
                "live": self._live,
                "module_runs": self._module_runs,
                "recording_seconds": round(self._spent, 3),
            }
            if [entry["event"] for entry in self._entries()][-1:] != ["outcome"]:
                self._append("outcome", {**about, "interrupted": True} if outcome == "killed" else about)
        report, signed = self._close(kept, share)
        self._record = None
        record.set_current(None)
        # Last, as nothing that counts may depend on it.
        self._show(outcome, total, seconds, kept.path, self._pages(kept.path) or report, signed)

    def _close(self, kept: RecordFile, share: bool) -> tuple[str, str]:
        """Return the path of the report, and who signed."""
        report = signed = ""
        try:
            if self._closed is None:
                # At once: an outcome that never gets to the ledger is taken for one that somebody added.
                signed = self._enter(kept)
                report = self._report(kept)
                self._closed = report, signed
                self._close_killed(kept)
                kept.close()
            report, signed = self._closed
            if self.get_option("git"):
                if not share:
                    raise GitError("the run was interrupted")
                name = os.path.splitext(os.path.basename(kept.path))[0]
                Shared(self._root, self._signer, self._who).share(f"Record {os.path.basename(self._directory)} {name}")
        except GitError as exc:
            self._display.warning(
                f"release_record: the record is here, but was not shared: {exc}. The next release shares it as well; "
                f"before that: git -C {self._root} push"
            )
        except FAILURES as exc:
            state = "" if self._closed else "; the record of this run is not in the ledger, as verification will say"
            self._display.warning(f"release_record: {exc}{state}")
        return report, signed

    def _enter(self, kept: RecordFile) -> str:
        """Enter the record in the ledger, and say who signed."""
        self._find_signer()
        try:
            entered = Ledger(self._directory, self._signer).enter(kept)
        except SigningError as exc:
            # No other run enters a record that tells its end: that could be anybody's.
            self._unsigned, self._signer = str(exc), None
            entered = Ledger(self._directory, None).enter(kept)
        return f"signed by {entered['signer']}" if entered["signature"] else f"not signed: {self._unsigned}"

    def _close_killed(self, kept: RecordFile) -> None:
        for path in Ledger(self._directory, self._signer).close_killed(kept.path):
            self._display.warning(f"release_record: closed {path}, whose run was killed")
            closed = RecordFile(path, create=False)
            self._report(closed)
            closed.close()

    def _report(self, kept: RecordFile) -> str:
        report = os.path.splitext(kept.path)[0] + ".md"
        with open(report, "w", encoding="utf-8") as handle:
            handle.write(markdown(kept.entries))
        return report

    def _pages(self, path: str) -> str:
        """Write the index and the pages that are missing or out of date; return the page of this record."""
        try:
            write_pages(self._directory, datetime.now(UTC))
        except OSError as exc:
            self._display.warning(f"release_record: {exc}; the pages of the records are not up to date")
            return ""
        return f"{os.path.splitext(path)[0]}.html"

    def _show(self, outcome: str, total: float, seconds: dict[str, float], path: str, report: str, signed: str) -> None:
        # What else a program reads there is its format.
        aside = str(C.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in FOR_PROGRAMS
        if not aside:
            self._display.banner("RELEASE")
        if not self._later:
            colour = "green" if outcome in ("success", "rolled back") else "red"
            self._display.display(f"{outcome}: {self._headline(outcome)}, {total} s", color=colour, stderr=aside)
            told = self._told(path)
            lines = {
                "phases": "" if self._shows_phases() else ", ".join(f"{name} {n:.1f} s" for name, n in seconds.items()),
                "left out": ", ".join(told["left_out"]),
                "migrations": ", ".join(found["migration"] for found in told["migrations"]),
                "sign-offs": signoffs_told(told["signoffs"]),
                "module runs": ", ".join(f"{host} {self._module_runs[host]}" for host in sorted(self._module_runs)),
            }
            for name, text in lines.items():
                if text:
                    self._display.display(f"  {name:<11} {text}", stderr=aside)
        kept = f"  record      {', '.join(filter(None, (path, signed)))}\n  report      {report}"
        self._display.display(kept, stderr=aside)

    def _told(self, path: str) -> dict[str, Any]:
        try:
            entries = record.read(path)
        except (OSError, ChainError):
            entries = []
        return told_of(entries, datetime.now(UTC))

    def _shows_phases(self) -> bool:
        return self._display.verbosity == 0 and str(C.DEFAULT_STDOUT_CALLBACK) == f"{PREFIX}phases"

    def _headline(self, outcome: str) -> str:
        """Say in one clause what is live now."""
        where: dict[str, list[str]] = {}
        for host, release in self._live.items():
            where.setdefault(release or "nothing", []).append(host)
        live = "; ".join(f"{release} on {', '.join(sorted(hosts))}" for release, hosts in sorted(where.items()))
        version = self._version or self._release
        if outcome == "success":
            return f"{version} is live as {live}"
        if outcome == "aborted":
            return f"{version or 'the release'} did not go live, nothing was switched; live is {live or 'not known'}"
        return f"live is {live or 'not known'}"
