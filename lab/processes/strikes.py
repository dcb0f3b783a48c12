"""What faults do to processes and to the data broker of a lab of real processes."""

from __future__ import annotations

import asyncio
import signal
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from lab.brokers.data_bus import DataBus
from lab.core import LabCore
from lab.processes.agents import AgentProcess, ForkedProcess
from lab.schema.errors import KeysteadError
from protocol.errors import InvalidState, NotConnected, ProductError
from protocol.messages.agent import HoldNode, SetRules
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName
from services.runtime.each import for_each

R = TypeVar("R", bound=Reply)

AGAIN_S: Final = 1.0  # real seconds until rules are told again
CONTROL_FLOOR_S: Final = 10.0  # real seconds that an agent gets at least


class LabStrikes(LabCore):
    """The part of ``ProcessLab`` that signals processes, here and on other machines alike."""

    data: DataBus
    _of: dict[NodeName, AgentProcess]

    _processes: list[AgentProcess]
    _telling: set[asyncio.Task[None]]  # rules again

    @abstractmethod
    async def _tell(self, process: AgentProcess, message: Request[R], within_s: float) -> R: ...

    async def tell_all(self, message: Request[R]) -> tuple[R, ...]:
        """A paused agent is left out: it gets the rules when it goes on, and so does one on another
        machine that does not answer: it is told them until it does."""
        alive = [process for process in self._processes if process.listens]

        async def one(process: AgentProcess) -> R | None:
            try:
                return await self._tell(process, message, CONTROL_FLOOR_S)
            except ProductError:
                if process.machine is not None:
                    if isinstance(message, SetRules):
                        self._telling.add(task := asyncio.create_task(self._retold(process)))
                        task.add_done_callback(self._telling.discard)
                elif process.up.is_set() and not (process.child and process.child.stopped):
                    raise
                return None  # it went meanwhile

        return tuple(r for r in await for_each(alive, one) if r is not None)

    async def _retold(self, process: AgentProcess) -> None:
        """The desired rules reach a process that did not hear of a change, if it lives on."""
        child = process.child
        while process.listens and process.child is child:
            try:
                await self._tell(process, self.next_rules(), CONTROL_FLOOR_S)
            except ProductError:
                await asyncio.sleep(AGAIN_S)
            else:
                return

    def _child(self, node: NodeName) -> ForkedProcess:
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
        await self._tell(self._of[node], self.next_rules(), CONTROL_FLOOR_S)

    async def paused(self, node: NodeName) -> bool:
        self.spec(node)
        child = self._of[node].child
        return node in self._of[node].held or (child is not None and child.stopped)

    async def broker_stop(self) -> None:
        await self.data.kill()

    async def broker_start(self) -> None:
        with _convert_errors():
            await self.data.start()

    async def broker_up(self) -> bool:
        return self.data.answers

    async def server_stop(self, number: int) -> None:
        await self.data.stop_one(number)

    async def server_start(self, number: int) -> None:
        with _convert_errors():
            await self.data.start_one(number)

    async def server_up(self, number: int) -> bool:
        return await self.data.up(number)

    async def server_nodes(self, number: int) -> tuple[NodeName, ...]:
        known = {str(entry.node) for entry in self.directory().nodes}
        return tuple(NodeName(n) for n in sorted(await self.data.clients(number)) if n in known)

    async def route_cut(self, one: int, other: int) -> None:
        with _convert_errors():
            await self.data.cut_route(one, other)

    async def route_mend(self, one: int, other: int) -> None:
        with _convert_errors():
            await self.data.mend_route(one, other)

    async def routed(self, one: int, other: int) -> bool:
        return await self.data.routed(one, other)


@contextmanager
def _convert_errors() -> Iterator[None]:
    """A server that does not start, or whose folder cannot be written, is told as what a command of
    the lab came to: the fault stays listed, and others are healed all the same."""
    try:
        yield
    except (KeysteadError, OSError) as error:
        raise InvalidState(str(error)) from None
