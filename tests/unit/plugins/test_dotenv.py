from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.dotenv import FilterModule, dotenv
from ansible_collections.slipway.laravel.plugins.module_utils._dotenv import compiled, merge, parse_dotenv


@pytest.mark.parametrize(
    "value, line",
    [
        (None, "A=null"),
        (True, "A=true"),
        (False, "A=false"),
        (8080, "A=8080"),
        (0.5, "A=0.5"),
        ("", "A="),
        ("plain-1.0/x@y", "A=plain-1.0/x@y"),
        ("base64:aGk=", "A=base64:aGk="),
        ("The shop", 'A="The shop"'),
        ("#1", 'A="#1"'),
        ('say "hi"', r'A="say \"hi\""'),
        ("${HOME}", r'A="\${HOME}"'),
        ("two\nlines", r'A="two\nlines"'),
    ],
)
def test_line(value, line):
    assert dotenv({"A": value}) == line + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " leading and trailing ",
        "a#b # c",
        "\"quoted\" 'twice'",
        "back\\slash \\n \\",
        "dollar $HOME ${B} $",
        "line\nfeed\r\ttab",
        "=equals=",
        "\u00fcml\u00e4ut \u2603",
        "p%41ss`w0rd!;|&<>*?",
    ],
)
def test_every_text_is_read_back_as_it_was(text):
    assert parse_dotenv(dotenv({"B": "b", "A": text, "C": "c"})) == {"B": "b", "A": text, "C": "c"}


def test_order_is_kept():
    assert dotenv({"B": 1, "A": 2}) == "B=1\nA=2\n"
    assert dotenv({}) == ""


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A-B", "A\n", 5])
def test_name_that_is_none(name):
    with pytest.raises(AnsibleFilterError, match="is no name of an environment variable"):
        dotenv({name: "x"})


@pytest.mark.parametrize("value, kind", [(["x"], "list"), ({"x": 1}, "dict")])
def test_value_that_is_no_text(value, kind):
    with pytest.raises(AnsibleFilterError, match=f"dotenv: A must be text, a number or a boolean, not {kind}"):
        dotenv({"A": value})


@pytest.mark.parametrize("values", [["A=1"], "A=1", None])
def test_input_that_is_no_mapping(values):
    with pytest.raises(AnsibleFilterError, match="dotenv: a mapping is needed, not"):
        dotenv(values)


def test_byte_order_mark_is_no_part_of_the_first_name():
    assert parse_dotenv("\ufeffA=1\nB=2\n") == {"A": "1", "B": "2"}
    assert merge("\ufeffA=1\n", {"A": 2}) == "\ufeffA=2\n"


def test_front_end_gets_no_word_for_nothing():
    words = {"ASSET_URL": "null", "VITE_A": "(NULL)", "MIX_B": "Empty", "VITE_C": "(empty)"}
    refers = {"HOST": "null", "VITE_HOST": "${HOST}", "VITE_URL": "https://${HOST}"}
    others = {"VITE_D": "false", "VITE_E": "nulls"}
    expected = {**dict.fromkeys(words, ""), "VITE_HOST": "", "VITE_URL": "https://null", **others}
    assert compiled({**words, **refers, **others}) == expected


def test_name_of_the_filter():
    assert FilterModule().filters() == {"dotenv": dotenv}
