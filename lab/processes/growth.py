"""How a lab of real processes grows: hosts that are added, and machines that get a place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lab.brokers.identities import Identities, agent_name
from lab.machines.roster import Roster
from lab.processes.agents import AgentProcess
from lab.processes.strikes import LabStrikes
from lab.schema.errors import KeysteadError
from protocol.errors import (
    Disconnected,
    NotAvailable,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
)
from protocol.messages.agent import NodeSpec
from protocol.terms import NodeName

if TYPE_CHECKING:
    from lab.brokers.server import Broker
    from lab.topology.machine_plan import MachinePlan


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
