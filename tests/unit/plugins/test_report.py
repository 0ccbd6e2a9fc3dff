"""What records tell, in Markdown, as data and as pages: also of records that nobody of good will wrote."""

from __future__ import annotations

import html.parser
import json
import os
import re
from datetime import UTC, datetime

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.chain import FIRST, make_entry, read
from ansible_collections.slipway.laravel.plugins.plugin_utils.report import markdown, report, summary_of
from ansible_collections.slipway.laravel.plugins.plugin_utils.report_html import (
    brief,
    index,
    is_stale,
    page,
    write_pages,
    write_report,
    write_reports,
)
from ansible_collections.slipway.laravel.plugins.plugin_utils.verification import verify_directory, verify_file
from records import ARABIC, HOSTILE, Told, full_release, make_record, release

BEFORE = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
AFTER = datetime(2026, 11, 22, tzinfo=UTC)


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: elements, and the texts of those that have a class or a name."""

    EMPTY = ("meta", "link", "br")

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], {}, []
        self.feed(content)
        assert self.open == [], "every element is closed, by itself"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.EMPTY and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.get_starttag_text().endswith("/>") or tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag] = self.texts.get(tag, "") + data

    def values(self, tag, name):
        return [value for of, key, value in self.attributes if (of, key) == (tag, name)]


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "records/production"


def test_report_tells_all_of_a_release(directory):
    told = report(read(full_release(directory)), BEFORE)
    assert (told["outcome"], told["version"], told["by"]) == ("success", "v1.4.0", "ann")
    assert told["commits"][1] == f"77ab01c {ARABIC}"
    assert told["migrations"] == [{"host": "web1", "migration": "2026_02_02_000001_add_title_to_rooms"}]
    assert told["sql"]["2026_02_02_000001_add_title_to_rooms"][0].startswith("alter table")
    assert told["snapshots"][0]["id"] == "20261121T133105Z-before-1a2b3c4d"
    assert told["live"] == dict.fromkeys(["web1", "web2", "worker1"], "20261121T133012Z-1a2b3c4d")
    assert told["failures"][0]["message"] == f"cannot post: {ARABIC}"
    assert told["ended"] < "2026-11-21T13:35", "what was signed off later is no part of the run"
    json.dumps(told)


def test_items_are_told_in_the_order_of_the_checklist_with_the_last_word_on_each(directory):
    told = report(read(full_release(directory)), BEFORE)
    items = {item["item"]: item for item in told["signoffs"]}
    assert list(items)[:3] == ["tests", "bugs", "release-notes"]
    assert (items["banner"]["status"], items["banner"]["reason"]) == ("waived", "no downtime is expected")
    assert [(before["status"], before["by"]) for before in items["banner"]["before"]] == [("failed", "ann")]
    assert items["mobile"]["status"] == "not asked"
    assert list(items["tests"]["text"]) == ["en", "ar"], "as the checklist has them"
    assert items["tests"]["evidence"] == {"ci": "https://ci.example.com/run/17", "passed": 412}
    post = [item["status"] for item in told["signoffs"] if item["stage"] == "post_deploy"]
    assert post == ["signed", "open", "open", "open", "open"]


def test_what_is_open_becomes_overdue(directory):
    entries = read(full_release(directory))
    assert [report(entries, at)["overdue"] for at in (BEFORE, AFTER)] == [0, 4]
    assert report(entries, AFTER)["open"] == 6
    outcome = {**entries[-3], "data": {**entries[-3]["data"], "outcome": "reverted"}}
    assert entries[-3]["event"] == "outcome"
    assert report([*entries[:-3], outcome], AFTER)["open"] == 0, "what is not live owes nothing"


def test_phases_of_one_module_run_follow_each_other(directory):
    told = Told(directory, "r1", hosts=["web1"])
    told.add("phase", {"phase": "switch", "host": "web1", "seconds": 2}, 10)
    told.add("phase", {"phase": "restart", "host": "web1", "seconds": 3}, 0)
    entries = told.file.entries
    first, second = report(entries, AFTER)["phases"]
    assert (first["began"][17:21], first["ended"], second["began"][17:21]) == ("05.1", second["began"], "07.1")


def test_resumed_run_has_a_timeline_of_its_own(directory):
    told = Told(directory, "r1", hosts=["web1"])
    told.phase("preflight", 2)
    told.add("resumed", {"by": "bob@host"}, 90000)
    told.add("run", {"hosts": ["web1"]})
    told.phase("switch", 2)
    told.end()
    content = page(told.file.entries, AFTER, "r1.jsonl")
    assert content.count("<figure>") == 2
    assert "Resumed from" in content
    assert "1 host, 3.1 s" in content


def test_hosts_that_were_left_out_are_told(directory):
    told = Told(directory, "r1", hosts=["web1"], left_out=["web2", HOSTILE])
    told.end()
    entries = told.file.entries
    assert report(entries, AFTER)["left_out"] == ["web2", HOSTILE]
    (line,) = [line for line in markdown(entries).splitlines() if "Left out by --limit" in line]
    assert line.startswith("| Left out by --limit | web2, ")
    content = page(entries, AFTER, "r1.jsonl")
    assert "<dt>Left out by --limit</dt><dd>" in content
    assert HOSTILE not in content


def test_markdown_of_the_same_record_is_the_same_and_has_the_sign_offs(directory):
    entries = read(full_release(directory, text=HOSTILE))
    lines = markdown(entries).splitlines()
    assert "## Sign-offs: ispeaker-live 1.0" in lines
    row = next(line for line in lines if line.startswith("| All TC-*"))
    assert "| signed | bob | approval | 2026-11-21T13:30:32Z | " in row
    assert "جميع حالات" in row
    assert markdown(entries) == "\n".join(lines) + "\n"
    assert "<script" not in markdown(entries)
    widths = {line.replace("\\|", "").count("|") for line in lines if line.startswith("| ") and "TC-" in line}
    assert widths == {7}


def test_page_has_headings_captions_headers_and_a_text_for_the_picture(directory):
    content = page(read(full_release(directory)), AFTER, "r.jsonl")
    seen = Page(content)
    assert seen.tags.count("h1") == 1
    headings = re.findall("<h2>(.*?)</h2>", content)
    wanted = ["Verification", "Failures", "Timeline", "Checklist", "Migrations", "Commits since the last release"]
    assert headings == [*wanted, "Live afterwards", "Phases", "Sign-off"]
    assert seen.tags.count("caption") == seen.tags.count("table") == 5
    assert set(seen.values("th", "scope")) == {"col", "row"}
    assert seen.values("svg", "aria-label")[0].startswith("Phases of 3 hosts, 1 min 43 s")
    assert seen.values("html", "lang") == ["en"]
    assert {"en", "ar"} == set(seen.values("div", "lang"))
    assert content.count('<div dir="auto" lang="ar">') > 10
    assert "4 of them overdue" in content


def test_hostile_record_stays_text(directory):
    path = full_release(directory, text=HOSTILE, version=HOSTILE, user=HOSTILE, inventory=HOSTILE, hosts=[HOSTILE, "b"])
    content = page(read(path), AFTER, HOSTILE)
    seen = Page(content)
    assert not {"script", "img", "iframe", "object", "form", "base"} & set(seen.tags)
    assert not [key for _tag, key, _value in seen.attributes if key.startswith("on")]
    assert [value for _tag, key, value in seen.attributes if key in ("href", "src")] == ["data:,", "./index.html"]
    assert "<script>alert(1)</script>" in seen.texts["bdi"]
    assert not set("\u202e\x00") & set(content), "what turns the direction or is no character shows as such"
    assert "default-src 'none'" in content
    assert "url(" not in content
    assert "@import" not in content


def chained(events):
    entries, previous = [], FIRST
    for number, (event, data) in enumerate(events, 1):
        entries.append(make_entry(number, previous, event, data, "2026-11-21T13:30:00.000000Z"))
        previous = entries[-1]["hash"]
    return entries


ODD = [None, [], {}, "text", -1, 1e300, True, [None], {"a": None}, [[]], {"stages": 1}, {"stages": {"during": [3]}}]
KEYS = {
    "run": ["hosts", "left_out", "version", "user", "later"],
    "phase": [
        "phase",
        "host",
        "seconds",
        "error",
        "migrations",
        "sql",
        "commits",
        "steps",
        "workers",
        "finishing",
        "size",
        "id",
    ],
    "checklist": ["content", "checklist", "deployed_by"],
    "signoff": ["item", "text", "section", "status", "until", "at", "evidence", "required", "stage", "key"],
    "failure": ["host", "message"],
    "outcome": ["outcome", "release", "seconds", "live"],
    "gap": ["entries"],
}


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_data_of_any_shape_can_be_told(odd):
    usual = {"phase": "build", "host": "web1", "seconds": 1, "commit": "c", "sha256": "5", "item": "a"}
    events = [(event, {**usual, key: odd}) for event, keys in KEYS.items() for key in keys]
    events += [(event, odd) for event in KEYS] + [("checklist", {"content": {"stages": {"during": odd}}})]
    entries = chained(events)
    entries += [{"seq": 99, "hash": "5"}, {**entries[0], "time": odd, "event": odd}]
    for part in (entries, entries[::-1], entries[:1], []):
        Page(page(part, AFTER, "r.jsonl"))
        markdown(part)
        json.dumps(report(part, AFTER))
        Page(index({"r.jsonl": part}, "production", AFTER))


def test_one_odd_file_does_not_keep_the_index_from_the_others(directory):
    full_release(directory)
    deep = b"[" * 800 + b"]" * 800
    line = b'{"data":{"item":%s},"event":"signoff","hash":"5","prev":"5","seq":1,"time":"t"}\n' % deep
    for name in (b"deep.jsonl", b"\xff.jsonl"):
        with open(os.path.join(os.fsencode(directory), name), "wb") as handle:
            handle.write(line * 2)
    write_pages(str(directory), AFTER)
    links = Page((directory / "index.html").read_text()).values("a", "href")
    assert sorted(links) == ["./%FF.html", "./20261121T133012Z-1a2b3c4d.html", "./deep.html"]


@pytest.mark.parametrize(
    "outcome, ticked",
    [
        ("success", "Success"),
        ("rolled back", "Rolled Back"),
        ("reverted", "Rolled Back"),
        ("partial", "Partial"),
        ("aborted", "Aborted"),
        ("killed", "Killed"),
        ("", "Unfinished"),
    ],
)
def test_form_says_how_it_ended(directory, outcome, ticked):
    told = make_record(directory, "r1", outcome)
    content = page(told.entries, AFTER, "r1.jsonl")
    assert re.findall(r"☒</span> ([^<]*)<", content) == [ticked]
    assert f"{'Rollback' if outcome == 'rolled back' else 'Release v2'}: {outcome or 'unfinished'}" in content


def test_form_has_who_deployed_and_who_verified(directory):
    told = Told(directory, "r1")
    told.checklist("invoice-discounting")
    told.end()
    told.sign("deployed-by", "ann")
    told.sign("verified-by", "bob", after=60)
    form = Page(page(told.file.entries, AFTER, "r1.jsonl")).texts["dd"]
    assert re.sub(r"\s+", " ", form).endswith("ann2026-11-2113:30:04 UTC bob2026-11-2113:31:04 UTC ")


def test_worker_that_still_had_a_job_of_another_release_is_told():
    workers = [{"command": "queue:work", "pid": pid, "release": f"r{pid}"} for pid in (1, 2)]
    told = summary_of({"phase": "verify", "workers": workers, "finishing": workers[:1]})
    assert told == "queue:work 1 (with a job of r1), queue:work 2"
    assert summary_of({"phase": "load", "by": "PHP-FPM"}) == "loaded by PHP-FPM"
    assert summary_of({"phase": "load"}) == ""


def test_a_bar_of_a_phase_without_a_colour_of_its_own_is_explained(directory):
    told = Told(directory, "r1", hosts=["web1"])
    told.phase("preflight", 2)
    assert "</svg> other</li>" not in page(told.file.entries, AFTER, "r1.jsonl")
    told.phase("load", 2)
    assert "</svg> other</li>" in page(told.file.entries, AFTER, "r1.jsonl")


def test_300_hosts(directory):
    told = Told(directory, "r1", hosts=[f"web{number}" for number in range(300)])
    for phase in ("preflight", "switch", "verify"):
        told.phase(phase, 2)
    content = page(told.file.entries, AFTER, "r1.jsonl")
    assert content.count('<tr role="row"><th role="rowheader"') == 900
    (height,) = re.findall(r'class="timeline".*?height="(\d+)"', content)
    assert int(height) < 1000
    assert "<summary>300 hosts</summary>" in content


def test_index_has_all_records_the_newest_first(directory):
    full_release(directory)
    full_release(directory, "r0", began="2026-11-01T10:00:00Z", version="v1.3.0", text=HOSTILE)
    release(directory, "javascript:alert(1)", outcome="reverted")
    write_pages(str(directory), AFTER)
    content = (directory / "index.html").read_text()
    links = Page(content).values("a", "href")
    assert sorted(links) == ["./20261121T133012Z-1a2b3c4d.html", "./javascript%3Aalert%281%29.html", "./r0.html"]
    assert links.index("./r0.html") > links.index("./20261121T133012Z-1a2b3c4d.html")
    assert "3 records; 12 required sign-offs open, 8 of them overdue, as of" in content
    assert content.count("not verified") == 3
    assert (directory / "r0.html").exists()


def test_index_needs_no_phases(directory):
    path = full_release(directory)
    with open(path, "rb") as handle:
        entries = brief(handle.read())
    assert {entry["event"] for entry in entries} == {"run", "checklist", "signoff", "outcome"}
    whole, short = report(read(path), AFTER), report(entries, AFTER)
    for key in ("outcome", "version", "by", "hosts", "began", "open", "overdue", "signoffs"):
        assert short[key] == whole[key]
    assert brief(b"nonsense\n[]\n") == brief(b"") == []


def test_page_is_made_anew_only_when_its_record_changed(directory):
    path = full_release(directory)
    write_pages(str(directory), AFTER)
    assert not is_stale(path)
    made = (directory / "20261121T133012Z-1a2b3c4d.html").stat().st_mtime_ns
    write_pages(str(directory), AFTER)
    assert (directory / "20261121T133012Z-1a2b3c4d.html").stat().st_mtime_ns == made
    with open(path, "ab") as handle:
        handle.write(b"one more\n")
    assert is_stale(path)


def test_reports_say_what_was_verified_and_when(directory):
    full_release(directory)
    release(directory, "r1")
    found = verify_directory(str(directory), "", signed=False)
    assert write_reports(str(directory), AFTER, found) == str(directory / "index.html")
    content = (directory / "r1.html").read_text()
    assert "<strong>As it was written</strong>, not signed, as of <time" in content
    assert "<span>2026-11-22</span> <span>00:00:00 UTC</span>" in content
    assert (directory / "index.html").read_text().count('"mark good">as it was written') == 2
    told = json.loads((directory / "r1.json").read_text())
    assert (told["record"], told["outcome"], told["verification"]["faults"]) == ("r1.jsonl", "success", [])

    path = directory / "r1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"phase1"', b'"phase9"'))
    write_reports(str(directory), AFTER, verify_directory(str(directory), "", signed=False))
    content = (directory / "r1.html").read_text()
    assert "<strong>Not as it was written</strong>" in content
    assert "r1.jsonl line 3 was changed: its hash does not fit" in content
    assert "Not as it was written" not in (directory / "20261121T133012Z-1a2b3c4d.html").read_text()
    assert (directory / "index.html").read_text().count('"mark bad">not as it was written') == 1


def test_report_of_a_record_that_was_sent(directory):
    path = full_release(directory)
    target = write_report(path, AFTER, verify_file(path, "", signed=False))
    assert target.endswith("/20261121T133012Z-1a2b3c4d.html")
    assert not (directory / "index.html").exists()
    assert "index.html" not in (directory / "20261121T133012Z-1a2b3c4d.html").read_text()
