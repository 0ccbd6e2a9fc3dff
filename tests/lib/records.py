"""Records, ledgers and keys for tests, made by what makes the real ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile
from ansible_collections.slipway.laravel.plugins.plugin_utils.signature import Signer
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory

RUN = {"version": "v2", "user": "ann", "controller": "ci-1", "inventory": "production", "hosts": ["web1", "web2"]}


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
