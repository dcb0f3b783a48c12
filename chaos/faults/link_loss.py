"""``link.loss``: a share of the messages is dropped, drawn per message of the link."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.base import Fault, Notes, Params, Targets
from chaos.faults.links import NOTHING_UP, Edge, LinkFault, ShareParams, enough, ping
from chaos.lab import Lab
from protocol.messages.agent import LinkRule
from protocol.terms import NodeName

BATCH = 20


class LinkLoss(LinkFault, frozen=True, kw_only=True):
    """``p`` is the share of messages lost on each ruled link, above 0."""

    kind: ClassVar[str] = "link.loss"
    params: ClassVar[type[Params]] = ShareParams
    p: float

    @classmethod
    def of(cls, id: str, params: ShareParams, targets: Targets) -> Fault:
        return cls(id=id, p=params.p, **cls.ends(params, targets))

    def summary(self) -> str:
        return f"lose {self.p:.1%} on {self.described()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return LinkRule(id=self.id, src=src, dst=dst, loss=self.p, until=until)

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """A canary is lost on every edge, within as many as make a miss one in a million."""
        if self.p <= 0:
            return "a loss of 0 changes nothing"
        wanted = enough(self.p)
        waiting: tuple[Edge, ...] = await self.probed(lab)
        if not waiting:
            return NOTHING_UP
        sent = 0
        while waiting and sent < wanted:
            count = min(BATCH, wanted - sent)
            results = await ping(lab, waiting, within=0.5, count=count)
            waiting = tuple(e for e in waiting if e in results and results[e].answered >= count)
            sent += count
        if waiting:
            return f"{sent} canaries from {waiting[0][0]} to {waiting[0][1]} all came back"
        return ""
