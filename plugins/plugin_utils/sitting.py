# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sitting: the items of one stage are signed, by their checks, by approvals, and by whoever is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import ANYBODY, DEPLOYER, OTHERS, Item, text_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.controls import visible
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import (
    DONE,
    SIGNOFF,
    Approvals,
    Binding,
    Entry,
    Past,
    People,
    SignoffError,
    shown,
    sign,
    snippet,
    statement,
    verify,
)

COLOURS = {"signed": "green", "waived": "yellow", "failed": "red", "open": "yellow"}
TITLES = {
    ("pre_deploy", ""): "before anything is changed",
    ("during", "before_switch"): "right before it goes live",
    ("during", "after_verify"): "now that it is live, while going back is easy",
    ("post_deploy", ""): "after the release",
}


class Stopped(Exception):
    """The person who was asked wants to end the sitting."""


def describe(who: Sequence[str], deployer: str) -> str:
    """Who may sign, for people."""
    if list(who) == [ANYBODY]:
        return "anyone"
    if list(who) == [DEPLOYER]:
        return f"{deployer}, who deploys"
    roles = " or ".join(role for role in who if role != OTHERS) or "anyone"
    return f"{roles}, not by {deployer}, who deploys" if OTHERS in who else roles


def known_so_far(phases: Sequence[Entry]) -> list[str]:
    """What the phases have brought to light that somebody who signs wants to know."""
    last = {phase["phase"]: phase for phase in phases}
    lines = []
    commits = last.get("build", {}).get("commits") or []
    if commits:
        what = "1 commit" if len(commits) == 1 else f"{len(commits)} commits"
        lines.append(f"{what} since the release that is live:")
        lines += [f"  {' '.join(str(line).split())}" for line in commits[:5]] + (["  …"] if len(commits) > 5 else [])
    plan, snapshot = last.get("plan", {}), last.get("snapshot", {})
    if plan:
        pending = ", ".join(map(str, plan.get("pending") or [])) or "none"
        lines.append(f"pending migrations: {pending}{'; they lose data' if plan.get('destructive') else ''}")
    if snapshot.get("id"):
        lines.append(f"snapshot of the database: {snapshot['id']}, {snapshot.get('size', '?')} bytes")
    if last.get("migrate", {}).get("migrations"):
        lines.append(f"migrations applied: {', '.join(last['migrate']['migrations'])}")
    asked = sorted({phase["url"] for phase in phases if phase["phase"] == "verify" and phase.get("url")})
    if asked:
        lines.append(f"answered well: {', '.join(asked)}")
    return lines


@dataclass
class Sitting:
    """One stage of a checklist.

    :param evaluate: carries out the check of an item; its "ok" is None when the item is about no host of the release
    :param append: puts a sign-off into the record
    :param mask: takes secrets out of a sign-off
    :param tell: shows a line, in a colour
    :param ask: shows a text and returns what was answered; None without a terminal
    :param unchecked: why no check can be carried out, so that a person has to sign what has one
    """

    stage: str
    binding: Binding
    people: People
    approvals: Approvals
    evaluate: Callable[[Item], Mapping[str, Any]]
    append: Callable[[Entry], None]
    tell: Callable[[str, str], None]
    ask: Callable[[str], str] | None = None
    at: str = ""
    items: Sequence[Item] = ()
    by: str = ""
    key: str = ""
    language: str = ""
    version: str = ""
    past: Past = field(default_factory=lambda: Past(""))
    used: Mapping[str, str] = field(default_factory=dict)
    unchecked: str = ""
    mask: Callable[[Entry], Entry] = lambda data: data
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self.signoffs: list[Entry] = []
        self._by, self._head = self.by, ""
        self.findings: dict[str, Mapping[str, Any]] = {}
        self.reasons: dict[str, list[str]] = {}

    # What came of it

    @property
    def blocking(self) -> bool:
        """Whether this stage stops a release: after it nothing is stopped any more."""
        return self.stage != "post_deploy"

    def left(self, *statuses: str) -> list[Entry]:
        return [data for data in self.signoffs if data["required"] and data["status"] in statuses]

    # The course of it

    def hold(self) -> None:
        """Sign what can be signed; say of the rest that it is open."""
        waiting = [item for item in self.items if not self._decided(item)]
        if waiting and self.ask and not (self.blocking and self.left("failed")):
            waiting = self._ask_all([item for item in waiting if not self._too_early(item)])
        done = {data["item"] for data in self.signoffs}
        for item in self.items:
            if item["id"] not in done:
                self._leave(item)

    def _too_early(self, item: Item) -> bool:
        since = self.past.since(item)
        return since is not None and self.clock() < since

    def _decided(self, item: Item) -> bool:
        """Sign an item without asking anybody, if that can be done."""
        if self._too_early(item):
            return False
        finding: Mapping[str, Any] = {}
        unchecked = bool(item.get("check") and self.unchecked)
        if item.get("check") and not unchecked:
            finding = self.findings[item["id"]] = self.mask(dict(self.evaluate(item)))
            if finding["ok"] is not False:
                name = f"check {item['check']['name']}"
                status = "signed" if finding["ok"] else "waived"
                self._note(item, status, "check", by=name, reason=finding["message"], evidence=finding["evidence"])
                return True
        approval, reasons = self.approvals.find(item, self.stage, self.binding, self.used, self.clock())
        if approval and finding and approval.status == "signed":
            # What a check has shown to be wrong is not right because somebody says so.
            reasons = [f"{approval.source}: its check failed ({finding['message']}); it may be waived with a reason"]
            approval = None
        self.reasons[item["id"]] = [*([self.unchecked] if unchecked else []), *reasons]
        if approval is None:
            return False
        more: Entry = {"approval": {"file": approval.source, "sha256": approval.sha256}}
        if approval.key:
            more["key"] = approval.key
        evidence: Entry = {"given": approval.evidence} if approval.evidence else {}
        if finding:
            evidence["check"] = {"message": finding["message"], **finding["evidence"]}
        self._note(
            item,
            approval.status,
            "approval",
            by=approval.by,
            at=approval.at,
            reason=approval.reason,
            evidence=evidence,
            more=more,
        )
        return True

    def _leave(self, item: Item) -> None:
        """Nobody signed it."""
        finding = self.findings.get(item["id"])
        if finding:
            name = f"check {item['check']['name']}"
            self._note(item, "failed", "check", by=name, reason=finding["message"], evidence=finding["evidence"])
        else:
            early = [f"it can be signed from {shown(since)} on"] if (since := self.past.since(item)) else []
            reasons = early if self._too_early(item) else self.reasons.get(item["id"], [])
            self._note(item, "open", "none", reason="; ".join(reasons))

    def _note(
        self,
        item: Item,
        status: str,
        method: str,
        by: str = "",
        at: str = "",
        reason: str = "",
        evidence: Mapping[str, Any] | None = None,
        more: Entry | None = None,
    ) -> None:
        person = by if method in ("approval", "prompt") else ""
        since, until = self.past.since(item), self.past.until(item)
        data = {
            **self.binding.data(),
            "stage": self.stage,
            "item": item["id"],
            "text": item["text"],
            "section": item.get("section", ""),
            "required": item["required"],
            "status": status,
            "by": by,
            "role": self.people.role(item, person) if person else "",
            "method": method,
            "at": at or shown(self.clock()),
            "reason": reason,
            "evidence": dict(evidence or {}),
            "deployed_by": self.people.deployer,
            **({"since": shown(since)} if since else {}),
            **({"until": shown(until)} if until else {}),
            **(more or {}),
        }
        # What is signed is what the record holds, and that is without secrets.
        data = self.mask(data)
        if method == "prompt":
            data.update(self._proof(data))
        self.append(data)
        self.signoffs.append(data)
        name = f" by {by}" if by else ""
        why = f": {reason}" if reason and status != "signed" else ""
        when = f", until {data['until']}" if status == "open" and until else ""
        self.tell(
            visible(f"{status:7} {item['id']}{name}{when}{why}  {text_of(item, self.language)}"),
            COLOURS[status] if item["required"] else "",
        )

    def _proof(self, data: Entry) -> Entry:
        """The signature of the person with their own key, where they have one."""
        name = data["by"]
        publics = self.people.keys(name, SIGNOFF)
        if not publics and not (self.key and self.people.allowed_signers):
            return {}
        key = self.key if name == self.by else ""
        signature = self._signature(statement(data), key, publics, name)
        _name, fingerprint = verify(statement(data), signature, self.people.signers(), SIGNOFF, name)
        return {"key": fingerprint, "signature": signature}

    @staticmethod
    def _signature(text: bytes, key: str, publics: Sequence[str], by: str) -> str:
        """The signature by a key file, or by whichever of somebody's keys the agent has."""
        if key or not publics:
            return sign(text, SIGNOFF, key, by=by)
        for public in publics[:-1]:
            try:
                return sign(text, SIGNOFF, public=public)
            except SignoffError:
                continue
        return sign(text, SIGNOFF, public=publics[-1], by=by)

    # At the terminal

    def _ask_all(self, waiting: list[Item]) -> list[Item]:
        """Ask for each item, and again for those that were put off; return those that stay open."""
        queue, total = list(waiting), len(waiting)
        left: list[Item] = []
        self._head = self._introduction(total)
        number = 0
        while queue:
            item = queue.pop(0)
            number += 1
            try:
                answer = self._ask_for(item, f"{min(number, total)}/{total}")
            except Stopped:
                return [*left, item, *queue]
            if answer == "later":
                # Before the release goes live an item can only wait for the others.
                (queue if self.blocking else left).append(item)
            elif self.blocking and self.left("failed"):
                return [*left, *queue]
        return left

    def _introduction(self, total: int) -> str:
        data = self.binding.data()
        what = f"{self.version or data['release']}, commit {data['commit'][:12] or 'unknown'}"
        if data["artifact_sha256"]:
            what += f", artifact sha256 {data['artifact_sha256'][:12]}"
        title = f"Checklist {data['checklist']} {data['checklist_version']}, {TITLES[self.stage, self.at]}"
        lines = [f"{title}: {total} to sign", what, f"onto {', '.join(data['hosts'])}, by {self.people.deployer}"]
        return "\n".join(["", *lines, *known_so_far(self.past.phases), ""])

    def _ask_for(self, item: Item, place: str) -> str:
        """Ask until an item is signed, failed, waived or put off."""
        finding = self.findings.get(item["id"])
        head = [f"[{place}] {text_of(item, self.language)}"]
        if item.get("section"):
            head[0] += f"  ({text_of(item, self.language, 'section')})"
        kind = "required" if item["required"] else "optional"
        asker = f", asked by {self.people.deployer}"
        head.append(f"      {item['id']}, {kind}; to be signed by {describe(item['who'], self.people.deployer)}{asker}")
        if finding:
            head.append(f"      its check failed: {finding['message']}")
            head += [f"        {name}: {value}" for name, value in list(finding["evidence"].items())[:6]]
        head += [f"      {reason}" for reason in self.reasons.get(item["id"], [])]
        text = "\n".join(["", *head])
        while True:
            refusal = self.people.refusal(item, self._by)
            answers = "" if finding or refusal else "s sign, "
            answers += "" if refusal else "f fail, w waive with a reason, "
            later = "l later" if self.blocking else "l leave it open"
            warning = f"      {refusal}\n" if refusal else ""
            line = f"{text}\n{warning}      {answers}{later}, n as somebody else, q stop asking  [{self._by}] "
            word, _space, rest = self._answer(line).partition(" ")
            rest = rest.strip()
            try:
                match word.lower():
                    case "s" if "s sign" in answers:
                        self._note(item, "signed", "prompt", by=self._by, evidence={"given": rest} if rest else {})
                        return "signed"
                    case "f" | "w" if not refusal:
                        status = "failed" if word.lower() == "f" else "waived"
                        reason = rest or self._answer(f"      Why is it {status}? ").strip()
                        evidence = {"check": {"message": finding["message"], **finding["evidence"]}} if finding else {}
                        if reason:
                            self._note(item, status, "prompt", by=self._by, reason=reason, evidence=evidence)
                            return status
                        text = f"      {status} needs a reason; nothing was noted"
                        continue
                    case "l":
                        return "later"
                    case "n":
                        self._by = rest or self._answer("      Your name: ").strip() or self._by
                        text = f"      As {self._by}:"
                        continue
                    case "q":
                        raise Stopped
            except SignoffError as exc:
                text = f"      {exc}"
                continue
            text = f"      {word or 'Nothing'} is none of the answers"

    def _answer(self, text: str) -> str:
        if self.ask is None:
            raise Stopped
        # With the first question, so that nothing is shown where nobody can be asked.
        text, self._head = self._head + text, ""
        return self.ask(visible(text))


def unsignable(sittings: Sequence[Sitting], interactive: bool) -> list[tuple[str, Item, str]]:
    """Required items that cannot be signed in this run, with their stage and the reason. Before the build.

    What a check proves is known later; so is whether an approval fits the commit, unless the commit is known by now.
    """
    missing = []
    for sitting in sittings:
        for item in sitting.items:
            if not item["required"]:
                continue
            nobody = sitting.people.nobody(item)
            now = sitting.clock()
            approval, reasons = sitting.approvals.find(item, sitting.stage, sitting.binding, sitting.used, now)
            if item.get("check") or approval:
                continue
            if not interactive:
                why = "; ".join(reasons) or "there is no approval for it"
                missing.append((sitting.stage, item, why))
            elif nobody:
                missing.append((sitting.stage, item, f"nobody in signoff_people is {nobody}"))
    return missing


def supply(binding: Binding, stage: str, items: Sequence[Item], language: str, version: str) -> str:
    """How to give the approvals that are missing."""
    texts = {item["id"]: text_of(item, language) for item in items}
    return visible(snippet(binding, items, texts, version, with_release=stage == "post_deploy"))


def summary(sitting: Sitting) -> list[str]:
    """What stays to be done or to be known after the release."""
    told = []
    for data in sitting.signoffs:
        if data["status"] in DONE or not data["required"]:
            continue
        if data["status"] == "failed":
            told.append(f"{data['item']} FAILED: {data['reason']}")
        else:
            told.append(f"{data['item']} is open" + (f" until {data['until']}" if data.get("until") else ""))
    return told
