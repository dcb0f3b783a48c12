"""``broker.restart``: the data broker ends; what was in flight is gone. At its end it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Notes, Params, Targets
from chaos.faults.brokers import has_servers, verify_links
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.terms import NodeName


class NoFaultParams(Params):
    """There is nothing to choose."""


class BrokerRestart(Fault, frozen=True, kw_only=True):
    """The data broker is down until the fault ends.

    The control broker is another one, and stays up.
    """

    kind: ClassVar[str] = "broker.restart"
    example: ClassVar[str] = ""
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.BUS,), undone_with=())
    params: ClassVar[type[Params]] = NoFaultParams

    @classmethod
    def of(cls, id: str, params: NoFaultParams, targets: Targets) -> Fault:
        has_servers(targets.directory, 1)
        return cls(id=id)

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return {} if directory.bus_servers else None

    def file_fields(self) -> dict[str, Any]:
        return {}

    def touches(self) -> tuple[NodeName, ...]:
        return ()

    def summary(self) -> str:
        return "the data broker is down"

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await lab.broker_stop()

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        return "the broker is still up" if await lab.broker_up() else ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        if not await lab.broker_up():
            await lab.broker_start()

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """It is up, and every running node has its link again: a canary from each to the next."""
        if not await lab.broker_up():
            return "the broker is down"
        return await verify_links(lab)
