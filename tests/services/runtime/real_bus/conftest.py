"""A real broker for two or three nodes, and wires to it that are cleaned up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.bus import NatsWire
from tests.services.runtime.real_bus.listeners import Recorder

OpenWire = Callable[..., Awaitable[tuple[NatsWire, Recorder]]]


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities.create(tmp_path, [NodeName("a"), NodeName("b"), NodeName("c")])


@pytest.fixture
async def broker(tmp_path: Path, identities: Identities) -> AsyncIterator[Broker]:
    made = Broker(tmp_path, identities, BrokerKind.DATA)
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def open_wire(broker: Broker, identities: Identities) -> AsyncIterator[OpenWire]:
    """``wire, recorder = await open_wire("a")``; ``url`` to go through a proxy."""
    wires: list[NatsWire] = []

    async def make(
        name: str, *, url: str = "", sink: Recorder | None = None, life: Incarnation | None = None
    ) -> tuple[NatsWire, Recorder]:
        node = NodeName(name)
        wire = NatsWire(url or broker.url, identities.node(node).seed, life or Incarnation(node, 1))
        wires.append(wire)
        recorder = sink or Recorder()
        await wire.open(recorder)
        return wire, recorder

    yield make
    for wire in wires:
        wire.abort()
