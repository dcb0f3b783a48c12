"""A lab of real processes: brokers, agents, signals. Implements ``chaos.lab.LabUnderTest``.

It lives in one process, the supervisor: that of ``up``, or the command ``chaos run``. All it starts
dies with it. What dies by itself is started again: a broker at once, on its port; the fork server
with all agents, whose nodes are off then. When one cannot be had again the lab is lost.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Final, TypeVar

from chaos.faults.base import names
from lab.brokers.bus_servers import bus_of
from lab.brokers.configuration import AgentConfig, BrokerKind
from lab.brokers.control_plane import ControlClient
from lab.brokers.data_bus import open_tap
from lab.brokers.identities import SUPERVISOR, agent_name
from lab.brokers.server import Broker
from lab.building.course import Course, Report, unheard
from lab.logs.records import NodeLogs
from lab.machines.roster import Roster
from lab.processes.agents import (
    PAUSES_S,
    AgentProcess,
    Agents,
    ForkedProcess,
    Part,
    Revival,
    log_of,
    own_records,
)
from lab.processes.process_changes import CONTROL_FLOOR_S, LabGrowth
from lab.schema.errors import KeysteadError
from lab.topology.plan import Topology
from lab.topology.secret_files import read_soon
from protocol.errors import NotAvailable, NotConnected, ProductError, TimedOut
from protocol.messages.agent import AddNode, DiskAct, HoldNode, NodeRecord, SetFirmware, TpmBackend
from protocol.messages.base import Event, Reply, Request
from protocol.terms import NodeName, Role, VmName
from services.runtime.each import for_each, try_each
from services.runtime.forking.children import ChildProcess
from services.runtime.real.image_folders import IMAGES, TREES
from services.runtime.real.world import WRITTEN, LabTime
from services.runtime.world import TapCallback

# ---- files ---------------------------------------------------------------------------------------
# What lies on the disks and datastores of a lab of real processes, behind its nodes' backs.

_ANY: Final = NodeName("")


class LabFiles:
    """The part of ``LabCore`` that is about files; ``folder`` is the lab's.

    ``NotAvailable`` for what lies on another machine.
    """

    folder: Path
    roster: Roster | None

    def _lies_here(self, node: NodeName = _ANY, array: str = "") -> None:
        if self.roster is None:
            return
        machine = self.roster.of_node(node)
        where = machine.name if machine else self.roster.arrays.get(array, "")
        if node == _ANY and not array:
            where = ", ".join(self.roster.machines)
        if where:
            what = f"the files of {node or array or 'all nodes'}"
            raise NotAvailable(f"{what} lie on machine {where}, where nobody looks from here")

    async def tpm_nv(self, node: NodeName) -> bytes:
        self._lies_here(node)

        def read() -> bytes:
            path = self.folder / "tpm" / f"{node}.nv"
            return path.read_bytes() if path.is_file() else b""

        return await asyncio.to_thread(read)

    async def log_lines(self, kind: str, since: float) -> list[NodeRecord]:
        logs = NodeLogs(self.folder / "logs")
        return [line for line in await asyncio.to_thread(logs.read, since) if line.kind == kind]

    async def at_rest(self) -> list[tuple[str, bytes]]:
        self._lies_here()
        return await asyncio.to_thread(lambda: list(_files(self.folder)))

    async def read_named_file(self, path: str) -> bytes:
        return await read_soon(path)

    async def disk_file(self, node: NodeName, path: str) -> bytes:
        self._lies_here(node)
        return await asyncio.to_thread((self.folder / "nodes" / node / WRITTEN / path).read_bytes)

    async def disk_images(self, node: NodeName) -> list[tuple[str, bytes]]:
        self._lies_here(node)

        def read() -> list[tuple[str, bytes]]:
            disk = self.folder / "nodes" / node / "disk"
            files = [file for tree in TREES for file in sorted((disk / tree).rglob("*"))]
            return [
                (str(file.relative_to(disk)), file.read_bytes()) for file in files if file.is_file()
            ]

        return await asyncio.to_thread(read)

    async def put_disk_file(self, node: NodeName, path: str, data: bytes) -> None:
        self._lies_here(node)

        def put() -> None:
            for tree in IMAGES:  # in place: a name of the synced image is a link to one of these
                (self.folder / "nodes" / node / "disk" / tree / path).write_bytes(data)

        await asyncio.to_thread(put)

    async def datastore_file(self, datastore: str, vm: VmName, file: str) -> bytes:
        return await asyncio.to_thread(self._vm_file(datastore, vm, file).read_bytes)

    async def spoil(self, datastore: str, vm: VmName, file: str, data: bytes) -> None:
        def over() -> None:
            with self._vm_file(datastore, vm, file).open("r+b") as there:
                there.write(data)

        await asyncio.to_thread(over)

    def _vm_file(self, datastore: str, vm: VmName, file: str) -> Path:
        self._lies_here(array=datastore)
        return self.folder / "arrays" / datastore / "vms" / vm / file


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below the folder that is still there when it is read."""
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder)), path.read_bytes()


R = TypeVar("R", bound=Reply)

LEASE_TICK_S = 0.5  # real seconds between looks at leases
RULES_A_SECOND = 1000  # changes of the rules, at most, in a lab second
SPAWNS_AT_ONCE = 16  # more at once would only wait for each other
START_LIMIT_S = 60.0  # real seconds until a new agent must have taken a node
STOP_LIMIT_S = 20.0  # real seconds for the orderly stop of all nodes


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class ProcessLab(LabFiles, LabGrowth):
    """See ``LabCore``. ``start`` makes brokers and agents; nodes are off after it.

    ``warn`` gets a sentence for each part that ended by itself or did not come back, ``notice`` for
    other news. ``on_lost`` is called once, when a part cannot start again: the lab is unusable
    then.
    ``listen`` is where machines of the topology join, which only a lab with a supervisor of its own
    has: KS-AGENT-007 for one with machines and without.
    """

    def __init__(
        self,
        folder: Path,
        topology: Topology,
        time: LabTime,
        seed: int,
        *,
        patch: str = "",
        listen: str = "",
    ) -> None:
        super().__init__(topology)
        self.folder, self.time, self.seed = folder, time, seed
        self._patch, self.ledger = patch, ""  # the collector that agents are to tell their keys
        self.identities, self.data = bus_of(folder, topology, lambda text: self.notice(text))
        self.control = Broker(folder, self.identities, BrokerKind.CONTROL)
        real = any(s.tpm is TpmBackend.LIBTPMS for s in topology.nodes)
        self.agents = Agents(log_of(folder), real_tpms=real)
        self.agents.on_end = self._child_ended
        self.agents.on_lost = self._fork_server_ended
        self._processes: list[AgentProcess] = []
        self._of: dict[NodeName, AgentProcess] = {}
        self._client: ControlClient | None = None
        self._respawns: dict[str, asyncio.Task[None]] = {}  # by name of the agent
        self._forking = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._closing = False
        self.warn: Callable[[str], None] = _to_stderr
        self.notice: Callable[[str], None] = _to_stderr
        self.on_lost: Callable[[KeysteadError], None] = lambda error: self.warn(str(error))
        # Whoever hears these may come later.
        self._revival = Revival(
            lambda text: self.warn(text),
            lambda error: self.on_lost(error),
            lambda text: self.notice(text),
        )
        self.roster: Roster | None = None
        if topology.machines or topology.pools:
            if not listen:
                raise KeysteadError("KS-AGENT-007")
            # Rules of an earlier supervisor may be in force there, under lower numbers.
            self._desired.epoch = int(time.monotonic() * RULES_A_SECOND)
            self.roster = Roster(
                folder,
                topology,
                self.identities,
                listen,
                time.epoch,
                lambda: self.client,
                self._child_ended,
                self._reload_brokers,
                lambda text: self.warn(text),
            )

    def explain_exclusion(self, node: NodeName) -> str:
        return self.data.kept_off.get(node, "")

    def away(self) -> list[NodeName]:
        """Nodes whose machine is not there."""
        return [node for node, process in self._of.items() if not process.reached]

    @property
    def mode(self) -> str:
        return "lab"

    # ---- start and stop -----------------------------------------------------------------------

    async def start(self, report: Report = unheard) -> None:
        """Brokers, fork server, agents with their nodes (off). All or, on failure, nothing."""
        for number, nodes in enumerate(self.topology.groups, 1):
            process = AgentProcess(agent_name(number), list(nodes))
            if self.roster is not None:
                process.machine = self.roster.of_process(number)
            self.identities.add_agent(number)
            self._processes.append(process)
            self._of.update({node: process for node in nodes})
        try:
            starts = [self.data.start, self.control.start]
            if any(process.machine is None for process in self._processes):
                starts.append(self.agents.start)  # else nobody is forked here
            await for_each(starts, lambda start: start())
            seed = self.identities.control(SUPERVISOR).seed
            self._client = ControlClient(self.control.url, seed, SUPERVISOR)
            await self._client.open()
            if self.roster is not None:
                await self.roster.start(self._brokers())
                await self.roster.wait(report)
            await self._start_processes(report)
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        except BaseException:
            await self.close()
            raise

    async def _start_processes(self, report: Report) -> None:
        """Those whose machine is there now; all others come with theirs, which may be meanwhile."""
        there = {process.name: process for process in self._processes if process.reached}
        await Course(self, report, 5).each(
            0,
            f"start {len(there)} processes",
            list(there.values()),
            self._spawn,
            at_once=SPAWNS_AT_ONCE,
        )
        for process in self._processes:
            if process.name not in there:
                self._respawn_soon(process)

    async def _spawn(self, process: AgentProcess) -> None:
        config = AgentConfig(
            name=process.name,
            folder=str(self.folder),
            control_url=self.control.url,
            data_url=self.data.url,
            theirs=not self.data.all,
            tls=self.data.secured,
            epoch=self.time.epoch,
            wall=self.time.wall,
            pace=self.time.pace,
            seed=self.seed,
            patch=self._patch,
            ledger=self.ledger,
        )
        if process.machine is None:
            async with self._forking:
                if self.agents.server_pid is None:  # nobody was forked here yet
                    await self.agents.start()
        label = f"ks-{process.nodes[0]}" if process.nodes else "ks-agent"
        spawner = process.machine or self.agents
        process.child = await spawner.spawn(label, config)
        process.held.clear()
        for node in process.nodes:
            await self._tell(process, AddNode(spec=self._specs[node]), START_LIMIT_S)
            if process.machine is not None:  # an earlier supervisor may have held it
                with suppress(NotConnected):
                    await self._tell(process, HoldNode(node=node, held=False), START_LIMIT_S)
            if (firmware := self._firmware[node]) != self._specs[node].firmware:
                await self._tell(process, SetFirmware(node=node, firmware=firmware), START_LIMIT_S)
            if node in self._skew:
                await self._tell(process, self._skew[node], START_LIMIT_S)
            if node in self._slow:
                await self._tell(process, self._slow[node], START_LIMIT_S)
        if self._desired.epoch:
            await self._tell(process, self.next_rules(), START_LIMIT_S)
        process.up.set()

    def _fork_server_ended(self) -> None:
        if not self._closing:
            self.warn("the fork server has ended, and with it every agent: all nodes are off now")

    async def _reload_brokers(self) -> None:
        await for_each((self.control.reload, self.data.admit), lambda reload: reload())

    def _brokers(self) -> dict[str, str]:
        """The brokers behind the TLS proxy; external servers are not behind it."""
        data = {BrokerKind.DATA.value: self.data.url} if self.data.all else {}
        return {BrokerKind.CONTROL.value: self.control.url, **data}

    def list_processes(self) -> list[tuple[tuple[NodeName, ...], int]]:
        """The nodes and the process id of each agent that runs here."""
        return [
            (tuple(process.nodes), process.child.pid)
            for process in self._processes
            if isinstance(process.child, ChildProcess)
        ]

    def _child_ended(self, child: ForkedProcess) -> None:
        """A killed agent comes back with its nodes off, as a machine does that lost its kernel."""
        process = next((w for w in self._processes if w.child is child), None)
        if process is None or self._closing:
            return
        process.up.clear()
        here = process.machine is None
        if (self.agents.alive if here else process.reached) and not process.killed:
            self.warn(f"the process of {', '.join(process.nodes)} has ended: they are off now")
        process.killed = False
        self._respawn_soon(process)

    def _respawn_soon(self, process: AgentProcess) -> None:
        under_way = self._respawns.get(process.name)
        if under_way is None or under_way.done():
            task = asyncio.get_running_loop().create_task(self._respawn(process))
            self._respawns[process.name] = task

    async def _respawn(self, process: AgentProcess) -> None:
        """As often as it takes."""
        for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
            if process.machine is None and not await self._fork_server():
                return
            try:
                await self._spawn(process)
            except (KeysteadError, ProductError, OSError) as error:
                child, process.child = process.child, None
                if child is not None:
                    child.kill()
                self.warn(f"the process of {', '.join(process.nodes)} does not start: {error}")
                await asyncio.sleep(pause_s)
            else:
                if process.child is not None and not process.child.gone.is_set():
                    return

    async def _fork_server(self) -> bool:
        """Return when it is there, started again if it is not; False when the lab is lost."""

        async def again() -> None:
            await self.agents.close()
            await self.agents.start()

        async with self._forking:
            part = Part("fork server", lambda: self.agents.alive, again)
            return await self._revival.had_again(part)

    async def _watch(self) -> None:
        """Look after the brokers, until the lab is closed or lost."""
        self._telling.add(asyncio.create_task(self.data.watch(self.statuses)))
        await self._revival.watch(
            (
                *map(self._server, range(1, len(self.data.all) + 1)),
                Part("control broker", self.control.alive, self.control.start),
                *self._proxies(),
            )
        )

    def _server(self, number: int) -> Part:
        server = self.data.all[number - 1]
        return Part(
            server.name,
            lambda: self.data.as_wanted(number),
            server.start,
            lambda: self.data.answers,
        )

    def _proxies(self) -> tuple[Part, ...]:
        if self.roster is None:
            return ()
        proxy = self.roster.proxy
        return (Part("tls-proxy", proxy.alive, lambda: proxy.start(self._brokers())),)

    async def close(self, *, orderly: bool = False) -> None:
        """End everything. ``orderly``: nodes are stopped first, hosts before what they need.

        Cancelled on its way, it leaves nothing behind all the same.
        """
        if self._watching is not None:
            self._watching.cancel()
        try:
            if orderly and self._client is not None:
                await self._stop_nodes()
        finally:
            self._closing = True
            for task in (*self._respawns.values(), *self._telling):
                task.cancel()
            try:
                if self.roster is not None:
                    if orderly:
                        await self.roster.release()
                    await self.roster.close()
                if self._client is not None:
                    await self._client.close()
                    self._client = None
            finally:
                try:
                    await self.agents.close()
                    await self.data.stop()
                    await self.control.stop()
                finally:
                    self.data.abort()
                    self.control.abort()

    async def _stop_nodes(self) -> None:
        """Those that can hear it: one whose process is down is off already."""
        led = (Role.ESXI, Role.VCENTER)
        others = tuple(e.node for e in self.directory().nodes if e.role not in led)
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                for wave in (self.hosts(), self.topology.vcenters, others):
                    there = [node for node in wave if self._of[node].up.is_set()]
                    await try_each(there, lambda node: self.power_off(node, "stop"))
        except TimeoutError:
            return  # what did not stop in time is cut: its written state survives

    # ---- talking to agents ----------------------------------------------------------------------

    @property
    def client(self) -> ControlClient:
        if self._client is None:
            raise NotConnected("the lab is not running")
        return self._client

    async def listen(self, callback: Callable[[str, Event], None]) -> None:
        """Events of agents: records of their own nodes."""
        await self.client.subscribe_events(own_records(self._of, callback))

    async def _tell(self, process: AgentProcess, message: Request[R], within_s: float) -> R:
        """``within_s`` real seconds. People know processes by their nodes, not by agents' names."""
        try:
            return await self.client.request(process.name, message, within_s=within_s)
        except TimedOut:
            nodes = names(tuple(process.nodes)) or "a new node"
            text = f"the process of {nodes} did not answer within {within_s:.3g} s"
            raise TimedOut(text) from None

    async def tell(self, node: NodeName, message: Request[R], within_s: float) -> R:
        self.spec(node)
        process = self._of[node]
        if await self.paused(node):
            raise NotConnected(f"{node} is paused")
        if not process.reached:
            raise NotConnected(f"{node} stands on a machine that is away")
        real_s = max(within_s / self.time.pace, CONTROL_FLOOR_S)
        try:
            async with asyncio.timeout(real_s):
                await process.up.wait()
        except TimeoutError:
            raise NotConnected(f"the process of {node} is down") from None
        return await self._tell(process, message, real_s)

    async def check_room(self, node: NodeName, *, to_copy: bool = False) -> None:
        act = DiskAct.ROOM_TO_COPY if to_copy else DiskAct.ROOM
        await self.disk(node, act, "")

    def tap(self, hear: TapCallback) -> AbstractAsyncContextManager[Callable[[], int]]:
        return open_tap(self.data.url, self.identities, hear, self.data.secured)

    def by_agent(self, nodes: Iterable[NodeName]) -> tuple[tuple[NodeName, ...], ...]:
        groups: dict[str, list[NodeName]] = {}
        for node in nodes:
            self.spec(node)
            process = self._of.get(node)
            if process is not None and process.listens and node not in process.held:
                groups.setdefault(process.name, []).append(node)
        return tuple(tuple(group) for group in groups.values())

    # ---- time, ids ------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.time.monotonic()

    def wall(self) -> float:
        return self.time.wall + self.time.monotonic()

    def in_lab_s(self, real_s: float) -> float:
        return real_s * self.time.pace

    @property
    def lease_tick_s(self) -> float:
        return LEASE_TICK_S * self.time.pace

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.time.pace)

    def operation_id(self) -> str:
        return str(uuid.uuid4())
