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
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import msgspec

from protocol.errors import ProductError
from services.kms import making, store
from services.kms.audit import Trail
from services.kms.kept import Kept, Touched
from services.kms.making import Making
from services.kms.master import Vault
from services.kms.unwritten import Load, Unwritten
from services.kms.work import Written, together
from services.runtime.incarnation import NodeDown
from services.runtime.ports import Database

T = TypeVar("T")

STEPS: Final = 32
"""Of the loop, in which new keys are gathered at most."""


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
        self,
        run: Callable[[sqlite3.Connection, Trail], Done[Any]],
        over: Callable[[], None],
        touches: Touched = (),
    ) -> None:
        self.run, self.over, self.touches = run, over, touches
        self.done: Done[Any] | None = None
        self.error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.over()

    def apart(self) -> list[_Message]:
        """What has a transaction of its own when this fails."""
        return [self]


class _NewKeys(_Message):
    """New keys that came one after another: one message for all who look at it from outside.
    ``again``: a commit of them was refused, which may have happened all the same."""

    __slots__ = ("again", "made", "vault")

    def __init__(self, vault: Vault, made: list[Making], *, again: bool = False) -> None:
        super().__init__(self._write, self._tell)
        self.vault, self.made, self.again = vault, made, again

    def apart(self) -> list[_Message]:
        """See ``_Message``."""
        return [_NewKeys(self.vault, [one], again=True) for one in self.made]

    def _write(self, connection: sqlite3.Connection, trail: Trail) -> Done[None]:
        left = self.made
        if self.again:
            left = [one for one in left if not store.find(connection, self.vault, one.row.key_id)]
        keys = making.write(connection, trail, self.vault, left)
        return Done(None, Written(trail.end(), changed=True, keys=keys))

    def _tell(self) -> None:
        error = self.error
        if error is None and self.done is not None:
            error = self.done.unsettled
        for one in self.made:
            one.over(one.row.key_id, error)


class _Step:
    """One of the loop."""

    def __await__(self) -> Generator[None, None, None]:
        yield


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
        self._new = 0  # keys among them
        self._under_way: asyncio.Event | None = None  # of a group with new keys

    async def make(
        self, run: Callable[[sqlite3.Connection, Trail], Done[T]], touches: Touched = ()
    ) -> Done[T]:
        """Run ``run`` in a transaction; return when all who have to know of it do. ``touches``:
        keys that it may change.

        It may be run again, from the start, when it or one beside it has failed, and is run also
        when its caller gives up. A message that changed no key waits for no witness. Raises what
        ``run`` or the commit raised.
        """
        over = asyncio.Event()
        message = _Message(run, over.set, touches)
        self.kept.change(touches)
        self._gather(message)
        await over.wait()
        if message.error is not None:
            raise message.error
        done = cast(Done[T], message.done)
        if done.written.changes:
            # Each for itself: the peer may wait for one of them before it answers for another.
            return msgspec.structs.replace(done, unsettled=await self._settled(done.written))
        return done

    def add(self, new: Making) -> None:
        """Have a new key written, behind what was asked before; it is told when that is over."""
        last = self._gathered[-1] if self._gathered else None
        self._new += 1
        if isinstance(last, _NewKeys):
            last.made.append(new)
        else:
            self._gather(_NewKeys(self._vault, [new]))

    def _gather(self, message: _Message) -> None:
        if not self._gathered:
            self._background("kms.commit", self._next())
        self._gathered.append(message)

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
        """New keys are gathered while an earlier group with some is on its way, and as long as each
        step of the loop brings more of them: a commit and a sync cost as much as many of them."""
        while self._new and self._under_way is not None:
            await self._under_way.wait()
        steps, seen = 0, 0
        while seen < self._new and steps < STEPS:
            steps, seen = steps + 1, self._new
            await _Step()
        if not self._new:
            await self._taken()
            return
        under_way = self._under_way = asyncio.Event()
        try:
            await self._taken()
        finally:
            if self._under_way is under_way:
                self._landed()

    def _landed(self) -> None:
        """New keys need wait no more: a group is committed, or nobody knows whether it is."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.set()

    async def _taken(self) -> None:
        self._new = 0
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
            parts = [part for message in group for part in message.apart()]
            alone = len(parts) == 1 or isinstance(error, NodeDown) or group[0].done is not None
            for message in group if alone else parts:
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
        self._landed()
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
