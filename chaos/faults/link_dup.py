"""``link.dup``: a share of the messages arrives twice."""

from __future__ import annotations

import math
from typing import ClassVar

from chaos.faults.base import Fault, Notes, Params, Targets, running
from chaos.faults.links import NOTHING_UP, LinkFault, LinkParams, counted, ping
from chaos.lab import Lab
from chaos.units import Share
from protocol.messages.control import LinkRule
from protocol.terms import NodeName

MISSED = 1e-6


class LinkDupParams(LinkParams):
    p: Share


class LinkDup(LinkFault, frozen=True, kw_only=True):
    """``p`` is the share of messages sent twice on each ruled link, above 0."""

    kind: ClassVar[str] = "link.dup"
    params: ClassVar[type[Params]] = LinkDupParams
    p: float

    @classmethod
    def of(cls, id: str, params: LinkDupParams, targets: Targets) -> Fault:
        return cls(id=id, p=params.p, **cls.ends(params, targets))

    def summary(self) -> str:
        return f"duplicate {self.p:.1%} on {self.described()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return LinkRule(id=self.id, src=src, dst=dst, dup=self.p, until=until)

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """Each receiver that can be pinged counts a duplicate it dropped."""
        if self.p <= 0:
            return "a share of 0 changes nothing"
        count = math.ceil(math.log(MISSED) / math.log(1 - self.p)) if self.p < 1 else 1
        up = {node: await running(lab, node) for node in self.touches()}
        links = [(src, dst) for src, dst in self.links() if up[src] and up[dst]]
        if not links:
            return NOTHING_UP
        for receiver in dict.fromkeys(dst for _, dst in links):
            before = await counted(lab, [receiver], "duplicates")
            await ping(lab, [ln for ln in links if ln[1] == receiver], within=5.0, count=count)
            if await counted(lab, [receiver], "duplicates") <= before:
                return f"{receiver} counted no duplicate among {count} canaries"
        return ""
