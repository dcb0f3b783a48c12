"""``link.delay``: each message is held for ``base``, plus up to ``jitter``."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.base import Fault, Notes, Params, Targets
from chaos.faults.links import NOTHING_UP, Direction, LinkFault, LinkParams, ping
from chaos.lab import Lab
from chaos.units import Seconds
from protocol.messages.agent import LinkRule
from protocol.terms import NodeName

SAMPLES = 3


class LinkDelayParams(LinkParams):
    base: Seconds
    jitter: Seconds = 0.0


class LinkDelay(LinkFault, frozen=True, kw_only=True):
    """``base`` and ``jitter`` in lab seconds, each way that ``dir`` says."""

    kind: ClassVar[str] = "link.delay"
    params: ClassVar[type[Params]] = LinkDelayParams
    base: float
    jitter: float = 0.0

    @classmethod
    def of(cls, id: str, params: LinkDelayParams, targets: Targets) -> Fault:
        ends = cls.ends(params, targets)
        return cls(id=id, base=params.base, jitter=params.jitter, **ends)

    def summary(self) -> str:
        return f"delay {self.described()} by {self.base:g} s (+ up to {self.jitter:g} s)"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return LinkRule(
            id=self.id, src=src, dst=dst, delay=self.base, jitter=self.jitter, until=until
        )

    @property
    def round_trip(self) -> float:
        """What the fault adds to a ping at least."""
        return self.base * (2 if self.dir is Direction.BOTH else 1)

    async def _fastest(self, lab: Lab) -> dict[str, float]:
        within = 2 * (self.base + self.jitter) + 5.0
        results = await ping(lab, await self.probed(lab), within=within, count=SAMPLES)
        return {f"{x} {y}": min(r.seconds) for (x, y), r in results.items() if r.seconds}

    async def survey(self, lab: Lab) -> Notes:
        return {"before": await self._fastest(lab)}

    async def bites(self, lab: Lab, notes: Notes) -> str:
        fastest = await self._fastest(lab)
        if not fastest:
            return NOTHING_UP
        for edge, seen in fastest.items():
            if seen < 0.9 * self.round_trip:
                return f"a canary over {edge} took {seen:.3f} s"
        return ""

    async def healed(self, lab: Lab, notes: Notes) -> str:
        problem = await super().healed(lab, notes)
        if problem:
            return problem
        slow = {r.src for r in lab.rules() if r.delay} | {r.dst for r in lab.rules() if r.delay}
        for edge, seen in (await self._fastest(lab)).items():
            before = notes.get("before", {}).get(edge, 0.0)
            if seen > max(2 * before, before + self.round_trip / 2) and not slow & {*edge.split()}:
                return f"a canary over {edge} still takes {seen:.3f} s"
        return ""
