"""How far a server has the logs of others, for who has to wait until it has a change."""

from __future__ import annotations

import asyncio

from protocol.messages.kms import Mark
from protocol.terms import NodeName
from services.kms.replication import oplog
from services.kms.replication.oplog import LogPlace
from services.runtime.ports import Clock, Database


class Learning:
    """Of the server ``me``."""

    def __init__(self, me: NodeName, clock: Clock, database: Database) -> None:
        self._me, self._clock, self._database = me, clock, database
        self._news = asyncio.Event()  # set, and replaced, when something was learned

    def news(self) -> None:
        """Something was learned of another's log, durably."""
        self._news.set()
        self._news = asyncio.Event()

    async def until(self) -> Mark:
        """How far this server's own log is; its start when the disk does not say."""
        try:
            place = await self._has(self._me)
        except OSError:
            place = oplog.START
        return Mark(node=self._me, epoch=place.epoch, sequence=place.sequence)

    async def learned(self, until: Mark, within_s: float) -> bool:
        """Whether this server comes to have that much of another's log, in so many lab seconds,
        and its disk says so."""
        wanted = LogPlace(until.epoch, until.sequence)
        try:
            async with self._clock.timeout(within_s):
                while True:
                    news = self._news
                    if await self._has(until.node) >= wanted:
                        return True
                    await news.wait()
        except (TimeoutError, OSError):
            return False

    async def _has(self, node: NodeName) -> LogPlace:
        marks = await self._database.query(lambda connection: oplog.marks(connection, self._me))
        return marks.get(node, oplog.START)
