"""Runs playbooks that verify and report records, and the commands of docs/record.md that verify them by hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import read
from records import allow, make_key, release, signer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path):
    key = make_key(tmp_path / "ann")
    allow(tmp_path / "records/allowed_signers", ann=key)
    for name in ("r1", "r2"):
        release(tmp_path / "records/production", name, signer("ann", key))
    return tmp_path


def play(home, playbook, *words):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "true",
        "SLIPWAY_RECORDS_DIR": str(home / "records"),
    }
    result = subprocess.run(
        ["ansible-playbook", ROOT / "playbooks" / playbook, "-i", home / "inventories/production", *words],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # The words of the YAML that is shown, without its line ends.
    return result.returncode, " ".join((result.stdout + result.stderr).split())


def verify(home, *words):
    return play(home, "verify_record.yml", *words)


@pytest.fixture
def inventory(home):
    path = home / "inventories/production/hosts.yml"
    path.parent.mkdir(parents=True)
    path.write_text("all: {hosts: {web1: {}}}\n")


@pytest.mark.usefixtures("inventory")
def test_records_that_are_as_they_were_written(home):
    status, output = verify(home)
    assert status == 0, output
    assert f"{home}/records/production is as it was written" in output
    assert output.count("v2 success, 5 entries, signed by ann@example.com") == 2
    status, output = verify(home, "-e", f"verify_path={home}/records/production/r1.jsonl")
    assert (status, output.count("signed by ann@example.com")) == (0, 1), output


@pytest.mark.usefixtures("inventory")
def test_each_fault_is_named(home):
    path = home / "records/production/r1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"phase1"', b'"phase9"'))
    (home / "records/allowed_signers").unlink()
    status, output = verify(home)
    assert status != 0
    assert f"{path} line 3 was changed: its hash does not fit" in output
    assert f"{path} line 5 is not the record that was entered in ledger.jsonl line 1" in output
    assert "allowed_signers is not there: signatures were checked, but not whose they are" in output
    status, output = verify(home, "-e", "verify_allowed_signers=/nowhere")
    assert status != 0
    assert "/nowhere is not there" in output


@pytest.mark.usefixtures("inventory")
def test_reports_are_made_at_any_time(home):
    records = home / "records/production"
    status, output = play(home, "report.yml", "--check")
    assert (status, list(records.glob("*.html"))) == (0, []), output
    status, output = play(home, "report.yml")
    assert status == 0, output
    assert f"{records}/index.html" in output
    assert 'signed by <bdi dir="auto">ann@example.com</bdi>' in (records / "r1.html").read_text()
    assert json.loads((records / "r2.json").read_text())["outcome"] == "success"

    path = records / "r1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"phase1"', b'"phase9"'))
    status, output = play(home, "report.yml", "-e", f"report_path={path}")
    assert status == 0, output
    assert "line 3 was changed: its hash does not fit" in output
    assert "Not as it was written" in (records / "r1.html").read_text()


def documented():
    """Return the commands of the section on verifying by hand."""
    text = (ROOT / "docs/record.md").read_text()
    section = text.split("## Verify by hand", 1)[1].split("\n## ", 1)[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


def by_hand(home, record="r1", line=3):
    commands = documented().replace("20261121T013005Z-1a2b3c4d", record).replace("line=4", f"line={line}")
    script = f"set -e -o pipefail\n{commands}"
    return subprocess.run(["bash", "-c", script], cwd=home, capture_output=True, text=True, check=False)


def test_the_documented_commands_verify_by_hand(home):
    result = by_hand(home)
    assert result.returncode == 0, result.stderr
    assert 'Good "slipway-release" signature for ann@example.com' in result.stdout
    assert "r1.jsonl: OK" in result.stdout
    assert "ledger.jsonl: OK" in result.stdout
    entry = read(str(home / "records/production/r1.jsonl"))[2]
    assert result.stdout.count(entry["hash"]) >= 2, "as the line says, and as it comes out"


@pytest.mark.parametrize("name", ["r1.jsonl", "r1.head", "r1.sig", "ledger.jsonl", "ledger.head", "ledger.sig"])
def test_the_documented_commands_find_a_change(home, name):
    path = home / "records/production" / name
    content = path.read_text()
    path.write_text(content[:100] + ("A" if content[100] != "A" else "B") + content[101:])
    assert by_hand(home).returncode != 0


def test_the_documented_commands_name_who_did_not_sign(home):
    allow(home / "records/allowed_signers", bob=make_key(home / "bob"))
    assert by_hand(home).returncode != 0


def test_the_documented_hash_of_a_line_is_that_of_every_line(home):
    path = home / "records/production/r1.jsonl"
    for number, entry in enumerate(read(str(path)), 1):
        assert by_hand(home, line=number).stdout.count(entry["hash"]) >= 2
        assert json.loads(path.read_text().splitlines()[number - 1]) == entry
