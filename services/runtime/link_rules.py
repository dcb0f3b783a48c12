"""Links: what happens to a message between two nodes.

One class for each kind of rule, the rules in force for all nodes of one process or of the
simulation, and the controller's desired set, with a new epoch for each change. The seed fixes the
fate of each copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, assert_never

import msgspec

from protocol.messages.agent import (
    CutRule,
    DelayRule,
    DuplicateRule,
    LinkRule,
    LossRule,
    ResetRule,
    RuleCount,
    SetRules,
    StallRule,
)
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.seeded import unit


class MessageCopy(NamedTuple):
    """One copy of a message: its number (the original is 0), and its delay in lab seconds."""

    number: int
    delay_s: float


ORIGINAL = MessageCopy(0, 0.0)


@dataclass(slots=True)
class LinkPassage:
    """The ``nth`` message of one life of the sender (``boot``) on ``link``, published under
    ``subject``.

    A fate is a hash, not a draw from a shared stream: for one seed, the n-th message of a life on a
    link has the same fate whatever happens on other links.
    """

    seed: int
    link: NodePair
    boot: int
    nth: int
    subject: str = ""
    copies: int = 1

    def fate(self, what: str, copy: MessageCopy) -> float:
        """A number in [0, 1), fixed by the seed, the message, its copy, and the question
        ``what``."""
        link = self.link
        return unit(self.seed, "fate", link.src, link.dst, self.boot, self.nth, what, copy.number)

    def twin(self, copy: MessageCopy) -> MessageCopy:
        """Another copy with the delay of ``copy``, under a new number."""
        number = self.copies
        self.copies += 1
        return MessageCopy(number, copy.delay_s)


LOST: tuple[MessageCopy, ...] = ()
"""The result of a rule that lets nothing pass."""


class LinkRuleInForce:
    """One rule in force on one link; it lets everything pass unless its class overrides that.

    ``spec`` is the rule as the controller sent it. ``struck`` counts the copies that it changed.
    """

    breaks: ClassVar[bool] = False
    """Whether a connection that sends over the link is reset."""
    stalls: ClassVar[bool] = False
    """Whether handshakes of connections are held on the link."""

    def __init__(self, spec: LinkRule) -> None:
        self.spec = spec
        self.struck = 0

    def alive(self, now: float) -> bool:
        """Whether its lease lasts at ``now`` (lab monotonic seconds)."""
        return self.spec.until == 0 or self.spec.until > now

    def same(self, spec: LinkRule) -> bool:
        """Whether ``spec`` is this rule, apart from the lease."""
        return msgspec.structs.replace(self.spec, until=spec.until) == spec

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        """The copies that leave the sender for ``copy``: none, the copy (possibly later), or
        several."""
        return (copy,)

    def ingress(self) -> bool:
        """Whether the receiver accepts a message of the link."""
        return True


class CutLink(LinkRuleInForce):
    """Nothing leaves the sender, and the receiver drops what was in transit.

    A rule for requests of certain names applies at the sender only.
    """

    def __init__(self, spec: CutRule) -> None:
        super().__init__(spec)
        self._requests = frozenset(spec.requests)

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        return LOST if not self._requests or _request_name(passage) in self._requests else (copy,)

    def ingress(self) -> bool:
        return bool(self._requests)


def _request_name(passage: LinkPassage) -> str:
    """The name of a request; for a reply a text that is no request's name."""
    return passage.subject.rpartition(".")[2]


class Loss(LinkRuleInForce):
    """A share of the copies is lost."""

    def __init__(self, spec: LossRule) -> None:
        super().__init__(spec)
        self._share, self._what = spec.share, f"loss {spec.id}"

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        return LOST if passage.fate(self._what, copy) < self._share else (copy,)


class Delay(LinkRuleInForce):
    """Each copy leaves later by a fixed time, plus a random part up to the jitter."""

    def __init__(self, spec: DelayRule) -> None:
        super().__init__(spec)
        self._base_s, self._jitter_s = spec.base_s, spec.jitter_s
        self._what = f"jitter {spec.id}"

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        jitter = self._jitter_s * passage.fate(self._what, copy)
        return (copy._replace(delay_s=copy.delay_s + self._base_s + jitter),)


class Duplicate(LinkRuleInForce):
    """A share of the copies leaves twice."""

    def __init__(self, spec: DuplicateRule) -> None:
        super().__init__(spec)
        self._share, self._what = spec.share, f"duplicate {spec.id}"

    def egress(self, passage: LinkPassage, copy: MessageCopy) -> Sequence[MessageCopy]:
        if passage.fate(self._what, copy) < self._share:
            return copy, passage.twin(copy)
        return (copy,)


class Reset(LinkRuleInForce):
    """A connection that sends over the link is reset; messages pass."""

    breaks = True


class Stall(LinkRuleInForce):
    """Handshakes are held; everything else passes."""

    stalls = True


def build_rule(spec: LinkRule) -> LinkRuleInForce:
    """The rule that implements ``spec``."""
    match spec:
        case CutRule():
            return CutLink(spec)
        case LossRule():
            return Loss(spec)
        case DelayRule():
            return Delay(spec)
        case DuplicateRule():
            return Duplicate(spec)
        case ResetRule():
            return Reset(spec)
        case StallRule():
            return Stall(spec)
        case _:
            assert_never(spec)


AT_ONCE = (0.0,)
"""One copy, now: the result for a link without rules."""


class RuleTable:
    """The chains of rules by link. ``epoch`` is that of the set in force."""

    def __init__(self, seed: int, monotonic: Callable[[], float]) -> None:
        self._seed = seed
        self._monotonic = monotonic
        self._chains: dict[NodePair, tuple[LinkRuleInForce, ...]] = {}
        self._refusing: frozenset[NodeName] = frozenset()
        self.epoch = 0

    def reseed(self, seed: int) -> None:
        """Take the fates of messages from another seed."""
        self._seed = seed

    def apply(self, desired: SetRules) -> bool:
        """Put the whole set in force; False (no change) when its epoch is not newer.

        A rule that was in force keeps its counts; its lease may change.
        """
        if desired.epoch <= self.epoch:
            return False
        chains: dict[NodePair, tuple[LinkRuleInForce, ...]] = {}
        for spec in desired.rules:
            link = NodePair(spec.src, spec.dst)
            chains[link] = (*chains.get(link, ()), self._reuse_or_build_rule(link, spec))
        self._chains = chains
        self._refusing = frozenset(desired.refusing)
        self.epoch = desired.epoch
        return True

    def _reuse_or_build_rule(self, link: NodePair, spec: LinkRule) -> LinkRuleInForce:
        for rule in self._chains.get(link, ()):
            if rule.same(spec):
                rule.spec = spec
                return rule
        return build_rule(spec)

    def _alive(self, link: NodePair) -> Sequence[LinkRuleInForce]:
        chain = self._chains.get(link)
        if not chain:
            return ()
        now = self._monotonic()
        return [rule for rule in chain if rule.alive(now)]

    def egress(self, link: NodePair, boot: int, nth: int, subject: str = "") -> tuple[float, ...]:
        """Judge, for the sender, the ``nth`` message of its life ``boot`` on ``link``, published
        under ``subject``.

        Returns the delay of each copy in lab seconds: ``(0.0,)`` for one copy at once, ``()`` for a
        lost message.
        """
        chain = self._alive(link) if self._chains else ()
        if not chain:
            return AT_ONCE
        passage = LinkPassage(self._seed, link, boot, nth, subject)
        copies: Sequence[MessageCopy] = (ORIGINAL,)
        for rule in chain:
            passed: list[MessageCopy] = []
            for copy in copies:
                left = rule.egress(passage, copy)
                rule.struck += tuple(left) != (copy,)
                passed.extend(left)
            copies = passed
        return tuple(copy.delay_s for copy in copies)

    def passes(self, link: NodePair) -> bool:
        """Judge for the receiver: False while a rule of the link drops everything."""
        return not self._chains or all(rule.ingress() for rule in self._alive(link))

    def breaks(self, link: NodePair) -> bool:
        """Whether a connection that sends over the link is reset."""
        return bool(self._chains) and self._struck_by(link, lambda rule: rule.breaks)

    def stalls(self, link: NodePair) -> bool:
        """Whether the link holds handshakes of connections."""
        return bool(self._chains) and self._struck_by(link, lambda rule: rule.stalls)

    def _struck_by(self, link: NodePair, does: Callable[[LinkRuleInForce], bool]) -> bool:
        doing = [rule for rule in self._alive(link) if does(rule)]
        for rule in doing:
            rule.struck += 1
        return bool(doing)

    def count_strikes(self, src: NodeName) -> tuple[RuleCount, ...]:
        """How many copies each rule on a link from ``src`` has changed, counted at egress."""
        return tuple(
            RuleCount(rule=rule.spec.id, dst=link.dst, struck=rule.struck)
            for link, chain in self._chains.items()
            if link.src == src
            for rule in chain
        )

    def refuses(self, node: NodeName) -> bool:
        """Whether this node's process is down on a live machine."""
        return node in self._refusing


class DesiredRules:
    """The rules that should be in force, in the order in which they were first put."""

    def __init__(self) -> None:
        self.epoch = 0
        self._rules: dict[tuple[str, NodeName, NodeName], LinkRule] = {}
        self._refusing: dict[NodeName, None] = {}

    @property
    def rules(self) -> tuple[LinkRule, ...]:
        """All rules; those on one link are judged in this order."""
        return tuple(self._rules.values())

    def put(self, rules: Sequence[LinkRule]) -> SetRules:
        """Add ``rules``; a rule of the same id and link is replaced in its place."""
        for rule in rules:
            self._rules[rule.id, rule.src, rule.dst] = rule
        return self.next()

    def drop(self, rule_id: str) -> SetRules:
        """Remove the rules of ``rule_id``."""
        self._rules = {key: rule for key, rule in self._rules.items() if key[0] != rule_id}
        return self.next()

    def lapse(self, now: float) -> None:
        """Remove rules whose lease has expired at ``now``; agents ignore them already."""
        self._rules = {k: r for k, r in self._rules.items() if r.until == 0 or r.until > now}

    def refuse(self, node: NodeName, refusing: bool) -> SetRules | None:
        """Set whether requests to ``node`` are refused: the new set, or None when nothing
        changes."""
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
