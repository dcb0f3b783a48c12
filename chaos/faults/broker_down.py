"""``broker.down``: one server of a bus that has several ends; its clients go to another one.

What was in flight at that server is gone: calls end in ``Disconnected``, which their flows take for
an unknown outcome, and events and replies are lost. How much of it there was is counted by nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets
from chaos.faults.brokers import has_servers, verify_links
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.terms import NodeName

LOST: Final = ("calls_cut", "replies_lost", "events_lost")
"""Counters of nodes for what they know to be lost with a link."""
MOVE_TRIES: Final = 5
MOVE_EVERY_S: Final = 1.0  # lab seconds


class ServerParams(Params):
    """The server, counted from 1: ``on: 2``."""

    on: int = Field(ge=1, strict=True)


class BrokerDown(Fault, frozen=True, kw_only=True):
    """One server of the data broker is down; nodes that were at it are at another one.

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
