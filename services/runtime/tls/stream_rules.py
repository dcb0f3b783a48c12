"""The rules of the links between two nodes, as one end of a connection sees them."""

from __future__ import annotations

from collections.abc import Callable

from protocol.subjects import NodePair
from services.runtime.links.table import RuleTable
from services.runtime.tls.lane import PartKind, StreamPart, Wait


class StreamRules:
    """The rules between two nodes for one end: ``out`` for what it sends, ``back`` for what it
    receives.

    ``number`` counts what the life has sent over the link, for the fates that a seed fixes.
    """

    def __init__(
        self, rules: RuleTable, out: NodePair, boot: int, number: Callable[[], int]
    ) -> None:
        self.rules, self.out, self.back, self.boot = rules, out, out.reverse, boot
        self._number = number

    def judge_departure(self, part: StreamPart) -> float | Wait:
        """How late a part leaves, or why it must wait."""
        if part.kind is PartKind.HANDSHAKE and self.rules.stalls(self.out):
            return Wait.RETRY
        delays = self.rules.egress(self.out, self.boot, self._number())
        return min(delays) if delays else Wait.RETRY
