# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking for sign-offs in a record that those whom they name did not give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import yaml
from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import OTHERS, STAGES
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import (
    APPROVAL,
    BOUND,
    DONE,
    SIGNOFF,
    Document,
    Entry,
    SignoffError,
    keys_in,
    same_name,
    statement,
    verify,
)


@dataclass
class Proofs:
    """What there is to tell whose sign-offs are whose."""

    listed: str
    sealed: str = ""
    kept: str = ""
    who: dict[str, Sequence[str]] = field(default_factory=dict)
    approvals: dict[str, Document] = field(default_factory=dict)

    def read(self, entry: Entry) -> None:
        """Take in what the record keeps: keys, who had to sign what, and signed approvals."""
        data = entry["data"]
        if entry["event"] in ("checklist", "signers"):
            self.kept += "".join(f"{line}\n" for line in data.get("signers") or [])
        if entry["event"] == "checklist":
            stages = data["content"]["stages"]
            self.who.update({item["id"]: item.get("who") or () for stage in STAGES for item in stages[stage]})
        if entry["event"] == "approvals":
            self.approvals[data["sha256"]] = self._document(data, entry["time"])

    def _document(self, data: Entry, time: str) -> Document:
        try:
            content = yaml.safe_load(data["content"])["signoff_approvals"]
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as exc:
            raise SignoffError("is no file of approvals") from exc
        found = Document(data["file"], content, data["content"].encode(), data["signature"])
        if found.sha256 != data["sha256"]:
            raise SignoffError("is not the file of approvals that it says")
        found.signer = data["signer"]
        found.key = self.key_of(found.signer, APPROVAL, found.raw, found.signature, time)
        if found.key != data["key"]:
            raise SignoffError(f"is signed with {found.key}, not with {data['key']}")
        return found

    def signers(self, name: str, namespace: str) -> str:
        """The list that says which keys are a person's: that of whoever verifies comes before that of the record."""
        return next((text for text in (self.listed, self.kept) if keys_in(text, name, namespace)), "")

    def key_of(self, name: str, namespace: str, text: bytes, signature: str, time: str) -> str:
        """The fingerprint of the key of this person that signed a text."""
        signers = self.signers(name, namespace)
        if not signers:
            raise SignoffError(f"is signed for {name}, of whom no key is known")
        try:
            return verify(text, signature, signers, namespace, name, time)[1]
        except SignoffError as exc:
            raise SignoffError(f"is not signed by {name}: {exc}") from exc

    def check(self, entry: Entry) -> None:
        """Compare a sign-off with what proves it.

        :raises SignoffError: it is not what it says
        """
        data, time = entry["data"], entry["time"]
        by, method, key = str(data.get("by") or ""), data.get("method"), data.get("key") or ""
        namespace = APPROVAL if method == "approval" else SIGNOFF
        if data.get("signature"):
            found = self.key_of(by, SIGNOFF, statement(data), data["signature"], time)
            if found != key:
                raise SignoffError(f"is signed with {found}, not with {key}")
        elif method == "approval" and key:
            self._check_approval(data, by, key)
        elif method in ("approval", "prompt") and (key or self.signers(by, namespace)):
            raise SignoffError(f"is not signed, and {by} has a key")
        if OTHERS not in self.who.get(data["item"], ()) or data["status"] not in DONE:
            return
        if method in ("approval", "prompt") and same_name(by, str(data.get("deployed_by") or "")):
            raise SignoffError(f"has to be of somebody other than {by}, who deployed")
        if key and key == self.sealed:
            raise SignoffError(f"has to be of somebody other than who deployed, and {key} signed the record as well")

    def _check_approval(self, data: Entry, by: str, key: str) -> None:
        document = self.approvals.get(data["approval"]["sha256"])
        if document is None:
            raise SignoffError("has no approval that holds in this record")
        given = document.data["items"].get(data["item"], {})
        if (document.signer, document.key) != (by, key):
            raise SignoffError(f"is by {by}, and its approval was signed by {document.signer} ({document.key})")
        if (given or {}).get("status") != data["status"]:
            raise SignoffError(f"is not what its approval says of {data['item']}")
        for name in BOUND:
            if document.data.get(name) and str(document.data[name]) != str(data[name]):
                raise SignoffError(f"is for {name} {data[name]}, and its approval for {document.data[name]}")


def signoff_faults(entries: Sequence[tuple[int, Entry]], listed: str, sealed: str) -> Iterator[tuple[int, str]]:
    """Name each line that is not what it says about a sign-off, and what is the matter.

    :param listed: the allowed signers of whoever verifies
    :param sealed: fingerprint of the key that signed the record when the release had ended, empty when it is not known
    """
    proofs = Proofs(listed, sealed)
    for line, entry in entries:
        if entry.get("event") in ("checklist", "signers", "approvals"):
            yield from ((line, what) for what in _faults(proofs.read, entry))
    for line, entry in entries:
        if entry.get("event") == "signoff":
            yield from ((line, what) for what in _faults(proofs.check, entry))


def _faults(look: Callable[[Entry], None], entry: Entry) -> Iterator[str]:
    try:
        look(entry)
    except SignoffError as exc:
        yield str(exc)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        # Somebody may have written anything.
        yield f"is no {entry['event']} entry of a release"
