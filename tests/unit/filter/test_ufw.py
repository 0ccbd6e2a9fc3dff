"""The firewall's filters, against a ufw that keeps its rules as the real one does."""

from __future__ import annotations

import random

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.laravel.plugins.filter.fail2ban_refusals import fail2ban_refusals
from ansible_collections.slipway.laravel.plugins.filter.ufw_plan import ufw_plan
from ansible_collections.slipway.laravel.plugins.filter.ufw_refusals import ufw_refusals
from ansible_collections.slipway.laravel.plugins.plugin_utils import ufw

SSH = {"port": "22", "comment": "SSH", "ahead": True}
WEB = [{"port": "80", "comment": "HTTP"}, {"port": "443", "comment": "HTTPS"}]
ABUSER = {"rule": "deny", "from": ["203.0.113.7"], "comment": "abuser"}


class Ufw:
    """What the steps of a plan do to the rules."""

    def __init__(self, text: str = "") -> None:
        self.rules: dict[int, list[ufw.Rule]] = {4: [], 6: []}
        for rule in ufw.read(text):
            self.rules[rule.family].append(rule)

    def take(self, steps) -> Ufw:
        for step in steps:
            self.step(**step)
        return self

    def step(self, *, insert=0, delete=False, **told) -> None:
        told = {**told, "from": told.pop("from_ip"), "to": told.pop("to_ip")}
        comment = told.pop("comment", "")
        for rule in ufw.expand(told):
            if {"0.0.0.0/0": 6, "::/0": 4}.get(told["from"]) == rule.family:
                continue
            here = self.rules[rule.family]
            fresh = ufw.Rule(rule.match, rule.action, comment)
            places = [index for index, other in enumerate(here) if other.match == rule.match]
            if delete:
                assert [here[index].action for index in places] == [rule.action], "no such rule"
                del here[places[0]]
            elif places:
                assert not insert
                here[places[0]] = fresh
            else:
                index = insert - 1 - (len(self.rules[4]) if rule.family == 6 else 0) if insert else len(here)
                assert 0 <= index < len(here) + (not insert), f"invalid position {insert}"
                here.insert(index, fresh)

    @property
    def text(self) -> str:
        """As ufw writes its files."""
        return "".join(
            f"### tuple ### {rule.action} {' '.join(rule.match)}"
            + (f" comment={rule.comment.encode().hex()}" if rule.comment else "") + "\n"
            for family in (4, 6)
            for rule in self.rules[family]
        )  # fmt: skip

    def short(self, family: int = 4) -> list[str]:
        return [f"{rule.action} {rule.match[1]} {rule.match[4]}" for rule in self.rules[family]]


def test_a_fresh_host():
    steps = ufw_plan([SSH, *WEB], "")
    assert [(step["rule"], step["port"], step["from_ip"], step["comment"]) for step in steps] == [
        ("allow", "22", "any", "slipway: SSH"),
        ("allow", "80", "any", "slipway: HTTP"),
        ("allow", "443", "any", "slipway: HTTPS"),
    ]


def test_nothing_to_do():
    assert ufw_plan([SSH, *WEB], Ufw().take(ufw_plan([SSH, *WEB], "")).text) == []


def test_a_rule_that_is_no_longer_listed_goes():
    host = Ufw().take(ufw_plan([SSH, *WEB], ""))
    steps = ufw_plan([SSH, WEB[1]], host.text)
    assert [(step["port"], step.get("delete")) for step in steps] == [("80", True)]
    assert "allow 80 ::/0" not in host.take(steps).short(6)


def test_rules_of_others_stay():
    foreign = "### tuple ### allow tcp 9999 0.0.0.0/0 any 0.0.0.0/0 in comment=6d696e65\n"
    foreign += "### tuple ### allow any 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in\n"
    host = Ufw(foreign).take(ufw_plan([SSH, *WEB], foreign))
    assert host.short()[0] == "allow 9999 0.0.0.0/0"
    assert ufw_plan([SSH], host.text) != []
    assert "allow 9999 0.0.0.0/0" in host.take(ufw_plan([SSH], host.text)).short()


def test_ssh_comes_before_what_others_deny():
    foreign = "### tuple ### deny any any 0.0.0.0/0 any 0.0.0.0/0 in\n"
    host = Ufw(foreign).take(ufw_plan([SSH], foreign))
    assert host.short() == ["allow 22 0.0.0.0/0", "deny any 0.0.0.0/0"]


def test_a_denial_of_ssh_by_hand_is_turned_round():
    foreign = "### tuple ### deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n"
    assert Ufw(foreign).take(ufw_plan([SSH], foreign)).short() == ["allow 22 0.0.0.0/0"]


def test_order_counts_between_verdicts():
    host = Ufw().take(ufw_plan([SSH, *WEB], ""))
    steps = ufw_plan([SSH, ABUSER, *WEB], host.text)
    assert [(step["rule"], step["insert"]) for step in steps] == [("deny", 2)]
    assert host.take(steps).short()[1] == "deny any 203.0.113.7"


def test_without_ipv6():
    steps = ufw_plan([SSH, {"port": "443", "from": ["2001:db8::1", "192.0.2.1"]}], "", ipv6=False)
    assert [step["from_ip"] for step in steps] == ["0.0.0.0/0", "192.0.2.1"]


@pytest.mark.parametrize("seed", range(300))
def test_any_list_becomes_any_other(seed):
    """Whatever the host has: afterwards the rules are there, in an order that means the same, and others' are too."""
    chance = random.Random(seed)  # noqa: S311

    def rules() -> list[dict]:
        found = {}
        for _ in range(chance.randrange(7)):
            port = chance.choice(["80", "443", "6000:6010", "25"])
            source = chance.choice(["any", "10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])
            found[port, source] = {
                "port": port, "from": [source], "rule": chance.choice(["allow", "deny", "limit", "reject"]),
                "comment": chance.choice(["a", "b"]),
            }  # fmt: skip
        return [{**SSH, "port": chance.choice(["22", "2222", "22,2222"])}, *found.values()]

    foreign = "".join(
        f"### tuple ### {chance.choice(['allow', 'deny'])} tcp {port} 0.0.0.0/0 any 0.0.0.0/0 in\n"
        for port in chance.sample(["22", "80", "7000", "7001", "7002"], chance.randrange(4))
    )
    host = Ufw(foreign)
    for wanted in (rules(), rules(), rules()):
        host.take(ufw_plan(wanted, host.text))
        assert ufw_plan(wanted, host.text) == []
        for family in (4, 6):
            ours = [rule for rule in host.rules[family] if rule.ours]
            expected = [rule for item in wanted for rule in ufw.expand(item) if rule.family == family]
            assert {(rule.match, rule.action) for rule in ours} == {(rule.match, rule.action) for rule in expected}
            order = ufw.stages(expected)
            turns = [order[rule.match] for rule in ours]
            assert turns == sorted(turns)
            before = host.rules[family][: next(index for index, rule in enumerate(host.rules[family]) if rule in ours)]
            assert all(rule.verdict == "allow" for rule in before)


def test_not_a_rule():
    with pytest.raises(AnsibleFilterError, match="mixes IPv4 and IPv6"):
        ufw_plan([{"port": "1", "from": ["10.0.0.1"], "to": "::1"}], "")


@pytest.mark.parametrize(
    ("client", "wanted", "says"),
    [
        ("192.0.2.1", [SSH], ""),
        ("192.0.2.1", [{**SSH, "from": ["192.0.2.0/24"]}], ""),
        ("::ffff:192.0.2.1", [{**SSH, "from": ["192.0.2.0/24"]}], ""),
        ("192.0.2.1", [{**SSH, "from": ["198.51.100.0/24"]}], "base_firewall_ssh_from lacks 192.0.2.1, from which"),
        ("192.0.2.1", [{"rule": "deny", "from": ["192.0.2.0/24"], "ahead": True}, SSH], "base_firewall_blocked holds"),
        ("192.0.2.1", [SSH, {"rule": "deny", "port": "2222"}], "would deny SSH (port 2222)"),
        ("192.0.2.1", [SSH, {"rule": "deny", "port": "2222", "proto": "udp"}], ""),
        ("192.0.2.1", [SSH, {"rule": "deny", "port": "25", "direction": "out"}], ""),
    ],
)
def test_the_connection_in_use_is_never_cut(client, wanted, says):
    found = ufw_refusals(wanted, ["22", "2222"], client=client)
    assert says in found[0] if says else found == []


def test_ipv6_is_needed_by_the_connection():
    assert "connect over IPv4" in ufw_refusals([SSH], ["22"], client="2001:db8::1", ipv6=False)[0]


@pytest.mark.parametrize(
    ("ignoreip", "jails", "says"),
    [
        (["127.0.0.0/8", "::1", "office.example.org"], {"sshd": {"bantime": "1h 30m", "maxretry": "3"}}, ""),
        (["::/0"], {}, "nobody would ever be banned"),
        (["10.0.0"], {}, "neither an address nor a network"),
        (["10.0.0.1 10.0.0.2"], {}, "holds a blank"),
        ([], {"a b": {}}, "no name for one"),
        ([], {"sshd": {"findtime": "1 fortnight"}}, "is no time"),
        ([], {"sshd": {"maxretry": "many"}}, "no number from 1 on"),
        ([], {"sshd": {"bantime": -1}}, ""),
    ],
)
def test_jails(ignoreip, jails, says):
    found = fail2ban_refusals(jails, {"bantime": "1h"}, ignoreip)
    assert says in found[0] if says else found == []
