"""The controller's side of link rules: a desired set, each change of it under a new epoch.

Agents reconcile to the whole set, so that repeating, reordering or losing a message about rules
does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.messages.agent import LinkRule, SetRules
from protocol.terms import NodeName


class DesiredRules:
    """The rules that should be in force, in the order in which they were put first."""

    def __init__(self) -> None:
        self.epoch = 0
        self._rules: dict[tuple[str, NodeName, NodeName], LinkRule] = {}
        self._refusing: dict[NodeName, None] = {}

    @property
    def rules(self) -> tuple[LinkRule, ...]:
        """All rules; those on one link are judged in this order."""
        return tuple(self._rules.values())

    def put(self, rules: Sequence[LinkRule]) -> SetRules:
        """Add ``rules``; one of the same id and link replaces the older one, in its place."""
        for rule in rules:
            self._rules[rule.id, rule.src, rule.dst] = rule
        return self.next()

    def drop(self, rule_id: str) -> SetRules:
        """Take the rules of ``rule_id`` out."""
        self._rules = {key: rule for key, rule in self._rules.items() if key[0] != rule_id}
        return self.next()

    def lapse(self, now: float) -> None:
        """Forget rules whose lease has run out at ``now``; agents ignore them already."""
        self._rules = {k: r for k, r in self._rules.items() if r.until == 0 or r.until > now}

    def refuse(self, node: NodeName, refusing: bool) -> SetRules | None:
        """Let a request to ``node`` be refused, or not: the new set, None when nothing changes."""
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
