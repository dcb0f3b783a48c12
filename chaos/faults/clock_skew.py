"""``clock.skew``: the wall clocks of nodes go wrong, ahead or behind.

What is stamped and what is valid until a time is judged by them: tokens of a Trust Authority,
certificates. What a node waits for takes as long as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, all_of, names, status_of
from chaos.faults.power import NodesFault, NodesParams, some_of
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from chaos.units import Seconds, format_s
from protocol.terms import Role


class ClockSkewParams(NodesParams):
    """Which nodes, and how far: one of ``ahead`` and ``behind``."""

    ahead: Seconds = 0.0
    behind: Seconds = 0.0

    @model_validator(mode="after")
    def _one_way(self) -> ClockSkewParams:
        if bool(self.ahead) == bool(self.behind):
            raise ValueError("give one of ahead, behind")
        return self


class ClockSkew(NodesFault, frozen=True, kw_only=True):
    """Wall clocks are wrong, ahead or behind."""

    kind: ClassVar[str] = "clock.skew"
    example: ClassVar[str] = "on: esxi-001, ahead: 10m"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.CLOCK,))
    params: ClassVar[type[Params]] = ClockSkewParams
    skew_s: float

    @classmethod
    def of(cls, id: str, params: ClockSkewParams, targets: Targets) -> Fault:
        return cls(
            id=id, skew_s=params.ahead - params.behind, **cls.select_targets(params, targets)
        )

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        """Of one node, from ten seconds to three hours."""
        there = some_of(draws, directory, tuple(Role))
        by_s = round(10 ** (1 + 3 * draws.unit()), 1)
        way = "ahead" if draws.unit() < 0.5 else "behind"
        return None if there is None else there | {way: format_s(by_s)}

    def file_fields(self) -> dict[str, Any]:
        way = "ahead" if self.skew_s > 0 else "behind"
        return super().file_fields() | {way: format_s(abs(self.skew_s))}

    def summary(self) -> str:
        way = "ahead" if self.skew_s > 0 else "behind"
        return f"clock of {names(self.nodes)} {format_s(abs(self.skew_s))} {way}"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"clock of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        wrong = [node for node in self.nodes if (await lab.status(node)).skew_s]
        if wrong:
            raise ChaosError("KS-CHAOS-106", f"the clock of {names(tuple(wrong))} is wrong already")
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await self._set(lab, self.skew_s)

    async def _set(self, lab: LabUnderTest, seconds: float) -> None:
        await all_of(self.nodes, lambda node: lab.skew(node, seconds))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each clock is so far off as it should be."""
        return await self._off_by(lab, self.skew_s)

    async def _off_by(self, lab: LabUnderTest, seconds: float) -> str:
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None:
                return f"{node} cannot be asked"
            if status.skew_s != seconds:
                return f"the clock of {node} is off by {status.skew_s:g} s, not {seconds:g} s"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await self._set(lab, 0.0)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each clock is right again."""
        return await self._off_by(lab, 0.0)
