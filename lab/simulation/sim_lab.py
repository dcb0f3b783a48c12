"""A lab in virtual time: every node in one process, replayable from a seed.

It runs in a process of its own (``worker``, or a test's). Implements ``chaos.lab.LabUnderTest``
with ``LabCore``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from chaos.keeper import FaultKeeper
from lab.building.provision import provision
from lab.core import LabCore
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession
from lab.topology.plan import Topology
from lab.topology.secret_files import read_regular
from protocol.errors import NotConnected, ProductError, TimedOut
from protocol.messages.agent import (
    AddNode,
    Answer,
    Answers,
    Ask,
    AskEach,
    ListNodes,
    NodeRecord,
    NodeStatus,
)
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName, VmName
from services.catalog import everything, recipe
from services.runtime.agent import Agent
from services.runtime.seeded import derive
from services.runtime.sim import trace
from services.runtime.sim.bus import SimBroker
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.trace import Trace
from services.runtime.sim.world import SimWorld
from services.runtime.world import TapCallback

R = TypeVar("R", bound=Reply)
T = TypeVar("T")

HOUR_S = 3600.0
COMMAND_LIMIT_S = 24 * HOUR_S  # virtual seconds that one command may take
STEP_LIMIT = 50_000_000
BUILDS = 16  # of one topology: enough for orders of all kinds, few enough to keep

everything()  # a simulation reads no files, those of modules neither


class SimLab(LabCore):
    """See ``LabCore``. Made and used inside a ``SimLoop``'s thread; ``run`` drives it.

    ``seed`` fixes what happens from now on; ``records`` are all nodes' log lines; ``tap`` sees
    every message the broker lets in.
    """

    def __init__(
        self,
        topology: Topology,
        seed: int,
        *,
        trace: Trace | None = None,
        tap: TapCallback | None = None,
    ) -> None:
        super().__init__(topology)
        self.seed = seed
        self.loop = SimLoop(seed, trace=trace)
        self.broker = SimBroker(self.loop, seed, tap=tap, servers=max(topology.bus.servers, 1))
        self.world = SimWorld(self.loop, self.broker, seed, topology.machine)
        self.records: list[NodeRecord] = []
        self.observers: list[Callable[[NodeRecord], None]] = [self.records.append]
        self.agent = Agent(self.world, recipe, self._observe)
        self._operations = 0

    def reseed(self, seed: int) -> None:
        """Between two runs: what happens from now on follows from ``seed``, whatever it was that
        fixed what has happened so far. What a run is folds this in: its trace says so."""
        self.seed = seed
        self.loop.reseed(seed)
        self.world.reseed(seed)

    def _observe(self, record: NodeRecord) -> None:
        words = trace.of_record(record)
        self.loop.trace.add_content(self.loop.now_ns, record.node, record.boot, "record", words)
        for observer in self.observers:
            observer(record)

    def run(self, work: Coroutine[Any, Any, T], *, seconds: float = COMMAND_LIMIT_S) -> T:
        """Let the world go on until ``work`` is done, then stand still again."""
        result = self.loop.run(work, seconds=seconds, steps=STEP_LIMIT)
        self.check()
        return result

    def look(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, for which the world takes no step and its trace says nothing.

        ``RuntimeError`` when it waits for anything: it is to read what the lab itself knows.
        """
        try:
            work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        work.close()
        raise RuntimeError("a look that waits for a step of the world")

    def defects(self) -> list[str]:
        """What makes a run worthless: calls that left the simulation, and unhandled exceptions."""
        return [*self.loop.escapes, *(f"unhandled: {text}" for text in self.loop.unhandled)]

    def check(self) -> None:
        """KS-CHAOS-205 when there are ``defects``."""
        found = self.defects()
        if found:
            raise KeysteadError("KS-CHAOS-205", "; ".join(found[:5]))

    async def start(self) -> None:
        """Make all nodes; they are off."""
        for spec in self.topology.nodes:
            await self.agent.handle(AddNode(spec=spec))

    @property
    def mode(self) -> str:
        return "sim"

    @asynccontextmanager
    async def tap(self, hear: TapCallback) -> AsyncIterator[Callable[[], int]]:
        before = self.broker.tap

        def hear_too(subject: str, reply: str, payload: bytes) -> None:
            if before is not None:
                before(subject, reply, payload)
            hear(subject, reply, payload)

        self.broker.tap = hear_too
        try:
            yield lambda: 0
        finally:
            self.broker.tap = before

    def by_agent(self, nodes: Iterable[NodeName]) -> tuple[tuple[NodeName, ...], ...]:
        group = tuple(node for node in nodes if not self.loop.paused(self.spec(node).node))
        return (group,) if group else ()

    async def statuses(self, *, counters: bool = True) -> dict[NodeName, NodeStatus]:
        """Of the agent itself: no step is taken for it, however often it is asked."""
        reply = await self.agent.list_nodes(ListNodes(counters=counters))
        found = {status.node: status for status in reply.nodes}
        if counters:
            self._known |= found
        return {n: found[n] for n in self._specs if n in found and not self.loop.paused(n)}

    async def tell(self, node: NodeName, message: Request[R], within_s: float) -> R:
        """As over the control broker: a paused process does not answer, and the agent goes on
        with what was asked when the asker gives up."""
        self.spec(node)
        if self.loop.paused(node):
            raise NotConnected(f"{node} is paused")
        try:
            async with asyncio.timeout(within_s):
                if isinstance(message, Ask | AskEach):  # goes on in the life of who is asked
                    answer = await self._ask(message)
                else:
                    name = f"agent:{type(message).__name__}"
                    work = self.loop.create_task(self._handle(message), name=name)
                    answer = await asyncio.shield(work)
        except TimeoutError:
            raise TimedOut(f"no answer about {node} within {within_s:g} s") from None
        if isinstance(message, Ask) and isinstance(answer, Answer | ProductError):
            self._trace_answer(node, message.name, answer)
        if isinstance(message, AskEach) and isinstance(answer, Answers):
            for asked, one in zip(message.nodes, answer.answers, strict=False):
                self._trace_answer(asked, message.name, one)
        if isinstance(answer, ProductError):
            raise answer
        return answer  # type: ignore[return-value]

    async def _ask(self, message: Ask | AskEach) -> Reply | ProductError:
        """The client and the control plane work on a question and on its answer, if they share a
        machine with the nodes."""
        client = self.world.processes.get("client")
        if client is None:
            return await self._handle(message)
        await client.serve("Ask", None)
        answer = await self._handle(message)
        await client.serve("Ask.reply", None)
        return answer

    async def _handle(self, message: Request[Any]) -> Reply | ProductError:
        try:
            return await self.agent.handle(message)
        except ProductError as error:
            return error

    def _trace_answer(self, node: NodeName, name: str, answer: Answer | ProductError) -> None:
        self.loop.trace.add_content(
            self.loop.now_ns, node, 0, f"answer {name}", trace.of_answer(answer)
        )

    async def tell_all(self, message: Request[R]) -> tuple[R, ...]:
        reply: R = await self.agent.handle(message)  # type: ignore[assignment]
        return (reply,)

    def monotonic(self) -> float:
        return self.loop.time()

    def wall(self) -> float:
        return self.loop.epoch + self.loop.time()

    def in_lab_s(self, real_s: float) -> float:
        return 0.0

    @property
    def lease_tick_s(self) -> float:
        return 1.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def operation_id(self) -> str:
        self._operations += 1
        return f"op-{self._operations}"

    # ---- processes and broker -------------------------------------------------------------------

    async def kill(self, node: NodeName) -> None:
        """The node's own process: a crash, also of one that is paused."""
        await self.resume(node)
        await self.power_off(node, "crash")

    async def respawned(self, node: NodeName) -> bool:
        self.spec(node)
        return True

    async def pause(self, node: NodeName) -> None:
        self.spec(node)
        self.broker.pause(node)

    async def resume(self, node: NodeName) -> None:
        self.spec(node)
        self.broker.resume(node)

    async def paused(self, node: NodeName) -> bool:
        self.spec(node)
        return self.loop.paused(node)

    async def broker_stop(self) -> None:
        self.broker.stop()

    async def broker_start(self) -> None:
        self.broker.start()

    async def broker_up(self) -> bool:
        return self.broker.up

    async def server_stop(self, number: int) -> None:
        self.broker.stop_server(number)

    async def server_start(self, number: int) -> None:
        self.broker.start_server(number)

    async def server_up(self, number: int) -> bool:
        return number in self.broker.servers.up

    async def server_nodes(self, number: int) -> tuple[NodeName, ...]:
        return self.broker.at_server(number)

    async def route_cut(self, one: int, other: int) -> None:
        self.broker.servers.cut(one, other)

    async def route_mend(self, one: int, other: int) -> None:
        self.broker.servers.mend(one, other)

    async def routed(self, one: int, other: int) -> bool:
        up = self.broker.servers.up
        return one not in up or other not in up or self.broker.servers.reaches(one, other)

    # ---- what lies where, for scans -------------------------------------------------------------

    async def check_room(self, node: NodeName, *, to_copy: bool = False) -> None:
        """There is always room in memory."""

    async def read_named_file(self, path: str) -> bytes:
        return read_regular(path)

    async def disk_file(self, node: NodeName, path: str) -> bytes:
        self.spec(node)
        return self.world.stores[node].on_disk.read(path)

    async def disk_images(self, node: NodeName) -> list[tuple[str, bytes]]:
        self.spec(node)
        images = self.world.stores[node].images()
        return [(path, data) for path, data in images if not path.startswith("databases/")]

    async def put_disk_file(self, node: NodeName, path: str, data: bytes) -> None:
        self.spec(node)
        disk = self.world.stores[node].on_disk
        disk.write(path, data)
        disk.sync(path)

    async def datastore_file(self, datastore: str, vm: VmName, file: str) -> bytes:
        return bytes(self.world.arrays[datastore].folders[vm][file])

    async def spoil(self, datastore: str, vm: VmName, file: str, data: bytes) -> None:
        self.world.arrays[datastore].folders[vm][file][:] = data

    async def tpm_nv(self, node: NodeName) -> bytes:
        return self.world.nv(self.spec(node).node)

    async def log_lines(self, kind: str, since: float) -> list[NodeRecord]:
        return [line for line in self.records if line.kind == kind and line.at >= since]

    async def at_rest(self) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for node, store in self.world.stores.items():
            found += [(f"{node}/{path}", data) for path, data in store.images()]
        for name, array in self.world.arrays.items():
            found += [(f"{name}/{path}", data) for path, data in array.images()]
        return found


def build_of(seed: int) -> int:
    """Which of the builds of a lab a run of this seed begins with."""
    return seed % BUILDS


def build(topology: Topology, number: int, **options: Any) -> tuple[SimLab, LabSession]:
    """A simulated lab with its keeper, provisioned and ready, not yet of any run: ``number``
    (``build_of``) fixes in what order things happened on the way there."""
    # No user's seed is as large, so that no token of the build comes again in a run.
    lab = SimLab(topology, derive(number, "build"), **options)
    session = LabSession(lab, FaultKeeper(lab))

    async def begin() -> None:
        await lab.start()
        await provision(lab, session.report)

    lab.run(begin())
    return lab, session


def make(topology: Topology, seed: int, **options: Any) -> tuple[SimLab, LabSession]:
    """A simulated lab, provisioned and ready, at the beginning of the run of ``seed``.

    The seed chooses one of a few builds, and fixes all that happens after it (decision 30): a
    ``snapshot`` of that build is at the same place.
    """
    lab, session = build(topology, build_of(seed), **options)
    lab.reseed(seed)
    return lab, session
