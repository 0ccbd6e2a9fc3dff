"""Records, ledgers and keys for tests, made by what makes the real ones."""

from __future__ import annotations

import os
import subprocess
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import load
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import Signer
from ansible_collections.slipway.laravel.plugins.plugin_utils.signoffs import SIGNOFF, sign, statement, verify
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory

RUN = {"version": "v2", "user": "ann", "controller": "ci-1", "inventory": "production", "hosts": ["web1", "web2"]}
ROOT = Path(__file__).resolve().parents[2]
HOSTS = ["web1", "web2", "worker1"]
# What a team that writes from right to left may write, and what somebody who means no good may.
ARABIC = "أُعيد ترتيب الغرف المباشرة"
HOSTILE = "<script>alert(1)</script>\"'&</title></style>\u202e<img src=//x.invalid/a onerror=alert(1)>\n| \x00end"


def make_key(path, kind="ed25519", *words):
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["ssh-keygen", "-q", "-t", kind, *words, "-N", "", "-C", path.name, "-f", path]
    subprocess.run(argv, check=True, capture_output=True)
    return str(path)


def allow(path, **keys):
    """List keys, by the names of whom they belong to."""
    lines = [f"{who}@example.com {Path(f'{key}.pub').read_text()}" for who, key in keys.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return str(path)


def signer(who, key):
    return Signer(f"{who}@example.com", key)


def make_record(directory, name, outcome="success", phases=3):
    """Write a record that nobody has entered yet."""
    record = RecordFile(os.path.join(directory, f"{name}.jsonl"))
    record.append("run", RUN)
    for number in range(phases):
        phase = {"phase": f"phase{number}", "host": "web1", "seconds": 1.5, "changed": True}
        record.append("phase", {**phase, "release": name})
    if outcome:
        record.append("outcome", {"outcome": outcome, "release": name})
    return record


def release(directory, name, who=None, outcome="success"):
    """Make a record and enter it."""
    record = make_record(directory, name, outcome)
    entered = Ledger(str(directory), who).enter(record)
    record.close()
    return entered


def faults(directory, allowed="", signed=False, ledger_head=""):
    """Verify; return each fault as "file line what", the file without its directory."""
    found = verify_directory(str(directory), allowed, signed, ledger_head).faults
    return [f"{os.path.basename(f['file'])} {f['line']} {f['what']}" for f in found]


class Told:
    """A release as the callback records it, with times of our own."""

    def __init__(self, directory, name, version="v1.4.0", hosts=HOSTS, began="2026-11-21T13:30:00Z", **run):
        self.name, self.hosts = name, list(hosts)
        self.at = datetime.fromisoformat(began)
        self.file = RecordFile(os.path.join(directory, f"{name}.jsonl"))
        about = {"playbook": "release.yml", "ansible_core": "2.19.14", "version": version, "hosts": self.hosts}
        self.add("run", {**RUN, **about, **run})

    def add(self, event, data, after=0.1):
        self.at += timedelta(seconds=after)
        self.file.append(event, data, self.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    def phase(self, phase, seconds, hosts=None, **evidence):
        """Let a phase run on hosts at once: the later ones take a little longer."""
        for number, host in enumerate(hosts or self.hosts):
            about = {"phase": phase, "host": host, "seconds": seconds + number * 0.4, "changed": True}
            release = {} if phase == "preflight" else {"release": self.name}
            self.add("phase", {**about, **release, **evidence}, 0.4 if number else seconds + 1)

    def checklist(self, name):
        content = load(str(ROOT / f"checklists/{name}.yml"))
        self.bound = {"checklist": content["name"], "checklist_version": content["version"], "release": self.name}
        self.items = {
            item["id"]: {**item, "stage": stage} for stage, items in content["stages"].items() for item in items
        }
        self.add("checklist", {**self.bound, "deployed_by": "ann", "content": content})

    def sign(self, item, by="ann", status="signed", method="prompt", after=4, proven=False, **more):
        told = {key: self.items[item].get(key, "") for key in ("stage", "text", "section", "required")}
        when = (self.at + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"item": item, "by": by, "status": status, "method": method, "role": "anyone", "at": when}
        data = {**self.bound, **told, **about, "reason": "", "evidence": {}, **more}
        self.add("signoff", self.proven(data) if proven else data, after)

    def proven(self, data):
        """Sign with a key that the person has got for this."""
        with tempfile.TemporaryDirectory() as directory:
            key = make_key(Path(directory) / "key")
            signers = f"{data['by']} {Path(f'{key}.pub').read_text().strip()}"
            signature = sign(statement(data), SIGNOFF, key)
        self.add("signers", {"signers": [signers]})
        return {**data, "key": verify(statement(data), signature, signers, SIGNOFF)[1], "signature": signature}

    def end(self, outcome="success"):
        live = dict.fromkeys(self.hosts, self.name)
        self.add("outcome", {"outcome": outcome, "release": self.name, "seconds": 103.4, "live": live})

    def enter(self, who=None):
        Ledger(os.path.dirname(self.file.path), who).enter(self.file)
        self.file.close()


def full_release(directory, name="20261121T133012Z-1a2b3c4d", who=None, text=ARABIC, **run):
    """Write a release with whatever a record can hold.

    :param text: stands where commits, people and commands put what they like
    """
    told = Told(directory, name, **run)
    told.phase("preflight", 2.2, current="20261114T090000Z-0d0d0d0d")
    commits = ["9c1d2e3 Let rooms open without a reload", f"77ab01c {text}", "1a2b3c4 Send the digest at seven"]
    steps = {"fetch": 0.8, "composer": 7.5, "npm": 14.1, "pack": 0.4}
    built = {"commit": "1a2b3c4d" * 5, "sha256": "5f70b1c2" * 8, "size": 18734080, "commits": commits, "steps": steps}
    told.phase("build", 22.8, told.hosts[:1], **built)
    told.checklist("ispeaker-live")
    told.sign("tests", "bob", method="approval", evidence={"ci": "https://ci.example.com/run/17", "passed": 412})
    told.sign("bugs", "bob")
    notes = {"file": "release-notes/v1.4.0.ar.md", "languages": ["en", "ar"]}
    told.sign("release-notes", "check", method="check", evidence=notes)
    told.sign("mobile-builds", status="waived", reason=f"no mobile change: {text}")
    told.sign("feature-flags")
    told.sign("on-call", "ليلى", evidence={"given": "ليلى حتى الغد 09:00 UTC"})
    told.phase("stage", 6.4, probe="PHP-FPM answered /up")
    migration = "2026_02_02_000001_add_title_to_rooms"
    sql = {migration: ["alter table `rooms` add `title` varchar(255) null"]}
    told.phase("plan", 0.7, told.hosts[:1], pending=[migration], sql=sql)
    snapshot = {"id": "20261121T133105Z-before-1a2b3c4d", "size": 18734080, "sha256": "7030d640" * 8}
    told.phase("snapshot", 3.1, told.hosts[:1], **snapshot)
    told.phase("migrate", 0.9, told.hosts[:1], migrations=[migration])
    told.sign("snapshot", "check", method="check", evidence=snapshot)
    told.sign("banner", status="failed", reason="the banner of last week is still there")
    told.sign("banner", status="waived", reason="no downtime is expected", after=9)
    told.phase("switch", 0.05, previous="20261114T090000Z-0d0d0d0d")
    told.phase("restart", 1.6, stopped=[811, 812])
    told.phase("verify", 0.9, url="https://api.example.com/up", workers=[{"command": "horizon", "pid": 4021}])
    told.sign("api", "check", method="check", evidence={"status": 200, "ms": 41.7})
    told.sign("web", "zoe", proven=True, role="qa")
    told.phase("finish", 1.1, removed=["20261017T080000Z-0c0c0c0c"])
    late = [item for item, about in told.items.items() if about["stage"] == "post_deploy"]
    for item in late:
        told.sign(item, "", "open", "none", 0, until="2026-11-21T14:05:00Z")
    told.add("failure", {"host": "web2", "task": "Tell the chat", "message": f"cannot post: {text}"})
    told.end()
    told.add("run", {**RUN, "later": True}, 3000)
    told.sign(late[0], "bob", role="qa", evidence={"given": "412 of 412"})
    told.enter(who)
    return told.file.path
