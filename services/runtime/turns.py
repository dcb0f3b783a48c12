"""Queues in the order of acceptance: a ticket is issued now, and used later."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar, Token
from types import TracebackType

CURRENT: ContextVar[Ticket | None] = ContextVar("keystead_turn", default=None)
"""The ticket whose ``async with`` this task entered last and has not left."""


class Ticket:
    """A place in one queue; ``async with`` waits until it is at the front. Most tickets are at the
    front at once.

    Inside the block the ticket is ``CURRENT``.
    """

    __slots__ = ("_before", "_front", "_key", "_turns", "_waiting")

    def __init__(self, turns: TurnQueues, key: str) -> None:
        self._turns, self._key = turns, key
        self._front = False
        self._waiting: asyncio.Event | None = None
        self._before: Token[Ticket | None] | None = None

    async def __aenter__(self) -> None:
        if not self._front:
            if self._waiting is None:
                self._waiting = asyncio.Event()
            try:
                await self._waiting.wait()
            except BaseException:
                self._turns.leave(self._key, self)
                raise
        self._before = CURRENT.set(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            CURRENT.reset(self._before)
        self._turns.leave(self._key, self)

    def end(self) -> None:
        """Return the ticket before its ``async with`` ends; no change when it was returned."""
        self._turns.leave(self._key, self)

    def wake_holder(self) -> None:
        """The ticket's turn has come: wake its holder."""
        self._front = True
        if self._waiting is not None:
            self._waiting.set()


class TurnQueues:
    """All queues of one node, by key."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Ticket]] = {}

    def take(self, key: str) -> Ticket:
        """The next ticket of queue ``key``."""
        ticket = Ticket(self, key)
        queue = self._queues.setdefault(key, deque())
        queue.append(ticket)
        if len(queue) == 1:
            ticket.wake_holder()
        return ticket

    def leave(self, key: str, ticket: Ticket) -> None:
        """Return a ticket, whether its turn has come or not, and wake the next holder."""
        queue = self._queues.get(key)
        if queue is None or ticket not in queue:
            return
        queue.remove(ticket)
        if queue:
            queue[0].wake_holder()
        else:
            del self._queues[key]
