from __future__ import annotations

import json
import os

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import line_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.masking import Masker
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import (
    FIRST,
    RecordFile,
    entry_hash,
    read,
    records_of,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import markdown

RUN = {"version": "v2", "user": "ann", "controller": "ci-1", "inventory": "production", "hosts": ["web1", "web2"]}
SUCCESS = [
    ("run", RUN),
    ("phase", {"phase": "preflight", "host": "web1", "seconds": 0.5, "changed": False, "current": None}),
    (
        "phase",
        {
            "phase": "build",
            "host": "web1",
            "seconds": 9.1,
            "changed": True,
            "commit": "c" * 40,
            "sha256": "5" * 64,
            "size": 77,
            "steps": {"composer": 4.2},
            "commits": ["abc1234 Add a | pipe"],
        },
    ),
    ("phase", {"phase": "migrate", "host": "web1", "seconds": 1, "changed": True, "migrations": ["add_column"]}),
    ("phase", {"phase": "switch", "host": "web2", "seconds": 0.1, "changed": True, "previous": "r1"}),
    ("phase", {"phase": "restart", "host": "web2", "seconds": 0.1, "changed": True, "stopped": [1, 2]}),
    ("outcome", {"outcome": "success", "release": "r2", "seconds": 12.5, "phases": {}}),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records/production/r2.jsonl"


def record(path, events):
    file = RecordFile(str(path))
    for event, data in events:
        file.append(event, data)
    file.close()
    return read(str(path))


def test_record_is_read_back(path):
    entries = record(path, SUCCESS)
    assert [entry["data"] for entry in entries] == [data for _event, data in SUCCESS]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5, 6, 7]
    assert entries[0]["prev"] == FIRST
    assert entries[3]["prev"] == entries[2]["hash"]
    assert entries[0]["time"].endswith("Z")


def test_each_entry_is_on_disk_at_once(path):
    file = RecordFile(str(path))
    for number in (1, 2):
        file.append("phase", {"text": "\u00fc | \n"})
        assert len(read(str(path))) == number
    file.close()


def test_no_secret_is_written(path):
    file = RecordFile(str(path))
    file.append("failure", {"message": "mysql --password=S3cret1 said no", "token": 7, "hosts": ("web1",)})
    file.masker = Masker(["known to the callback"])
    file.append("failure", {"message": "it was known to the callback"})
    file.close()
    first, second = (entry["data"] for entry in read(str(path)))
    assert first == {"message": "mysql --password=******** said no", "token": "********", "hosts": ["web1"]}
    assert second == {"message": "it was ********"}


def spoil(path, change):
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines))


@pytest.mark.parametrize("number", [1, 4, 7])
@pytest.mark.parametrize("key", ["seq", "time", "event", "data", "prev", "hash"])
def test_changed_line_is_named(path, number, key):
    record(path, SUCCESS)

    def change(lines):
        entry = json.loads(lines[number - 1])
        entry[key] = {"changed": True} if key == "data" else 9 if key == "seq" else "changed"
        lines[number - 1] = json.dumps(entry) + "\n"

    spoil(path, change)
    with pytest.raises(ValueError, match=f"line {number} was changed: its hash does not fit"):
        read(str(path))


@pytest.mark.parametrize(
    "change, number",
    [
        (lambda lines: lines.pop(0), 1),
        (lambda lines: lines.pop(3), 4),
        (lambda lines: lines.insert(3, lines.pop(4)), 4),
        (lambda lines: lines.insert(2, lines[2]), 4),
        (lambda lines: lines.reverse(), 1),
    ],
)
def test_removed_reordered_or_repeated_line_is_named(path, change, number):
    record(path, SUCCESS)
    spoil(path, change)
    with pytest.raises(ValueError, match=f"line {number} does not follow the line before it"):
        read(str(path))


def test_line_with_a_number_of_its_own_is_named(path):
    record(path, SUCCESS[:1])

    def forge(lines):
        entry = {**json.loads(lines[0]), "seq": 2}
        lines[0] = line_of({**entry, "hash": entry_hash(entry)}).decode()

    spoil(path, forge)
    with pytest.raises(ValueError, match="line 1 does not follow"):
        read(str(path))


@pytest.mark.parametrize(
    "line, text", [("nonsense\n", "is not valid JSON"), ("[]\n", "was changed"), ('{"se', "not written to its end")]
)
def test_line_that_is_no_entry_is_named(path, line, text):
    record(path, SUCCESS)
    spoil(path, lambda lines: lines.append(line))
    with pytest.raises(ValueError, match=f"line 8 .*{text}"):
        read(str(path))


def test_record_of_another_run_is_never_continued(path):
    record(path, SUCCESS)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        RecordFile(str(path))
    file = RecordFile(str(path.with_name("other.jsonl")))
    file.rename(str(path))
    file.close()
    assert path.read_bytes() == before
    assert file.path.endswith("other.jsonl")


def test_record_gets_its_lasting_name_and_goes_on(path):
    file = RecordFile(str(path))
    file.append(*SUCCESS[0])
    file.rename(str(path.with_name("r3.jsonl")))
    file.append(*SUCCESS[1])
    file.close()
    assert os.listdir(path.parent) == ["r3.jsonl"]
    assert len(read(file.path)) == 2


def test_discarded_record_leaves_nothing(path):
    RecordFile(str(path)).discard()
    assert os.listdir(path.parent) == []


def test_report_of_a_success(path):
    entries = record(path, SUCCESS)
    lines = markdown(entries).splitlines()
    assert lines[0] == "# Release v2: success"
    assert "| Release | r2 |" in lines
    assert f"| Commit | {'c' * 40} |" in lines
    assert f"| Artifact | sha256 {'5' * 64}, 77 bytes |" in lines
    assert "| By | ann on ci-1 |" in lines
    assert "| Hosts | web1, web2 |" in lines
    assert "| preflight | web1 | 0.5 | no | live: none |" in lines
    assert "| build | web1 | 9.1 | yes | composer 4.2 s |" in lines
    assert "| migrate | web1 | 1 | yes | 1 applied |" in lines
    assert "| switch | web2 | 0.1 | yes | from r1 |" in lines
    assert "| restart | web2 | 0.1 | yes | 2 workers ended |" in lines
    assert lines[lines.index("## Migrations") + 2] == "- add_column"
    assert lines[lines.index("## Commits") + 2] == "- abc1234 Add a \\| pipe"
    assert "## Failures" not in lines
    assert lines[-1] == f"7 entries, head {entries[-1]['hash']}"


def test_report_of_an_abort(path):
    error = "build: composer failed:\nProblem 1 | php ^9"
    events = [
        ("run", RUN),
        ("phase", {"phase": "build", "host": "web1", "seconds": 2, "changed": False, "error": error}),
        ("failure", {"host": "web1", "task": "Build", "message": error}),
        ("outcome", {"outcome": "aborted", "release": "", "seconds": 3, "phases": {}}),
    ]
    lines = markdown(record(path, events)).splitlines()
    assert lines[0] == "# Release v2: aborted"
    assert "| Release | none |" in lines
    assert "| Artifact | - |" in lines
    assert "| build | web1 | 2 | no | build: composer failed: Problem 1 \\| php ^9 |" in lines
    assert lines[lines.index("## Failures") + 2] == "- web1, Build: build: composer failed: Problem 1 \\| php ^9"


def test_report_of_a_rollback_and_of_a_run_that_was_killed(path):
    rollback = [("run", {**RUN, "version": ""}), ("outcome", {"outcome": "rolled back", "release": "r1", "seconds": 3})]
    assert markdown(record(path, rollback)).startswith("# Rollback: rolled back\n")
    killed = record(path.with_name("r3.jsonl"), SUCCESS[:2])
    assert markdown(killed).startswith("# Release v2: unfinished\n")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("inventories/production", "production"),
        ("inventories/production/hosts", "production"),
        ("inventories/production/hosts.yml", "production"),
        ("inventories/production/inventory.yml", "production"),
        ("inventories/production/aws_ec2.yml", "production"),
        ("inventories/production/inventory.aws_ec2.yml", "production"),
        ("inventories/production.aws_ec2.yml", "production.aws_ec2"),
        ("inventories/staging.ini", "staging"),
        # The project itself, which may be cloned to any name.
        ("inventory.yml", "inventory"),
        ("web1,web2", "adhoc"),
    ],
)
def test_inventories_have_records_of_their_own(tmp_path, source, name):
    path = tmp_path / source
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch() if path.suffix or path.name == "hosts" else path.mkdir()
    given = source if "," in source else str(path)
    assert records_of(str(tmp_path / "records"), ("first", given)) == str(tmp_path / "records" / name)


def test_a_ledger_that_was_begun_by_the_name_of_the_file_is_gone_on_with(tmp_path):
    inventory = tmp_path / "inventories/production/inventory.yml"
    for path in (inventory, tmp_path / "records/inventory/ledger.jsonl"):
        path.parent.mkdir(parents=True)
        path.touch()
    root = str(tmp_path / "records")
    assert records_of(root, (str(inventory),)) == f"{root}/inventory"
    (tmp_path / "records/production").mkdir()
    assert records_of(root, (str(inventory),)) == f"{root}/production"
