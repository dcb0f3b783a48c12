"""``point.crash``: a node goes down within one storage call."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, status_of
from chaos.faults.points import PointFault, PointParams
from chaos.faults.power import is_back
from chaos.lab import LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from chaos.points import Happening
from protocol.messages.agent import NodeRunState


class CrashParams(PointParams):
    """``way``: ``crash`` (what was written stays), ``power_loss`` (what was synced stays), or
    ``torn`` (a part of what is written or synced is there, and then the end)."""

    way: Literal["crash", "power_loss", "torn"] = "crash"

    @property
    def happening(self) -> Happening:
        return Happening(self.way)


class PointCrash(PointFault, frozen=True, kw_only=True):
    """A node goes down within one storage call, at the `point` of its entry; simulation only.

    It is powered on at the end of the fault.
    """

    kind: ClassVar[str] = "point.crash"
    example: ClassVar[str] = "way: power_loss, moment: after"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,))
    drawn: ClassVar[Drawn] = Drawn.APART
    params: ClassVar[type[Params]] = CrashParams
    holds_power: ClassVar[bool] = True

    @classmethod
    def of(cls, id: str, params: CrashParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.place(params, targets))

    def file_fields(self) -> dict[str, Any]:
        return {"on": str(self.node), "way": self.happening.value, "moment": self.moment.value}

    async def survey(self, lab: LabUnderTest) -> Notes:
        """Its boot of now is that in which it went down: nothing else powers it on."""
        return {"boots": {str(self.node): (await lab.status(self.node)).boot}}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        """The blow has fallen within the call."""

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """It is off, and its last life ended so; or it has booted since."""
        status = await status_of(lab, self.node)
        if status is None:
            return f"{self.node} cannot be asked"
        if status.boot > notes["boots"][self.node]:
            return ""
        ways = ("crash", "power_loss") if self.happening is Happening.TORN else (self.happening,)
        if status.state is NodeRunState.OFF and status.ended in ways:
            return ""
        ended = f", last ended by {status.ended}" if status.ended else ""
        return f"{self.node} is {status.state.value}{ended}"

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await lab.power_on(self.node)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        return await is_back(lab, (self.node,), notes)
