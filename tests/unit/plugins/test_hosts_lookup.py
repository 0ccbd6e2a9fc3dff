"""The lookup that keeps a play without hosts from being a success."""

from __future__ import annotations

import pytest
from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible_collections.slipway.laravel.plugins.lookup.hosts import LookupModule

GROUPS = {"all": ["web1", "web2", "db1"], "ungrouped": [], "laravel": ["web1", "web2"], "database": ["db1"]}


def look(*terms, groups=None, limit=None):
    given = {"groups": GROUPS if groups is None else groups, "ansible_inventory_sources": ["/srv/inventory"]}
    return LookupModule(loader=DataLoader()).run(list(terms), given | ({"ansible_limit": limit} if limit else {}))


@pytest.mark.parametrize(
    ("terms", "limit"),
    [
        (["laravel"], None),
        (["web1:web2"], None),
        (["localhost"], None),
        ([["nowhere", "database"]], None),
        (["all:!database"], "web2"),
        ([["nowhere", "laravel"]], "db1,web2"),
    ],
)
def test_patterns_come_back_as_they_are(terms, limit):
    assert look(*terms, limit=limit) == (terms[0] if isinstance(terms[0], list) else terms)


@pytest.mark.parametrize("groups", [None, {"all": [], "ungrouped": []}])
def test_pattern_without_a_host_stops_the_run(groups):
    with pytest.raises(AnsibleError) as stopped:
        look("larvel", groups=groups)
    assert "no host of the inventory /srv/inventory matches larvel" in str(stopped.value)
    assert "-e laravel_hosts=<group>" in str(stopped.value)


def test_limit_that_leaves_nobody_stops_the_run():
    with pytest.raises(AnsibleError, match=r"--limit db1 leaves none of the hosts that laravel matches \(web1, web2\)"):
        look("laravel", limit="db1")


@pytest.mark.parametrize("option", ["syntax", "listhosts", "listtasks", "listtags"])
def test_whoever_only_looks_at_a_playbook_needs_no_inventory(monkeypatch, option):
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict({option: True}))
    assert look("laravel", groups={"all": [], "ungrouped": []}) == ["laravel"]
