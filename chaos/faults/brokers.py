"""What faults of the data broker share: its servers, and whether every node has its link to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, names, running
from chaos.faults.links import ping
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.terms import NodeName

WITHIN_S = 5.0  # lab seconds for one canary


def has_servers(directory: Directory, number: int) -> None:
    """KS-CHAOS-106 when the bus has no server of that number that is the lab's own."""
    there = directory.bus_servers
    if not there:
        text = "the servers of the bus are run by somebody else, and are not ours to end"
        raise ChaosError("KS-CHAOS-106", f"{text}; a bus of its own: `bus: {{servers: 3}}`")
    if number > there:
        text = f"there is no server {number} of the bus, which has {there}"
        raise ChaosError("KS-CHAOS-106", f"{text}; `bus: {{servers: 3}}` in the Lab file")


async def verify_links(lab: LabUnderTest) -> str:
    """Empty when a canary passes from each running node to the next, wherever no link rule is."""
    up = [e.node for e in lab.directory().nodes if await running(lab, e.node)]
    ruled = {(r.src, r.dst) for r in lab.rules()} | {(r.dst, r.src) for r in lab.rules()}
    ring = zip(up, up[1:] + up[:1], strict=True)
    edges = [(x, y) for x, y in ring if x != y and (x, y) not in ruled]
    for (x, y), result in (await ping(lab, edges, within_s=WITHIN_S, count=1)).items():
        if not result.answered:
            return f"no canary passes from {x} to {y}: {result.error}"
    return ""


# Broker down ----------------------------------------------------------------------------------
#
# ``broker.down``: one server of a bus that has several ends; its clients go to another one.
#
# What was in flight at that server is gone: calls end in ``Disconnected``, which their flows take
# for an unknown outcome, and events and replies are lost. How much of it there was is counted by
# nodes.

LOST: Final = ("calls_cut", "replies_lost", "events_lost")
"""Counters of nodes for what they know to be lost with a link."""
MOVE_TRIES: Final = 5
MOVE_EVERY_S: Final = 1.0  # lab seconds


class ServerParams(Params):
    """The server, counted from 1: ``on: 2``."""

    on: int = Field(ge=1, strict=True)


class BrokerDown(Fault, frozen=True, kw_only=True):
    """One server of the data broker is down; its nodes connect to another one.

    They stay there when it is up again. The control broker is another one, and stays up.
    """

    kind: ClassVar[str] = "broker.down"
    example: ClassVar[str] = "on: 1"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.BUS,), passes_by=True)
    drawn: ClassVar[Drawn] = Drawn.CLUSTERED_BUS
    params: ClassVar[type[Params]] = ServerParams
    on: int

    @classmethod
    def of(cls, id: str, params: ServerParams, targets: Targets) -> Fault:
        has_servers(targets.directory, params.on)
        return cls(id=id, on=params.on)

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        if directory.bus_servers < 2:
            return None
        return {"on": draws.below(directory.bus_servers) + 1}

    def file_fields(self) -> dict[str, Any]:
        return {"on": self.on}

    def touches(self) -> tuple[NodeName, ...]:
        return ()

    def summary(self) -> str:
        return f"server {self.on} of the bus is down"

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``before``: what each node has counted so far of lost links and what went with them."""
        others = [n for n in range(1, lab.directory().bus_servers + 1) if n != self.on]
        if not await lab.server_up(self.on):
            text = f"server {self.on} of the bus is down already, or does not reach the others"
            raise ChaosError("KS-CHAOS-106", text)
        if not [number for number in others if await lab.server_up(number)]:
            text = f"server {self.on} is the only one of the bus that is up"
            raise ChaosError("KS-CHAOS-106", f"{text}; without any: broker.restart")
        return {"before": await _fetch_counters(lab)}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await lab.server_stop(self.on)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """It is down. Whoever was at it has some time to go to another; one that does not is told,
        and is no matter of this check: it is what the fault was made to find."""
        if await lab.server_up(self.on):
            return f"server {self.on} of the bus is still up"
        for _ in range(MOVE_TRIES):
            notes["parted"] = await verify_links(lab)
            if not notes["parted"]:
                break
            await lab.sleep(MOVE_EVERY_S)
        before, now = notes["before"], await _fetch_counters(lab)
        grown = {node: _grown(before.get(node, {}), counted) for node, counted in now.items()}
        notes["moved"] = sorted(node for node, by in grown.items() if by.get("disconnects"))
        notes["lost"] = {name: sum(by.get(name, 0) for by in grown.values()) for name in LOST}
        return ""

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """``moved``: nodes that were at it; ``lost``: what they know to be lost with it;
        ``parted``: who does not reach whom since then."""
        return {name: notes[name] for name in ("moved", "lost", "parted") if notes.get(name)}

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await lab.server_start(self.on)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """It is up and reaches the others, and every running node has its link."""
        if not await lab.broker_up():
            return "all servers of the bus are down; broker.restart has to be healed first"
        if not await lab.server_up(self.on):
            return f"server {self.on} of the bus is down, or does not reach the others"
        return await verify_links(lab)


async def _fetch_counters(lab: LabUnderTest) -> dict[str, dict[str, int]]:
    names = ("disconnects", *LOST)
    return {
        str(node): {name: status.counters.get(name, 0) for name in names}
        for node, status in (await lab.statuses()).items()
    }


def _grown(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in now.items()}


# Broker restart -------------------------------------------------------------------------------
#
# ``broker.restart``: the data broker ends; what was in flight is gone. At its end it starts.


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


# Broker route cut -----------------------------------------------------------------------------
#
# ``broker.route_cut``: two servers of the bus lose the route between them; both go on.
#
# Who is at one of them is not heard by who is at the other: requests end at their deadlines, and
# events are lost. Who is at a third server hears both. No client sees the end of its connection,
# so nobody goes elsewhere.

AWAY = "is down, or does not reach the others"
Server = Annotated[int, Field(ge=1, strict=True)]


class RouteParams(Params):
    """Two servers, counted from 1: ``between: [1, 2]``."""

    between: tuple[Server, Server]


class BrokerRouteCut(Fault, frozen=True, kw_only=True):
    """Two servers of the data broker cannot reach each other; a third one reaches both."""

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
