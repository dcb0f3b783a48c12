"""``link.dup``: a share of the messages arrives twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Notes, running
from chaos.faults.links import (
    HEAL_WITHIN_S,
    NOTHING_UP,
    ShareFault,
    kept_away,
    on_edge,
    ping,
    sum_counter,
)
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import NOTHING, FaultEffect
from protocol.messages.agent import DuplicateRule, LinkRule
from protocol.terms import NodeName


class LinkDupFault(ShareFault, frozen=True, kw_only=True):
    """On each of its links the share ``p`` of the messages, above 0, is sent twice."""

    kind: ClassVar[str] = "link.dup"
    example: ClassVar[str] = "between: [vcenter, kms], p: 20%"
    effect: ClassVar[FaultEffect] = NOTHING

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        ends = cls.draw_ends(draws, directory)
        return None if ends is None else ends | {"p": round(0.05 + 0.95 * draws.unit(), 3)}

    def summary(self) -> str:
        return f"duplicate {self.p:.1%} on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return DuplicateRule(id=self.id, src=src, dst=dst, share=self.p, until=until)

    async def passes(self, lab: LabUnderTest, notes: Notes) -> str:
        """As for every link, and no receiver counts a duplicate of a canary: where no other rule
        doubles what it is sent, or keeps the canaries away."""
        edges = await self.find_live_edges(lab)
        doubled = {rule.dst for rule in lab.rules() if isinstance(rule, DuplicateRule)}
        links = [
            (src, dst)
            for src, dst in self.links()
            if dst not in doubled and ((src, dst) in edges or (dst, src) in edges)
        ]
        free = [link for link in links if not kept_away(on_edge(lab, link))]
        receivers = list(dict.fromkeys(dst for _, dst in free))
        before = {node: await sum_counter(lab, [node], "duplicates") for node in receivers}
        problem = await super().passes(lab, notes)
        if problem:
            return problem
        await ping(lab, free, within_s=HEAL_WITHIN_S, count=self.canaries)
        for node in receivers:
            if await sum_counter(lab, [node], "duplicates") > before[node]:
                return f"{node} still counts duplicates"
        return ""

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each receiver that can be pinged counts a duplicate it dropped.

        Where another fault loses messages, that our rules doubled one is enough; where nothing
        passes at all, that they are in force.
        """
        if self.p <= 0:
            return "a share of 0 has no effect"
        count = self.canaries
        up = {node: await running(lab, node) for node in self.touches()}
        links = [(src, dst) for src, dst in self.links() if up[src] and up[dst]]
        if not links:
            return NOTHING_UP
        for receiver in dict.fromkeys(dst for _, dst in links):
            before = await sum_counter(lab, [receiver], "duplicates")
            mine = [link for link in links if link[1] == receiver]
            doubled = await self.count_struck(lab, mine)
            await ping(lab, mine, within_s=5.0, count=count)
            if await sum_counter(lab, [receiver], "duplicates") > before:
                continue
            after = await self.count_struck(lab, mine)
            if not all(
                self.unreached(lab, link, after)
                or (after[link] > doubled[link] and kept_away(self.others(lab, link)))
                for link in mine
            ):
                return f"{receiver} counted no duplicate among {count} canaries"
        return ""
