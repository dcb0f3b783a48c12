"""Executes each operation inside the transaction of its message.

What a Get returns of a key, and which Gets change nothing, is decided here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol.attributes import Attribute, Revocation, Value
from protocol.errors import (
    CryptographicFailure,
    IllegalOperation,
    InvalidField,
    ItemNotFound,
    NotExtractable,
    PermissionDenied,
    ProductError,
    Sensitive,
    WrongKeyLifecycleState,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, ResultReason
from services.kms.access import authorization
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail
from services.kms.commit.unit_of_work import FreshKey, Refusal, Work
from services.kms.objects import attributes, key_row, request_types
from services.kms.objects.key_row import StoredKeyRow, Transition, as_at
from services.kms.objects.request_types import (
    AddObjectAttribute,
    CheckUsage,
    CoreOperation,
    CoreRequest,
    DecryptData,
    DeleteObjectAttribute,
    EncryptData,
    GetUsageAllocation,
    GotKey,
    ListObjectAttributes,
    ModifyObjectAttribute,
    ObtainLease,
    ReKey,
    Response,
)
from services.kms.operations import attribute_operations, key_creation, key_usage


def build_got_key(
    row: StoredKeyRow,
    material: KeyMaterial | None,
    under: KeyMaterial | None = None,
    told: tuple[Attribute, ...] = (),
) -> GotKey:
    """The key with its material (None: it has none any more), to be wrapped ``under`` another key,
    with the requested attributes."""
    return GotKey(
        unique_identifier=row.key_id,
        state=row.state,
        material=material,
        algorithm=row.algorithm,
        length=row.length,
        format=attributes.format_of(row),
        wrapping_key=under,
        attributes=told,
    )


_EXTRACTABLE: Final = key_row.EXTRACTABLE.encode()
_SENSITIVE: Final = key_row.SENSITIVE.encode()


def reason_withheld(row: StoredKeyRow, *, wrapped: bool) -> ProductError | None:
    """Why a Get does not return the key, in clear or ``wrapped``, by attributes that its client set
    (KMIP 1.4 sections 3.48 and 3.50); None when it does."""
    held = row.attributes  # cheaper than decoding all attributes
    if _EXTRACTABLE in held and attributes.single(row, key_row.EXTRACTABLE) is False:
        return NotExtractable()
    if not wrapped and _SENSITIVE in held and attributes.single(row, key_row.SENSITIVE) is True:
        return Sensitive()
    return None


def is_plain(caller: KeyServerCaller, row: StoredKeyRow, at: float) -> bool:
    """Whether a Get of this key, in clear, returns its material at the time ``at`` and writes
    nothing but that: no refusal, no date that has come, and the key was given before."""
    return (
        caller.sees(row)
        and row.wrapped is not None
        and authorization.refuse(caller, CoreOperation.GET) is None
        and as_at(row, at) is row
        and not attributes.is_fresh(row)
        and reason_withheld(row, wrapped=False) is None
    )


VERSIONS: Final = ("1.4", "1.3", "1.2", "1.1", "1.0")


def perform(work: Work, request: CoreRequest[Any]) -> Response:
    """Execute ``request``; raises ``Refusal``, or ``CryptographicFailure``."""
    if isinstance(request, _ABOUT_NO_KEY):
        work.judge(request.operation)
    return _PERFORM[type(request)](work, request)


_ABOUT_NO_KEY: Final = (request_types.LocateObjects, request_types.Query)
"""Operations that are not checked here: for others rejections are checked for each key, once it is
known; for a new key when it is taken."""


def _create(work: Work, request: request_types.NewKey) -> request_types.Created:
    fresh = next(work.fresh)
    work.judge(request.operation)
    row = work.find_created(fresh)
    work.repeated = row is not None
    if row is None:
        row = _apply_template(work, request, fresh.row)
        work.insert(FreshKey(row, fresh.secret), request.operation)
        row = as_at(row, work.at)
    elif isinstance(request, request_types.Register) and row.digest != fresh.row.digest:
        text = "this operation has registered another key before"
        raise Refusal(InvalidField(text), fresh.row.scope)
    work.placeholder = row.key_id
    return request_types.Created(unique_identifier=row.key_id, state=row.state)


def _apply_template(work: Work, request: request_types.NewKey, row: StoredKeyRow) -> StoredKeyRow:
    """A Name that another object has is Invalid Field here (KMIP 1.4 section 11.2)."""
    brought = isinstance(request, request_types.Register)
    try:
        row = attributes.with_template(
            row, request.attributes, work.at, work.server, brought=brought
        )
        if isinstance(request, request_types.Register) and request.digest is not None:
            digest = ((0, request.digest),)
            row = attributes.stamp(row, key_row.DIGEST, digest, work.at, work.server)
        for one in request.attributes:
            attribute_operations.check_name(work, row, one)
    except IllegalOperation as error:
        raise Refusal(InvalidField(str(error)), row.scope) from None
    except ProductError as error:
        raise Refusal(error, row.scope) from None
    return row


def _get(work: Work, request: request_types.Get) -> request_types.Got:
    """Material leaves only after the commit of the rows that record it."""
    ids = request.unique_identifiers
    key_ids = (work.placeholder,) if ids is None else ids
    listed = ids is not None and not request.required
    keys = tuple([_build_got(work, key_id, request.wrapping, listed=listed) for key_id in key_ids])
    gone = next((key for key in keys if key.material is None), None) if request.required else None
    if gone is not None:
        seen = "" if gone.state is None else f"the key is {gone.state}"
        raise Refusal(
            ItemNotFound(seen) if seen else authorization.absent(work.caller), work.caller.scope
        )
    return request_types.Got(keys=keys)


def _build_got(
    work: Work, key_id: KeyId, wanted: request_types.KeyWrapping | None, *, listed: bool
) -> request_types.GotKey:
    row = work.find(key_id)
    if row is None or not work.caller.sees(row):
        work.note(
            CoreOperation.GET, key_id, work.caller.scope, authorization.absent(work.caller).reason
        )
        return request_types.GotKey(unique_identifier=key_id)
    try:
        work.judge(CoreOperation.GET, row, listed=listed)
    except Refusal as refusal:
        # In a list this is the answer for one key, as for a missing key.
        if refusal.error.reason is not ResultReason.ITEM_NOT_FOUND:
            raise
        work.note(CoreOperation.GET, key_id, row.scope, refusal.error.reason)
        return request_types.GotKey(unique_identifier=key_id)
    material = work.material(row)
    withheld = reason_withheld(row, wrapped=wanted is not None)
    if material is not None and withheld is not None:
        # In a list the error names the key.
        error = CryptographicFailure(f"key {key_id}: {withheld}") if listed else withheld
        raise work.refusal(error, row)
    gone = ResultReason.ITEM_NOT_FOUND if material is None else None
    work.note(CoreOperation.GET, key_id, row.scope, gone)
    under: KeyMaterial | None = None
    if material is not None:
        under = None if wanted is None else key_usage.wrapping_key_of(work, wanted, row, material)
        work.serve(row)
    shown = attributes.of(row, wanted.names) if wanted and wanted.names else ()
    return build_got_key(row, material, under, shown)


def _activate(work: Work, request: request_types.ActivateObject) -> request_types.StateChanged:
    return _move(work, request, Transition.ACTIVATE)


def _revoke(work: Work, request: request_types.RevokeObject) -> request_types.StateChanged:
    return _move(work, request, key_row.revocation(request.reason))


def _destroy(work: Work, request: request_types.DestroyObject) -> request_types.StateChanged:
    return _move(work, request, Transition.DESTROY)


def _move(
    work: Work, request: request_types.Transitioning, transition: Transition
) -> request_types.StateChanged:
    if request.unique_identifier is None and work.repeated:
        row = work.find(work.placeholder)
        if row is None:
            raise Refusal(authorization.absent(work.caller), work.caller.scope)
        work.judge(request.operation, row)
    else:
        row = as_at(_transition(work, request, transition, work.object(request)), work.at)
        work.update(row, request.operation)
    return request_types.StateChanged(unique_identifier=row.key_id, state=row.state)


def _transition(
    work: Work, request: request_types.Transitioning, transition: Transition, row: StoredKeyRow
) -> StoredKeyRow:
    """The row after ``transition``, unchanged when it is reached already (states, rules 5 and
    6)."""
    state = key_row.state_after(row.state, transition)
    if state is None or (state is row.state and not request.repeat):
        error = WrongKeyLifecycleState if request.repeat else PermissionDenied
        raise work.refusal(error(f"{request.operation} of a key that is {row.state}"), row)
    if state is row.state:
        return row
    changes: dict[str, Any] = {"state": state, "last_change_date": work.at}
    match transition:
        case Transition.ACTIVATE:
            changes["activation_date"] = work.at
        case Transition.DEACTIVATE:
            changes["deactivation_date"] = work.at
        case Transition.COMPROMISE:
            changes["compromise_date"] = work.at
        case Transition.DESTROY:
            changes |= {"destroy_date": work.at, "wrapped": None}
    row = msgspec.structs.replace(row, **changes)
    return (
        _with_revocation_reason(work, request, row)
        if isinstance(request, request_types.RevokeObject)
        else row
    )


def _with_revocation_reason(
    work: Work, request: request_types.RevokeObject, row: StoredKeyRow
) -> StoredKeyRow:
    """The row with the reason of its revocation, if one was given."""
    values: dict[str, Value] = {}
    if not request.repeat or request.message:
        values[attributes.REVOCATION] = Revocation(code=request.reason, message=request.message)
    if key_row.revocation(request.reason) is Transition.COMPROMISE and request.occurred is not None:
        values[attributes.OCCURRENCE] = float(request.occurred)
    try:
        for name, value in values.items():
            row = attributes.stamp(row, name, ((0, value),), work.at, work.server)
    except ProductError as error:
        raise work.refusal(error, row) from None
    return row


def _trail(work: Work, request: request_types.QueryAuditTrail) -> request_types.AuditRecords:
    """Rows of the caller's scope; of all scopes at the server's own console."""
    scope = None if work.caller.every_scope else work.caller.scope
    rows = audit_trail.read(work.connection, request.after, request.maximum_items, scope)
    return request_types.AuditRecords(records=rows)


def _versions(work: Work, request: request_types.DiscoverServerVersions) -> request_types.Versions:
    return request_types.Versions(versions=VERSIONS)


_PERFORM: Final[dict[type[CoreRequest[Any]], Callable[[Work, Any], Response]]] = {
    request_types.Create: _create,
    request_types.Register: _create,
    request_types.Get: _get,
    request_types.GetObjectAttributes: attribute_operations.get_attributes,
    ListObjectAttributes: attribute_operations.get_attribute_list,
    AddObjectAttribute: attribute_operations.add_attribute,
    ModifyObjectAttribute: attribute_operations.modify_attribute,
    DeleteObjectAttribute: attribute_operations.delete_attribute,
    request_types.ActivateObject: _activate,
    request_types.RevokeObject: _revoke,
    request_types.DestroyObject: _destroy,
    ReKey: key_creation.replace_key,
    ObtainLease: key_usage.lend,
    CheckUsage: key_usage.check_usage,
    GetUsageAllocation: key_usage.allocate,
    request_types.LocateObjects: attribute_operations.locate,
    EncryptData: key_usage.encrypt,
    DecryptData: key_usage.decrypt,
    request_types.DiscoverServerVersions: _versions,
    request_types.Query: lambda work, request: request_types.Queried(),
    request_types.QueryAuditTrail: _trail,
}
"""The function of each request; a request that is not here is not an operation of a key server."""
