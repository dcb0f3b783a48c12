"""``proc.pause``: a node stands still; it is neither dead nor answering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets, all_of, names, running, status_of
from chaos.faults.links import HEAL_WITHIN_S, Edge, kept_away, on_edge, ping
from chaos.faults.power import NodesFault, NodesParams, some_of
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.terms import NodeName, Role


class ProcPause(NodesFault, frozen=True, kw_only=True):
    """Nodes stand still: a process of one node by signal (SIGSTOP), one of many in a process by
    itself: nothing reaches it, nothing leaves it, and no wait of it ends."""

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
