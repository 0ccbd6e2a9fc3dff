# Copyright: (c) The slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of ufw: what a list of them means, what a host has, and the shortest safe way from one to the other."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

# Comments of the rules that are ours begin so; a rule with another comment, or none, is somebody else's.
MARK = "slipway: "
ANY = {4: "0.0.0.0/0", 6: "::/0"}
# What ufw writes above each rule in user.rules and user6.rules; rules that name an application have two fields more.
_TUPLE = re.compile(
    r"^### tuple ### (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)(?: \S+ \S+)? (\S+?)(?: comment=([0-9a-f]*))?$", re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule for one family of addresses, in the words of ufw."""

    match: tuple[str, ...]  # protocol, port, to, port of the sender, from, direction with interface
    action: str  # allow, or allow_log
    comment: str
    ahead: bool = dataclasses.field(default=False, compare=False)  # has to come before the rules of others

    @property
    def family(self) -> int:
        return 6 if ":" in self.match[4] else 4

    @property
    def verdict(self) -> str:
        return self.action.partition("_")[0]

    @property
    def ours(self) -> bool:
        return self.comment.startswith(MARK)

    @property
    def everywhere(self) -> bool:
        """Says the same in both families."""
        return self.match[2] == self.match[4] == ANY[self.family]

    @property
    def twin(self) -> tuple[Any, ...]:
        """The same for a rule and its like in the other family, if it says the same in both."""
        return (*self.match[:2], self.match[5], self.action, self.comment, self.everywhere)

    def arguments(self, *, both: bool) -> dict[str, Any]:
        """How the module community.general.ufw is told this rule."""
        proto, port, target, dummy, source, way = self.match
        direction, dummy, interface = way.partition("_")
        told: dict[str, Any] = {"rule": self.verdict, "log": self.action.endswith("_log"), "proto": proto}
        told |= {"port": port} if port != "any" else {}
        told |= {"direction": direction} if direction == "out" or interface else {}
        told |= {"interface": interface} if interface else {}
        told |= {"from_ip": "any" if both else source, "to_ip": "any" if target == ANY[self.family] else target}
        told |= {"comment": self.comment} if self.comment else {}
        return told


def read(text: str) -> list[Rule]:
    """The rules in ufw's files."""
    return [
        Rule(tuple(found[1:7]), found[0], bytes.fromhex(found[7]).decode(errors="replace"))
        for found in _TUPLE.findall(text)
    ]


def words(value: Any) -> list[str]:
    """A list, or text with commas, as a list."""
    if value is None or value == "":
        return []
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    return [str(part).strip() for part in parts]


def address(text: str) -> tuple[int, str]:
    """(family, the way ufw writes it) of an address or network."""
    network = ipaddress.ip_network(text, strict=False)
    whole = network.prefixlen == network.max_prefixlen
    return network.version, str(network.network_address if whole else network)


def expand(item: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules for which an entry of a list stands: one for each port, source and family."""
    action = f"{item.get('rule') or 'allow'}{'_log' if item.get('log') else ''}"
    way = str(item.get("direction") or "in") + (f"_{item['interface']}" if item.get("interface") else "")
    comment = MARK + str(item.get("comment") or "").strip()
    for source in [word for word in words(item.get("from")) if word != "any"] or [""]:
        given = {"source": source, "target": str(item.get("to") or "").replace("any", "")}
        found = {end: address(text) for end, text in given.items() if text}
        families = {family for family, dummy in found.values()} or {4, 6}
        if len(families) > 1 and found:
            raise ValueError(f"from {given['source']} to {given['target']} mixes IPv4 and IPv6")
        for port in words(item.get("port")) or ["any"]:
            proto = str(item.get("proto") or ("any" if port == "any" else "tcp"))
            for family in sorted(families):
                ends = {end: found[end][1] if end in found else ANY[family] for end in given}
                match = (proto, port, ends["target"], "any", ends["source"], way)
                yield Rule(match, action, comment, bool(item.get("ahead")))


def stages(wanted: Sequence[Rule]) -> dict[tuple[str, ...], int]:
    """The order that matters: neighbours with one verdict may change places, others may not."""
    found: dict[tuple[str, ...], int] = {}
    stage = 0
    for before, rule in zip([None, *wanted], wanted, strict=False):
        stage += bool(before and (before.verdict, before.ahead) != (rule.verdict, rule.ahead))
        found.setdefault(rule.match, stage)
    return found


def settled(present: Sequence[Rule], order: Mapping[tuple[str, ...], int]) -> set[tuple[str, ...]]:
    """Which wanted rules of the host can stay where they are: the heaviest sequence in the right order."""
    best: list[tuple[int, list[tuple[str, ...]]]] = []
    known = [rule for rule in present if rule.match in order]
    for index, rule in enumerate(known):
        before = [best[other] for other in range(index) if order[known[other].match] <= order[rule.match]]
        weight, chain = max(before, key=lambda chosen: chosen[0], default=(0, []))
        # Moving a rule takes it away for a moment, which is worse for one that lets traffic in.
        best.append((weight + (2 if rule.verdict in ("allow", "limit") else 1), [*chain, rule.match]))
    return set(max(best, key=lambda chosen: chosen[0], default=(0, []))[1])


class Host:
    """Both families' rules as they will be after each step."""

    def __init__(self, present: Iterable[Rule], wanted: Sequence[Rule]) -> None:
        self.now: dict[int, list[Rule]] = {4: [], 6: []}
        for rule in present:
            self.now[rule.family].append(rule)
        self.wanted: dict[int, dict[tuple[str, ...], Rule]] = {4: {}, 6: {}}
        for rule in wanted:
            self.wanted[rule.family][rule.match] = rule
        self.sequence = list(dict.fromkeys(self.wanted[rule.family][rule.match] for rule in wanted))
        self.order = {family: stages(list(rules.values())) for family, rules in self.wanted.items()}
        self.steps: list[dict[str, Any]] = []

    def each(self, rules: Iterable[Rule], **more: Any) -> None:
        """The same step for all of them; ufw takes a rule and its twin as one."""
        left = list(rules)
        while left:
            rule = left.pop(0)
            twin = next((other for other in left if rule.everywhere and other.twin == rule.twin), None)
            if twin:
                left.remove(twin)
            self.steps.append(rule.arguments(both=bool(twin)) | more)

    def delete(self, chosen: Callable[[int], list[Rule]]) -> None:
        gone = [rule for family in (4, 6) for rule in chosen(family)]
        self.each(gone, delete=True)
        self.now = {family: [rule for rule in rules if rule not in gone] for family, rules in self.now.items()}

    def misplaced(self, family: int) -> list[Rule]:
        """Wanted rules that the host has, but behind one which has to come later."""
        here, order = self.now[family], self.order[family]
        stay = settled(here, order)
        return [
            rule
            for index, rule in enumerate(here)
            if rule.match in order and (rule.match not in stay or self.outdone(rule, here[:index], family))
        ]

    def unwanted(self, family: int) -> list[Rule]:
        """Ours, and no longer listed."""
        return [rule for rule in self.now[family] if rule.ours and rule.match not in self.wanted[family]]

    def outdone(self, rule: Rule, before: Sequence[Rule], family: int) -> bool:
        wanted = self.wanted[family][rule.match]
        return wanted.ahead and any(other.verdict != wanted.verdict and not other.ours for other in before)

    def place(self, rule: Rule) -> int | None:
        """Where a new rule has to be inserted; at the end when nothing there has to come later."""
        order = self.order[rule.family]
        for index, other in enumerate(self.now[rule.family]):
            later = order.get(other.match, -1) > order[rule.match]
            if later or (rule.ahead and not other.ours and other.verdict != rule.verdict):
                return index
        return None

    def insert(self, rule: Rule, index: int) -> None:
        number = index + 1 + (len(self.now[4]) if rule.family == 6 else 0)
        self.steps.append(rule.arguments(both=False) | {"insert": number})
        self.now[rule.family].insert(index, rule)

    def add(self) -> None:
        """What is missing goes in where it belongs; what has another verdict or comment is replaced where it is."""
        there = {family: {rule.match: rule for rule in rules} for family, rules in self.now.items()}
        ends = []
        for rule in self.sequence:
            index = None if rule.match in there[rule.family] else self.place(rule)
            if index is not None:
                self.insert(rule, index)
            elif there[rule.family].get(rule.match) != rule:
                ends.append(rule)
        self.each(ends)
        for rule in ends:
            self.now[rule.family] = [other for other in self.now[rule.family] if other.match != rule.match] + [rule]


def plan(present: Iterable[Rule], wanted: Sequence[Rule]) -> list[dict[str, Any]]:
    """Arguments of community.general.ufw, one after the other, that make the host's rules the wanted ones."""
    host = Host(present, wanted)
    host.delete(host.misplaced)
    host.add()
    host.delete(host.unwanted)
    return host.steps
