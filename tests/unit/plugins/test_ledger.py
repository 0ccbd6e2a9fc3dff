"""Ledgers, and finding whatever was changed in one, in a record, or beside them."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import time

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import (
    FIRST,
    ChainError,
    entry_hash,
    line_of,
    lines_of,
    read,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.ledger import Ledger, unfinished
from ansible_collections.slipway.laravel.plugins.plugin_utils.record import RecordFile
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory, verify_file
from records import allow, faults, make_key, make_record, release, signer

forked = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    home = tmp_path_factory.mktemp("keys")
    return {who: make_key(home / who) for who in ("ann", "bob", "eve")}


@pytest.fixture(scope="module")
def original(keys, tmp_path_factory):
    """Two records, of which Bob went on with the second one, and one record of a run that was reverted."""
    home = tmp_path_factory.mktemp("records")
    directory = home / "production"
    release(directory, "r1", signer("ann", keys["ann"]))
    release(directory, "r2", signer("ann", keys["ann"]))
    release(directory, "r3", signer("ann", keys["ann"]), "reverted")
    record = RecordFile(str(directory / "r2.jsonl"), create=False)
    record.append("run", {"user": "bob", "later": True})
    record.append("signoff", {"item": "watched", "status": "signed", "by": "bob"})
    Ledger(str(directory), signer("bob", keys["bob"])).enter(record)
    record.close()
    allow(home / "allowed_signers", ann=keys["ann"], bob=keys["bob"])
    return home


@pytest.fixture
def home(original, tmp_path):
    """A copy, to be spoilt."""
    shutil.copytree(original, tmp_path / "home")
    return tmp_path / "home"


def found(home, **options):
    options = {"allowed": str(home / "allowed_signers"), "signed": True, **options}
    return faults(home / "production", **options)


def rewrite(path, change):
    """Change entries and make a chain of them anew, as somebody would who knows how."""
    entries = [json.loads(line) for line in lines_of(path.read_bytes())]
    change(entries)
    previous = FIRST
    for number, entry in enumerate(entries, 1):
        entry.update(seq=number, prev=previous)
        previous = entry["hash"] = entry_hash(entry)
    path.write_bytes(b"".join(map(line_of, entries)))


def test_what_was_written_has_no_fault(home):
    assert found(home) == []
    result = verify_directory(str(home / "production"), str(home / "allowed_signers"), True)
    first, second, third = result.records
    assert (first["record"], first["outcome"], first["release"], first["entries"]) == ("r1.jsonl", "success", "r1", 5)
    assert (first["version"], first["by"], first["signers"]) == ("v2", "ann", ["ann@example.com"])
    assert (second["signers"], second["entries"]) == (["ann@example.com", "bob@example.com"], 7)
    assert (third["outcome"], result.notes) == ("reverted", [])


def test_what_the_ledger_says(original):
    entries = [entry["data"] for entry in read(str(original / "production/ledger.jsonl"))]
    assert [(data["record"], data["previous"], data["outcome"], data["entries"]) for data in entries] == [
        ("r1.jsonl", "", "success", 5),
        ("r2.jsonl", "r1.jsonl", "success", 5),
        ("r3.jsonl", "r2.jsonl", "reverted", 5),
        ("r2.jsonl", "r3.jsonl", "success", 7),
    ]
    assert entries[0]["head"] == read(str(original / "production/r1.jsonl"))[-1]["hash"]
    assert {data["signer"] for data in entries} == {"ann@example.com", "bob@example.com"}


# Every change shows


def test_every_change_of_a_byte_of_any_file_is_found(original, home):
    draw = random.Random(5)  # noqa: S311
    count = 0
    for path in sorted((original / "production").glob("r2.*")) + sorted((original / "production").glob("ledger.*")):
        copy = home / "production" / path.name
        content = path.read_bytes()
        places = draw.sample(range(len(content)), min(len(content), 10))
        for place in places:
            copy.write_bytes(content[:place] + bytes([content[place] ^ draw.choice((1, 2, 32))]) + content[place + 1 :])
            told = faults(home / "production")  # also without asking whose signature it is
            assert any(line.startswith(path.name) or "ledger" in line for line in told), (path.name, place)
            count += 1
        copy.write_bytes(content)
    assert count > 50
    assert found(home) == []


@pytest.mark.parametrize("length", range(5))
def test_a_cut_end_is_found(home, length):
    path = home / "production/r1.jsonl"
    path.write_bytes(b"".join(lines_of(path.read_bytes())[:length]))
    assert f"r1.jsonl {length} its end was cut off: it has {length} entries, ledger.jsonl line 1 says 5" in found(home)


def test_a_cut_end_is_found_in_a_record_alone(home):
    path = home / "production/r1.jsonl"
    path.write_bytes(b"".join(lines_of(path.read_bytes())[:-1]))
    result = verify_file(str(path), str(home / "allowed_signers"), True)
    assert [fault["what"] for fault in result.faults] == [
        "its end was cut off: it has 4 entries, 5 were signed (r1.head)"
    ]


def test_a_record_alone(home):
    path = home / "production/r2.jsonl"
    result = verify_file(str(path), str(home / "allowed_signers"), True)
    assert (result.faults, result.notes, result.records[0]["signers"]) == ([], [], ["bob@example.com"])
    (home / "production/r2.sig").unlink()
    assert [f["what"] for f in verify_file(str(path), "", True).faults] == ["is not signed"]
    assert verify_file(str(path), "", False).faults == []
    path.write_bytes(path.read_bytes().replace(b'"bob"', b'"eve"'))
    assert len(verify_file(str(path), "", False).faults) == 3
    assert [f["what"] for f in verify_file(str(home / "nothing.jsonl"), "", False).faults] == ["is not there"]


def test_a_line_that_was_taken_from_another_record_is_named(home):
    path, other = home / "production/r1.jsonl", home / "production/r3.jsonl"
    lines = lines_of(path.read_bytes())
    lines[2] = lines_of(other.read_bytes())[2]
    path.write_bytes(b"".join(lines))
    assert any(
        line.startswith("r1.jsonl 3 does not follow") and line.endswith("; the line is that of r3.jsonl line 3")
        for line in found(home)
    )


def test_a_record_under_the_name_of_another_is_found(home):
    shutil.copy(home / "production/r3.jsonl", home / "production/r1.jsonl")
    assert "r1.jsonl 5 is not the record that was entered in ledger.jsonl line 1" in found(home)


def test_a_record_that_was_written_anew_is_found(home):
    rewrite(home / "production/r3.jsonl", lambda entries: entries[-1]["data"].update(outcome="success"))
    assert "r3.jsonl 5 is not the record that was entered in ledger.jsonl line 3" in found(home)


def test_a_ledger_that_was_written_anew_is_found_by_its_signatures(home):
    shutil.copy(home / "production/r1.jsonl", home / "production/r3.jsonl")
    first = read(str(home / "production/ledger.jsonl"))[0]["data"]
    forged = {key: first[key] for key in ("head", "sha256", "bytes", "entries")}
    rewrite(home / "production/ledger.jsonl", lambda entries: entries[2]["data"].update(forged))
    told = found(home)
    assert "ledger.jsonl 3 the signature does not fit what it signs" in told
    assert "ledger.jsonl 4 is not what was signed (ledger.head)" in told


def test_signatures_that_were_taken_away_are_found(home):
    rewrite(home / "production/ledger.jsonl", lambda entries: [e["data"].update(signature="") for e in entries])
    assert [line for line in found(home) if line.endswith("is not signed")] == [
        f"ledger.jsonl {number} is not signed" for number in (1, 2, 3, 4)
    ]


def test_a_wrong_signer_is_named(home, keys):
    release(home / "production", "r4", signer("ann", keys["bob"]))
    release(home / "production", "r5", signer("eve", keys["eve"]))
    told = found(home)
    assert any("ledger.jsonl 5 signed by bob@example.com (ED25519 SHA256:" in line for line in told)
    assert any("ledger.jsonl 6 signed with ED25519 SHA256:" in line and "does not list" in line for line in told)
    assert faults(home / "production") == [], "without a list, anybody may sign"


def test_a_record_that_was_removed_is_found(home):
    (home / "production/r1.jsonl").unlink()
    assert found(home) == ["r1.jsonl 0 is not there, but in ledger.jsonl line 1"]


def test_a_record_that_is_not_in_the_ledger_is_found(home):
    make_record(home / "production", "r4").close()
    make_record(home / "production", "r5", outcome="").close()
    assert found(home) == [
        "r4.jsonl 0 is not in ledger.jsonl",
        "r5.jsonl 0 is not in ledger.jsonl; its run was killed, and the next one closes it",
    ]


def test_a_record_that_is_being_written_is_a_note(home):
    def write(ready):
        record = make_record(home / "production", "r4", outcome="")
        record.keep()
        ready.put(True)
        time.sleep(60)

    ready = forked.SimpleQueue()
    process = forked.Process(target=write, args=(ready,))
    process.start()
    ready.get()
    result = verify_directory(str(home / "production"), str(home / "allowed_signers"), True)
    process.kill()
    process.join()
    assert (result.faults, len(result.notes)) == ([], 1)
    assert result.notes[0].endswith("r4.jsonl is being written: a run is at work")


def test_what_was_added_to_a_closed_record_is_found(home):
    record = RecordFile(str(home / "production/r1.jsonl"), create=False)
    record.append("signoff", {"item": "smuggled"})
    record.close()
    assert found(home) == ["r1.jsonl 6 was added after the record was closed; ledger.jsonl knows 5 entries"]


@pytest.mark.parametrize("number", range(3))
def test_a_line_that_was_removed_from_the_ledger_is_found(home, number):
    path = home / "production/ledger.jsonl"
    lines = lines_of(path.read_bytes())
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    assert any(f"ledger.jsonl {number + 1} does not follow the line before it" in line for line in found(home))


def test_a_cut_end_of_the_ledger_is_found(home):
    path = home / "production/ledger.jsonl"
    path.write_bytes(b"".join(lines_of(path.read_bytes())[:-1]))
    told = found(home)
    assert "ledger.jsonl 3 its end was cut off: it has 3 entries, 4 were signed (ledger.head)" in told
    assert "r2.jsonl 6 was added after the record was closed; ledger.jsonl knows 5 entries" in told


def test_a_whole_state_of_the_past_is_found_by_a_head_that_was_noted(home, keys):
    shutil.copytree(home / "production", home / "past/production")
    release(home / "production", "r4", signer("ann", keys["ann"]))
    noted = read(str(home / "production/ledger.jsonl"))[-1]["hash"]
    assert found(home, ledger_head=noted) == []
    told = faults(home / "past/production", str(home / "allowed_signers"), True, noted)
    assert told == [f"ledger.jsonl 0 does not hold the entry {noted}, which it once ended with"]


def test_a_fork_of_the_ledger_is_named(home, keys):
    shutil.copytree(home / "production", home / "theirs/production")
    release(home / "production", "r4", signer("ann", keys["ann"]))
    release(home / "theirs/production", "r5", signer("bob", keys["bob"]))
    path = home / "production/ledger.jsonl"
    theirs = lines_of((home / "theirs/production/ledger.jsonl").read_bytes())[-1]
    path.write_bytes(path.read_bytes() + theirs)
    told = "it is entry 5 where 6 belongs, and follows line 4: the chain forks there"
    assert f"ledger.jsonl 6 does not follow the line before it: {told}" in found(home)


@pytest.mark.parametrize("name", ["r2.head", "r2.sig", "ledger.head", "ledger.sig", "ledger.jsonl"])
def test_what_is_missing_beside_the_records_is_named(home, name):
    (home / "production" / name).unlink()
    told = found(home)
    expected = "is not signed" if name == "ledger.sig" else "is not there"
    assert any(line == f"{name} 0 {expected}" for line in told), told


def test_the_ledger_of_another_inventory_is_found(home):
    os.rename(home / "production", home / "staging")
    told = faults(home / "staging", str(home / "allowed_signers"), True)
    assert "ledger.jsonl 1 is about the inventory production" in told


def test_an_entry_of_a_ledger_that_says_too_little_is_named(home):
    rewrite(home / "production/ledger.jsonl", lambda entries: entries[0]["data"].pop("bytes"))
    assert "ledger.jsonl 1 is no entry of a ledger" in found(home)


# Without keys


def test_without_a_key_cut_ends_are_found_as_well(tmp_path):
    directory = tmp_path / "production"
    release(directory, "r1")
    release(directory, "r2")
    assert faults(directory) == []
    assert sorted(os.listdir(directory)) == [
        f"{name}.{end}" for name in ("ledger", "r1", "r2") for end in ("head", "jsonl")
    ]
    path = directory / "r1.jsonl"
    path.write_bytes(b"".join(lines_of(path.read_bytes())[:-1]))
    assert faults(directory)[0].startswith("r1.jsonl 4 its end was cut off")


def test_runs_on_one_machine_enter_their_records_one_after_the_other(tmp_path):
    directory = tmp_path / "production"

    def enter(name):
        for number in range(20):
            release(directory, f"{name}{number}")

    processes = [forked.Process(target=enter, args=(name,)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    entries = [entry["data"] for entry in read(str(directory / "ledger.jsonl"))]
    assert len(entries) == 60
    assert [data["previous"] for data in entries] == ["", *[data["record"] for data in entries[:-1]]]
    assert faults(directory) == []


# Runs that were killed


def test_whether_a_release_was_going_on():
    def record(*events):
        return [
            {"event": event, "data": {"later": True} if event == "run" and later else {}} for event, later in events
        ]

    run, later, outcome = ("run", False), ("run", True), ("outcome", False)
    assert unfinished(record(run))
    assert not unfinished(record(run, outcome))
    assert not unfinished(record(run, outcome, later))
    assert unfinished(record(run, outcome, run))
    assert not unfinished([])


def close(directory, keys):
    """Let Ann release r7, and close what others left."""
    ours = make_record(directory, "r7")
    ledger = Ledger(str(directory), signer("ann", keys["ann"]))
    ledger.enter(ours)
    closed = [os.path.basename(path) for path in ledger.close_killed(ours.path)]
    assert ledger.close_killed(ours.path) == []
    ours.close()
    return closed


def add(directory, name, *entries):
    record = RecordFile(str(directory / f"{name}.jsonl"), create=False)
    for event, data in entries:
        record.append(event, data)
    record.close()


LATER = ("run", {"later": True})
SIGNED = ("signoff", {"item": "watched"})


def test_the_next_run_closes_a_record_whose_run_was_killed(home, keys):
    directory = home / "production"
    make_record(directory, "r4", outcome="").close()
    with open(directory / "r4.jsonl", "ab") as handle:
        handle.write(b'{"data":{"phase":"sw')
    (directory / "r6.jsonl").write_bytes(b"")  # killed before the first entry
    add(directory, "r1", LATER, SIGNED)
    assert close(directory, keys) == ["r1.jsonl", "r4.jsonl"]
    *_entries, partial, outcome = read(str(directory / "r4.jsonl"))
    assert (partial["event"], partial["data"]["partial"]) == ("resumed", '{"data":{"phase":"sw')
    assert outcome["data"] == {"outcome": "killed", "release": "r4", "closed_by": "r7"}
    assert found(home) == []
    assert not (directory / "r6.jsonl").exists(), "nothing was written to it"


def test_whoever_closes_a_record_does_not_answer_for_it(home, keys):
    directory = home / "production"
    make_record(directory, "r4", outcome="").close()
    add(directory, "r2", LATER, SIGNED)
    close(directory, keys)
    result = verify_directory(str(directory), str(home / "allowed_signers"), True)
    signers = {told["record"]: told["signers"] for told in result.records}
    assert (result.faults, signers["r4.jsonl"]) == ([], [])
    assert signers["r2.jsonl"] == ["ann@example.com", "bob@example.com"], "Ann released it, and Bob signed off"
    assert result.notes == [
        f"{directory}/{name}.jsonl was closed by ann@example.com in r7, who did not make it" for name in ("r2", "r4")
    ]
    alone = verify_file(str(directory / "r4.jsonl"), str(home / "allowed_signers"), True)
    assert (alone.faults, alone.notes, alone.records[0]["signers"]) == ([], result.notes[1:], [])
    # It is signed: nobody can make Ann the author.
    rewrite(directory / "ledger.jsonl", lambda entries: [entry["data"].pop("closed_by", "") for entry in entries])
    assert "the signature does not fit what it signs" in " ".join(found(home))


def test_a_record_is_closed_by_a_run_without_a_key(tmp_path):
    directory = tmp_path / "production"
    make_record(directory, "r4", outcome="").close()
    ours = make_record(directory, "r7")
    ledger = Ledger(str(directory), None)
    ledger.enter(ours)
    ledger.close_killed(ours.path)
    result = verify_directory(str(directory), "", False)
    assert result.notes == [f"{directory}/r4.jsonl was closed by the run r7, which did not make it"]


def forge_outcome(directory):
    make_record(directory, "r4").close()


def add_signoff(directory):
    add(directory, "r1", SIGNED)


def add_outcome(directory):
    add(directory, "r3", LATER, ("outcome", {"outcome": "success", "release": "r3"}))


def add_run(directory):
    add(directory, "r1", ("run", {"user": "ann"}))


def add_resumed(directory):
    add(directory, "r1", ("resumed", {"by": "ann"}), ("run", {"user": "ann"}))


def write_anew(directory):
    rewrite(directory / "r1.jsonl", lambda entries: entries[1]["data"].update(host="web9"))
    add(directory, "r1", LATER)


def spoil(directory):
    path = directory / "r1.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes())


@pytest.mark.parametrize(
    "tamper",
    [forge_outcome, add_signoff, add_outcome, add_run, add_resumed, write_anew, spoil],
    ids=lambda f: f.__name__,
)
def test_what_no_killed_run_can_have_left_is_not_signed_by_the_next_one(home, keys, tamper):
    directory = home / "production"
    tamper(directory)
    before = {path: path.read_bytes() for path in directory.glob("r*.jsonl")}
    told = found(home)
    assert told
    assert close(directory, keys) == []
    assert {path: path.read_bytes() for path in before} == before
    assert found(home) == told


def test_what_was_smuggled_in_is_not_signed_by_who_goes_on_with_the_record(home, keys):
    record = RecordFile(str(home / "production/r1.jsonl"), create=False)
    for event, data in (SIGNED, LATER, ("signoff", {"item": "mine"})):
        record.append(event, data)
    before = (home / "production/ledger.jsonl").read_bytes()
    with pytest.raises(ChainError, match=r"r1\.jsonl line 6 was added by no run"):
        Ledger(str(home / "production"), signer("ann", keys["ann"])).enter(record)
    record.close()
    assert (home / "production/ledger.jsonl").read_bytes() == before


def test_a_killed_run_that_resumed_a_killed_one_is_closed(home, keys):
    directory = home / "production"
    release(directory, "r4", signer("ann", keys["ann"]), "killed")
    add(directory, "r4", ("resumed", {"by": "bob"}), ("run", {"user": "bob"}))
    assert close(directory, keys) == ["r4.jsonl"]
    assert read(str(directory / "r4.jsonl"))[-1]["data"]["outcome"] == "killed"
    assert found(home) == []


def test_a_run_at_work_is_left_alone(home):
    directory = home / "production"

    def write(ready):
        record = make_record(directory, "r4", outcome="")
        record.keep()
        ready.put(True)
        time.sleep(60)

    ready = forked.SimpleQueue()
    process = forked.Process(target=write, args=(ready,))
    process.start()
    ready.get()
    closed = Ledger(str(directory), None).close_killed("ours")
    process.kill()
    process.join()
    assert closed == []
    assert len(read(str(directory / "r4.jsonl"))) == 4
