"""Runs the messages of a key server, whichever endpoint received them.

A Get of a cached key and a plain Create need neither a wait nor a task.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import msgspec

from protocol.errors import (
    GeneralFailure,
    InvalidMessage,
    NotConnected,
    ProductError,
)
from protocol.terms import KeyId, NodeName
from services.kms.access import authorization
from services.kms.access.authorization import KeyServerCaller
from services.kms.access.rejections import Judging, RejectionTable
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import Appending, AuditEntry, AuditTrail
from services.kms.audit.deferred_rows import OWN_ROWS, Allowance, Changes, Refusals, TrailDraft
from services.kms.commit import group_commit
from services.kms.commit.group_commit import Commits, DatesCome, DoneMessage
from services.kms.commit.key_cache import NONE, Touched, keys_touched_by
from services.kms.commit.store import NewKeyOrder, Over
from services.kms.commit.unit_of_work import FreshKey, QueueChanges, Work
from services.kms.objects import request_checks, request_types
from services.kms.objects.identifiers import Ids
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation, CoreRequest, Create, GotKey, Response
from services.kms.operations import batches
from services.kms.operations.batches import Continuation, Item, KeyDemand
from services.kms.operations.buffered_reads import Readings, is_long
from services.kms.operations.execution import VERSIONS
from services.kms.operations.key_creation import Mint
from services.kms.sealing.vault import Vault
from services.runtime.ports import Clock, Database, Rng

T = TypeVar("T")
R = TypeVar("R", bound=Response)


Run = Callable[[sqlite3.Connection, AuditTrail, Allowance], DoneMessage[T]]


class KeyServerCore:
    """One key server; its state is the database and the vault.

    ``commits`` runs its transactions. ``queue_changes``: for other servers; None when the server is
    ``alone``. ``mint`` makes keys. ``now``: its time, in Unix seconds. ``caught_up``: set when
    requests may be answered; until then they wait. ``ids`` names new keys.
    ``find_forward_target``: the server that takes changes instead of this one; an endpoint that
    does not forward them is refused. ``readings``: set when the audit of reads is buffered.
    ``rejections`` of clients' requests.
    """

    def __init__(
        self,
        name: NodeName,
        database: Database,
        vault: Vault,
        clock: Clock,
        rng: Rng,
        commits: Commits,
        *,
        queue_changes: QueueChanges | None,
        ids: Ids | None = None,
    ) -> None:
        self._name, self.database, self.vault, self.commits = name, database, vault, commits
        self._clock, self._queue_changes = clock, queue_changes
        self.now, self.alone = clock.now, queue_changes is None
        self.mint = Mint(name, vault, rng, ids or Ids())
        commits.strike = partial(self.mint.make_keys, clock)
        self.refusals = Refusals(clock.monotonic)
        self.readings: Readings | None = None
        self.caught_up = asyncio.Event()
        self.find_forward_target: Callable[[], NodeName | None] = _nobody
        self.rejections = RejectionTable((), rng)

    async def execute(self, caller: KeyServerCaller, request: CoreRequest[R]) -> R:
        """Execute one operation; raises the ``ProductError`` whose ``reason`` is the Result
        Reason."""
        [response] = await self.batch(caller, (request,))
        return cast(R, response)

    async def batch(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]]
    ) -> tuple[Response, ...]:
        """Execute operations in order, all or none; returns their responses in that order.

        A Create that is a repeat makes nothing, and later requests of the batch about the same key
        change nothing: the responses describe the key as it is now.
        """
        request_checks.check(requests)
        operations = [request.operation for request in requests]
        unnamed = [request.operation for request in requests if not request.names_an_object]
        await self.admit(caller, *unnamed)
        if operations == [CoreOperation.DISCOVER_VERSIONS]:
            self.rejections.check(caller, CoreOperation.DISCOVER_VERSIONS)
            return (request_types.Versions(versions=VERSIONS),)  # STD-09: without the store
        return await self._run_together(caller, requests, batches.all_or_nothing)

    async def process(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]], option: Continuation
    ) -> tuple[Item, ...]:
        """Execute operations in order by KMIP's Batch Error Continuation Option; returns an outcome
        for each that was executed.

        They run in order whatever the Batch Order Option is. The refusal of one does not undo the
        others, except with *Undo*; a long message is executed in portions (``batches``).
        ``InvalidMessage`` for more than ``request_checks.ITEMS_LIMIT`` of them.
        """
        if len(requests) > request_checks.ITEMS_LIMIT:
            raise InvalidMessage(
                f"a message of {len(requests)} items: at most {request_checks.ITEMS_LIMIT}"
            )
        if [request.operation for request in requests] == [CoreOperation.DISCOVER_VERSIONS]:
            await self.admit(caller, CoreOperation.DISCOVER_VERSIONS)
            self.rejections.check(caller, CoreOperation.DISCOVER_VERSIONS)
            return (Item(request_types.Versions(versions=VERSIONS)),)
        return await batches.do_in_portions(
            option,
            requests,
            lambda some, handed: self._run_together(
                caller, some, partial(batches.run, option, handed), handed.placeholder
            ),
        )

    async def check_forwarded(self, caller: KeyServerCaller, demands: Sequence[KeyDemand]) -> None:
        """Raise this server's refusals and rejections of a message that another server will
        execute."""
        if caller.role is None:
            await self.admit(caller, demands[0].operation)
        judging = self.rejections.judging_items(caller, len(demands))
        if judging is None:
            return
        at = self._clock.now()

        def run(
            connection: sqlite3.Connection, trail: AuditTrail, allowance: Allowance
        ) -> DoneMessage[None]:
            work = self.begin_work(
                connection, trail, caller, at, allowance=allowance, judging=judging.anew()
            )
            return batches.judge_requests(work, demands)

        try:
            await self.commit(caller, run)
        finally:
            self.rejections.count(judging)

    async def _run_together(
        self,
        caller: KeyServerCaller,
        requests: Sequence[CoreRequest[Any]],
        how: Callable[[Work, Sequence[CoreRequest[Any]]], DoneMessage[T]],
        placeholder: KeyId = NONE,
    ) -> T:
        """Run all of these in one transaction, or in one lookup if they only read."""
        if not self.caught_up.is_set():
            await self.caught_up.wait()
        operations = [request.operation for request in requests]
        other = None if audit_trail.CHANGING.isdisjoint(operations) else self.find_forward_target()
        if other is not None:
            raise NotConnected(f"{self._name} takes no changes; {other} does")
        if CoreOperation.QUERY_AUDIT in operations:
            await self.write_all()
        at = self._clock.now()
        drawn = self.mint.draw_for(requests, at)
        fresh = self.mint.keys(caller, drawn, at)
        judging = self.rejections.judging(caller, requests)

        def run(
            connection: sqlite3.Connection,
            trail: Appending,
            allowance: Allowance,
            kept: dict[KeyId, StoredKeyRow] | None = None,
        ) -> DoneMessage[T]:
            work = self.begin_work(
                connection,
                trail,
                caller,
                at,
                fresh=fresh,
                allowance=allowance,
                kept=kept,
                judging=judging and judging.anew(),
            )
            return how(work, drawn)

        changes = not audit_trail.CHANGING.isdisjoint(operations)
        try:
            if self.readings is not None and not changes:
                done = await self._await_storage(self.readings.read(caller, drawn, run))
                if done is not None:
                    return _reply(done.value)
            while True:
                try:
                    if audit_trail.WRITTEN.isdisjoint(operations):
                        answer = await self._read(run, long=is_long(requests))
                        if answer is not None:
                            return _reply(answer.value)
                    return await self.commit(caller, run, keys_touched_by(drawn, placeholder))
                except DatesCome as come:
                    await self._await_storage(self._write_dates(caller, come.scope, at))
        finally:
            self.rejections.count(judging)

    async def administer(
        self,
        caller: KeyServerCaller,
        operation: CoreOperation,
        subject: str,
        act: Callable[[Work, int], T],
    ) -> T:
        """Make an administrator's change of ``subject``, with its row of the trail, whose number is
        passed to ``act``; durable on return."""
        at = self._clock.now()

        def change(
            connection: sqlite3.Connection, trail: AuditTrail, _: Allowance
        ) -> DoneMessage[T]:
            work = self.begin_work(connection, trail, caller, at)
            made = act(work, work.note(operation, subject, caller.scope))
            return DoneMessage(
                made, msgspec.structs.replace(work.write(), changed=True, anchored=True)
            )

        return await self.commit(caller, change)

    async def write_all(self) -> None:
        """Write the waiting rows of messages that only read, and the refusals that were only
        counted."""
        if self.readings is not None:
            await self._await_storage(self.readings.flush())
        due = self.refusals.all_due()
        if not due:
            return
        at = self._clock.now()

        def note(connection: sqlite3.Connection) -> None:
            trail = AuditTrail(connection, self.vault)
            trail.append(at, due)
            trail.write()

        try:
            await self._await_storage(self.database.transact(note))
        except GeneralFailure:
            self.refusals.put_back(due)
            raise

    async def look(self, fn: Callable[[sqlite3.Connection, Vault], T]) -> T:
        """The result of ``fn`` on the store; it may take long, and changes nothing.
        ``CryptographicFailure`` as in ``Get``."""
        return await self.database.query(lambda connection: fn(connection, self.vault), long=True)

    # ---- around a transaction -------------------------------------------------------------

    def begin_work(
        self,
        connection: sqlite3.Connection,
        trail: Appending,
        caller: KeyServerCaller,
        at: float,
        *,
        fresh: Iterable[FreshKey] = (),
        allowance: Allowance = OWN_ROWS,
        kept: dict[KeyId, StoredKeyRow] | None = None,
        judging: Judging | None = None,
    ) -> Work:
        """The drafts of one message of this server; see ``Work``."""
        return Work(
            connection,
            self.vault,
            caller,
            at,
            trail,
            fresh,
            allowance,
            server=self._name,
            queue_changes=self._queue_changes,
            kept=kept,
            judging=judging,
        )

    def _write_dates(
        self, caller: KeyServerCaller, scope: str | None, at: float
    ) -> Awaitable[None]:
        def begin_work(
            connection: sqlite3.Connection, trail: AuditTrail, allowance: Allowance
        ) -> Work:
            return self.begin_work(connection, trail, caller, at, allowance=allowance)

        commit = partial(self.commit, caller)
        return group_commit.write_due_dates(self.database, begin_work, commit, scope, at)

    async def admit(self, caller: KeyServerCaller, *operations: CoreOperation) -> None:
        """Raise the refusal of a role, after it is recorded in the trail."""
        refused = authorization.refuse(caller, *operations) if operations else None
        if refused is None:
            return
        at, reason = self._clock.now(), refused.reason

        def note(
            connection: sqlite3.Connection, trail: AuditTrail, allowance: Allowance
        ) -> DoneMessage[Any]:
            work = self.begin_work(connection, trail, caller, at, allowance=allowance)
            work.note(operations[0], "", caller.scope, reason)
            return DoneMessage(refused, work.write())

        if self.refusals.count_only(
            AuditEntry(caller.who, caller.scope, operations[0], "", reason)
        ):
            raise refused
        await self.commit(caller, note)

    async def commit(self, caller: KeyServerCaller, fn: Run[T], touches: Touched = ()) -> T:
        """Write, and return when all witnesses know of it."""
        allowance = self.refusals.allowance(caller.who)
        run = partial(_run_allowed, fn, allowance)
        try:
            done = await self._await_storage(self.commits.make(run, touches))
        except (GeneralFailure, DatesCome):
            self.refusals.put_back(allowance.due)
            raise
        self.refusals.record_use(
            caller.who, allowance, done.written.refusals, done.written.left_out
        )
        if done.unsettled is not None:
            raise storage_refusal(done.unsettled) from done.unsettled
        return _reply(done.value)

    async def _read(
        self, run: Callable[[sqlite3.Connection, TrailDraft, Allowance], T], *, long: bool
    ) -> T | None:
        """The result without a transaction; None when it needs one, because a date has come."""
        try:
            return await self._await_storage(
                self.database.query(
                    lambda connection: run(connection, TrailDraft(), OWN_ROWS), long=long
                )
            )
        except Changes:
            return None

    async def _await_storage(self, work: Awaitable[T]) -> T:
        """The result of work with the store. A full or failing disk is reported to the caller, not
        treated as a defect."""
        try:
            return await work
        except OSError as error:
            raise storage_refusal(error) from error


def _run_allowed(
    fn: Run[T], allowance: Allowance, connection: sqlite3.Connection, trail: AuditTrail
) -> DoneMessage[T]:
    return fn(connection, trail, allowance)


def _nobody() -> NodeName | None:
    return None


# ---- before and after ---------------------------------------------------------------------


def storage_refusal(error: OSError) -> GeneralFailure:
    return GeneralFailure(f"the key server's storage refused: {error.strerror}")


def _reply(outcome: T | ProductError) -> T:
    if isinstance(outcome, ProductError):
        raise outcome
    return outcome


def get_at_once(core: KeyServerCore, caller: KeyServerCaller, key_id: KeyId) -> GotKey | None:
    """What ``core.process`` would return for a Get of this key alone, in clear; None, and nothing
    happened, when it must be processed."""
    readings = core.readings
    if readings is None or not core.caught_up.is_set() or core.rejections.judges(caller):
        return None
    return readings.at_once(caller, key_id)


def making(core: KeyServerCore, caller: KeyServerCaller, request: Create, over: Over) -> bool:
    """Make the key of this request as ``core.process`` would, for a valid request without
    attributes. False, and nothing happened, when it must be processed."""
    if not core.alone or not core.caught_up.is_set() or core.rejections.judges(caller):
        return False
    if authorization.refuse(caller, CoreOperation.CREATE) is not None or not core.mint.unheard:
        return False
    core.commits.add(NewKeyOrder(caller, request, over))
    return True
