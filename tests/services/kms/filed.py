"""A key server over the lab's own drivers in a folder; as a program, it creates keys for ever.

``python -m tests.services.kms.filed FOLDER`` prints ``operation-id key-id fingerprint`` for each
key after it was answered, ``IN_FLIGHT`` at a time, until somebody kills it.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

from protocol.messages.base import Request
from protocol.messages.kms.keys import CreateKey
from services.kms.service import KmsService
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Bus, Ports
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from services.runtime.real.disk import LabStore
from services.runtime.service import Peer
from services.runtime.store import Array
from tests.services.kms.ports import CONFIG, LOCAL, VCENTER, NotebookNode

R = TypeVar("R")
FINGERPRINTS = b"of the kill test"
IN_FLIGHT = 64  # those that come together are one transaction


class FiledServer:
    """One life at a time over ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.store = LabStore(folder, _no_array)
        self.boots = 0

    async def boot(self) -> None:
        self.boots += 1
        life = self.life = Incarnation(LOCAL.node, self.boots)
        rng = LabRng(1, life)
        clock = PacedClock(life, rng, epoch=time.monotonic(), wall=time.time())
        bus = cast(Bus, None)  # it answers; it never asks
        ports = Ports(bus, clock, rng, self.store.disk(life))
        self.service = KmsService(NotebookNode(), ports, CONFIG)
        await self.service.start()

    async def down(self, way: WayDown) -> None:
        await self.store.end(self.life, way)

    async def ask(self, message: Request[R], peer: Peer = VCENTER) -> R:
        """Hand a request to its handler, as a node does."""
        handler = getattr(self.service, self.service.handlers[type(message).__name__].method)
        reply: R = await handler(message, peer)
        return reply


def _no_array(name: str) -> Array:
    raise KeyError(name)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[FiledServer]:
    server = FiledServer(folder)
    await server.boot()
    try:
        yield server
    finally:
        await server.down(WayDown.CRASH)
        server.store.close()


async def create_for_ever(folder: Path) -> None:
    async with serving(folder) as server, asyncio.TaskGroup() as group:
        numbers = itertools.count()
        for _ in range(IN_FLIGHT):
            group.create_task(_create(server, numbers))


async def _create(server: FiledServer, numbers: Iterator[int]) -> None:
    for number in numbers:
        created = await server.ask(
            CreateKey(operation_id=str(number), activate=number % 2 == 0, get=True)
        )
        assert created.material is not None
        fingerprint = created.material.keys[0].fingerprint(FINGERPRINTS)
        print(number, created.key_id, fingerprint, flush=True)


if __name__ == "__main__":
    asyncio.run(create_for_ever(Path(sys.argv[1])))
