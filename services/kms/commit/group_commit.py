"""Group commit: messages that arrive in one step of the loop share a transaction.

States that a date has changed are written when a message reports them (``states``, rule 9).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

import msgspec

from protocol.errors import ProductError
from protocol.terms import KeyId
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import AuditTrail, TrailEnd
from services.kms.audit.deferred_rows import Allowance, TrailLoad, Unwritten
from services.kms.commit import store
from services.kms.commit.key_cache import NONE, RowCache, Touched
from services.kms.commit.store import Making, NewKeyOrder
from services.kms.commit.unit_of_work import Work, Written, combine
from services.kms.sealing.vault import Vault
from services.runtime.incarnation import NodeDown
from services.runtime.ports import Database

T = TypeVar("T")

STEPS: Final = 32
"""Steps of the loop in which new keys are gathered at most."""

PATIENCE: Final = 3
"""Steps without a new key after which a group leaves that gathered while another one was being
committed."""


class DoneMessage(msgspec.Struct, Generic[T], frozen=True):
    """The outcome of a message, and what it has written.

    ``unsettled``: it is committed, but this error kept a witness from learning it.
    """

    value: T | ProductError
    written: Written = Written()
    unsettled: OSError | None = None


class CommitWitness(Protocol):
    """Must learn of a change before it is answered."""

    def handle_commit(self, written: Written) -> None:
        """The change is committed; called on the loop, in order of the commits."""
        ...

    def confirm(self, written: Written) -> Awaitable[None] | None:
        """Begin the witness's work; the result is done when the change may be answered. None: at
        once."""
        ...


class _Message:
    """A message that waits: what to run, and its outcome."""

    __slots__ = ("done", "error", "over", "run", "touches")

    def __init__(
        self,
        run: Callable[[sqlite3.Connection, AuditTrail], DoneMessage[Any]],
        over: Callable[[], None],
        touches: Touched = (),
    ) -> None:
        self.run, self.over, self.touches = run, over, touches
        self.done: DoneMessage[Any] | None = None
        self.error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.over()

    again_is_safe: ClassVar[bool] = False
    """Whether it must look up whether a refused commit has happened."""

    def begin(self) -> None:
        """Work on the loop before its first transaction, which a transaction cannot do."""

    def apart(self) -> list[_Message]:
        """The messages that get a transaction each when this one fails."""
        return [self]


class _NewKeys(_Message):
    """New keys that came one after another; from outside they are one message. ``again``: a commit
    of them was refused, but may have happened."""

    __slots__ = ("again", "commits", "made", "wanted")
    again_is_safe = True

    def __init__(
        self,
        commits: Commits,
        wanted: list[NewKeyOrder],
        made: list[Making],
        *,
        again: bool = False,
    ) -> None:
        super().__init__(self._write, self._answer)
        self.commits, self.wanted, self.made, self.again = commits, wanted, made, again

    def begin(self) -> None:
        """See ``_Message``."""
        if not self.made:
            self.made = self.commits.strike(self.wanted)

    def apart(self) -> list[_Message]:
        """See ``_Message``."""
        made = [[one] for one in self.made] or [[] for _ in self.wanted]
        pairs = zip(self.wanted, made, strict=True)
        return [_NewKeys(self.commits, [one], row, again=True) for one, row in pairs]

    def _write(self, connection: sqlite3.Connection, trail: AuditTrail) -> DoneMessage[None]:
        left, vault = self.made, self.commits.vault
        if self.again:
            left = [one for one in left if not store.find(connection, vault, one.row.key_id)]
        keys = store.write_new_keys(connection, trail, vault, left)
        return DoneMessage(None, Written(trail.end(), changed=True, keys=keys))

    def _answer(self) -> None:
        error = self.error
        if error is None and self.done is not None:
            error = self.done.unsettled
        made = [one.row.key_id for one in self.made] or [NONE] * len(self.wanted)
        for one, key_id in zip(self.wanted, made, strict=True):
            one.over(key_id, error)


class _Step:
    """One step of the loop."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Commits:
    """The commits of one life of a key server. ``background`` is that of its node.

    ``witnesses`` may be added until the first message. ``strike``, if set, makes new keys.
    """

    strike: Callable[[Sequence[NewKeyOrder]], list[Making]]

    def __init__(
        self,
        database: Database,
        vault: Vault,
        background: Callable[[str, Coroutine[Any, Any, None]], None],
    ) -> None:
        self._database, self.vault, self._background = database, vault, background
        self.witnesses: list[CommitWitness] = []
        self.unwritten, self.kept = Unwritten(), RowCache()
        self._gathered: list[_Message] = []
        self._new = 0  # new keys among the waiting messages
        self._carrying = False  # a group with new keys is being committed: later ones follow it

    async def make(
        self, run: Callable[[sqlite3.Connection, AuditTrail], DoneMessage[T]], touches: Touched = ()
    ) -> DoneMessage[T]:
        """Run ``run`` in a transaction; return when all witnesses know of it. ``touches``: keys
        that it may change.

        It may run again, from the start, when it or another one of its group has failed, and also
        runs when its caller gives up. A message that changed no key waits for no witness. Raises
        what ``run`` or the commit raised.
        """
        over = asyncio.Event()
        message = _Message(run, over.set, touches)
        self.kept.change(touches)
        self._gather(message)
        await over.wait()
        if message.error is not None:
            raise message.error
        done = cast(DoneMessage[T], message.done)
        if done.written.changes:
            # Each by itself: the peer may wait for one of them before it answers for another.
            try:
                await self.wait_for_witnesses(done.written)
            except OSError as error:
                return msgspec.structs.replace(done, unsettled=error)
        return done

    def add(self, new: NewKeyOrder) -> None:
        """Write a new key, after all earlier messages; its callback is called when that is done."""
        last = self._gathered[-1] if self._gathered else None
        self._new += 1
        if isinstance(last, _NewKeys):
            last.wanted.append(new)
        else:
            self._gather(_NewKeys(self, [new], []))

    def _gather(self, message: _Message) -> None:
        if not self._gathered and not (self._carrying and self._new):
            self._background("kms.commit", self._next())
        self._gathered.append(message)

    async def write_waiting(self) -> None:
        """Return when all waiting rows of the trail are durable; raises what the commit raised. It
        does not rely on other tasks of this life, which may be over already."""
        loads = self.unwritten.loads()
        if not loads:
            return
        try:
            await self._database.transact(
                partial(self._run, loads, (), []), partial(self._finish_group, loads, ())
            )
        except Exception:
            self.unwritten.record_refusal()
            raise

    async def _next(self) -> None:
        if self._carrying and self._new:
            return  # the task that commits the others takes these along
        if self._new:
            await self._carry_new()
        if self._gathered:
            await self._carry_and_wait(self._take_group())

    async def _carry_new(self) -> None:
        """Commit new keys. They are gathered while an earlier group with some is being committed,
        and as long as each step of the loop brings more of them: a commit and a sync cost as much
        as many keys. Callers that were answered may ask again at once: when all have, waiting
        ends."""
        expected, patience = 0, 1
        while True:
            self._carrying = True
            try:
                await self._gathering(expected, patience)
                if not self._new:
                    return
                carried = self._new
                left = await self._carry(self._take_group())
            finally:
                self._carrying = False
            if left is not None:  # an anchor, for which others need not wait
                self._background("kms.commit", left)
            expected, patience = carried + self._new, PATIENCE

    async def _gathering(self, expected: int, patience: int) -> None:
        """Return when so many new keys are here, or after so many steps of the loop in a row
        without one."""
        empty, seen = 0, self._new
        for _ in range(STEPS):
            if empty == patience or 0 < expected <= seen:
                return
            await _Step()
            empty, seen = 0 if seen < self._new else empty + 1, self._new

    def _take_group(self) -> list[_Message]:
        self._new = 0
        group, self._gathered = self._gathered, []
        return group

    async def _carry_and_wait(self, group: Sequence[_Message]) -> None:
        left = await self._carry(group)
        if left is not None:
            await left

    async def _carry(self, group: Sequence[_Message]) -> Coroutine[Any, Any, None] | None:
        """Commit these messages and answer them; returns the rest of the work, for those that wait
        for a witness."""
        loads, ends = self.unwritten.loads(), list[TrailEnd]()
        try:
            for message in group:
                message.begin()
            await self._database.transact(
                partial(self._run, loads, group, ends), partial(self._finish_group, loads, group)
            )
        except (Exception, NodeDown) as error:
            self.unwritten.record_refusal()
            await self._handle_failure(group, ends, error)
            return None
        return self._answer(group)

    async def _handle_failure(
        self, group: Sequence[_Message], ends: Sequence[TrailEnd], error: BaseException
    ) -> None:
        """Commit each message by itself, or report the error. ``ends``: of the trail, with their
        rows."""
        parts = [message.apart() for message in group]
        alone = sum(map(len, parts)) == 1 or group[0].done is not None
        happened = False
        if ends and isinstance(error, OSError) and not alone:
            try:
                happened = await self._happened(ends[-1])
            except NodeDown as down:
                error = down
        alone = alone or isinstance(error, NodeDown)
        for message, apart in zip(group, parts, strict=True):
            if alone or (happened and not message.again_is_safe):
                self._let_go(message)
                message.end(error)
                continue
            for part in apart:
                self._background("kms.commit", self._carry_and_wait([part]))

    async def _happened(self, end: TrailEnd) -> bool:
        """Whether the trail contains that end, or that is unknown."""
        try:
            return await self._database.query(lambda connection: audit_trail.has(connection, end))
        except OSError:
            return True

    def _run(
        self,
        loads: Sequence[TrailLoad],
        group: Sequence[_Message],
        ends: list[TrailEnd],
        connection: sqlite3.Connection,
    ) -> list[DoneMessage[Any]]:
        trail = AuditTrail(connection, self.vault)
        for load in loads:  # at once: a message may look them up
            load.write(connection, trail)
        done = [message.run(connection, trail) for message in group]
        if trail.write():
            ends.append(trail.end())
        return done

    def _finish_group(
        self, loads: Sequence[TrailLoad], group: Sequence[_Message], done: list[DoneMessage[Any]]
    ) -> None:
        self.unwritten.record_commit(loads)
        for message, one in zip(group, done, strict=True):
            message.done = one
            self.kept.forget(one.written.keys)
            self._let_go(message)
        written = combine([one.written for one in done])
        for witness in self.witnesses:
            witness.handle_commit(written)

    def _let_go(self, message: _Message) -> None:
        """The message can change its keys no more."""
        self.kept.end_change(message.touches)
        message.touches = ()

    def _answer(self, group: Sequence[_Message]) -> Coroutine[Any, Any, None] | None:
        """Answer the messages that wait for no witness; returns what is done when the others are
        settled."""
        waiting: list[tuple[_Message, DoneMessage[Any]]] = []
        for message in group:
            done = message.done
            if done is None or not done.written.changed or done.written.changes:
                message.end()
            else:
                waiting.append((message, done))
        if not waiting:
            return None
        witnesses, written = iter(self.witnesses), combine([done.written for _, done in waiting])
        for witness in witnesses:
            settled = witness.confirm(written)
            if settled is not None:
                return self._when_settled(waiting, written, settled, witnesses)
        for message, _ in waiting:
            message.end()
        return None

    async def _when_settled(
        self,
        waiting: Sequence[tuple[_Message, DoneMessage[Any]]],
        written: Written,
        first: Awaitable[None],
        others: Iterator[CommitWitness],
    ) -> None:
        error: BaseException | None = None
        try:
            await first
            await _wait_for_witnesses(others, written)
        except OSError as unsettled:
            for message, done in waiting:
                message.done = msgspec.structs.replace(done, unsettled=unsettled)
        except (Exception, NodeDown) as failure:
            error = failure
        for message, _ in waiting:
            message.end(error)

    async def wait_for_witnesses(self, written: Written) -> None:
        """Return when committed changes may be answered; raises what keeps a witness from
        confirming."""
        await _wait_for_witnesses(self.witnesses, written)


async def _wait_for_witnesses(witnesses: Iterable[CommitWitness], written: Written) -> None:
    for witness in witnesses:
        left = witness.confirm(written)
        if left is not None:
            await left


_Run = Callable[[sqlite3.Connection, AuditTrail, Allowance], DoneMessage[None]]
Commit = Callable[[_Run, Touched], Awaitable[None]]
"""Writes the changes of a message, as ``KeyServerCore.commit``."""
BeginWork = Callable[[sqlite3.Connection, AuditTrail, Allowance], Work]
"""Begins the changes of one message, as ``KeyServerCore.begin_work``."""

AT_ONCE: Final = 200
"""Keys whose states one transaction writes."""


class DatesCome(Exception):
    """More keys of ``scope`` (None: all scopes) have changed their state by date than one message
    may write."""

    def __init__(self, scope: str | None) -> None:
        super().__init__(f"dates have come of more than {AT_ONCE} keys")
        self.scope = scope


def reach_due_dates(work: Work, scope: str | None) -> None:
    """Let the message write each key of the scope whose date has come; ``DatesCome``."""
    reached = store.find_due_keys(work.connection, scope, work.at, AT_ONCE + 1)
    if len(reached) > AT_ONCE:
        raise DatesCome(scope)
    for key_id in reached:
        work.find(key_id)


async def write_due_dates(
    database: Database, begin_work: BeginWork, commit: Commit, scope: str | None, at: float
) -> None:
    """Write the states of all keys of the scope as their dates define them at the time ``at``."""

    def look(connection: sqlite3.Connection) -> tuple[KeyId, ...]:
        return store.find_due_keys(connection, scope, at, AT_ONCE)

    def run(
        reached: Sequence[KeyId], connection: sqlite3.Connection, trail: AuditTrail, due: Allowance
    ) -> DoneMessage[None]:
        work = begin_work(connection, trail, due)
        for key_id in reached:
            work.find(key_id)
        return DoneMessage(None, work.write())

    while reached := await database.query(look):
        await commit(partial(run, reached), reached)
