# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign-offs: who may give them, what they are bound to, the keys that prove them, and what is still open."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.slipway.laravel.plugins.plugin_utils import record
from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import (
    ANYBODY,
    DEPLOYER,
    OTHERS,
    Item,
    digest,
    seconds,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import record_names
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import SigningError, at_time, openssh

# What a signature may be used for: a signature of one kind never stands for one of the other.
SIGNOFF, APPROVAL = "slipway-signoff", "slipway-approval"
# Statuses with which an item is done.
DONE = ("signed", "waived")
# Records that are looked through for what is overdue.
LOOK_BACK = 50

Entry = dict[str, Any]


class SignoffError(Exception):
    """Why something cannot be signed."""


def moment(text: str) -> datetime:
    """A time as records and people write it, in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError as exc:
        raise SignoffError(f"{text} is not a time such as 2026-11-21T13:30:00Z") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def shown(when: datetime) -> str:
    """A time as sign-offs have it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and without spaces, which is what gets signed."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# Keys


def keygen(*words: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return openssh("ssh-keygen", *words, data=data)
    except SigningError as exc:
        raise SignoffError(str(exc)) from exc


def sign(data: bytes, namespace: str, key: str = "", public: str = "", by: str = "") -> str:
    """Sign with a key file, or with the key of the agent that belongs to a public key.

    :param by: whose key that is, for the message of a failure
    :raises SignoffError: the key cannot be used
    """
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.expanduser(key)
        if not key:
            path = os.path.join(directory, "key.pub")
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(public + "\n")
        result = keygen("-Y", "sign", "-n", namespace, "-f", path, data=data)
    if result.returncode != 0:
        reason = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        # A file counts for who signs at the terminal, not for who has come to the keyboard.
        remedy = f"; add it to the ssh-agent (ssh-add), or run it with -e signoff_by={by} -e signoff_key=FILE"
        remedy = "" if key else remedy
        raise SignoffError(f"the SSH key {key or 'of signoff_people'} does not sign: {reason[0]}{remedy}")
    return result.stdout.decode()


def verify(
    data: bytes, signature: str, signers: str, namespace: str, name: str = "", time: str = ""
) -> tuple[str, str]:
    """Return who signed and the fingerprint of the key.

    :param name: who has to have signed; empty for the first of the signers whose key it is
    :param time: when it was signed, empty for now: keys may be listed for a time
    :raises SignoffError: nobody of the signers did
    """
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for file, text in (("signature", signature), ("signers", signers)):
            paths.append(os.path.join(directory, file))
            with open(paths[-1], "w", encoding="utf-8") as handle:
                handle.write(text)
        files = ("-s", paths[0], "-f", paths[1], *at_time(time))
        found = keygen("-Y", "find-principals", *files, data=b"")
        names = re.split(r"[\n,]", found.stdout.decode(errors="replace").strip())
        if found.returncode != 0 or not names[0]:
            raise SignoffError("it is signed with a key of nobody who may sign")
        if name and not _matches(name, names):
            raise SignoffError(f"that key is {names[0]}'s, not {name}'s")
        signer = name or names[0]
        result = keygen("-Y", "verify", "-n", namespace, "-I", signer, *files, data=data)
    if result.returncode != 0:
        raise SignoffError(f"the signature does not fit what is signed, or is not for {namespace}")
    fingerprint = re.search(r"SHA256:\S+", result.stdout.decode(errors="replace"))
    return signer, fingerprint[0] if fingerprint else ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is one of those that a line of allowed signers is for."""
    found = {pattern for pattern in patterns if fnmatchcase(name, pattern.lstrip("!").replace("[", "[[]"))}
    return bool(found) and not any(pattern.startswith("!") for pattern in found)


ALLOWED = re.compile(
    r"(?P<names>\"[^\"]*\"|[^\s#\"]\S*)\s+(?P<options>.*?)(?P<key>(?:sk-)?(?:ssh|ecdsa)-\S+\s+[A-Za-z0-9+/]+=*)"
)


def keys_in(signers: str, name: str, namespace: str) -> list[str]:
    """The public keys of a person in a list of allowed signers, as far as they are for a kind of signature."""
    found = []
    for line in signers.splitlines():
        allowed = ALLOWED.match(line.strip())
        if allowed and _matches(name, allowed["names"].strip('"').split(",")):
            limits = re.search(r'namespaces="([^"]*)"', allowed["options"], re.IGNORECASE)
            if limits is None or _matches(namespace, limits[1].split(",")):
                found.append(allowed["key"])
    return found


# People


def same_name(one: str, other: str) -> bool:
    """Whether two names are one, however they are written."""
    return one.strip().casefold() == other.strip().casefold()


@dataclass
class People:
    """Who there is, and what each may sign.

    :param logins: of those who ran Ansible for the release
    """

    people: Mapping[str, Any]
    deployer: str
    allowed_signers: str = ""
    logins: Sequence[str] = ()

    def faults(self) -> list[str]:
        """What is wrong with signoff_people, one sentence each."""
        faults = []
        owners: dict[str, str] = {}
        for name, person in self.people.items():
            if not isinstance(person, Mapping) or set(person) - {"roles", "key"}:
                faults.append(f"signoff_people.{name} has roles, a list, and key, a public SSH key")
            elif not isinstance(person.get("roles", []), list):
                faults.append(f"signoff_people.{name}.roles is a list")
            elif person.get("key") and not re.fullmatch(r"[^\s,*?!\"#]+", str(name)):
                faults.append(f"signoff_people: a name that has a key is one word, unlike {name}")
            elif person.get("key") and not re.match(r"(sk-)?(ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+", str(person["key"])):
                faults.append(f"signoff_people.{name}.key is a public SSH key such as ssh-ed25519 AAAA…")
            elif person.get("key"):
                owner = owners.setdefault(" ".join(str(person["key"]).split()[:2]), str(name))
                if owner != name:
                    faults.append(f"signoff_people: {owner} and {name} have the same key")
        if not faults:
            try:
                self.signers()
            except SignoffError as exc:
                faults.append(str(exc))
        return faults

    def deployer_faults(self, checklist: Mapping[str, Any]) -> list[str]:
        """Why nobody could tell who is somebody else than who deploys, where items ask for that."""
        asking = [item["id"] for items in checklist["stages"].values() for item in items if OTHERS in item["who"]]
        if not asking or not self.people or self.deployer in self.people:
            return []
        return [
            f"{', '.join(asking)}: to be signed by somebody other than who deploys, and {self.deployer}, who deploys, "
            f"is not in signoff_people: say who of {', '.join(map(str, self.people))} that is with "
            f"-e laravel_operator=NAME, and who signs here, if it is somebody else, with -e signoff_by=NAME"
        ]

    def key(self, name: str) -> str:
        return str((self.people.get(name) or {}).get("key") or "")

    def roles(self, name: str) -> list[str]:
        return list((self.people.get(name) or {}).get("roles") or [])

    def signers(self) -> str:
        """The keys of all, as ssh-keygen wants to have them."""
        lines = [f"{name} {self.key(name)}" for name in self.people if self.key(name)]
        if self.allowed_signers:
            try:
                with open(os.path.expanduser(self.allowed_signers), encoding="utf-8") as handle:
                    lines.append(handle.read())
            except OSError as exc:
                raise SignoffError(
                    f"the allowed signers {self.allowed_signers} cannot be read: {exc.strerror}"
                ) from exc
        return "\n".join(lines) + "\n"

    def lines(self) -> list[str]:
        """The lines that list somebody's key, as a record keeps them."""
        return [line.strip() for line in self.signers().splitlines() if ALLOWED.match(line.strip())]

    def keys(self, name: str, namespace: str) -> list[str]:
        """The public keys of a person, wherever they are listed: who has one has to use it."""
        return keys_in(self.signers(), name, namespace)

    def refusal(self, item: Item, name: str) -> str:
        """Why a person may not sign an item, empty when they may."""
        who = item["who"]
        if not name.strip():
            return "nobody is named"
        if who == [ANYBODY]:
            return ""
        if who == [DEPLOYER]:
            return "" if name == self.deployer else f"it is for {self.deployer}, who deploys"
        if OTHERS in who and same_name(name, self.deployer):
            return f"it is for somebody other than {self.deployer}, who deploys"
        if OTHERS in who and any(same_name(name, login) for login in self.logins):
            return f"it is for somebody other than who deploys, and {name} is the login that Ansible ran as"
        if self.people and name not in self.people:
            return f"{name} is not in signoff_people"
        wanted = [role for role in who if role != OTHERS]
        if wanted and not set(wanted) & set(self.roles(name)):
            return f"it is for {' or '.join(wanted)}, and {name} is {' and '.join(self.roles(name)) or 'neither'}"
        return ""

    def role(self, item: Item, name: str) -> str:
        """As what a person signs."""
        as_member = [role for role in item["who"] if role in self.roles(name)]
        return as_member[0] if as_member else str(item["who"][0])

    def nobody(self, item: Item) -> str:
        """The role that nobody has, so that an item can never be signed."""
        wanted = [role for role in item["who"] if role not in (ANYBODY, DEPLOYER, OTHERS)]
        if wanted and not any(set(wanted) & set(self.roles(name)) for name in self.people):
            return " or ".join(wanted)
        return ""


# What a sign-off is bound to


@dataclass
class Binding:
    """What is released: a sign-off holds for this and for nothing else."""

    checklist: Mapping[str, Any]
    inventory: str = ""
    commit: str = ""
    artifact_sha256: str = ""
    hosts: Sequence[str] = ()
    release: str = ""
    # Of the list as it was asked, where what is kept of it was masked.
    checklist_sha256: str = ""
    # The artifact was built elsewhere: the commit is only what it says of itself.
    prebuilt: bool = False

    def data(self) -> Entry:
        return {
            "checklist": self.checklist["name"],
            "checklist_version": self.checklist["version"],
            "checklist_sha256": self.checklist_sha256 or digest(self.checklist),
            "inventory": self.inventory,
            "commit": self.commit,
            "artifact_sha256": self.artifact_sha256,
            "hosts": list(self.hosts),
            "release": self.release,
        }


def statement(data: Entry) -> bytes:
    """What the signature in a sign-off is made of: all of it but the signature and its key."""
    return canonical({key: value for key, value in data.items() if key not in ("signature", "key")})


# Approvals

# What an approval names to be bound to it; the first five always.
BOUND = ("checklist", "checklist_version", "checklist_sha256", "inventory", "commit", "artifact_sha256", "release")
DOCUMENT = (*BOUND, "by", "items")
APPROVED = ("status", "by", "at", "reason", "evidence")
STATUSES = ("signed", "waived", "failed")


def plain(value: Any) -> Any:
    """What YAML has read, without what JSON has not: a time that stands there without quotes becomes its text."""
    if isinstance(value, Mapping):
        numbers = all(isinstance(key, int) for key in value)
        return {key if numbers else str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float) else str(value)


def filled_in(value: Any) -> str:
    """What stands in an approval, empty when it is still what was printed to be filled in."""
    text = str(value or "").strip()
    return "" if set("<>") & set(text) else text


@dataclass
class Approval:
    """The word of a person on one item."""

    status: str
    by: str
    at: str
    reason: str
    evidence: Any
    source: str
    sha256: str
    key: str = ""


@dataclass
class Document:
    """A file or variable with approvals."""

    origin: str
    data: Any
    raw: bytes = b""
    signature: str = ""
    signer: str = ""
    key: str = ""
    fault: str = ""

    def __post_init__(self) -> None:
        self.data = plain(self.data)

    @property
    def sha256(self) -> str:
        return digest({"approvals": self.data})

    @property
    def how_to_sign(self) -> str:
        command = f"ssh-keygen -Y sign -n {APPROVAL} -f KEY"
        if self.raw:
            return f"{command} {self.origin}"
        # Of the inventory, or of a vault: what stands beside them is not a part of what is approved.
        return f"put {self.origin} into a plain file of its own, sign that ({command} FILE), and give it by -e @FILE"

    def proof(self) -> Entry:
        """The signed file as the record keeps it, so that its signature can be verified at any time."""
        return {
            "file": os.path.basename(self.origin),
            "sha256": self.sha256,
            "signer": self.signer,
            "key": self.key,
            "content": self.raw.decode(errors="replace"),
            "signature": self.signature,
        }

    def prove(self, signers: str, must: bool, mask: Callable[[Entry], Entry] = lambda data: data) -> None:
        """Find out who signed the file.

        :param mask: takes secrets out of what the record keeps
        """
        if not self.signature:
            if must:
                self.fault = f"{self.origin} is not signed: {self.how_to_sign}"
            return
        try:
            self.signer, self.key = verify(self.raw, self.signature, signers, APPROVAL)
        except SignoffError as exc:
            self.fault = f"{self.origin}.sig does not hold: {exc}"
            return
        kept = self.proof()
        if mask(kept) != kept or kept["content"].encode() != self.raw:
            # Its signature could be verified by nobody who has the record.
            self.fault = f"{self.origin} holds a secret, or what is no text, and cannot be kept in the record as signed"

    def check(self, binding: Binding, stage: str, used: Mapping[str, str]) -> str:
        """Why the whole of it does not hold for what is released, empty when it does."""
        if self.fault:
            return self.fault
        if not isinstance(self.data, Mapping) or not isinstance(self.data.get("items"), Mapping):
            return f"{self.origin} has no items"
        unknown = sorted(set(map(str, self.data)) - set(DOCUMENT))
        if unknown:
            return f"{self.origin} has {', '.join(unknown)}; it may have {', '.join(DOCUMENT)}"
        wanted = binding.data()
        # A sign-off of what happens after the switch cannot be given before there is a release.
        needed = {*BOUND[:5], *(["artifact_sha256"] if binding.prebuilt else [])}
        needed |= {"release"} if stage == "post_deploy" else set()
        for key in BOUND:
            value = filled_in(self.data.get(key))
            if not self.data.get(key) and key not in needed:
                continue
            if not value:
                return f"{self.origin} does not say which {key} it is for; here it is {wanted[key] or 'not known yet'}"
            if wanted[key] and value != wanted[key]:
                return f"{self.origin} is for {key} {value}, and here it is {wanted[key]}"
        if self.sha256 in used:
            return f"{self.origin} was used for release {used[self.sha256]}; approve this one anew"
        return ""


class Approvals:
    """All approvals that a run was given."""

    def __init__(self, documents: Sequence[Document], people: People) -> None:
        self.documents, self.people = documents, people

    def find(
        self, item: Item, stage: str, binding: Binding, used: Mapping[str, str], now: datetime
    ) -> tuple[Approval | None, list[str]]:
        """The approval of an item, and why there is none where there could be one."""
        reasons = []
        for document in self.documents:
            named = isinstance(document.data, Mapping) and isinstance(document.data.get("items"), Mapping)
            if named and item["id"] not in document.data["items"]:
                continue
            reason = document.check(binding, stage, used)
            if not reason:
                try:
                    return self._approval(document, item, now), []
                except SignoffError as exc:
                    reason = f"{document.origin}: {exc}"
            reasons.append(reason)
        return None, reasons

    def _approval(self, document: Document, item: Item, now: datetime) -> Approval:
        given = document.data["items"][item["id"]] or {}
        if not isinstance(given, Mapping) or set(given) - set(APPROVED):
            raise SignoffError(f"an approval has {', '.join(APPROVED)}")
        by = str(given.get("by") or document.data.get("by") or document.signer)
        if not filled_in(by):
            raise SignoffError(f"nobody is named{f': {by} is to be replaced' if by.strip() else ''}")
        status = str(given.get("status") or "")
        if status not in STATUSES:
            raise SignoffError(f"the status is signed, waived or failed, not {status or 'empty'}")
        if status != "signed" and not given.get("reason"):
            raise SignoffError(f"{status} needs a reason")
        if document.signer and by != document.signer:
            raise SignoffError(f"{document.signer} signed the file, and cannot speak for {by}")
        if not document.signer and self.people.keys(by, APPROVAL):
            raise SignoffError(f"{by} has a key and has to sign the file: {document.how_to_sign}")
        refusal = self.people.refusal(item, by)
        if refusal:
            raise SignoffError(refusal)
        at = moment(given["at"]) if given.get("at") else now
        if at > now + timedelta(minutes=5):
            raise SignoffError(f"it was given at {shown(at)}, which is still to come")
        return Approval(
            status=status,
            by=by,
            at=shown(at),
            reason=str(given.get("reason") or ""),
            evidence=given.get("evidence"),
            source=os.path.basename(document.origin),
            sha256=document.sha256,
            key=document.key,
        )


def snippet(binding: Binding, items: Sequence[Item], texts: Mapping[str, str], version: str, with_release: bool) -> str:
    """A file of approvals that lacks nothing but the word of those who approve."""
    data = binding.data()
    if not data["commit"]:
        data["commit"] = f"<the full commit: git rev-parse '{version or 'HEAD'}^{{commit}}'>"
    if binding.prebuilt and not data["artifact_sha256"]:
        data["artifact_sha256"] = "<sha256 of the artifact>"
    keys = [
        *BOUND[:5],
        *(["artifact_sha256"] if data["artifact_sha256"] else []),
        *(["release"] if with_release else []),
    ]
    lines = ["signoff_approvals:", *[f"  {key}: {json.dumps(data[key])}" for key in keys], "  items:"]
    for item in items:
        lines += [f"    # {texts[item['id']]}", f'    {item["id"]}: {{status: "", by: "<name>", evidence: ""}}']
    return "\n".join(lines)


# What records tell of earlier releases


@dataclass
class Past:
    """The sign-offs of one record."""

    path: str
    checklist: Entry = field(default_factory=dict)
    outcome: Entry = field(default_factory=dict)
    phases: list[Entry] = field(default_factory=list)
    last: dict[str, Entry] = field(default_factory=dict)
    switched: datetime | None = None
    approvals: set[str] = field(default_factory=set)
    # The hosts for which each approval was taken, by its sha256.
    used: dict[str, set[str]] = field(default_factory=dict)
    # The lines of allowed signers that it keeps, and the logins of those who made the release.
    signers: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @property
    def release(self) -> str:
        return str(self.checklist.get("release") or self.outcome.get("release") or "")

    def items(self, stage: str) -> list[Item]:
        return list((self.checklist.get("content") or {}).get("stages", {}).get(stage, []))

    def open(self) -> list[Item]:
        """Items of after the switch that nobody has signed or waived."""
        return [item for item in self.items("post_deploy") if self.last.get(item["id"], {}).get("status") not in DONE]

    def until(self, item: Item) -> datetime | None:
        if "deadline" not in item or self.switched is None:
            return None
        return self.switched + timedelta(seconds=seconds(item["deadline"]))

    def since(self, item: Item) -> datetime | None:
        if "earliest" not in item or self.switched is None:
            return None
        return self.switched + timedelta(seconds=seconds(item["earliest"]))


def past(path: str) -> Past:
    """What a record says about sign-offs.

    :raises ValueError: the record was changed
    """
    found = Past(path)
    for entry in record.read(path):
        data = entry["data"]
        match entry["event"]:
            case "run" if not data.get("later"):
                found.logins.append(str(data.get("user") or ""))
            case "checklist":
                found.checklist = data
                found.signers += data.get("signers") or []
            case "signers":
                found.signers += data["signers"]
            case "signoff":
                found.last[data["item"]] = data
                if data.get("approval"):
                    found.used.setdefault(data["approval"]["sha256"], set()).update(data["hosts"])
            case "approvals":
                found.approvals.add(data["sha256"])
            case "outcome":
                found.outcome = data
            case "phase":
                found.phases.append(data)
                if data["phase"] == "switch" and data.get("changed"):
                    found.switched = moment(entry["time"])
    return found


def earlier(directory: str, but: str = "", approvals: Sequence[str] = ()) -> list[Past]:
    """The newest records of an inventory that are whole, without the one that is being written.

    :param approvals: checksums of approvals, whose records count however old they are
    """
    found = []
    for age, name in enumerate(sorted(record_names(directory), reverse=True)):
        path = os.path.join(directory, name)
        if path == but:
            continue
        # Most records are of releases without sign-offs, and need not be taken apart.
        try:
            with open(path, encoding="utf-8") as handle:
                text = handle.read()
            recent = age < LOOK_BACK and '"event":"checklist"' in text
            if recent or any(sha256 in text for sha256 in approvals):
                found.append(past(path))
        except (OSError, ValueError, KeyError, TypeError, SignoffError):
            continue  # verify_record.yml tells what is wrong with it; it must not stop a release
    return found


def overdue(records: Sequence[Past], now: datetime, checklist: str, sha256: str) -> list[str]:
    """What earlier releases still owe, a sentence for each of them.

    :param checklist: how the checklist of this release was asked for, which earlier ones may have had as well
    :param sha256: its checksum
    """
    told = []
    for old in records:
        late = [item["id"] for item in old.open() if item["required"] and (old.until(item) or now) < now]
        if late and old.outcome.get("outcome") == "success":
            same = old.checklist["checklist_sha256"] == sha256
            told.append(
                f"Release {old.release} has overdue sign-offs: {', '.join(late)}. "
                f"Give them with: ansible-playbook signoff.yml -i <inventory> -e release={old.release} "
                f"-e release_checklist={checklist if same else '<its checklist, ' + old.checklist['checklist'] + '>'}"
            )
    return told


def used_approvals(records: Sequence[Past], hosts: Sequence[str]) -> dict[str, str]:
    """Approvals with which a release succeeded on any of these hosts, by their sha256."""
    return {
        sha256: old.release
        for old in records
        if old.outcome.get("outcome") == "success"
        for sha256, theirs in old.used.items()
        if theirs & set(hosts)
    }
