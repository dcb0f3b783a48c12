"""``point.fail``: one storage call of a node is refused."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from chaos.faults.base import Drawn, Fault, Notes, Params, Targets
from chaos.faults.points import PointFault, PointParams
from chaos.lab import LabUnderTest
from chaos.oracle.effects import FaultEffect
from chaos.points import Happening


class FailParams(PointParams):
    """``error``: ``enospc`` (the device is full) or ``eio`` (it fails)."""

    error: Literal["enospc", "eio"] = "eio"

    @property
    def happening(self) -> Happening:
        return Happening(self.error)


class PointFail(PointFault, frozen=True, kw_only=True):
    """One storage call of a node is refused, at the `point` of its entry; simulation only.

    With `moment: after` it has had its effect all the same.
    """

    kind: ClassVar[str] = "point.fail"
    example: ClassVar[str] = "error: eio, moment: before"
    effect: ClassVar[FaultEffect] = FaultEffect(failure_is_open=True)
    drawn: ClassVar[Drawn] = Drawn.AT_TIMES
    params: ClassVar[type[Params]] = FailParams
    lasts_s: ClassVar[float | None] = 0.0

    @classmethod
    def of(cls, id: str, params: FailParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.place(params, targets))

    def file_fields(self) -> dict[str, Any]:
        return {"on": str(self.node), "error": self.happening.value, "moment": self.moment.value}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        """The call has been refused."""

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The refused call is known by its name."""
        return "" if self.passage else f"no call of {self.node} was refused"

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """It is over with the call."""
        return ""
