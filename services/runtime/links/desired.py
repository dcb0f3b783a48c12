"""The controller's side of link rules: the desired set, with a new epoch for each change.

Agents reconcile to the whole set: repeating, reordering or losing a message about rules is
harmless.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.messages.agent import LinkRule, SetRules
from protocol.terms import NodeName


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
