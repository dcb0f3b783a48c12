"""What faults do to processes and to the data broker of a lab of real processes."""

from __future__ import annotations

import signal
from typing import Any, Final

from lab.brokers.server import Broker
from lab.core import LabCore
from lab.processes.agents import AgentProcess, Forked
from protocol.errors import NotConnected
from protocol.messages.agent import HoldNode
from protocol.terms import NodeName

CONTROL_FLOOR_S: Final = 10.0  # real seconds that an agent gets at least


class LabStrikes(LabCore):
    """The part of ``ProcessLab`` that signals processes, here and on other machines alike."""

    data: Broker
    _data_wanted: bool  # a fault may want the data broker down
    _of: dict[NodeName, AgentProcess]

    async def _tell(self, process: AgentProcess, message: Any, within_s: float) -> Any:
        raise NotImplementedError

    def _child(self, node: NodeName) -> Forked:
        self.spec(node)
        child = self._of[node].child
        if child is None:
            raise NotConnected(f"the process of {node} is down")
        return child

    async def kill(self, node: NodeName) -> None:
        """SIGKILL of the node's process, and of all nodes packed with it."""
        child = self._child(node)
        self._of[node].killed = True
        child.kill()
        await child.gone.wait()
        for other in self._of[node].nodes:
            if self.spec(other).role.value != "esxi":
                await self._refuse(other, True)

    async def respawned(self, node: NodeName) -> bool:
        return self._of[node].up.is_set()

    async def pause(self, node: NodeName) -> None:
        child, process = self._child(node), self._of[node]
        if len(process.nodes) > 1:
            await self._tell(process, HoldNode(node=node, held=True), CONTROL_FLOOR_S)
            process.held.add(node)
            return
        child.stopped = True
        child.signal(signal.SIGSTOP)

    async def resume(self, node: NodeName) -> None:
        child, process = self._child(node), self._of[node]
        if node in process.held:
            await self._tell(process, HoldNode(node=node, held=False), CONTROL_FLOOR_S)
            process.held.discard(node)
        if not child.stopped:
            return
        child.signal(signal.SIGCONT)
        child.stopped = False
        await self._tell(self._of[node], self.desired(), CONTROL_FLOOR_S)

    async def paused(self, node: NodeName) -> bool:
        self.spec(node)
        child = self._of[node].child
        return node in self._of[node].held or (child is not None and child.stopped)

    async def broker_stop(self) -> None:
        self._data_wanted = False
        await self.data.kill()

    async def broker_start(self) -> None:
        await self.data.start()
        self._data_wanted = True

    async def broker_up(self) -> bool:
        return self.data.alive() and not self.data.paused
