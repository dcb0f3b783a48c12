"""What is asked at a node's console is done inside of the node's life, in both worlds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protocol.errors import Disconnected
from protocol.messages.base import Request
from protocol.messages.kms.keys import DiscoverVersions, ServerVersions
from services.runtime.incarnation import CURRENT, Incarnation, WayDown
from services.runtime.ports import Ports
from services.runtime.service import Peer, Service, ServiceNode, serves
from tests.conformance.talk import Bench, SimBench, both


class Waits(Service):
    """Answers when its gate opens; notes which life each of its parts runs in."""

    def __init__(self, node: ServiceNode, ports: Ports) -> None:
        super().__init__(node, ports)
        self.gate, self.ends = asyncio.Event(), 0
        self.lives: dict[str, Incarnation | None] = {}

    def accept(self, message: Request[Any], peer: Peer) -> None:
        self.lives["accept"] = CURRENT.get()

    @serves(DiscoverVersions)
    async def versions(self, message: DiscoverVersions, peer: Peer) -> ServerVersions:
        self.lives["handler"] = CURRENT.get()
        self.node.background("errand", self._errand())
        try:
            await self.gate.wait()
        finally:
            self.ends += 1
            self.node.record("ended")
        return ServerVersions(versions=("true",))

    async def _errand(self) -> None:
        self.lives["errand"] = CURRENT.get()


async def asked(bench: Bench) -> tuple[Waits, asyncio.Task[Any]]:
    """A node whose handler waits for its gate, asked at its console by who has no life."""
    runner = await bench.node("a", Waits)
    service = runner.service
    assert isinstance(service, Waits)
    task = asyncio.get_running_loop().create_task(runner.ask(DiscoverVersions(), 60.0))
    while "errand" not in service.lives:
        await bench.world.sleep(0.05)
    return service, task


async def belongs_to_the_life(bench: Bench) -> None:
    """Its handler, the service's look at it, and what the handler starts."""
    service, task = await asked(bench)
    life = bench.machine("a").runner.life
    assert service.lives == {"accept": life, "handler": life, "errand": life}
    assert CURRENT.get() is None
    service.gate.set()
    assert (await task).versions == ("true",) and service.ends == 1


async def goes_down_with_it(bench: Bench) -> None:
    """A crash drops it as what came over the bus: who asked hears so, and its end is not told."""
    service, task = await asked(bench)
    await bench.machine("a").power_off(WayDown.CRASH)
    with pytest.raises(Disconnected):
        await task
    service.gate.set()
    await bench.world.sleep(1.0)
    assert "ended" not in [record.kind for record in bench.records]
    if isinstance(bench, SimBench):
        assert service.ends == 0  # a crash is no cancellation: no ``finally`` runs


test_belongs_to_the_life = both(belongs_to_the_life)
test_goes_down_with_it = both(goes_down_with_it)
