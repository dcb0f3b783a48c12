"""Base of the faults that happen within a storage call of a node (``chaos.points``)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import msgspec

from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, status_of
from chaos.faults.nodes import is_back
from chaos.lab import LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from chaos.points import Blow, Happening, When
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName


class PointParams(Params):
    """``moment``: where in the call (``within``: a commit only). ``on`` is the point's node."""

    on: str | list[str] | dict[str, str | int]
    moment: When = When.BEFORE

    @property
    @abstractmethod
    def happening(self) -> Happening:
        """What falls at the point."""

    @property
    def blow(self) -> Blow:
        """It, and where in the call."""
        return Blow(self.happening, self.moment)


def select_node(params: PointParams, targets: Targets) -> NodeName:
    """The node of a point; KS-CHAOS-011 for more than one."""
    nodes = targets.nodes(params.on)
    if len(nodes) != 1:
        raise ChaosError("KS-CHAOS-011", f"{params.on} are {len(nodes)} nodes: a point has one")
    return nodes[0]


class PointFault(Fault, frozen=True, kw_only=True):
    """What has happened at the point that its entry waited for; ``passage`` names the call, and is
    there when it did."""

    at_point: ClassVar[bool] = True
    node: NodeName
    happening: Happening
    moment: When = When.BEFORE
    passage: str = ""

    @classmethod
    def of(cls, id: str, params: PointParams, targets: Targets) -> Fault:
        node = select_node(params, targets)
        return cls(id=id, node=node, happening=params.happening, moment=params.moment)

    def with_passage(self, passage: str) -> Fault:
        """This fault, which has happened in that call."""
        return msgspec.structs.replace(self, passage=passage)

    def touches(self) -> tuple[NodeName, ...]:
        return (self.node,)

    def summary(self) -> str:
        where = self.passage or f"a call of {self.node}"
        return f"{self.happening} {self.moment} {where}"


# Point crash ----------------------------------------------------------------------------------
#
# ``point.crash``: a node goes down within one storage call.


class CrashParams(PointParams):
    """``way``: ``crash`` (what was written stays), ``power_loss`` (what was synced stays), or
    ``torn`` (a part of what is written or synced is there, and then the end)."""

    way: Literal["crash", "power_loss", "torn"] = "crash"

    @property
    def happening(self) -> Happening:
        return Happening(self.way)


class PointCrash(PointFault, frozen=True, kw_only=True):
    """A node crashes within one storage call, at the `point` of its entry; simulation only.

    It is powered on at the end of the fault.
    """

    kind: ClassVar[str] = "point.crash"
    example: ClassVar[str] = "way: power_loss, moment: after"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,))
    drawn: ClassVar[Drawn] = Drawn.APART
    params: ClassVar[type[Params]] = CrashParams
    holds_power: ClassVar[bool] = True

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


# Point fail -----------------------------------------------------------------------------------
#
# ``point.fail``: one storage call of a node is refused.


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
