"""Nodes that talk: one body runs over the real broker and over the simulation's.

A body is an async function that gets a ``Bench``: it adds nodes with a small service of the
test, and the bench drives them with the real node runner and bus port.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from protocol.messages.agent import LinkRule, NodeRecord, NodeSpec, SetRules
from protocol.terms import NodeName, Role
from services.runtime.incarnation import WayDown
from services.runtime.knobs import Knobs
from services.runtime.machine import Machine
from services.runtime.node import NodeRunner, Recipe
from services.runtime.ports import Ports
from services.runtime.real.world import LabTime, LabWorld
from services.runtime.service import Service, ServiceNode
from services.runtime.sim.bus import SimBroker
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.world import SimWorld
from services.runtime.world import World

SEED = 4711


class Bench(ABC):
    """Machines over one broker. ``records`` are all log lines of all nodes."""

    world: World

    def __init__(self) -> None:
        self.records: list[NodeRecord] = []
        self.at_once: int | None = None  # times that an echo needed no task; None: each has one
        self.later = False  # whether such an echo follows in a later step
        self._machines: dict[str, Machine] = {}
        self._epoch = 0

    async def node(self, name: str, service: Callable[[ServiceNode, Ports], Service]) -> NodeRunner:
        """Add a node with this service, power it on, and give its runner."""
        machine = self.add(name, service)
        await machine.power_on({}, wait=True)
        return machine.runner

    def add(self, name: str, service: Callable[[ServiceNode, Ports], Service]) -> Machine:
        """Add a node; it is off."""
        spec = NodeSpec(node=NodeName(name), role=Role.KMS)
        self.world.add(spec)
        made = self._machines[name] = Machine(
            spec, self.world, Recipe(Knobs(), service), self.records.append
        )
        return made

    def machine(self, name: str) -> Machine:
        return self._machines[name]

    def rules(self, *rules: LinkRule, refusing: tuple[str, ...] = ()) -> None:
        self._epoch += 1
        names = tuple(NodeName(n) for n in refusing)
        self.world.rules.apply(SetRules(epoch=self._epoch, rules=rules, refusing=names))

    async def close(self) -> None:
        for machine in self._machines.values():
            await machine.power_off(WayDown.CRASH)

    @abstractmethod
    async def broker_dies(self) -> None: ...

    @abstractmethod
    async def broker_returns(self) -> None: ...

    @abstractmethod
    def raw(self, sender: str, subject: str, payload: bytes, reply: str = "") -> None:
        """Put bytes on the wire of ``sender``'s life, past its bus port."""


class SimBench(Bench):
    def __init__(self, loop: SimLoop, seed: int = SEED) -> None:
        super().__init__()
        self.broker = SimBroker(loop, seed)
        self.world = SimWorld(loop, self.broker, seed)

    async def broker_dies(self) -> None:
        self.broker.stop()

    async def broker_returns(self) -> None:
        self.broker.start()

    def raw(self, sender: str, subject: str, payload: bytes, reply: str = "") -> None:
        self.machine(sender).runner.bus._wire.send(subject, payload, reply)


class LabBench(Bench):
    """Real broker, real files, one process; at pace 1 limits are real seconds."""

    NODES = ("a", "b", "c", "d")

    def __init__(self, folder: Path, pace: float) -> None:
        super().__init__()
        self.pace = pace
        self.identities = Identities.create(folder, [NodeName(n) for n in self.NODES])
        self.broker = Broker(folder, self.identities, BrokerKind.DATA)
        self.folder = folder

    async def start(self) -> None:
        await self.broker.start()
        clock = LabTime(time.monotonic(), time.time(), self.pace)

        def keys(node: NodeName) -> Any:
            return self.identities.node(node).seed, self.identities.keyring(node)

        self.world = LabWorld(self.folder, self.broker.url, keys, clock, SEED)

    async def broker_dies(self) -> None:
        await self.broker.kill()

    async def broker_returns(self) -> None:
        await self.broker.start()

    def raw(self, sender: str, subject: str, payload: bytes, reply: str = "") -> None:
        self.machine(sender).runner.bus._wire.send(subject, payload, reply)

    async def close(self) -> None:
        await super().close()
        await self.broker.kill()


Body = Callable[[Bench], Awaitable[None]]


def both(body: Body, pace: float = 1.0) -> Callable[[str], None]:
    """A test per driver of one body; ``pace`` of the real one, for a body that must wait long."""

    @pytest.mark.parametrize("driver", ["sim", pytest.param("lab", marks=pytest.mark.lab)])
    def run(driver: str) -> None:
        if driver == "sim":
            loop = SimLoop(SEED)
            bench = SimBench(loop)

            async def play() -> None:
                await body(bench)
                await bench.close()

            try:
                loop.run(play(), seconds=3600)
                assert not loop.escapes and not loop.unhandled
            finally:
                loop.close()
        else:
            asyncio.run(_lab(body, pace))

    run.__name__ = getattr(body, "__name__", "run")
    run.__doc__ = body.__doc__
    return run


async def _lab(body: Body, pace: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = LabBench(Path(folder), pace)
        await bench.start()
        try:
            await body(bench)
        finally:
            await bench.close()
