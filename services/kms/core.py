"""What each operation of the key server does, whoever asks and through whichever door.

A door proves the caller and turns what it was sent into requests (``operations``); a message of
several is a batch: one transaction, and all or nothing, which is KMIP's Batch Error Continuation
Option *Undo*. The answer comes after the commit. What is decided inside of the transaction is
returned from it, errors too: raising there would undo the audit row of the refusal.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from protocol.errors import (
    CryptographicFailure,
    GeneralFailure,
    InvalidField,
    ProductError,
    WrongKeyLifecycleState,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, ResultReason
from services.kms import access, audit, operations, states, store
from services.kms.access import Caller
from services.kms.master import Vault
from services.kms.operations import Operation, Request, Response
from services.kms.states import Transition
from services.kms.store import KeyRow
from services.kms.work import FreshKey, Refusal, Work
from services.runtime.ports import Clock, Database, Rng

T = TypeVar("T")
R = TypeVar("R", bound=Response)

VERSIONS: Final = ("1.4", "1.3", "1.2", "1.1", "1.0")
LIST_LIMIT: Final = 1000
OPERATION_ID_LIMIT: Final = 128

_ALGORITHM, _LENGTH, _USAGE = "AES", 256, 12
_LISTS: Final = (operations.Locate, operations.QueryAudit)


class Core:
    """One key server; its state is the database and the vault."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, rng: Rng) -> None:
        self._database, self._vault = database, vault
        self._clock, self._rng = clock, rng

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
        await self._admit(caller, *unnamed)
        if asked == [Operation.DISCOVER_VERSIONS]:
            return (operations.Versions(versions=VERSIONS),)  # STD-09: without the store
        at = self._clock.now()
        fresh = [self._fresh(caller, r, at) for r in requests if type(r) is operations.Create]

        def run(connection: sqlite3.Connection) -> tuple[Response, ...] | ProductError:
            return self._run(connection, caller, requests, fresh, at)

        return await (self._read(run) if audit.WRITTEN.isdisjoint(asked) else self._commit(run))

    # ---- inside a transaction -------------------------------------------------------------

    def _run(
        self,
        connection: sqlite3.Connection,
        caller: Caller,
        requests: Sequence[Request[Any]],
        fresh: list[FreshKey],
        at: float,
    ) -> tuple[Response, ...] | ProductError:
        """All requests of a message, or the error of the first that fails, written down."""
        work = Work(connection, self._vault, caller, at, fresh)
        try:
            responses = tuple([_PERFORM[type(request)](work, request) for request in requests])
        except (Refusal, CryptographicFailure) as ended:
            refusal = ended if isinstance(ended, Refusal) else Refusal(ended, caller.scope)
            return self._refused(connection, caller, requests[0], refusal, at)
        work.write()
        return responses

    def _refused(
        self,
        connection: sqlite3.Connection,
        caller: Caller,
        request: Request[Any],
        refusal: Refusal,
        at: float,
    ) -> ProductError:
        """Nothing of the message happened: say so of each key that its first request names."""
        if request.operation in audit.WRITTEN:
            work = Work(connection, self._vault, caller, at)
            for key_id in _ids_of(request):
                work.note(request.operation, key_id, refusal.scope, refusal.error.reason)
            work.write()
        return refusal.error

    # ---- around a transaction -------------------------------------------------------------

    async def _admit(self, caller: Caller, *asked: Operation) -> None:
        """Raise the refusal of a role, after the trail has it."""
        refused = access.refuse(caller, *asked) if asked else None
        if refused is None:
            return
        at, reason = self._clock.now(), refused.reason

        def note(connection: sqlite3.Connection) -> None:
            work = Work(connection, self._vault, caller, at)
            work.note(asked[0], "", caller.scope, reason)
            work.write()

        await self._commit(note)
        raise refused

    async def _commit(self, fn: Callable[[sqlite3.Connection], T | ProductError]) -> T:
        try:
            outcome = await self._database.transact(fn)
        except OSError as error:
            raise _refused_storage(error) from error
        return _reply(outcome)

    async def _read(self, fn: Callable[[sqlite3.Connection], T | ProductError]) -> T:
        try:
            outcome = await self._database.query(fn)
        except OSError as error:
            raise _refused_storage(error) from error
        return _reply(outcome)

    def _fresh(self, caller: Caller, request: operations.Create, at: float) -> FreshKey:
        """A new key, drawn before the transaction; thrown away when the request is a repeat."""
        key_id = KeyId(str(uuid.UUID(bytes=self._rng.token(16), version=4)))
        secret = KeyMaterial(self._rng.token(_LENGTH // 8))
        aad = store.binding(key_id, caller.scope, _ALGORITHM, _LENGTH, _USAGE)
        row = KeyRow(
            key_id=key_id,
            scope=caller.scope,
            operation_id=request.operation_id,
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
            wrapped=self._vault.close(secret, aad, self._rng.token(12)),
            changed=0,
        )
        return FreshKey(row, secret)


# ---- the operations -----------------------------------------------------------------------


def _create(work: Work, request: operations.Create) -> operations.Created:
    fresh = next(work.fresh)
    row = work.find_created(fresh.row.scope, fresh.row.operation_id)
    work.repeated = row is not None
    if row is None:
        row = fresh.row
        work.insert(fresh, Operation.CREATE)
    work.placeholder = row.key_id
    return operations.Created(unique_identifier=row.key_id, state=row.state)


def _get(work: Work, request: operations.Get) -> operations.Got:
    """Material leaves only after the commit of the rows that say so."""
    ids = request.unique_identifiers
    asked = (work.placeholder,) if ids is None else ids
    return operations.Got(keys=tuple([_got(work, key_id) for key_id in asked]))


def _got(work: Work, key_id: KeyId) -> operations.GotKey:
    row = work.find(key_id)
    if row is None or not work.caller.sees(row.scope):
        work.note(Operation.GET, key_id, work.caller.scope, access.absent(work.caller).reason)
        return operations.GotKey(unique_identifier=key_id)
    material = work.material(row)
    gone = ResultReason.ITEM_NOT_FOUND if material is None else None
    work.note(Operation.GET, key_id, row.scope, gone)
    return operations.GotKey(unique_identifier=key_id, state=row.state, material=material)


def _activate(work: Work, request: operations.Activate) -> operations.StateChanged:
    return _move(work, request, Transition.ACTIVATE)


def _revoke(work: Work, request: operations.Revoke) -> operations.StateChanged:
    return _move(work, request, states.revocation(request.reason))


def _destroy(work: Work, request: operations.Destroy) -> operations.StateChanged:
    return _move(work, request, Transition.DESTROY)


def _move(
    work: Work, request: operations.ObjectRequest[Any], transition: Transition
) -> operations.StateChanged:
    key_id = work.placeholder if request.unique_identifier is None else request.unique_identifier
    row = work.find(key_id)
    if row is None:
        raise Refusal(access.absent(work.caller), work.caller.scope)
    if not (request.unique_identifier is None and work.repeated):
        moved = _judged(work.caller, request.operation, transition, row, work.at)
        if isinstance(moved, ProductError):
            seen = work.caller.sees(row.scope)
            raise Refusal(moved, row.scope if seen else work.caller.scope)
        work.update(moved, request.operation)
        row = moved
    return operations.StateChanged(unique_identifier=key_id, state=row.state)


def _judged(
    caller: Caller, operation: Operation, transition: Transition, row: KeyRow, at: float
) -> KeyRow | ProductError:
    """The row after ``transition``, the same row for no change, or why not."""
    refused = access.refuse_key(caller, operation, row.scope)
    if refused is not None:
        return refused
    state = states.after(row.state, transition)
    if state is None:
        return WrongKeyLifecycleState(f"{operation} of a key that is {row.state}")
    if state is row.state:
        return row
    changes: dict[str, Any] = {"state": state, "last_change_date": at}
    match transition:
        case Transition.ACTIVATE:
            changes["activation_date"] = at
        case Transition.DEACTIVATE:
            changes["deactivation_date"] = at
        case Transition.COMPROMISE:
            changes["compromise_date"] = at
        case Transition.DESTROY:
            changes |= {"destroy_date": at, "wrapped": None}
    return msgspec.structs.replace(row, **changes)


def _attributes(work: Work, request: operations.GetAttributes) -> operations.AttributeList:
    rows = [work.find(key_id) for key_id in request.unique_identifiers]
    seen = [row for row in rows if row is not None and work.caller.sees(row.scope)]
    return operations.AttributeList(objects=tuple([store.attributes(row) for row in seen]))


def _locate(work: Work, request: operations.Locate) -> operations.Located:
    """``ItemNotFound`` when ``after`` is no key that this caller sees."""
    scope = None if work.caller.every_scope else work.caller.scope
    start: int | None = 0
    if request.after:
        start = store.ordinal(work.connection, request.after, scope)
    if start is None:
        raise Refusal(access.absent(work.caller), work.caller.scope)
    most = request.maximum_items
    found, total = store.locate(work.connection, scope, request.state, start, most)
    return operations.Located(unique_identifiers=found, total=total)


def _trail(work: Work, request: operations.QueryAudit) -> operations.AuditRecords:
    """Rows of the caller's scope; of all scopes at the server's own console."""
    scope = None if work.caller.every_scope else work.caller.scope
    rows = audit.read(work.connection, request.after, request.maximum_items, scope)
    return operations.AuditRecords(records=rows)


def _versions(work: Work, request: operations.DiscoverVersions) -> operations.Versions:
    return operations.Versions(versions=VERSIONS)


_PERFORM: Final[dict[type[Request[Any]], Callable[[Work, Any], Response]]] = {
    operations.Create: _create,
    operations.Get: _get,
    operations.GetAttributes: _attributes,
    operations.Activate: _activate,
    operations.Revoke: _revoke,
    operations.Destroy: _destroy,
    operations.Locate: _locate,
    operations.DiscoverVersions: _versions,
    operations.QueryAudit: _trail,
}
"""What does each request; a request that is not here is no operation of a key server."""


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
