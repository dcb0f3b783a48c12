"""What each operation does to the database, inside of the transaction of its message.

Errors that the trail tells of are raised as ``Refusal``; the core writes them down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol.errors import ProductError, WrongKeyLifecycleState
from protocol.terms import KeyId, ResultReason
from services.kms import access, audit, operations, states, store
from services.kms.access import Caller
from services.kms.operations import Operation, Request, Response
from services.kms.states import Transition
from services.kms.store import KeyRow
from services.kms.work import Refusal, Work

VERSIONS: Final = ("1.4", "1.3", "1.2", "1.1", "1.0")


def perform(work: Work, request: Request[Any]) -> Response:
    """Do what ``request`` says; raises ``Refusal``, or ``CryptographicFailure``."""
    return _PERFORM[type(request)](work, request)


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
