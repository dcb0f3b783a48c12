"""Link rules: what happens to a message on its way from one node to another.

Rules are a desired set with an epoch and leases. The sender's port asks ``egress``, the
receiver's asks ``ingress``; a rule whose lease has run out is as if it were not there, so a
dead controller leaves no fault behind. The n-th message of one life on one link always has the
same fate for one seed: fates are a hash of (seed, link, boot, n), not draws from a shared stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.messages.agent import LinkRule, SetRules
from protocol.subjects import Link
from protocol.terms import NodeName
from services.runtime.seeded import unit


@dataclass(frozen=True, slots=True)
class Pass:
    """On its way."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Lost, without a sign."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Held for ``seconds`` lab seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Sent twice."""


Verdict = Pass | Drop | Delay | Duplicate

PASS = Pass()
DROP = Drop()
DUPLICATE = Duplicate()


def fate(seed: int, link: Link, boot: int, nth: int, what: str) -> float:
    """A number in [0, 1) fixed by its arguments."""
    return unit(seed, "fate", link.src, link.dst, boot, nth, what)


class RuleTable:
    """The rules in force for all nodes of one process (or of the simulation)."""

    def __init__(self, seed: int, monotonic: Callable[[], float]) -> None:
        self._seed = seed
        self._monotonic = monotonic
        self._by_link: dict[Link, tuple[LinkRule, ...]] = {}
        self._refusing: frozenset[NodeName] = frozenset()
        self.epoch = 0

    def apply(self, desired: SetRules) -> bool:
        """Put the whole set in force; False (no change) when its epoch is not a newer one."""
        if desired.epoch <= self.epoch:
            return False
        by_link: dict[Link, tuple[LinkRule, ...]] = {}
        for rule in desired.rules:
            link = Link(rule.src, rule.dst)
            by_link[link] = (*by_link.get(link, ()), rule)
        self._by_link = by_link
        self._refusing = frozenset(desired.refusing)
        self.epoch = desired.epoch
        return True

    def _alive(self, link: Link) -> Sequence[LinkRule]:
        rules = self._by_link.get(link)
        if not rules:
            return ()
        now = self._monotonic()
        return [r for r in rules if r.until == 0 or r.until > now]

    def egress(self, link: Link, boot: int, nth: int) -> Verdict:
        """The sender's question about its ``nth`` message on ``link``; first opinion wins."""
        for rule in self._alive(link):
            if rule.cut:
                return DROP
            if rule.loss and fate(self._seed, link, boot, nth, "loss") < rule.loss:
                return DROP
            if rule.dup and fate(self._seed, link, boot, nth, "dup") < rule.dup:
                return DUPLICATE
            if rule.delay or rule.jitter:
                extra = rule.jitter * fate(self._seed, link, boot, nth, "jitter")
                return Delay(rule.delay + extra)
        return PASS

    def passes(self, link: Link) -> bool:
        """The receiver's question: False while the link is cut."""
        return not any(rule.cut for rule in self._alive(link))

    def refuses(self, node: NodeName) -> bool:
        """Whether this node's process is down on a live machine."""
        return node in self._refusing


class DesiredRules:
    """The controller's side: what should be in force, each change a new epoch."""

    def __init__(self) -> None:
        self.epoch = 0
        self._rules: dict[tuple[str, NodeName, NodeName], LinkRule] = {}
        self._refusing: dict[NodeName, None] = {}

    @property
    def rules(self) -> tuple[LinkRule, ...]:
        return tuple(self._rules.values())

    def put(self, rules: Sequence[LinkRule]) -> SetRules:
        for rule in rules:
            self._rules[rule.id, rule.src, rule.dst] = rule
        return self.next()

    def drop(self, rule_id: str) -> SetRules:
        """Take the rules of ``rule_id`` out."""
        self._rules = {key: rule for key, rule in self._rules.items() if key[0] != rule_id}
        return self.next()

    def lapse(self, now: float) -> None:
        """Forget rules whose lease has run out; agents ignore them already."""
        self._rules = {k: r for k, r in self._rules.items() if r.until == 0 or r.until > now}

    def refuse(self, node: NodeName, refusing: bool) -> SetRules | None:
        """The new set, or None when nothing changes."""
        if (node in self._refusing) == refusing:
            return None
        if refusing:
            self._refusing[node] = None
        else:
            del self._refusing[node]
        return self.next()

    def next(self) -> SetRules:
        """The whole set under a new epoch."""
        self.epoch += 1
        return SetRules(epoch=self.epoch, rules=self.rules, refusing=tuple(self._refusing))
