"""The chain of entries: several writers, writers that are killed, and every way to change what was written."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import time

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import (
    FIRST,
    ChainError,
    ChainFile,
    entries_of,
    entry_hash,
    faults,
    line_of,
    lines_of,
    make_entry,
    parse,
    read,
)
from hypothesis import given, settings
from hypothesis import strategies as st

forked = multiprocessing.get_context("fork")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=5,
)
EVENTS = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8")), st.dictionaries(st.just("data"), VALUES)), max_size=6
)


def chain(*events):
    """Return the content of a file with these entries."""
    content, previous = b"", FIRST
    for number, (event, data) in enumerate(events, 1):
        entry = make_entry(number, previous, event, data)
        content += line_of(entry)
        previous = entry["hash"]
    return content


def wrong(content):
    return list(faults(content))


RECORD = chain(
    ("run", {"user": "Zoë", "hosts": ["web1", "web2"], "version": "v1 | \n\r\u2028"}),
    *[("phase", {"phase": name, "host": "web1", "seconds": 1.5}) for name in ("build", "stage", "switch", "verify")],
    ("outcome", {"outcome": "success", "live": {"web1": None}}),
)
OTHER = chain(*[("phase", {"number": number}) for number in range(6)])


@pytest.fixture
def file(tmp_path):
    file = ChainFile(str(tmp_path / "records/r1.jsonl"))
    yield file
    file.close()


# What is written is what is read


@given(EVENTS)
@settings(deadline=None)
def test_whatever_is_written_is_read_back(events):
    content = chain(*events)
    assert wrong(content) == []
    assert [(entry["event"], entry["data"]) for entry in entries_of(content, "r1")] == events


@given(EVENTS, st.data())
@settings(deadline=None)
def test_any_change_of_anything_is_found(events, data):
    content = chain(("run", {}), *events)
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, len(content)))
    changed = content[:start] + data.draw(st.binary(max_size=4)) + content[end:]
    if changed != content and not (end == len(content) and content.startswith(changed)):
        assert wrong(changed)


def test_a_line_has_one_form_only():
    line = line_of(make_entry(1, FIRST, "run", {"name": "é", "number": 1.5}))
    assert parse(line)
    entry = json.loads(line)
    for other in (
        json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n",  # \u00e9
        json.dumps(entry, sort_keys=True, ensure_ascii=False).encode() + b"\n",  # spaces
        line.replace(b"1.5", b"1.50"),
        line.replace(b"{", b'{"seq":2,', 1),  # the last one of two keys counts
        line[:-1] + b"\r\n",
        b"\xef\xbb\xbf" + line,
        line.decode().encode("utf-16"),
    ):
        assert parse(other) is None, other


# Every change shows


def test_every_change_of_one_byte_is_found():
    found = 0
    draw = random.Random(7)  # noqa: S311  not for secrets
    for place, byte in enumerate(RECORD):
        for other in {byte ^ 1, byte ^ 0x20, draw.choice([value for value in range(256) if value != byte])}:
            changed = RECORD[:place] + bytes([other]) + RECORD[place + 1 :]
            assert next(faults(changed), None), (place, other)
            found += 1
    assert found > 3000


def test_every_removed_and_every_inserted_byte_is_found():
    for place in range(len(RECORD)):
        assert next(faults(RECORD[:place] + RECORD[place + 1 :]), None), place
        for byte in b'\n 0"':
            changed = RECORD[:place] + bytes([byte]) + RECORD[place:]
            assert next(faults(changed), None), (place, byte)


def test_every_operation_on_lines_is_found_and_named():
    lines = lines_of(RECORD)
    for one in range(len(lines)):
        if one < len(lines) - 1:  # a cut tail is found by the ledger
            number, fault = wrong(b"".join(lines[:one] + lines[one + 1 :]))[0]
            assert (number, fault[:35]) == (one + 1, "does not follow the line before it:")
            assert f"entry {one + 1} is missing" in fault
        for two in range(len(lines) + 1):
            again = [*lines[:two], lines[one], *lines[two:]]
            assert wrong(b"".join(again)), ("repeated", one, two)
            other = [*lines[:two], lines_of(OTHER)[one], *lines[two:]]
            assert wrong(b"".join(other)), ("inserted", one, two)
            moved = lines[:one] + lines[one + 1 :]
            moved.insert(two, lines[one])
            assert moved == lines or wrong(b"".join(moved)), ("moved", one, two)
        replaced = [*lines[:one], lines_of(OTHER)[one], *lines[one + 1 :]]
        assert wrong(b"".join(replaced)), ("replaced", one)
    assert "it is line 2 once more" in wrong(b"".join([*lines[:3], lines[1], *lines[3:]]))[0][1]


def test_one_changed_line_is_one_fault():
    lines = lines_of(RECORD)
    lines[2] = lines[2].replace(b"stage", b"stagy")
    assert wrong(b"".join(lines)) == [(3, "was changed: its hash does not fit")]


def test_every_cut_within_a_line_is_found():
    ends = [place + 1 for place, byte in enumerate(RECORD) if byte == 10]
    for length in range(len(RECORD)):
        found = wrong(RECORD[:length])
        whole = sum(end <= length for end in ends)
        assert found == ([] if length in (0, *ends) else [(whole + 1, "was not written to its end")])


def test_a_fork_is_named():
    entries = entries_of(RECORD, "r1")
    theirs = make_entry(4, entries[2]["hash"], "record", {"record": "theirs"})
    ours = make_entry(5, entries[2]["hash"], "record", {"record": "ours"})
    content = b"".join(line_of(entry) for entry in [*entries[:3], theirs, ours])
    assert wrong(content) == [
        (5, "does not follow the line before it: it follows line 3: the chain forks there"),
    ]


def test_a_line_that_was_forged_with_its_hash_breaks_the_chain():
    entries = entries_of(RECORD, "r1")
    entries[2]["data"] = {"phase": "forged"}
    entries[2]["hash"] = entry_hash(entries[2])
    assert [number for number, _fault in wrong(b"".join(map(line_of, entries)))] == [4]


def test_the_first_fault_is_told_with_file_and_line(tmp_path):
    path = tmp_path / "r1.jsonl"
    path.write_bytes(RECORD.replace(b"stage", b"stagy"))
    with pytest.raises(ChainError, match=f"^{path} line 3 was changed: its hash does not fit$"):
        read(str(path))


# Several writers


def add(file, count, name):
    for number in range(count):
        file.append("signoff", {"by": name, "number": number, "text": "x" * random.randint(0, 3000)})  # noqa: S311


def test_forked_workers_and_other_processes_never_interleave(file, tmp_path):
    def other():
        add(ChainFile(file.path, create=False), 60, "other process")

    workers = [forked.Process(target=add, args=(file, 60, name)) for name in ("worker 1", "worker 2")]
    workers.append(forked.Process(target=other))
    for worker in workers:
        worker.start()
    add(file, 60, "main")
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    entries = read(file.path)
    assert len(entries) == 240
    for name in ("main", "worker 1", "worker 2", "other process"):
        assert [entry["data"]["number"] for entry in entries if entry["data"]["by"] == name] == list(range(60))


def test_a_worker_follows_a_file_that_was_renamed(file):
    file.append("run", {})
    lasting = file.path.replace("r1", "lasting")
    os.rename(file.path, lasting)
    worker = forked.Process(target=add, args=(file, 1, "worker"))
    worker.start()
    worker.join()
    file.append("outcome", {})
    assert [entry["event"] for entry in read(lasting)] == ["run", "signoff", "outcome"]


def test_one_process_keeps_a_file_until_it_ends(file):
    def keeps(answer):
        answer.put(ChainFile(file.path, create=False).keep())

    def asked():
        answer = forked.SimpleQueue()
        process = forked.Process(target=keeps, args=(answer,))
        process.start()
        process.join()
        return answer.get()

    assert file.keep()
    assert asked() is False
    add(file, 1, "main")
    assert asked() is False, "adding an entry does not give the file up"
    other = ChainFile(file.path.replace("r1", "r2"))

    def hold():
        held = ChainFile(other.path, create=False)
        # Whoever looks below has it for a moment.
        while not held.keep():
            time.sleep(0.001)
        time.sleep(60)

    worker = forked.Process(target=hold)
    worker.start()
    while other.keep():
        other.close()  # releases it as well
        other = ChainFile(other.path, create=False)
        time.sleep(0.01)
    worker.kill()
    worker.join()
    assert other.keep(), "the end of the process gives it up, however it ended"


# Writers that are killed, and disks that are full


def write_on(path):
    file = ChainFile(path)
    while True:
        add(file, 1, "killed")


def test_a_writer_killed_at_any_moment_leaves_a_valid_prefix(tmp_path):
    lengths = set()
    for number in range(100):
        path = str(tmp_path / f"{number}.jsonl")
        process = forked.Process(target=write_on, args=(path,))
        process.start()
        time.sleep(random.uniform(0.003, 0.04))  # noqa: S311
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if not os.path.exists(path):
            continue
        with open(path, "rb") as handle:
            content = handle.read()
        found = wrong(content)
        assert found in ([], [(len(lines_of(content)), "was not written to its end")])
        file = ChainFile(path, create=False)
        assert file.keep(), "it was given up"
        file.append("outcome", {"outcome": "killed"})
        file.close()
        entries = read(path)
        assert entries[-1]["event"] == "outcome"
        lengths.add(len(entries))
    assert len(lengths) > 5, "they were killed at different moments"


def test_an_end_that_was_not_written_to_its_end_is_moved_aside(tmp_path):
    path = tmp_path / "r1.jsonl"
    *whole, last = lines_of(RECORD)
    for length in range(1, len(last)):
        path.write_bytes(b"".join(whole) + last[:length])
        file = ChainFile(str(path), create=False)
        file.append("outcome", {"outcome": "killed"})
        file.close()
        *_before, resumed, outcome = read(str(path))
        assert (resumed["event"], outcome["event"]) == ("resumed", "outcome")
        assert resumed["data"] == {"partial": last[:length].decode(errors="backslashreplace"), "bytes": length}


def test_first_line_that_was_not_written_to_its_end(tmp_path):
    path = tmp_path / "r1.jsonl"
    path.write_bytes(RECORD[:20])
    file = ChainFile(str(path), create=False)
    file.append("outcome", {})
    file.close()
    assert [entry["event"] for entry in read(str(path))] == ["resumed", "outcome"]


def test_long_entries_are_followed(file):
    for _number in range(3):
        file.append("phase", {"text": "x" * 200_000})
    assert len(read(file.path)) == 3


def test_nothing_is_added_to_what_was_changed(tmp_path):
    path = tmp_path / "r1.jsonl"
    changed = RECORD.replace(b"success", b"failure")
    path.write_bytes(changed)
    with pytest.raises(ChainError, match="does not end in an entry that was written here"):
        ChainFile(str(path), create=False).append("outcome", {})
    assert path.read_bytes() == changed


def test_an_entry_that_the_disk_does_not_take_leaves_nothing(tmp_path):
    path = str(tmp_path / "r1.jsonl")

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        file = ChainFile(path)
        file.append("run", {"text": "x" * 300})
        try:
            file.append("phase", {"text": "x" * 1000})
        except OSError:
            file.append("phase", {"text": "short"})
            os._exit(0)
        os._exit(1)

    process = forked.Process(target=fill)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [entry["event"] for entry in read(path)] == ["run", "phase"]
