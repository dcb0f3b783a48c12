"""The link rules in force for all nodes of one process, or of the simulation.

The sender's port calls ``egress``, the receiver's ``passes``. A rule with an expired lease is
ignored, so that a controller that died leaves no fault behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocol.messages.agent import LinkRule, RuleCount, SetRules
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.links.passage import ORIGINAL, LinkPassage, MessageCopy
from services.runtime.links.rules import LinkRuleInForce, build_rule

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
