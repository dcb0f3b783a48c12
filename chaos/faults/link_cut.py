"""``link.cut``: everything sent over the links is dropped, at egress and at ingress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Notes, Targets
from chaos.faults.links import NOTHING_UP, LinkParams, LinkRulesFault, ping, sum_counter
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.messages.agent import CutRule, LinkRule
from protocol.terms import NodeName


class LinkCutFault(LinkRulesFault, frozen=True, kw_only=True):
    """Nothing passes the links. Callers see what they see in life: silence until their deadline."""

    kind: ClassVar[str] = "link.cut"
    example: ClassVar[str] = "between: [vcenter, kms]"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.LINKS,))
    inside: ClassVar[tuple[str, ...]] = ("host.power_loss", "proc.kill")

    @classmethod
    def of(cls, id: str, params: LinkParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.ends(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return cls.draw_ends(draws, directory)

    def summary(self) -> str:
        return f"cut {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return CutRule(id=self.id, src=src, dst=dst, until=until)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """No canary comes back on any edge, and it is the senders of cut links that drop.

        A cut of one direction also silences a ping of the other, whose reply it drops; that the
        drops are counted at the senders of the ruled links tells the direction.
        """
        edges = await self.find_live_edges(lab)
        senders = list(dict.fromkeys(src for src, _ in self.links()))
        before = await sum_counter(lab, senders, "dropped_egress")
        results = await ping(lab, edges, within_s=1.0, count=1)
        if not results:
            return NOTHING_UP
        for (x, y), result in results.items():
            if result.answered:
                return f"a canary from {x} to {y} was answered"
        if await sum_counter(lab, senders, "dropped_egress") <= before:
            return "canaries are silent, but no sender of a cut link counted a drop"
        return ""
