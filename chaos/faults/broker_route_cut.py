"""``broker.route_cut``: two servers of the bus lose the route between them; both go on.

Who is at one of them is not heard by who is at the other: requests end at their deadlines, and
events are lost. Who is at a third server hears both. No client sees the end of its connection, so
nobody goes elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, names
from chaos.faults.brokers import has_servers, verify_links
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.terms import NodeName

AWAY = "is down, or does not reach the others"
Server = Annotated[int, Field(ge=1, strict=True)]


class RouteParams(Params):
    """Two servers, counted from 1: ``between: [1, 2]``."""

    between: tuple[Server, Server]


class BrokerRouteCut(Fault, frozen=True, kw_only=True):
    """Two servers of the data broker do not reach each other; a third one reaches both."""

    kind: ClassVar[str] = "broker.route_cut"
    example: ClassVar[str] = "between: [1, 2]"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.BUS,), partly=True)
    drawn: ClassVar[Drawn] = Drawn.CLUSTERED_BUS
    params: ClassVar[type[Params]] = RouteParams
    between_servers: tuple[int, int]

    @classmethod
    def of(cls, id: str, params: RouteParams, targets: Targets) -> Fault:
        one, other = sorted(params.between)
        if one == other:
            raise ChaosError("KS-CHAOS-106", f"a route is between two servers, not {one} and {one}")
        for number in (one, other):
            has_servers(targets.directory, number)
        return cls(id=id, between_servers=(one, other))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        if directory.bus_servers < 2:
            return None
        first = draws.below(directory.bus_servers) + 1
        second = (first + draws.below(directory.bus_servers - 1)) % directory.bus_servers + 1
        return {"between": sorted((first, second))}

    def file_fields(self) -> dict[str, Any]:
        return {"between": list(self.between_servers)}

    def touches(self) -> tuple[NodeName, ...]:
        return ()

    def holds(self) -> tuple[str, ...]:
        return ("route between servers {} and {} of the bus".format(*self.between_servers),)

    def summary(self) -> str:
        one, other = self.between_servers
        return f"servers {one} and {other} of the bus do not reach each other"

    async def survey(self, lab: LabUnderTest) -> Notes:
        for number in self.between_servers:
            if not await lab.server_up(number):
                raise ChaosError("KS-CHAOS-106", f"server {number} of the bus {AWAY}")
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await lab.route_cut(*self.between_servers)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        one, other = self.between_servers
        if await lab.routed(one, other):
            return f"servers {one} and {other} of the bus still reach each other"
        there = [await lab.server_nodes(number) for number in (one, other)]
        if all(there):
            notes["apart"] = " from ".join(map(names, there))
        return ""

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """``apart``: which nodes were at one of them, and which at the other."""
        return {"apart": notes["apart"]} if notes.get("apart") else {}

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await lab.route_mend(*self.between_servers)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """They reach each other, and every running node has its link."""
        one, other = self.between_servers
        if not await lab.routed(one, other):
            return f"servers {one} and {other} of the bus do not reach each other"
        return await verify_links(lab)
