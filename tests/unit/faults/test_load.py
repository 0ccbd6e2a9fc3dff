"""How the matrix of faults judges the answers that it got."""

from __future__ import annotations

import load
import pytest


def answers(*told, host="app1"):
    """Answers one after another, each a release, or a release with its begin and end."""
    found = []
    for number, one in enumerate(told):
        release, began, ended = one if isinstance(one, tuple) else (one, number, number + 0.5)
        found.append(load.Answer(host, "/release", began, ended, 200, served=release, ran=release, told=release))
    return found


@pytest.mark.parametrize(
    ("told", "order", "problems"),
    [
        (["a", "a", "b"], ["a", "b"], 0),
        (["a", "b", "a"], ["a", "b"], 1),
        (["a", "b", "a"], ["a", "b", "a"], 0),
        (["a", "b", "a", "b"], ["a", "b", "a"], 1),
        (["a", "c"], ["a", "b", "c"], 0),
        (["a", "x"], ["a", "b"], 1),
        # Under way at the same time: either may be answered first.
        ([("a", 0, 1), ("b", 2, 3), ("a", 2.5, 4)], ["a", "b"], 0),
        ([("a", 0, 1), ("b", 2, 3), ("a", 3.1, 4)], ["a", "b"], 1),
    ],
)
def test_order_of_a_host(told, order, problems):
    assert len(load.out_of_order(answers(*told), order)) == problems


def test_hosts_are_judged_apart():
    both = [*answers("a", "b"), *answers("a", "a", host="app2")]
    assert load.problems(both, ["a", "b"]) == ([], [])


def test_answer_of_two_releases_is_mixed():
    (answer,) = answers("a")
    answer.told = "b"
    assert "named a in nginx, a in the code, b in the page" in load.problems([answer], ["b"])[1][0]


def test_pages_of_one_release_have_the_same_assets():
    one, two = answers("a", "a")
    one.path = two.path = load.PAGE
    one.assets, two.assets = ["/build/1.css"], ["/build/2.css"]
    assert "different assets" in load.problems([one, two], ["a"])[1][0]


def test_missing_asset_is_a_failure():
    (answer,) = answers("a")
    answer.missing = ["/build/1.css"]
    assert load.problems([answer], ["a"])[0] == [answer]
