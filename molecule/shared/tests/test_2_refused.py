"""Settings that a role must refuse with one clear sentence, before anything is changed: the cases of refused.yml."""

from __future__ import annotations


def test_refused(case, refusals):
    outcomes = refusals[case["case"]]
    assert outcomes
    for host, outcome in outcomes.items():
        assert outcome.failed, f"{host} took it"
        assert outcome.changed == 0, f"{host} was changed"
        assert case["says"] in outcome.message, host
