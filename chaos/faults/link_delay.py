"""``link.delay``: each message is held for ``base``, plus up to ``jitter``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from chaos.draws import Draws
from chaos.faults.base import Fault, Notes, Params, Targets
from chaos.faults.links import (
    NOTHING_UP,
    Direction,
    Edge,
    LinkParams,
    LinkRulesFault,
    delay_range_s,
    either_way,
    kept_away,
    on_edge,
    ping,
)
from chaos.lab import Directory, LabUnderTest
from chaos.units import Seconds, format_s
from protocol.messages.agent import DelayRule, LinkRule
from protocol.terms import NodeName

SAMPLES = 3
PATIENCE_S = 5.0
LEAST_S = 0.001
"""Lab seconds of a delay at least; less cannot be told from a link without a fault."""


class LinkDelayParams(LinkParams):
    """As ``LinkParams``, with times such as ``300ms``: the delay, and the most added to it."""

    base: Seconds
    jitter: Seconds = 0.0

    @model_validator(mode="after")
    def _can_be_told(self) -> LinkDelayParams:
        if self.base + self.jitter < LEAST_S:
            raise ValueError("base and jitter are at least 1ms together")
        return self


class LinkDelayFault(LinkRulesFault, frozen=True, kw_only=True):
    """Messages are late by ``base`` lab seconds and up to ``jitter`` more, each way of ``dir``.

    One that would delay nothing (both 0) does not bite.
    """

    kind: ClassVar[str] = "link.delay"
    example: ClassVar[str] = "between: [vcenter, kms], base: 300ms, jitter: 50ms"
    params: ClassVar[type[Params]] = LinkDelayParams
    base: float
    jitter: float = 0.0

    @classmethod
    def of(cls, id: str, params: LinkDelayParams, targets: Targets) -> Fault:
        ends = cls.ends(params, targets)
        return cls(id=id, base=params.base, jitter=params.jitter, **ends)

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        ends = cls.draw_ends(draws, directory)
        base_s, jitter_s = 10 ** (draws.unit() * 2.5 - 2), draws.unit()
        late = {"base": format_s(round(base_s, 3)), "jitter": format_s(round(jitter_s, 3))}
        return None if ends is None else ends | late

    def file_fields(self) -> dict[str, Any]:
        late = {"base": format_s(self.base), "jitter": format_s(self.jitter)}
        return super().file_fields() | late

    def summary(self) -> str:
        return f"delay {self.describe_ends()} by {self.base:g} s (+ up to {self.jitter:g} s)"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return DelayRule(
            id=self.id, src=src, dst=dst, base_s=self.base, jitter_s=self.jitter, until=until
        )

    @property
    def _ways(self) -> int:
        return 2 if self.dir is Direction.BOTH else 1

    @property
    def round_trip_s(self) -> float:
        """What the fault adds to a ping at least, in lab seconds."""
        return self.base * self._ways

    @property
    def _noticed_s(self) -> float:
        """By how much a ping may be slower than before without being taken for a delayed one."""
        return (self.base + self.jitter / 4) * self._ways / 2

    async def _fastest(self, lab: LabUnderTest) -> dict[str, float]:
        results = await ping(
            lab, await self.find_live_edges(lab), within_s=PATIENCE_S, count=SAMPLES
        )
        return {f"{x} {y}": min(r.seconds) for (x, y), r in results.items() if r.seconds}

    async def survey(self, lab: LabUnderTest) -> Notes:
        return {"before": await self._fastest(lab)}

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Our rules held a message on every edge, and the fastest canary of each is as late as
        this fault and others make it.

        Where none comes back because another fault loses them, that our rules held one is all
        there is to see, or that they are in force where nothing at all passes.
        """
        if self.base + self.jitter <= 0:
            return "a delay of 0 has no effect"
        edges = await self.find_live_edges(lab)
        if not edges:
            return NOTHING_UP
        before = await self.count_struck(lab, edges)
        fastest = await self._fastest(lab)
        after = await self.count_struck(lab, edges)
        for edge in edges:
            seen = fastest.get(f"{edge[0]} {edge[1]}")
            least = self.round_trip_s + delay_range_s(self.others(lab, edge))[0]
            if seen is not None and seen < 0.9 * least:
                return f"a canary over {edge[0]} {edge[1]} took {seen:.3f} s"
            if not self._held(lab, edge, before, after):
                return f"its rules held no canary over {edge[0]} {edge[1]}"
        return ""

    def _held(
        self, lab: LabUnderTest, edge: Edge, before: Counter[Edge], after: Counter[Edge]
    ) -> bool:
        """Whether each of our links of the edge held a message, or need not (see ``bites``)."""
        if self.unreached(lab, edge, after):
            return True
        if kept_away(on_edge(lab, edge)):
            return either_way(after, edge) > either_way(before, edge)
        ours = [link for link in self.links() if {*link} == {*edge}]
        return all(after[link] > before[link] for link in ours)

    async def passes(self, lab: LabUnderTest, notes: Notes) -> str:
        """As for every link, and the fastest canary of three is as fast as before."""
        problem = await super().passes(lab, notes)
        if problem:
            return problem
        delays = [rule for rule in lab.rules() if isinstance(rule, DelayRule)]
        slow = {rule.src for rule in delays} | {rule.dst for rule in delays}
        for edge, seen in (await self._fastest(lab)).items():
            before = notes.get("before", {}).get(edge, 0.0)
            limit = max(2 * before, before + self._noticed_s)
            if seen > limit and not slow & {*edge.split()}:
                return f"a canary over {edge} still takes {seen:.3f} s"
        return ""
