"""``proc.pause``: the process stands still (SIGSTOP); it is neither dead nor answering."""

from __future__ import annotations

from typing import ClassVar

from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets, all_of, names, running, status_of
from chaos.faults.links import ping
from chaos.faults.power import NodesFault, NodesParams
from chaos.lab import Lab
from protocol.terms import NodeName


class ProcPause(NodesFault, frozen=True, kw_only=True):
    """The processes of nodes stand still, and with them all nodes packed into the same ones."""

    kind: ClassVar[str] = "proc.pause"

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.chosen(params, targets))

    def summary(self) -> str:
        return f"pause {names(self.nodes)}"

    async def survey(self, lab: Lab) -> Notes:
        up = [node for node in self.nodes if await running(lab, node)]
        if not up:
            raise ChaosError("KS-CHAOS-106", f"{names(self.nodes)}: not running")
        return {"up": [str(node) for node in up]}

    def _up(self, notes: Notes) -> tuple[NodeName, ...]:
        return tuple(NodeName(node) for node in notes.get("up", self.nodes))

    async def begin(self, lab: Lab, until: float, notes: Notes) -> None:
        await all_of(self._up(notes), lab.pause)

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """Its process is stopped, and another node's canary to it stays unanswered."""
        nodes = self._up(notes)
        for node in nodes:
            if not await lab.paused(node):
                return f"{node} is not paused"
        others = [entry.node for entry in lab.directory().nodes if entry.node not in nodes]
        witnesses = [node for node in others if await running(lab, node)][:1]
        edges = [(witness, node) for witness in witnesses for node in nodes]
        for (witness, node), result in (await ping(lab, edges, within_s=1.0, count=1)).items():
            if result.answered:
                return f"{node} answers {witness}"
        return ""

    async def heal(self, lab: Lab, notes: Notes) -> None:
        await all_of(self._up(notes), lab.resume)

    async def healed(self, lab: Lab, notes: Notes) -> str:
        for node in self._up(notes):
            if await lab.paused(node):
                return f"{node} is still paused"
            if await status_of(lab, node) is None:
                return f"{node} cannot be asked"
        return ""
