"""How a lab of real processes changes: what faults do to its processes and its data broker, hosts
that are added, and machines that get a place.
"""

from __future__ import annotations

import asyncio
import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from lab.brokers.data_bus import DataBus
from lab.brokers.identities import Identities, agent_name
from lab.core import LabCore
from lab.machines.roster import Roster
from lab.processes.agents import AgentProcess, ForkedProcess
from lab.schema.errors import KeysteadError
from protocol.errors import (
    Disconnected,
    InvalidState,
    NotAvailable,
    NotConnected,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
)
from protocol.messages.agent import HoldNode, NodeSpec, SetRules
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName
from services.runtime.each import for_each

if TYPE_CHECKING:
    from lab.brokers.server import Broker
    from lab.topology.machine_plan import MachinePlan


R = TypeVar("R", bound=Reply)

AGAIN_S: Final = 1.0  # real seconds until rules are sent again
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
        """A paused agent is left out: it gets the rules when it goes on. To an agent on another
        machine that does not answer, the rules are sent again until it answers."""
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
    """Turn the failure of a server to start, or to write its folder, into an error of the command:
    the fault stays listed, and other faults are healed."""
    try:
        yield
    except (KeysteadError, OSError) as error:
        raise InvalidState(str(error)) from None


_UNHEARD: Final = (Disconnected, NotSent, Refused, TimedOut)


class LabGrowth(LabStrikes):
    """The part of ``ProcessLab`` that makes identities and processes for nodes that come later."""

    identities: Identities
    control: Broker
    roster: Roster | None

    @abstractmethod
    async def _spawn(self, process: AgentProcess) -> None: ...

    @abstractmethod
    def _respawn_soon(self, process: AgentProcess) -> None: ...

    @property
    def next_process(self) -> int:
        """The number of the next process of this lab."""
        return len(self._processes) + 1

    async def add_node(self, spec: NodeSpec) -> None:
        """A process of its own, with an identity that the running broker learns; where its cluster
        stands. One that could not be added leaves nothing.

        KS-AGENT-008 when the machine of its cluster is away; ``NotAvailable`` in a lab whose hosts
        come with their machines: processes of both would have the same numbers.
        """
        if self.topology.pools:
            pools = ", ".join(pool.pool for pool in self.topology.pools)
            raise NotAvailable(f"hosts of this lab come with machines that ask {pools} for a place")
        if spec.node in self._of:
            await super().add_node(spec)
            return
        machine = self.roster.of_cluster(spec.cluster) if self.roster is not None else None
        if machine is not None and not machine.joined.is_set():
            text = f"machine {machine.name}, where hosts of {spec.cluster} stand, is away"
            raise KeysteadError("KS-AGENT-008", text)
        number = self.next_process
        process = AgentProcess(agent_name(number), [], machine=machine)
        try:
            await self.data.admit(spec.node)
            self.identities.add_agent(number)
            await self.control.reload()
            if self.roster is not None and machine is not None:
                self.roster.grow(machine, number, spec.node)
            await self._spawn(process)
            if self.roster is not None:
                await self.roster.know()
            self._processes.append(process)
            self._of[spec.node] = process
            process.nodes.append(spec.node)
            await super().add_node(spec)
        except BaseException as error:
            await self._let_go(spec.node, number, process)
            if machine is not None and isinstance(error, _UNHEARD):
                text = f"machine {machine.name} does not answer, and nothing was added: {error}"
                raise KeysteadError("KS-AGENT-008", text) from None
            raise

    async def _let_go(self, node: NodeName, number: int, process: AgentProcess) -> None:
        """It was not added: its process and its identity are of nobody."""
        if process in self._processes:
            self._processes.remove(process)
        self._of.pop(node, None)
        if process.child is not None:
            process.child.kill()
        if self.roster is not None and process.machine is not None:
            self.roster.shrink(number, node)
        self.identities.forget(node, process.name)
        with suppress(KeysteadError, ProductError):
            await self.data.admit()
            await self.control.reload()

    async def open_places(self, places: Sequence[tuple[NodeSpec, MachinePlan]]) -> None:
        """Let machines of a pool join, each with its one host, which is off then. Their processes
        have the numbers that follow those of the lab, in this order."""
        if self.roster is None:
            raise NotAvailable("this lab has no machines that could join")
        for spec, plan in places:
            self.identities.add(spec.node)
            process = AgentProcess(agent_name(plan.processes[0]), [spec.node])
            self.identities.add_agent(plan.processes[0])
            process.machine = self.roster.add(plan, [plan.nodes])
            self._processes.append(process)
            self._of[spec.node] = process
            self._specs[spec.node] = spec
            self._firmware.setdefault(spec.node, spec.firmware)
        self._directory = None
        await self.data.admit(*(spec.node for spec, _ in places))
        await self.control.reload()
        await self.roster.know()
        for spec, _ in places:
            self._respawn_soon(self._of[spec.node])
