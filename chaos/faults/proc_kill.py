"""``proc.kill``: the process of a node is killed: a kernel crash of every node in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Notes, Targets, all_of, names, status_of
from chaos.faults.power import NodesFault, NodesParams, boots_of, is_back, some_of, was_on
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName, Role

RESPAWN_WITHIN_S = 120.0
LOOK_EVERY_S = 0.5


class ProcKill(NodesFault, frozen=True, kw_only=True):
    """The processes of nodes are killed; the written image survives.

    The supervisor respawns the process; its nodes stay off until the fault ends. Nodes packed into
    the same process go down and come back with it.
    """

    kind: ClassVar[str] = "proc.kill"
    example: ClassVar[str] = "on: kms"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,), undone_with=(), spreads=True)
    holds_power: ClassVar[bool] = True

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, tuple(Role))

    def summary(self) -> str:
        return f"kill the process of {names(self.nodes)}"

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes = await boots_of(lab, self.nodes)
        every = tuple(entry.node for entry in lab.directory().nodes)
        return notes | {"all": (await boots_of(lab, every))["boots"]}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(was_on(notes, self.nodes), lab.kill)
        notes["fell"] = await self._fell(lab, notes)

    async def _fell(self, lab: LabUnderTest, notes: Notes) -> list[str]:
        """The other nodes that do not run any more: of those that go down later, another fault or
        they themselves are the cause."""
        seen = await lab.statuses(counters=False)
        alive = {
            node for node, status in seen.items() if status.state is not NodeRunState.OFF
        } | set(self.nodes)
        return [name for name in notes.get("all", {}) if name not in alive]

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        for node in was_on(notes, self.nodes):
            status = await status_of(lab, node)
            if status is None or status.boot > notes["boots"][node]:
                continue
            if status.state is not NodeRunState.OFF:
                return f"{node} is {status.state.value} in the same boot"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        async def back(node: NodeName) -> None:
            waited_s = 0.0
            while not await lab.respawned(node):
                if waited_s >= RESPAWN_WITHIN_S:
                    raise InvalidState(f"the process of {node} does not come back")
                await lab.sleep(LOOK_EVERY_S)
                waited_s += LOOK_EVERY_S
            await lab.power_on(node)

        await all_of(was_on(notes, self.nodes), back)
        await all_of(await self._find_dragged_nodes(lab, notes), back)

    async def _find_dragged_nodes(self, lab: LabUnderTest, notes: Notes) -> tuple[NodeName, ...]:
        """Nodes that went down with the process: off in their boot of before, and not by a stop
        or a loss of power (a fresh process may not know how its nodes' last lives ended)."""
        found: list[NodeName] = []
        every: dict[str, int] = notes.get("all", {})
        fell: Collection[str] = notes["fell"] if "fell" in notes else every
        for name, boot in every.items():
            if name not in fell and name not in self.nodes:
                continue
            status = await status_of(lab, NodeName(name))
            down = status is not None and status.state is NodeRunState.OFF
            if status is None or not down or status.boot != boot:
                continue
            if status.ended not in ("stop", "power_loss"):
                found.append(NodeName(name))
        return tuple(found)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        dragged = await self._find_dragged_nodes(lab, notes)
        if dragged:
            return f"{names(dragged)} went down with it and is still off"
        return await is_back(lab, was_on(notes, self.nodes), notes)
