# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gets the sign-offs of one stage of a checklist: brings checks, approvals, terminal and record together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleError, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible.utils.display import Display
from ansible_collections.slipway.laravel.plugins.plugin_utils import checks, record
from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import (
    MOMENTS,
    STAGES,
    ChecklistError,
    Item,
    digest,
    load,
    located,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.controls import visible
from ansible_collections.slipway.laravel.plugins.plugin_utils.hooks import resolve
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import (
    Approvals,
    Binding,
    Document,
    Entry,
    Past,
    People,
    SignoffError,
    earlier,
    overdue,
    past,
    used_approvals,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.sitting import (
    Sitting,
    Stopped,
    summary,
    supply,
    unsignable,
)

display = Display()

SPEC: dict[str, Any] = {
    "stage": {"type": "str", "required": True, "choices": ["plan", *STAGES]},
    "at": {"type": "str", "choices": ["", *MOMENTS], "default": ""},
    "checklist": {"type": "str", "default": ""},
    "of_release": {"type": "str", "default": ""},
    "version": {"type": "str", "default": ""},
    "commit": {"type": "str", "default": ""},
    "artifact_sha256": {"type": "str", "default": ""},
    "prebuilt": {"type": "bool", "default": False},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "release": {"type": "str", "default": ""},
    "previous": {"type": "str", "default": ""},
    "operator": {"type": "str", "default": ""},
    "by": {"type": "str", "default": ""},
    "people": {"type": "dict", "default": {}},
    "approvals": {"type": "raw", "default": {}},
    "approvals_signed": {"type": "bool", "default": False},
    "allowed_signers": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": False},
    "language": {"type": "str", "default": ""},
    "prompt": {"type": "bool", "default": True},
    "facts": {"type": "dict", "default": {}},
    "variables": {"type": "dict", "default": {}},
}


def trusted(value: Any) -> Any:
    """A value of a checklist that was read from its file, whose strings may be templates like those of a playbook."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, Mapping):
        return {key: trusted(inner) for key, inner in value.items()}
    return [trusted(inner) for inner in value] if isinstance(value, list) else value


def given_files() -> list[str]:
    """The files of variables of the command line: -e @approvals.yml."""
    words = [str(word) for word in context.CLIARGS.get("extra_vars") or ()]
    return [os.path.abspath(os.path.expanduser(word[1:])) for word in words if word.startswith("@")]


def documents(files: list[str], variable: Any) -> list[Document]:
    """The approvals of this run: of files, whose signature lies beside them, or else of the variable."""
    found = []
    for path in files:
        try:
            with open(path, "rb") as handle:
                raw = handle.read()
            content = yaml.safe_load(raw)
            if not isinstance(content, dict) or "signoff_approvals" not in content:
                continue
            signature = ""
            if os.path.exists(f"{path}.sig"):
                with open(f"{path}.sig", encoding="utf-8") as handle:
                    signature = handle.read()
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue  # what Ansible itself could read, such as a vault, comes as the variable
        found.append(Document(path, content["signoff_approvals"], raw, signature))
    if not found and variable:
        lists = variable if isinstance(variable, list) else [variable]
        found = [Document("signoff_approvals", data) for data in lists]
    return found


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    TRANSFERS_FILES = False
    # Everything happens on the controller.
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        dummy, self.args = self.validate_argument_spec(SPEC)
        self.groups: Mapping[str, list[str]] = variables.get("groups") or {}
        try:
            if record.problem():
                raise SignoffError(f"nothing can be recorded, so nothing can be signed: {record.problem()}")
            result.update(self.answer())
        except (SignoffError, ChecklistError) as exc:
            raise AnsibleActionFail(visible(str(exc))) from exc
        return result

    def answer(self) -> dict[str, Any]:
        args = self.args
        journal = record.current()
        if journal is None and not self._task.check_mode:
            raise SignoffError(
                "sign-offs are kept in the record of the release: enable its callback in ansible.cfg, "
                "callbacks_enabled = slipway.laravel.release_record"
            )
        self.directory = os.path.dirname(journal.path) if journal else ""
        login = record.user()
        signers = args["allowed_signers"]
        keyed = any(isinstance(person, Mapping) and person.get("key") for person in args["people"].values())
        if journal and not signers and not keyed:
            # Who the record is verified with later. Where people have keys here, a file beside the records, which many
            # may write, gives them no others.
            signers = journal.allowed_signers
        self.people = People(args["people"], args["operator"] or login, signers, [login])
        self.unchecked = ""
        names = ("commit", "artifact_sha256", "hosts", "release")
        if args["of_release"]:
            self.past = self.finished(args["of_release"])
            asked = self.past.checklist
            self.people.deployer, self.people.logins = asked["deployed_by"], self.past.logins
            bound = {name: asked[name] for name in (*names, "checklist_sha256")}
            bound["prebuilt"] = asked.get("prebuilt", False)
            checklist = self.asked_for()
            faults = self.people.faults()
        else:
            self.past = past(journal.path) if journal else Past("")
            checklist = self.listed()
            bound = {name: args[name] for name in (*names, "prebuilt")}
            faults = [*self.people.faults(), *self.people.deployer_faults(checklist)]
        faults += [] if self.unchecked else self.check_faults(checklist)
        if faults:
            raise SignoffError("\n".join(faults))
        self.binding = Binding(checklist, os.path.basename(self.directory), **bound)
        given = documents(given_files(), args["approvals"])
        for document in given:
            document.prove(self.people.signers(), args["approvals_signed"], self.mask)
        self.approvals = Approvals(given, self.people)
        used = [document.sha256 for document in given]
        self.records = earlier(self.directory, journal.path, used) if journal else []
        return self.plan() if args["stage"] == "plan" else self.sign()

    # What is there to sign

    def finished(self, release: str) -> Past:
        # The callback goes on in the record of that release.
        journal = record.current()
        path = os.path.join(self.directory, f"{release}.jsonl")
        if journal is None or journal.path != path or not os.path.exists(path):
            raise SignoffError(f"there is no record of the release {release} in {self.directory}")
        try:
            found = past(path)
        except ValueError as exc:
            raise SignoffError(str(exc)) from exc
        if not found.checklist:
            raise SignoffError(f"release {release} was made without a checklist")
        outcome = found.outcome.get("outcome", "unfinished")
        if outcome != "success":
            raise SignoffError(f"release {release} did not go live ({outcome}): there is nothing to sign")
        return found

    def listed(self) -> dict[str, Any]:
        """The checklist as its file has it now."""
        return load(located(self.args["checklist"], os.getcwd(), self._loader.get_basedir()))

    def asked_for(self) -> Mapping[str, Any]:
        """The checklist of a finished release: that of the file while it is the same.

        What was read from a record is never a template, or whoever can write a record could run anything here; and
        what looks like a secret was masked in it. Without the file no check can be carried out.
        """
        kept = self.past.checklist
        wanted: str = self.args["checklist"]
        why = (
            f"{wanted} is not the checklist that the release asked for"
            if wanted
            else "release_checklist names none here, add it with -e"
        )
        try:
            found = self.listed() if wanted else {}
        except ChecklistError as exc:
            found, why = {}, str(exc).splitlines()[0]
        if found and digest(found) == kept["checklist_sha256"]:
            return found
        self.unchecked = f"its check cannot be carried out ({why}): a person has to sign or waive it"
        content: Mapping[str, Any] = kept["content"]
        return content

    def items(self, stage: str, at: str = "") -> list[Item]:
        items: list[Item] = self.binding.checklist["stages"][stage]
        if self.args["of_release"]:
            # Those of before and during the release were decided then.
            still = {item["id"] for item in self.past.open()} if stage == "post_deploy" else set()
            return [item for item in items if item["id"] in still]
        return [item for item in items if not at or item["at"] == at]

    def sitting(self, stage: str, at: str = "") -> Sitting:
        return Sitting(
            stage=stage,
            at=at,
            items=self.items(stage, at),
            binding=self.binding,
            people=self.people,
            approvals=self.approvals,
            evaluate=self.evaluate,
            append=lambda data: self.append("signoff", data),
            mask=self.mask,
            unchecked=self.unchecked,
            tell=lambda text, colour: display.display(text, color=colour or None),
            ask=self.ask if self.args["prompt"] and not self._task.check_mode else None,
            by=self.args["by"] or self.args["operator"] or record.user(),
            key=self.args["key"],
            language=self.args["language"] or (self.binding.checklist["languages"][0]),
            version=self.args["version"],
            past=self.past,
            used=used_approvals(self.records, self.binding.hosts),
        )

    # Checks

    @staticmethod
    def mask(data: Entry) -> Entry:
        """An entry as the record has it."""
        journal = record.current()
        masked: Entry = (record.RecordFile.masker if journal is None else journal.masker).data(data)
        return masked

    def check_faults(self, checklist: Mapping[str, Any]) -> list[str]:
        faults = []
        for items in checklist["stages"].values():
            for item in items:
                if item.get("check"):
                    name, parameters = self.check_of(item, rendered=False)
                    faults += [f"item {item['id']}: {fault}" for fault in checks.problems(name, parameters)]
        return faults

    def check_of(self, item: Item, rendered: bool = True) -> tuple[str, dict[str, Any]]:
        parameters = {key: value for key, value in item["check"].items() if key != "name"}
        try:
            return item["check"]["name"], self._templar.template(trusted(parameters)) if rendered else parameters
        except AnsibleError as exc:
            raise SignoffError(f"item {item['id']}: its check needs what is not there: {exc}") from exc

    def concerned(self, item: Item) -> list[str]:
        """The hosts of this release that an item is about."""
        return resolve(item.get("hosts"), self.binding.hosts, self.groups)

    def host_checks(self, items: Sequence[Item]) -> dict[str, list[dict[str, Any]]]:
        """What the module release_checks is to look at on each host, in its one run for a stage."""
        found: dict[str, list[dict[str, Any]]] = {}
        for item in [] if self.unchecked else items:
            if item.get("check"):
                name, parameters = self.check_of(item)
                for host in self.concerned(item) if checks.needs(name) == "host" else []:
                    found.setdefault(host, []).append({**checks.request(name, parameters), "id": item["id"]})
        return found

    def evaluate(self, item: Item) -> Mapping[str, Any]:
        name, parameters = self.check_of(item)
        hosts = self.concerned(item)
        if not hosts:
            return {"ok": None, "evidence": {}, "message": f"no host of this release is in {item['hosts']}"}
        phases: dict[str, dict[str, Any]] = {}
        for phase in self.past.phases:
            phases.setdefault(phase["phase"], {})[phase["host"]] = phase
        answer: Mapping[str, Any] = checks.evaluate(
            name,
            parameters,
            {
                "id": item["id"],
                "hosts": {host: self.args["facts"].get(host) or {} for host in hosts},
                "phases": phases,
                "release": self.binding.release,
                "commit": self.binding.commit,
                "previous": self.args["previous"] or self.past.checklist.get("previous", ""),
                "variables": {
                    **self.args["variables"],
                    "release_version": self.args["version"] or self.past.checklist.get("version", ""),
                },
                "directory": os.getcwd(),
            },
        )
        return answer

    # The terminal

    def ask(self, text: str) -> str:
        try:
            answer: bytes = display.prompt_until(text)
        except (AnsiblePromptInterrupt, AnsiblePromptNoninteractive) as exc:
            raise Stopped from exc
        return answer.decode(errors="ignore").strip()

    def interactive(self) -> bool:
        """Whether there is somebody to ask. Only the main process of Ansible knows; it says so at once."""
        if not self.args["prompt"]:
            return False
        data = self.binding.data()
        text = f"Checklist {data['checklist']} {data['checklist_version']}: sign-offs will be asked for here"
        try:
            display.prompt_until(text, private=True, seconds=0)
        except (AnsiblePromptInterrupt, AnsiblePromptNoninteractive):
            return False
        return True

    # The record

    def append(self, event: str, data: Entry) -> None:
        if self._task.check_mode:
            return
        try:
            journal = record.current()
            if journal:
                journal.append(event, data)
        except (OSError, ValueError) as exc:
            raise SignoffError(f"the sign-offs cannot be recorded: {exc}") from exc

    def open_checklist(self) -> None:
        """Keep what was asked for, so that a later sign-off answers the question of the release and no other."""
        if self.past.checklist:
            return
        self.past.checklist = {
            **self.binding.data(),
            "content": self.binding.checklist,
            "deployed_by": self.people.deployer,
            "previous": self.args["previous"],
            "version": self.args["version"],
            "prebuilt": self.args["prebuilt"],
            "signers": self.people.lines(),
        }
        self.append("checklist", self.past.checklist)
        self.past.signers = self.mask(self.past.checklist)["signers"]

    def keep_signers(self) -> None:
        """Keep whose keys are whose: those who sign later may have got theirs since."""
        lines: list[str] = self.mask({"signers": self.people.lines()})["signers"]
        new = [line for line in lines if line not in self.past.signers]
        if new:
            self.append("signers", {"signers": new})

    def keep_approvals(self) -> None:
        for document in self.approvals.documents:
            if document.signer and not document.fault and document.sha256 not in self.past.approvals:
                self.append("approvals", document.proof())

    # The two things it can be asked to do

    def plan(self) -> dict[str, Any]:
        """Before the build: say what will be looked at, and stop when something can never be signed."""
        if self.args["of_release"]:
            return self.outlook({"post_deploy": self.sitting("post_deploy")})
        asked = (self.args["checklist"], digest(self.binding.checklist))
        for text in overdue(self.records, self.sitting("pre_deploy").clock(), *asked):
            display.warning(visible(text))
        stages = {"pre_deploy": self.sitting("pre_deploy")}
        stages.update({f"during {at}": self.sitting("during", at) for at in MOMENTS})
        blocking = list(stages.values())
        stages["post_deploy"] = self.sitting("post_deploy")
        wanted = any(item["required"] and not item.get("check") for sitting in blocking for item in sitting.items)
        interactive = wanted and not self._task.check_mode and self.interactive()
        missing = unsignable(blocking, interactive)
        if missing and not self._task.check_mode:
            return self.stopped(missing, interactive)
        if self.approvals.documents and not self.binding.commit:
            display.display("The approvals are compared with the commit when the build has found out which one it is.")
        return self.outlook(stages)

    def outlook(self, stages: Mapping[str, Sitting]) -> dict[str, Any]:
        """What the role needs to know about the stages: which have items, and what is looked at on which host."""
        looks = {name: self.host_checks(sitting.items) for name, sitting in stages.items()}
        steps: dict[str, list[str]] = {}
        for name, sitting in stages.items():
            # The first stage keeps the checklist, also when it has no item.
            signs = [f"signoff {name}"] if sitting.items or name == STAGES[0] else []
            steps[name] = [*([f"checks {name}"] if looks[name] else []), *signs]
        return {"checks": looks, "steps": steps}

    def sign(self) -> dict[str, Any]:
        stage, at = self.args["stage"], self.args["at"]
        if stage == "during" and not at:
            raise SignoffError("the stage during needs at: before_switch or after_verify")
        if not self.args["of_release"]:
            self.open_checklist()
        self.keep_signers()
        self.keep_approvals()
        sitting = self.sitting(stage, at)
        sitting.hold()
        result: dict[str, Any] = {
            "signoffs": sitting.signoffs,
            "changed": bool(sitting.signoffs),
            "left": summary(sitting),
        }
        left = sitting.left("failed", "open")
        if not left or self._task.check_mode:
            return result
        if sitting.blocking:
            by_id = {item["id"]: item for item in sitting.items}
            missing = [(stage, by_id[data["item"]], f"{data['status']} {data['reason']}".strip()) for data in left]
            return {**result, **self.stopped(missing, False)}
        return result

    def stopped(self, missing: list[tuple[str, Item, str]], interactive: bool) -> dict[str, Any]:
        """Say which items are missing, and how to give them."""
        data = self.binding.data()
        lines = [
            f"{len(missing)} required items of the checklist {data['checklist']} {data['checklist_version']} "
            f"are not signed:",
            *[f"  {stage} {item['id']}: {why}" for stage, item, why in missing],
        ]
        wanted = [item for dummy, item, dummy in missing if not item.get("check")]
        if wanted and not interactive:
            text = supply(self.binding, missing[0][0], wanted, self.args["language"], self.args["version"])
            # By itself: what stands in a message is indented, and cannot be copied into a file.
            display.display(f"\n# approvals.yml\n{text}\n\n")
            begin = "Run it on a terminal, or put" if self.args["prompt"] else "Put"
            lines += [
                f"{begin} what is printed above into a file approvals.yml, let each person fill in their part, and run "
                "the same again with -e @approvals.yml",
            ]
        return {"failed": True, "msg": visible("\n".join(lines))}
