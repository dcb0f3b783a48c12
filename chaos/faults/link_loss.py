"""``link.loss``: a share of the messages is dropped, drawn per message of the link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Notes
from chaos.faults.links import (
    BATCH,
    NOTHING_UP,
    Edge,
    ShareFault,
    either_way,
    ping,
)
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.messages.agent import DuplicateRule, LinkRule, LossRule
from protocol.terms import NodeName


class LinkLossFault(ShareFault, frozen=True, kw_only=True):
    """On each of its links the share ``p`` of the messages, above 0, is lost."""

    kind: ClassVar[str] = "link.loss"
    example: ClassVar[str] = "between: [vcenter, kms], p: 20%"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.LINKS,), share="p")

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        ends = cls.draw_ends(draws, directory)
        return None if ends is None else ends | {"p": round(0.05 + 0.55 * draws.unit(), 3)}

    def summary(self) -> str:
        return f"lose {self.p:.1%} on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return LossRule(id=self.id, src=src, dst=dst, share=self.p, until=until)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Our rules lose a message on every edge, and a canary does not come back.

        It is tried with as many canaries as make a miss one in a million. Where another fault
        lets nothing pass, that they are in force and silence are all that there is to see; where
        one doubles the canaries, a lost copy is enough.
        """
        if self.p <= 0:
            return "a loss of 0 has no effect"
        wanted = self.canaries
        waiting: tuple[Edge, ...] = await self.find_live_edges(lab)
        if not waiting:
            return NOTHING_UP
        before = await self.count_struck(lab, waiting)
        sent = 0
        while waiting and sent < wanted:
            count = min(BATCH, wanted - sent)
            results = await ping(lab, waiting, within_s=0.5, count=count)
            after = await self.count_struck(lab, waiting)
            waiting = tuple(
                edge
                for edge in waiting
                if edge not in results
                or not self._loses(lab, edge, before, after, results[edge].answered < count)
            )
            sent += count
        if waiting:
            return f"it lost none of {sent} canaries from {waiting[0][0]} to {waiting[0][1]}"
        return ""

    def _loses(
        self,
        lab: LabUnderTest,
        edge: Edge,
        before: Counter[Edge],
        after: Counter[Edge],
        silent: bool,
    ) -> bool:
        if self.unreached(lab, edge, after):
            return silent
        doubled = any(isinstance(rule, DuplicateRule) for rule in self.others(lab, edge))
        return either_way(after, edge) > either_way(before, edge) and (silent or doubled)
