"""How a lab of real processes grows: hosts that are added, and machines that get a place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.brokers.identities import Identities, agent_name
from lab.machines.roster import Roster
from lab.processes.agents import AgentProcess
from lab.processes.strikes import LabStrikes
from protocol.errors import NotAvailable
from protocol.messages.agent import NodeSpec

if TYPE_CHECKING:
    from lab.brokers.server import Broker
    from lab.topology.machine_plan import MachinePlan


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
        """A process of its own, with an identity that the running broker learns.

        ``NotAvailable`` for a host whose cluster has its datastore on another machine, and in a lab
        whose hosts come with their machines: processes of both would have the same numbers.
        """
        array = str(spec.config.get("datastore", ""))
        if self.topology.pools:
            pools = ", ".join(pool.pool for pool in self.topology.pools)
            raise NotAvailable(f"hosts of this lab come with machines that ask {pools} for a place")
        if self.roster is not None and array in self.roster.arrays:
            where = self.roster.arrays[array]
            raise NotAvailable(f"no host can be added to a cluster on machine {where} yet")
        if spec.node not in self._of:
            number = len(self._processes) + 1
            await self.data.admit(spec.node)
            self.identities.add_agent(number)
            await self.control.reload()
            process = AgentProcess(agent_name(number), [])
            try:
                await self._spawn(process)
            except BaseException:
                if process.child is not None:
                    process.child.kill()
                raise
            if self.roster is not None:
                await self.roster.know()
            self._processes.append(process)
            self._of[spec.node] = process
            process.nodes.append(spec.node)
        await super().add_node(spec)

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
