"""A lab of real processes: brokers, agents, signals. Implements ``chaos.lab.Lab``.

It lives in one process, the supervisor: the background process of ``up``, or the command
``chaos run`` itself. Everything it starts dies with it.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import SUPERVISOR, Identities, agent_name
from lab.brokers.server import Broker
from lab.core import LabCore
from lab.processes.agent import AgentConfig
from lab.processes.agents import Agents
from lab.topology.plan import Topology
from protocol.errors import NotConnected, ProductError
from protocol.messages.agent import AddNode, NodeSpec, SetFirmware, TpmBackend
from protocol.messages.base import Event, Reply, Request
from protocol.terms import NodeName
from services.runtime.each import for_each, try_each
from services.runtime.forking.children import ChildProcess
from services.runtime.real.world import LabTime

R = TypeVar("R", bound=Reply)

CONTROL_FLOOR_S = 10.0  # real seconds that an agent gets at least
LEASE_TICK_S = 0.5  # real seconds between looks at leases
STOP_LIMIT_S = 20.0  # real seconds for the orderly stop of all nodes


@dataclass
class AgentProcess:
    """One agent: its name on the control broker, its process, its nodes."""

    name: str
    nodes: list[NodeName]
    child: ChildProcess | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)


class ProcessLab(LabCore):
    """See ``LabCore``. ``start`` makes brokers and agents; nodes are off after it."""

    def __init__(
        self, folder: Path, topology: Topology, time: LabTime, seed: int, *, patch: str = ""
    ) -> None:
        super().__init__(topology)
        self.folder, self.time, self.seed = folder, time, seed
        self._patch = patch
        self.identities = Identities.create(folder, [s.node for s in topology.nodes], 0)
        self.data = Broker(folder, self.identities, BrokerKind.DATA)
        self.control = Broker(folder, self.identities, BrokerKind.CONTROL)
        real = any(s.tpm is TpmBackend.LIBTPMS for s in topology.nodes)
        self.agents = Agents(folder / "logs" / "fork.err", real_tpms=real)
        self.agents.on_end = self._child_ended
        self._processes: list[AgentProcess] = []
        self._of: dict[NodeName, AgentProcess] = {}
        self._client: ControlClient | None = None
        self._respawns: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def mode(self) -> str:
        return "lab"

    # ---- start and stop -----------------------------------------------------------------------

    async def start(self) -> None:
        """Brokers, fork server, agents with their nodes (off). All or, on failure, nothing."""
        for number, nodes in enumerate(self.topology.groups, 1):
            process = AgentProcess(agent_name(number), list(nodes))
            self.identities.add_agent(number)
            self._processes.append(process)
            self._of.update({node: process for node in nodes})
        try:
            starts = (self.data.start, self.control.start, self.agents.start)
            await for_each(starts, lambda start: start())
            seed = self.identities.control(SUPERVISOR).seed
            self._client = ControlClient(self.control.url, seed, SUPERVISOR)
            await self._client.open()
            await for_each(self._processes, self._spawn)
        except BaseException:
            await self.close()
            raise

    async def _spawn(self, process: AgentProcess) -> None:
        config = AgentConfig(
            name=process.name,
            folder=str(self.folder),
            control_url=self.control.url,
            data_url=self.data.url,
            epoch=self.time.epoch,
            wall=self.time.wall,
            pace=self.time.pace,
            seed=self.seed,
            patch=self._patch,
        )
        label = f"ks-{process.nodes[0]}" if process.nodes else "ks-agent"
        process.child = await self.agents.spawn(label, config)
        for node in process.nodes:
            await self._tell(process, AddNode(spec=self._specs[node]), CONTROL_FLOOR_S)
            if self._firmware[node] != self._specs[node].firmware:
                change = SetFirmware(node=node, firmware=self._firmware[node])
                await self._tell(process, change, CONTROL_FLOOR_S)
        if self._desired.epoch:
            await self._tell(process, self.desired(), CONTROL_FLOOR_S)
        process.up.set()

    def _child_ended(self, child: ChildProcess) -> None:
        """A killed agent comes back with its nodes off, as a machine does that lost its kernel."""
        process = next((w for w in self._processes if w.child is child), None)
        if process is None or self._closing:
            return
        process.up.clear()
        task = asyncio.get_running_loop().create_task(self._spawn(process))
        self._respawns.add(task)
        task.add_done_callback(self._respawns.discard)

    async def close(self, *, orderly: bool = False) -> None:
        """End everything. ``orderly``: nodes are stopped first, hosts before what they need."""
        if orderly and self._client is not None:
            await self._stop_nodes()
        self._closing = True
        for task in list(self._respawns):
            task.cancel()
        if self._client is not None:
            await self._client.close()
            self._client = None
        self.agents.close()
        await self.data.stop()
        await self.control.stop()

    async def _stop_nodes(self) -> None:
        last = {self.vcenter, *(s.node for s in self.topology.nodes if s.role.value == "kms")}
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                for wave in (self.hosts(), (self.vcenter,), tuple(last - {self.vcenter})):
                    await try_each(wave, lambda node: self.power_off(node, "stop"))
        except TimeoutError:
            return  # what did not stop in time is cut: its written state survives

    # ---- talking to agents ----------------------------------------------------------------------

    @property
    def client(self) -> ControlClient:
        if self._client is None:
            raise NotConnected("the lab is not running")
        return self._client

    async def listen(self, callback: Callable[[str, Event], None]) -> None:
        """Events of agents: their nodes' records."""
        await self.client.subscribe_events(callback)

    async def _tell(self, process: AgentProcess, message: Request[R], within_s: float) -> R:
        return await self.client.request(process.name, message, within_s=within_s)

    async def tell(self, node: NodeName, message: Request[R], within_s: float) -> R:
        self.spec(node)
        process = self._of[node]
        if process.child is not None and process.child.stopped:
            raise NotConnected(f"{node} is paused")
        real_s = max(within_s / self.time.pace, CONTROL_FLOOR_S)
        try:
            async with asyncio.timeout(real_s):
                await process.up.wait()
        except TimeoutError:
            raise NotConnected(f"the process of {node} is down") from None
        return await self._tell(process, message, real_s)

    async def tell_all(self, message: Request[R]) -> tuple[R, ...]:
        """A paused agent is left out: it gets the rules when it goes on."""
        alive = [
            w
            for w in self._processes
            if w.up.is_set() and w.child is not None and not w.child.stopped
        ]

        async def one(process: AgentProcess) -> R | None:
            try:
                return await self._tell(process, message, CONTROL_FLOOR_S)
            except ProductError:
                if process.up.is_set() and not (process.child and process.child.stopped):
                    raise
                return None  # it went meanwhile

        return tuple(r for r in await for_each(alive, one) if r is not None)

    # ---- time, ids ------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.time.monotonic()

    @property
    def lease_tick_s(self) -> float:
        return LEASE_TICK_S * self.time.pace

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.time.pace)

    def operation_id(self) -> str:
        return str(uuid.uuid4())

    # ---- processes and broker -------------------------------------------------------------------

    def _child(self, node: NodeName) -> ChildProcess:
        self.spec(node)
        child = self._of[node].child
        if child is None:
            raise NotConnected(f"the process of {node} is down")
        return child

    async def kill(self, node: NodeName) -> None:
        """SIGKILL of the node's process, and of all nodes packed with it."""
        child = self._child(node)
        child.signal(signal.SIGKILL)
        await child.gone.wait()
        for other in self._of[node].nodes:
            if self.spec(other).role.value != "esxi":
                await self._refuse(other, True)

    async def respawned(self, node: NodeName) -> bool:
        return self._of[node].up.is_set()

    async def pause(self, node: NodeName) -> None:
        child = self._child(node)
        child.stopped = True
        child.signal(signal.SIGSTOP)

    async def resume(self, node: NodeName) -> None:
        child = self._child(node)
        child.signal(signal.SIGCONT)
        child.stopped = False
        await self._tell(self._of[node], self.desired(), CONTROL_FLOOR_S)

    async def paused(self, node: NodeName) -> bool:
        self.spec(node)
        child = self._of[node].child
        return child is not None and child.stopped

    async def broker_stop(self) -> None:
        await self.data.kill()

    async def broker_start(self) -> None:
        await self.data.start()

    async def broker_up(self) -> bool:
        return self.data.alive() and not self.data.paused

    # ---- growing --------------------------------------------------------------------------------

    async def add_node(self, spec: NodeSpec) -> None:
        """A process of its own, with an identity that the running broker learns."""
        if spec.node not in self._of:
            number = len(self._processes) + 1
            self.identities.add(spec.node)
            self.identities.add_agent(number)
            await self.data.reload()
            await self.control.reload()
            process = AgentProcess(agent_name(number), [])
            self._processes.append(process)
            self._of[spec.node] = process
            await self._spawn(process)
            process.nodes.append(spec.node)
        await super().add_node(spec)
