"""What each operation of the key server does, whoever asks and through whichever door.

A door proves the caller and turns what it was sent into requests (``operations``); a message of
several is a batch: one transaction, and all or nothing, which is KMIP's Batch Error Continuation
Option *Undo*. The answer comes after the commit. What is decided inside of the transaction is
returned from it, errors too: raising there would undo the audit row of the refusal.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

from protocol.errors import (
    CryptographicFailure,
    GeneralFailure,
    InvalidField,
    ProductError,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from services.kms import access, audit, merging, operations, store
from services.kms.access import Caller
from services.kms.audit import AuditEntry, Trail, TrailEnd
from services.kms.commits import Commits, Done
from services.kms.master import Vault
from services.kms.merging import Replica
from services.kms.operations import Operation, Request, Response
from services.kms.performing import VERSIONS, perform
from services.kms.refusals import OWN_ROWS, Allowance, Refusals
from services.kms.replication import Change
from services.kms.store import KeyRow
from services.kms.work import FreshKey, Refusal, Work
from services.runtime.ports import Clock, Database, Rng

T = TypeVar("T")
R = TypeVar("R", bound=Response)


class Replicated(NamedTuple):
    """Keys of a replication that have another material here, and where the trail now ends.

    ``intact``: it has all that the peer saw of it.
    """

    refused: tuple[KeyId, ...]
    end: TrailEnd
    intact: bool


LIST_LIMIT: Final = 1000
OPERATION_ID_LIMIT: Final = 128

_Run = Callable[[sqlite3.Connection, Trail, Allowance], Done[T]]

_ALGORITHM, _LENGTH, _USAGE = "AES", 256, 12
_LISTS: Final = (operations.Locate, operations.QueryAudit)


class Core:
    """One key server; its state is the database and the vault. ``commits`` are made for it.

    ``paired``: whether there is another server that has to learn of changes. ``caught_up``: set
    when requests may be answered; until then they wait.
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
        paired: bool,
    ) -> None:
        self._name, self._database, self._vault, self.commits = name, database, vault, commits
        self._clock, self._rng, self._paired = clock, rng, paired
        self._refusals = Refusals(clock.monotonic)
        self.caught_up = asyncio.Event()

    async def execute(self, caller: Caller, request: Request[R]) -> R:
        """Do one operation; raises the ``ProductError`` whose ``reason`` is the Result Reason."""
        [response] = await self.batch(caller, (request,))
        return cast(R, response)

    async def batch(self, caller: Caller, requests: Sequence[Request[Any]]) -> tuple[Response, ...]:
        """Do operations in order, all or none; their responses, in that order.

        A Create that is a repeat makes nothing, and what follows it in the batch about the same
        key changes nothing: the responses tell the key as it is now.
        """
        _check(requests)
        asked = [request.operation for request in requests]
        unnamed = [request.operation for request in requests if not request.names_an_object]
        await self.admit(caller, *unnamed)
        if asked == [Operation.DISCOVER_VERSIONS]:
            return (operations.Versions(versions=VERSIONS),)  # STD-09: without the store
        if not self.caught_up.is_set():
            await self.caught_up.wait()
        if Operation.QUERY_AUDIT in asked:
            await self.write_counts()
        at = self._clock.now()
        fresh = [self._fresh(caller, r, at) for r in requests if type(r) is operations.Create]

        def run(connection: sqlite3.Connection, trail: Trail, allowance: Allowance) -> Done[Any]:
            work = Work(
                connection, self._vault, caller, at, trail, fresh, allowance, paired=self._paired
            )
            return self._run(work, requests)

        if audit.WRITTEN.isdisjoint(asked):
            return await self._read(run)
        return await self._commit(caller, run)

    async def replicate(
        self, caller: Caller, replicas: Sequence[Replica], seen: TrailEnd
    ) -> Replicated:
        """Have keys as the peer has them, or above; durable on return.

        ``seen``: the end of this trail when the peer last saw it.
        """
        await self.admit(caller, Operation.REPLICATE)
        at = self._clock.now()
        nonces = [self._rng.token(12) for _ in replicas]

        def run(
            connection: sqlite3.Connection, trail: Trail, allowance: Allowance
        ) -> Done[Replicated]:
            intact = audit.has(connection, seen)
            work = Work(connection, self._vault, caller, at, trail, allowance=allowance)
            taken = zip(replicas, nonces, strict=True)
            refused = [r.row.key_id for r, nonce in taken if not merging.take(work, r, nonce)]
            written = work.write()
            return Done(Replicated(tuple(refused), trail.end(), intact), written)

        return await self._commit(caller, run)

    async def note_start(self, caller: Caller, operation: Operation) -> None:
        """Write down that an administrator has an older database or a backup served from."""
        at = self._clock.now()

        def note(connection: sqlite3.Connection, trail: Trail, _: Allowance) -> Done[None]:
            work = Work(connection, self._vault, caller, at, trail)
            work.note(operation, "", caller.scope)
            return Done(None, work.write())

        await self._commit(caller, note)

    async def write_counts(self) -> None:
        """Give the trail the refusals that were only counted so far."""
        due = self._refusals.all_due()
        if not due:
            return
        at = self._clock.now()

        def note(connection: sqlite3.Connection) -> None:
            trail = Trail(connection, self._vault)
            trail.append(at, due)
            trail.write()

        try:
            await self._database.transact(note)
        except OSError as error:
            self._refusals.put_back(due)
            raise _refused_storage(error) from error

    async def replicas(self, changes: Sequence[Change]) -> tuple[Replica, ...]:
        """The keys of these changes, as they are now; ``CryptographicFailure`` as in ``Get``."""

        def read(connection: sqlite3.Connection) -> tuple[Replica, ...]:
            found: list[Replica] = []
            for change in changes:
                row = store.find(connection, self._vault, change.key_id)
                if row is None:
                    raise CryptographicFailure(f"the row of key {change.key_id} is gone")
                found.append(Replica(row, store.material(self._vault, row)))
            return tuple(found)

        return await self._database.query(read)

    async def fingerprints(self, secret: bytes) -> tuple[tuple[KeyRow, str], ...]:
        """Every key that has material with its fingerprint under ``secret``, in order of creation.

        ``CryptographicFailure`` as in ``Get``."""
        return await self._database.query(
            lambda connection: tuple(
                (row, key.fingerprint(secret))
                for row in store.rows(connection, self._vault)
                if (key := store.material(self._vault, row)) is not None
            )
        )

    # ---- inside a transaction -------------------------------------------------------------

    def _run(self, work: Work, requests: Sequence[Request[Any]]) -> Done[Any]:
        """All requests of a message, or the error of the first that fails, written down."""
        try:
            responses = tuple([perform(work, request) for request in requests])
        except (Refusal, CryptographicFailure) as ended:
            refusal = ended if isinstance(ended, Refusal) else Refusal(ended, work.caller.scope)
            return self._refused(work.anew(), requests[0], refusal)
        return Done(responses, work.write())

    def _refused(self, work: Work, request: Request[Any], refusal: Refusal) -> Done[Any]:
        """Nothing of the message happened: say so of each key that its first request names."""
        if request.operation in audit.WRITTEN:
            for key_id in _ids_of(request):
                work.note(request.operation, key_id, refusal.scope, refusal.error.reason)
        return Done(refusal.error, work.write())

    # ---- around a transaction -------------------------------------------------------------

    async def admit(self, caller: Caller, *asked: Operation) -> None:
        """Raise the refusal of a role, after the trail has it."""
        refused = access.refuse(caller, *asked) if asked else None
        if refused is None:
            return
        at, reason = self._clock.now(), refused.reason

        def note(connection: sqlite3.Connection, trail: Trail, allowance: Allowance) -> Done[Any]:
            work = Work(connection, self._vault, caller, at, trail, allowance=allowance)
            work.note(asked[0], "", caller.scope, reason)
            return Done(refused, work.write())

        if self._refusals.count_only(AuditEntry(caller.who, caller.scope, asked[0], "", reason)):
            raise refused
        await self._commit(caller, note)

    async def _commit(self, caller: Caller, fn: _Run[T]) -> T:
        """Write, and answer when all who have to know of it do."""
        allowance = self._refusals.allowance(caller.who)
        try:
            done = await self.commits.make(
                lambda connection, trail: fn(connection, trail, allowance)
            )
        except OSError as error:
            self._refusals.put_back(allowance.due)
            raise _refused_storage(error) from error
        self._refusals.used(caller.who, allowance, done.written.refusals, done.written.left_out)
        if done.unsettled is not None:
            raise _refused_storage(done.unsettled) from done.unsettled
        return _reply(done.value)

    async def _read(self, fn: _Run[T]) -> T:
        def read(connection: sqlite3.Connection) -> Done[T]:
            return fn(connection, Trail(connection, self._vault), OWN_ROWS)

        try:
            done = await self._database.query(read)
        except OSError as error:
            raise _refused_storage(error) from error
        return _reply(done.value)

    def _fresh(self, caller: Caller, request: operations.Create, at: float) -> FreshKey:
        """A new key, drawn before the transaction; thrown away when the request is a repeat."""
        drawn, secret = self._rng.token(16 + 12), KeyMaterial(self._rng.token(_LENGTH // 8))
        key_id = _uuid(drawn[:16])
        aad = store.binding(key_id, caller.scope, _ALGORITHM, _LENGTH, _USAGE)
        row = KeyRow(
            key_id=key_id,
            scope=caller.scope,
            operation_id=request.operation_id,
            origin=self._name,
            algorithm=_ALGORITHM,
            length=_LENGTH,
            usage_mask=_USAGE,
            state=KmipState.PRE_ACTIVE,
            initial_date=at,
            activation_date=None,
            deactivation_date=None,
            compromise_date=None,
            destroy_date=None,
            last_change_date=at,
            wrapped=self._vault.close(secret, aad, drawn[16:]),
            changed=0,
        )
        return FreshKey(row, secret)


_VERSION_4 = 0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF, 0x00000000_0000_4000_8000_000000000000


def _uuid(random: bytes) -> KeyId:
    """A UUID of version 4 of 16 random bytes, as text (RFC 9562 section 5.4)."""
    free, fixed = _VERSION_4
    digits = f"{int.from_bytes(random) & free | fixed:032x}"
    return KeyId("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))


def _ids_of(request: Request[Any]) -> tuple[str, ...]:
    """Ids that the trail has of a request that failed; one empty when it names none."""
    match request:
        case operations.ObjectRequest():
            return (request.unique_identifier or "",)
        case operations.Get():
            return request.unique_identifiers or ("",)
        case _:
            return ("",)


# ---- before and after ---------------------------------------------------------------------


def _refused_storage(error: OSError) -> GeneralFailure:
    """A full or failing disk is an answer of the server, not a fault in its program."""
    return GeneralFailure(f"the key server's storage refused: {error.strerror}")


def _reply(outcome: T | ProductError) -> T:
    if isinstance(outcome, ProductError):
        raise outcome
    return outcome


def _check(requests: Sequence[Request[Any]]) -> None:
    """``InvalidField`` for what no store is needed to refuse.

    Lists read the database, which has nothing of the batch yet: they stand alone.
    """
    created = False
    for request in requests:
        kind = type(request)
        if kind in _CHECKS:
            _CHECKS[kind](request)
        if kind in _LISTS and len(requests) > 1:
            raise InvalidField("Locate and Query Audit are no part of a batch")
        created = created or kind is operations.Create
        if request.needs_placeholder and not created:
            raise InvalidField(f"{request.operation} names no key, and none was created before")


def _check_template(request: operations.Create) -> None:
    if not 0 < len(request.operation_id) <= OPERATION_ID_LIMIT:
        raise InvalidField(f"operation_id: 1 to {OPERATION_ID_LIMIT} characters")
    given = (request.algorithm, request.length, request.usage_mask)
    if given != (_ALGORITHM, _LENGTH, _USAGE):
        raise InvalidField(f"only AES-256 keys to encrypt and decrypt are made here, not {given}")


def _check_list(request: operations.Locate | operations.QueryAudit) -> None:
    if not 1 <= request.maximum_items <= LIST_LIMIT:
        raise InvalidField(f"limit {request.maximum_items}: 1 to {LIST_LIMIT}")
    if isinstance(request, operations.QueryAudit) and not 0 <= request.after < 2**63:
        raise InvalidField("after: a row number is meant")


_CHECKS: Final[dict[type[Request[Any]], Callable[[Any], None]]] = {
    operations.Create: _check_template,
    operations.Locate: _check_list,
    operations.QueryAudit: _check_list,
}
