"""Faults of processes: a node's process is killed or held, a vCenter is off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, all_of, names, running, status_of
from chaos.faults.links import HEAL_WITHIN_S, Edge, kept_away, on_edge, ping
from chaos.faults.power import (
    NodesFault,
    NodesParams,
    PowerFault,
    boots_of,
    is_back,
    some_of,
    was_on,
)
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName, Role

# Proc kill ------------------------------------------------------------------------------------
#
# ``proc.kill``: the process of a node is killed: a kernel crash of every node in it.

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


# Proc pause -----------------------------------------------------------------------------------
#
# ``proc.pause``: a node stands still; it is neither dead nor answering.


class ProcPause(NodesFault, frozen=True, kw_only=True):
    """Nodes stand still: a process of one node by signal (SIGSTOP), one of many in a process by
    itself: it receives and sends nothing, and none of its waits ends."""

    kind: ClassVar[str] = "proc.pause"
    example: ClassVar[str] = "on: vcenter"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.STEPS,), undone_with=("nodes",))

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, tuple(Role))

    def summary(self) -> str:
        return f"pause {names(self.nodes)}"

    def holds(self) -> tuple[str, ...]:
        """The first of two to end would let the node go on."""
        return tuple(f"process of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        up = [node for node in self.nodes if await running(lab, node)]
        if not up:
            raise ChaosError("KS-CHAOS-106", f"{names(self.nodes)}: not running")
        return {"up": [str(node) for node in up]}

    def _up(self, notes: Notes) -> tuple[NodeName, ...]:
        return tuple(NodeName(node) for node in notes.get("up", self.nodes))

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(self._up(notes), lab.pause)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Its process is stopped, and another node's canary to it stays unanswered."""
        nodes = self._up(notes)
        for node in nodes:
            if not await lab.paused(node):
                return f"{node} is not paused"
        edges = await self._list_witness_edges(lab, nodes)
        for (witness, node), result in (await ping(lab, edges, within_s=1.0, count=1)).items():
            if result.answered:
                return f"{node} answers {witness}"
        return ""

    async def _list_witness_edges(
        self, lab: LabUnderTest, nodes: tuple[NodeName, ...]
    ) -> list[Edge]:
        """From the first other node that runs, to each of ``nodes``."""
        others = [entry.node for entry in lab.directory().nodes if entry.node not in nodes]
        witnesses = [node for node in others if await running(lab, node)][:1]
        return [(witness, node) for witness in witnesses for node in nodes]

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await all_of(self._up(notes), lab.resume)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Its process goes on, and those that run answer another node's canary."""
        for node in self._up(notes):
            if await lab.paused(node):
                return f"{node} is still paused"
            if await status_of(lab, node) is None:
                return f"{node} cannot be asked"
        up = tuple([node for node in self._up(notes) if await running(lab, node)])
        edges = [
            e for e in await self._list_witness_edges(lab, up) if not kept_away(on_edge(lab, e))
        ]
        results = await ping(lab, edges, within_s=HEAL_WITHIN_S, count=1)
        for (witness, node), result in results.items():
            if not result.answered and await lab.broker_up():
                return f"{node} does not answer {witness}"
        return ""


# Vcenter down ---------------------------------------------------------------------------------
#
# ``vcenter.down``: vCenter stops hard (F2); at its end it is started again.


class VcenterDownParams(NodesParams):
    """Which vCenter; when it is left out, every one of the lab."""

    on: str | list[str] | dict[str, str | int] = "role:vcenter"


class VcenterDown(PowerFault, frozen=True, kw_only=True):
    """A crash of every vCenter selected; ``clients`` are two others that call it in vain."""

    kind: ClassVar[str] = "vcenter.down"
    example: ClassVar[str] = ""
    inside: ClassVar[tuple[str, ...]] = ("host.power_loss", "host.reboot")
    params: ClassVar[type[Params]] = VcenterDownParams
    role: ClassVar[Role | None] = Role.VCENTER
    way: ClassVar[str] = "crash"
    verb: ClassVar[str] = "crash of"
    clients: tuple[NodeName, ...] = ()

    @classmethod
    def of(cls, id: str, params: VcenterDownParams, targets: Targets) -> Fault:
        clients = targets.of_role(Role.ESXI)[:2]
        return cls(id=id, clients=clients, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return {}

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        problem = await super().bites(lab, notes)
        if problem:
            return problem
        askers = [node for node in self.clients if await running(lab, node)]
        edges = [(asker, node) for asker in askers for node in self.nodes]
        for (asker, node), result in (await ping(lab, edges, within_s=1.0, count=1)).items():
            if result.answered:
                return f"{node} answers {asker}"
        return ""
