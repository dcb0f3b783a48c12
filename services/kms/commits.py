"""Messages that write, gathered: those that come in one step of the loop are one transaction.

What costs most is then paid once for all of them: the way to the database's writer and back, the
head of the trail, its rows in one statement, and the wait for the witnesses. Each message runs
for itself, in the order in which they came, and decides for itself; only its end is shared. When
one of them fails, nothing of the transaction happened, and each has one of its own then, so none
takes others with it.

Rows of the trail that wait (``unwritten``) go along, in front of those of the messages.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from protocol.errors import ProductError
from services.kms.audit import Trail
from services.kms.kept import Kept, Touched
from services.kms.master import Vault
from services.kms.unwritten import Load, Unwritten
from services.kms.work import Written, together
from services.runtime.incarnation import NodeDown
from services.runtime.ports import Database

T = TypeVar("T")


class Done(msgspec.Struct, Generic[T], frozen=True):
    """What came of a message, and what it has written.

    ``unsettled``: it is committed, but this kept a witness from learning it.
    """

    value: T | ProductError
    written: Written = Written()
    unsettled: OSError | None = None


class Witness(Protocol):
    """Who has to know of a change before it is answered."""

    def noted(self, written: Written) -> None:
        """It is committed; called on the loop, in order of the commits."""
        ...

    async def settled(self, written: Written) -> None:
        """Return when it may be answered."""
        ...


class _Message:
    """One that waits: what to run, and what came of it."""

    __slots__ = ("done", "error", "over", "run", "touches")

    def __init__(
        self, run: Callable[[sqlite3.Connection, Trail], Done[Any]], touches: Touched
    ) -> None:
        self.run, self.touches = run, touches
        self.over = asyncio.Event()
        self.done: Done[Any] | None = None
        self.error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.over.set()


class Commits:
    """Of one life of a key server. ``background`` is that of its node.

    ``witnesses`` may be added until the first message.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        background: Callable[[str, Coroutine[Any, Any, None]], None],
    ) -> None:
        self._database, self._vault, self._background = database, vault, background
        self.witnesses: list[Witness] = []
        self.unwritten, self.kept = Unwritten(), Kept()
        self._gathered: list[_Message] = []

    async def make(
        self, run: Callable[[sqlite3.Connection, Trail], Done[T]], touches: Touched = ()
    ) -> Done[T]:
        """Run ``run`` in a transaction; return when all who have to know of it do. ``touches``:
        keys that it may change.

        It may be run again, from the start, when it or one beside it has failed, and is run also
        when its caller gives up. A message that changed no key waits for no witness. Raises what
        ``run`` or the commit raised.
        """
        message = _Message(run, touches)
        self.kept.change(touches)
        if not self._gathered:
            self._background("kms.commit", self._next())
        self._gathered.append(message)
        await message.over.wait()
        if message.error is not None:
            raise message.error
        done = cast(Done[T], message.done)
        if done.written.changes:
            # Each for itself: the peer may wait for one of them before it answers for another.
            return msgspec.structs.replace(done, unsettled=await self._settled(done.written))
        return done

    async def write_waiting(self) -> None:
        """Return when all rows of the trail that wait now are durable; raises what the commit
        raised. It asks nobody else of this life to do it, who may be over already."""
        loads = self.unwritten.loads()
        if not loads:
            return
        try:
            await self._database.transact(
                partial(self._run, loads, ()), partial(self._noted, loads, ())
            )
        except Exception:
            self.unwritten.failed()
            raise

    async def _next(self) -> None:
        group, self._gathered = self._gathered, []
        await self._carry(group)

    async def _carry(self, group: Sequence[_Message]) -> None:
        loads = self.unwritten.loads()
        try:
            await self._database.transact(
                partial(self._run, loads, group), partial(self._noted, loads, group)
            )
        except (Exception, NodeDown) as error:
            self.unwritten.failed()
            alone = len(group) == 1 or isinstance(error, NodeDown) or group[0].done is not None
            for message in group:
                if alone:
                    self._let_go(message)
                    message.end(error)
                else:
                    self._background("kms.commit", self._carry([message]))
            return
        await self._answer(group)

    def _run(
        self, loads: Sequence[Load], group: Sequence[_Message], connection: sqlite3.Connection
    ) -> list[Done[Any]]:
        trail = Trail(connection, self._vault)
        for load in loads:  # at once: a message may look them up
            load.write(connection, trail)
        done = [message.run(connection, trail) for message in group]
        trail.write()
        return done

    def _noted(
        self, loads: Sequence[Load], group: Sequence[_Message], done: list[Done[Any]]
    ) -> None:
        self.unwritten.landed(loads)
        for message, one in zip(group, done, strict=True):
            message.done = one
            self.kept.forget(one.written.keys)
            self._let_go(message)
        written = together([one.written for one in done])
        for witness in self.witnesses:
            witness.noted(written)

    def _let_go(self, message: _Message) -> None:
        """The keys that it may change are as they will be."""
        self.kept.changed(message.touches)
        message.touches = ()

    async def _answer(self, group: Sequence[_Message]) -> None:
        """Let those go on at once that wait for nobody else; the others when it is settled."""
        waiting: list[tuple[_Message, Done[Any]]] = []
        for message in group:
            done = message.done
            if done is None or not done.written.changed or done.written.changes:
                message.end()
            else:
                waiting.append((message, done))
        written = together([done.written for _, done in waiting])
        try:
            unsettled = await self._settled(written)
        except (Exception, NodeDown) as error:
            for message, _ in waiting:
                message.end(error)
            return
        for message, done in waiting:
            if unsettled is not None:
                message.done = msgspec.structs.replace(done, unsettled=unsettled)
            message.end()

    async def _settled(self, written: Written) -> OSError | None:
        try:
            for witness in self.witnesses:
                await witness.settled(written)
        except OSError as error:
            return error
        return None
