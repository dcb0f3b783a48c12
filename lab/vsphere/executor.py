"""How commands reach a lab: the one thing that an API server has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

from lab.schema.commands import Command

A = TypeVar("A")


class ServedCall(NamedTuple):
    """A call of a client that an API server has answered, without its arguments; ``at`` in Unix
    seconds of the lab, ``server`` a vCenter. ``fault`` is empty when it succeeded."""

    number: int
    at: float
    user: str
    server: str
    method: str
    object: str
    fault: str


class Executor(Protocol):
    """A lab of real processes, on one machine or several, or a simulated one."""

    virtual: bool
    """Time of this lab passes only inside a call."""
    changes: int
    """Commands so far that may have changed the lab, given by any of its API servers."""
    sleeps: int
    """Times that a client has let the time of a simulated lab pass."""

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        """Do a command at ``vcenter`` as ``user``; its answer, or ``KeysteadError``."""
        ...

    async def look(self, command: Command[A]) -> A:
        """The answer to ``GetNodes``, ``GetLinks`` or ``GetClock``, which the lab itself knows. A
        simulated lab takes no step for it: what it plays does not depend on how often somebody
        looks."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let this many seconds of the lab pass."""
        ...


class Serial:
    """An executor that gives a lab one command at a time, in the order of arrival.

    A simulated lab answers so; two clients of it are served in the order in which they came. A
    command that has begun is finished even when its client goes away: in the middle of it the lab
    would be lost.
    """

    virtual = True

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._lock = asyncio.Lock()
        self.changes = self.sleeps = 0

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        """As ``Executor.do``."""
        return await self.in_turn(lambda: self._inner.do(command, vcenter, user))

    async def look(self, command: Command[A]) -> A:
        """As ``Executor.look``."""
        return await self.in_turn(lambda: self._inner.look(command))

    async def sleep(self, seconds: float) -> None:
        """As ``Executor.sleep``."""
        try:
            await self.in_turn(lambda: self._inner.sleep(seconds))
        finally:
            self.sleeps += 1

    async def in_turn(self, work: Callable[[], Coroutine[Any, Any, A]]) -> A:
        """Do something with the lab when all that came before is done."""
        await self._lock.acquire()
        doing = asyncio.ensure_future(work())
        doing.add_done_callback(lambda _: self._lock.release())
        return await asyncio.shield(doing)
