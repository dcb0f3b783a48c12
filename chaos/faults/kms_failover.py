"""``kms.failover``: the operator has another key server take the changes (mode ``forward``).

The server that took them hears of it when the two reach each other. Cut off, it goes on, and there
are two for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, running
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import NOTHING, FaultEffect
from protocol.messages.kms import MakeActive, QueryGroup
from protocol.terms import NodeName, Role


class FailoverParams(Params):
    """The server that shall take changes: ``to: kms-2``."""

    to: str


class KmsFailover(Fault, frozen=True, kw_only=True):
    """Another key server of the group is active; at the end the earlier one is again."""

    kind: ClassVar[str] = "kms.failover"
    example: ClassVar[str] = "to: kms"
    effect: ClassVar[FaultEffect] = NOTHING
    drawn: ClassVar[Drawn] = Drawn.ACTIVE_SERVER
    params: ClassVar[type[Params]] = FailoverParams
    to: NodeName

    @classmethod
    def of(cls, id: str, params: FailoverParams, targets: Targets) -> Fault:
        found = targets.nodes(params.to, Role.KMS)
        if len(found) != 1:
            raise ChaosError("KS-CHAOS-004", f"{params.to} is not one key server")
        return cls(id=id, to=found[0])

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        there = [entry.node for entry in directory.nodes if entry.replication == "forward"]
        return {"to": str(there[draws.below(len(there))])} if there else None

    def file_fields(self) -> dict[str, Any]:
        return {"to": str(self.to)}

    def touches(self) -> tuple[NodeName, ...]:
        return (self.to,)

    def summary(self) -> str:
        return f"{self.to} takes the changes"

    def holds(self) -> tuple[str, ...]:
        return ("which key server is active",)

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``before``: who took the changes."""
        active = (await lab.ask(self.to, QueryGroup())).active
        if active is None:
            text = f"{self.to} is in no group with an active server (replication: forward)"
            raise ChaosError("KS-CHAOS-106", text)
        if active == self.to:
            raise ChaosError("KS-CHAOS-106", f"{self.to} is active already")
        return {"before": str(active)}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await lab.ask(self.to, MakeActive())

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """By its own word, it takes the changes."""
        active = (await lab.ask(self.to, QueryGroup())).active
        return "" if active == self.to else f"{self.to} has {active} as active"

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        before = NodeName(notes["before"])
        if await running(lab, before):
            await lab.ask(before, MakeActive())

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """The earlier one takes the changes by its own word, and that of the other."""
        before = NodeName(notes["before"])
        for server in (before, self.to):
            if not await running(lab, server):
                return f"{server} is off, so it cannot be asked who is active"
            active = (await lab.ask(server, QueryGroup())).active
            if active != before:
                return f"{server} has {active} as active"
        return ""
