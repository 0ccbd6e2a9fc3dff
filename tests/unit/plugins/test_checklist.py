"""Checklists: what is read from them, how they extend each other, and which faults are found where."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.laravel.plugins.plugin_utils.checklist import (
    READY,
    STAGES,
    ChecklistError,
    digest,
    load,
    located,
    ready,
    seconds,
    text_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHORT = """\
name: short
version: "1"
languages: [en, ar]
stages:
  pre_deploy:
    - id: tests
      text: {en: Tests pass, ar: الاختبارات ناجحة}
      who: qa
  post_deploy:
    - id: watch
      text: Watch it
      earliest: 30m
      deadline: 2h
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="list.yml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def ids(checklist):
    return {stage: [item["id"] for item in items] for stage, items in checklist["stages"].items() if items}


def test_defaults_are_filled_in(write):
    checklist = load(write(SHORT))
    tests, watch = checklist["stages"]["pre_deploy"][0], checklist["stages"]["post_deploy"][0]
    assert (tests["who"], tests["required"]) == (["qa"], True)
    assert (watch["who"], watch["deadline"], "check" in watch) == (["anyone"], "2h", False)
    assert (text_of(tests), text_of(tests, "ar"), text_of(watch, "ar")) == (
        "Tests pass",
        "الاختبارات ناجحة",
        "Watch it",
    )


@pytest.mark.parametrize("name", ready())
def test_ready_checklists_are_well(name):
    assert sum(len(items) for items in load(located(name, "/"))["stages"].values()) >= 8


def test_checklist_of_arabic_team_has_both_languages_everywhere():
    checklist = load(located("ispeaker-live", "/"))
    items = [item for stage in STAGES for item in checklist["stages"][stage]]
    assert len(items) == 17
    assert all(set(item["text"]) == {"en", "ar"} for item in items)
    assert all(max(text_of(item, "ar")) >= "\u0600" for item in items)


def test_name_that_is_not_there_tells_the_others():
    with pytest.raises(ChecklistError, match="there is no checklist nope in the collection, which has default, "):
        located("nope", "/")


# Each fault, with the line in which it is found.
FAULTS = [
    ("name: short", "nam: short", ":1: nam is not known; a checklist has name"),
    ('version: "1"', "version: 1.0", ':2: version is text; quote it: "1.0"'),
    ('version: "1"', "version: ''", ":2: version is text"),
    ("languages: [en, ar]", "languages: en", ":3: languages is a list such as [en, ar]"),
    ("  pre_deploy:", "  predeploy:", ":5: predeploy is no stage; there are pre_deploy, during, post_deploy"),
    ("id: tests", "id: Tests!", ":6: item Tests!: id is made of small letters"),
    ("    - id: tests\n      text", "    - text", ":6: item 1 of pre_deploy: id is missing"),
    (", ar: الاختبارات ناجحة}", "}", ":6: item tests: text has no ar"),
    ("ناجحة}", "ناجحة, fr: Oui}", ":6: item tests: text has fr, which languages has not"),
    ("text: Watch it", "text: 5", ":11: item watch: text is text, or a text for each language"),
    ("text: Watch it", "txt: Watch it", ":11: item watch: txt is not known; an item has id, text"),
    ("who: qa", "who: [anyone, qa]", ":8: item tests: who is anyone alone"),
    ("who: qa", "who: QA people", ":8: item tests: who is anyone, deployer, not_deployer, a role"),
    ("who: qa", "required: maybe", ":8: item tests: required is true or false"),
    ("who: qa", "deadline: 5m", ":6: item tests: deadline is for the stage post_deploy"),
    ("who: qa", "at: after_verify", ":6: item tests: at is for the stage during"),
    ("who: qa", "hosts: web", ":6: item tests: hosts is for items with a check"),
    ("who: qa", "check: [health]", ":8: item tests: check is the name of a check"),
    ("deadline: 2h", "deadline: 2 hours", ":13: item watch: deadline is a time after the switch such as"),
    ("deadline: 2h", "deadline: 20m", ":10: item watch: earliest (30m) is not before the deadline (20m)"),
    ("id: watch", "id: tests", ":10: item tests: there is one of that id in"),
    ("who: qa", "who: qa\n      who: dev", ":9: who is there twice"),
    ("who: qa", "who: [qa", ":9: not valid YAML"),
    ("who: qa", "who: 2026-99-99", ":8: month must be in 1..12"),
    ("who: qa", "who: &who [*who]", ":8: too deep"),
    ("    - id: watch", "    - watch\n    - id: watch", ":10: item 1 of post_deploy: an item is a mapping"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[message for *_words, message in FAULTS])
def test_fault_is_told_with_file_line_and_item(write, old, new, message):
    assert old in SHORT
    path = write(SHORT.replace(old, new, 1))
    with pytest.raises(ChecklistError) as error:
        load(path)
    assert path + message in str(error.value)


def test_all_faults_are_told_at_once(write):
    path = write(SHORT.replace("who: qa", "who: 5").replace("deadline: 2h", "deadline: x").replace("name", "nome"))
    with pytest.raises(ChecklistError) as error:
        load(path)
    assert [line.removeprefix(path + ":").split(":")[0] for line in str(error.value).splitlines()] == [
        "1",
        "1",
        "8",
        "13",
    ]


def test_team_extends_a_list_without_copying_it(write):
    write(SHORT, "base.yml")
    checklist = load(
        write(
            """\
name: ours
version: "7"
extends: base.yml
override:
  tests: {required: false, who: [qa, not_deployer]}
remove: [watch]
stages:
  pre_deploy:
    - {id: more, text: {en: More, ar: المزيد}}
  during:
    - {id: go, text: Go}
"""
        )
    )
    assert (checklist["name"], checklist["version"], checklist["languages"]) == ("ours", "7", ["en", "ar"])
    assert ids(checklist) == {"pre_deploy": ["tests", "more"], "during": ["go"]}
    tests = checklist["stages"]["pre_deploy"][0]
    assert (tests["required"], tests["who"], text_of(tests)) == (False, ["qa", "not_deployer"], "Tests pass")
    assert checklist["stages"]["during"][0]["at"] == "before_switch"


def test_ready_list_is_extended_by_name_and_a_check_is_taken_away(write):
    extended = 'name: ours\nversion: "1"\nextends: ispeaker-live\noverride: {release-notes: {check: null, who: docs}}\n'
    notes = next(item for item in load(write(extended))["stages"]["pre_deploy"] if item["id"] == "release-notes")
    assert (notes["who"], "check" in notes) == (["docs"], False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("remove: [nope]", ":4: item nope: there is no such item to remove"),
        ("override: {nope: {required: false}}", ":4: item nope: there is no such item to override"),
        ("override:\n  tests: {id: other}", ":5: item tests: override has the parts of the item that are different"),
        ("override:\n  tests:\n    deadline: 1h", ":5: item tests: deadline is for the stage post_deploy"),
        ("override:\n  tests:\n    who: 7", ":6: item tests: who is anyone"),
        ("stages: {during: [{id: tests, text: x}]}", ":4: item tests: there is one of that id in"),
    ],
)
def test_fault_in_what_extends(write, change, message):
    write(SHORT, "base.yml")
    path = write(f'name: ours\nversion: "1"\nextends: base.yml\n{change}\n')
    with pytest.raises(ChecklistError) as error:
        load(path)
    assert path + message in str(error.value)


def test_list_that_extends_itself(write):
    path = write('name: a\nversion: "1"\nextends: list.yml\n')
    with pytest.raises(ChecklistError, match="extends itself"):
        load(path)


def test_digest_is_of_what_is_asked_for_and_not_of_how_it_is_written(write):
    before = digest(load(write(SHORT)))
    assert digest(load(write("# A note\n" + SHORT.replace("who: qa", "who: [qa]")))) == before
    assert digest(load(write(SHORT.replace("Tests pass", "Tests pass.")))) != before
    assert digest(load(write(SHORT.replace("who: qa", "required: true")))) != before


NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
TEXTS = st.text(PRINTABLE, min_size=1, max_size=20).filter(lambda text: text.strip())
DURATIONS = st.builds(lambda number, unit: f"{number}{unit}", st.integers(0, 9999), st.sampled_from("smhd"))
ITEMS = st.fixed_dictionaries(
    {"text": TEXTS},
    optional={
        "who": st.sampled_from(["anyone", "deployer", "not_deployer", "qa", ["qa", "dev"]]),
        "required": st.booleans(),
        "check": st.sampled_from(["health", {"name": "health", "url": "x"}]),
        "section": TEXTS,
    },
)
STAGED = st.dictionaries(NAMES, st.tuples(st.sampled_from(STAGES), ITEMS, DURATIONS), min_size=1, max_size=6)
ALIKE = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def staged(found):
    stages = {stage: [] for stage in STAGES}
    for name, (stage, item, deadline) in found.items():
        stages[stage].append({"id": name, **item, **({"deadline": deadline} if stage == "post_deploy" else {})})
    return {"name": "made", "version": "1", "stages": stages}


@ALIKE
@given(found=STAGED)
def test_every_sound_list_is_read_and_keeps_its_items(write, found):
    source = staged(found)
    checklist = load(write(yaml.safe_dump(source, allow_unicode=True)))
    assert {stage: [item["id"] for item in items] for stage, items in checklist["stages"].items()} == {
        stage: [item["id"] for item in items] for stage, items in source["stages"].items()
    }
    for stage, items in source["stages"].items():
        for given_item, item in zip(items, checklist["stages"][stage], strict=True):
            assert item["required"] == given_item.get("required", True)
            assert seconds(item.get("deadline", "0s")) >= 0
    assert digest(checklist) == digest(load(write(yaml.safe_dump(source, sort_keys=False))))


@ALIKE
@given(found=STAGED, key=NAMES)
def test_what_is_not_known_is_never_passed_over(write, found, key):
    source = staged(found)
    name, (stage, *_rest) = next(iter(found.items()))
    next(item for item in source["stages"][stage] if item["id"] == name)[f"x_{key}"] = 1
    path = write(yaml.safe_dump(source, allow_unicode=True))
    with pytest.raises(ChecklistError) as error:
        load(path)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    number = next(number for number, line in enumerate(lines, 1) if f"x_{key}: 1" in line)
    assert str(error.value).startswith(f"{path}:{number}: item {name}: x_{key} is not known")


@ALIKE
@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_line(write, text):
    path = write(text)
    try:
        load(path)
    except ChecklistError as exc:
        assert str(exc).startswith(f"{path}:")


def test_ready_lists_are_where_the_collection_has_them():
    assert located("default", "/nowhere") == f"{READY}/default.yml"
    assert located("./own.yml", "/play") == "/play/own.yml"


def test_path_is_relative_to_the_first_place_that_has_it(tmp_path):
    for name in ("inventory", "here"):
        (tmp_path / name).mkdir()
    places = [str(tmp_path / name) for name in ("inventory", "here")]
    assert located("own.yml", *places) == f"{tmp_path}/inventory/own.yml"
    (tmp_path / "here/own.yml").touch()
    assert located("own.yml", *places) == f"{tmp_path}/here/own.yml"
