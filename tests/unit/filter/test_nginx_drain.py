"""Servers leave the upstreams of nginx and come back, and nothing else in the file changes."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.laravel.plugins.filter.nginx_drain import nginx_drain
from ansible_collections.slipway.laravel.plugins.filter.nginx_drain_unknown import nginx_drain_unknown

FILE = """
# server 10.0.0.11:80;
upstream shop {
    zone shop 64k;
    server 10.0.0.11:80 weight=1 max_fails=3;
    server 10.0.0.1:80 weight=1;
    server 10.0.0.12:80 weight=2 down;
    keepalive 32;
}
upstream reverb {
    server 10.0.0.11:8080;
}
"""
DRAINED = FILE.replace("max_fails=3;", "max_fails=3 down; # drained by a release")


def test_a_server_leaves_and_comes_back():
    assert nginx_drain(FILE, ["10.0.0.11"], True) == DRAINED
    assert nginx_drain(DRAINED, ["10.0.0.11"], False) == FILE


def test_both_ways_are_idempotent():
    assert nginx_drain(DRAINED, ["10.0.0.11"], True) == DRAINED
    assert nginx_drain(FILE, ["10.0.0.11"], False) == FILE


def test_the_last_server_of_an_upstream_stays():
    assert nginx_drain(FILE, ["10.0.0.11", "10.0.0.1"], True) == FILE
    assert "8080;\n" in nginx_drain(FILE, ["10.0.0.11"], True)


def test_what_somebody_else_marked_stays_marked():
    assert nginx_drain(FILE, ["10.0.0.12"], False) == FILE


@pytest.mark.parametrize("name", ["10.0.0.11:80", "10.0.0.11"])
def test_a_server_may_be_named_with_its_port(name):
    assert nginx_drain(FILE, [name], True) == DRAINED


def test_other_servers_are_not_touched():
    assert nginx_drain(FILE, ["10.0.0.2", "app1.example.com"], True) == FILE
    assert nginx_drain("", ["10.0.0.2"], True) == ""


@pytest.mark.parametrize("address", ["[fd00::1]:80", "unix:/run/app.sock", "app1.example.com"])
def test_other_kinds_of_addresses(address):
    text = f"upstream shop {{\n    server {address};\n    server b;\n}}\n"
    name = address.removesuffix(":80")
    assert f"server {address} down;" in nginx_drain(text, [name], True)


def test_braces_in_comments_end_nothing():
    text = FILE.replace("zone shop 64k;", "# was {a} or b}\n    zone shop 64k; # }")
    assert nginx_drain(text, ["10.0.0.11"], True) == text.replace(
        "max_fails=3;", "max_fails=3 down; # drained by a release"
    )
    commented = "# upstream old {\nserver 10.0.0.11:80;\n"
    assert nginx_drain(commented, ["10.0.0.11"], True) == commented


@pytest.mark.parametrize("inside", [" server a; server b; ", "\n server a; server b;\n", "\n server b;\n server a; "])
def test_a_server_that_shares_its_line_is_left_alone(inside):
    text = f"upstream shop {{{inside}}}\n"
    assert nginx_drain(text, ["a"], True) == text, "the mark would make a comment of the rest of the line"


def test_servers_that_no_upstream_has():
    texts = ["", FILE, "upstream b {\n    server app1.example.com;\n}\nserver {\n    server lost;\n}\n"]
    assert nginx_drain_unknown(texts, ["10.0.0.11", "10.0.0.1:80", "app1.example.com"]) == []
    assert nginx_drain_unknown(texts, ["10.0.0.2", "10.0.0.11:81", "lost", "10.0.0.11"]) == [
        *("10.0.0.2", "10.0.0.11:81", "lost")
    ]
    assert nginx_drain_unknown([], ["10.0.0.11"]) == ["10.0.0.11"]
