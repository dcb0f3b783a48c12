"""A key server whose audit is ``buffered``, and where no time passes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from services.kms.settings.config import Auditing
from tests.services.kms.ports import CONFIG, Server, SteppedClock

BUFFERED = msgspec.structs.replace(CONFIG, audit=Auditing.BUFFERED)


@dataclass
class HeldClock(SteppedClock):
    """Who sleeps does so until ``pass_by``."""

    sleepers: list[asyncio.Event] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.sleepers.append(asyncio.Event())
        await self.sleepers[-1].wait()

    async def pass_by(self) -> None:
        """The time that each of them waits for comes."""
        sleepers, self.sleepers = self.sleepers, []
        for sleeper in sleepers:
            sleeper.set()
        for _ in range(20):
            await asyncio.sleep(0)


async def held() -> AsyncIterator[Server]:
    """Body of the fixture ``lazy``."""
    server = Server(clock=HeldClock(), config=BUFFERED)
    await server.boot()
    yield server
    for work in list(server.node.works):
        work.cancel()
    for connection in server.platter.databases.values():
        connection.close()


def clock(server: Server) -> HeldClock:
    assert isinstance(server.clock, HeldClock)
    return server.clock
