"""A message of several items, each with its own outcome (KMIP 1.4 section 6.13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final, NamedTuple

from protocol.errors import CryptographicFailure, InvalidField, ItemNotFound, ProductError
from protocol.terms import KeyId
from services.kms.access import authorization
from services.kms.audit import audit_trail
from services.kms.commit.group_commit import DatesCome, DoneMessage
from services.kms.commit.unit_of_work import START, Refusal, Work
from services.kms.objects import request_checks, request_types
from services.kms.objects.request_types import CoreOperation, CoreRequest, Response
from services.kms.operations import attribute_operations
from services.kms.operations.execution import perform


class Continuation(StrEnum):
    """Batch Error Continuation Option (KMIP 1.4 section 9.1.3.2.30): the effect of a failed item on
    the others."""

    CONTINUE = "Continue"  # no effect
    STOP = "Stop"  # later items are not executed; KMIP's default
    UNDO = "Undo"  # earlier items are undone too


class Item(NamedTuple):
    """The outcome of one item: a response, or the error; ``undone``: it was executed and then
    undone."""

    response: Response | None = None
    error: ProductError | None = None
    undone: bool = False


class Handed(NamedTuple):
    """What items of a message leave for later ones: the ID Placeholder. ``alone``: the message has
    one item."""

    placeholder: KeyId = KeyId("")
    alone: bool = False


class Ran(NamedTuple):
    """The outcomes of some items of a message."""

    items: tuple[Item, ...]
    handed: Handed


def all_or_nothing(
    work: Work, requests: Sequence[CoreRequest[Any]]
) -> DoneMessage[tuple[Response, ...]]:
    """Execute all requests of a message; or return the error of the first that fails, and record it
    for each key that this request names: nothing of the message happened."""
    try:
        responses = tuple([perform(work, request) for request in requests])
    except (Refusal, CryptographicFailure) as ended:
        refusal = ended if isinstance(ended, Refusal) else Refusal(ended, work.caller.scope)
        nothing = work.anew()
        note(nothing, requests[0], refusal)
        return DoneMessage(refusal.error, nothing.write())
    return DoneMessage(responses, work.write())


def run(
    option: Continuation, handed: Handed, work: Work, requests: Sequence[CoreRequest[Any]]
) -> DoneMessage[Ran]:
    """Execute the items in order, inside one transaction, with the values ``handed`` on to them."""
    items: list[Item] = []
    start = START._replace(placeholder=handed.placeholder)
    work.placeholder = handed.placeholder
    for request in requests:
        before = work.mark() if items else start
        try:
            items.append(Item(_perform_item(work, request, alone=handed.alone)))
        except (Refusal, CryptographicFailure) as ended:
            refusal = ended if isinstance(ended, Refusal) else Refusal(ended, work.caller.scope)
            work.back_to(start if option is Continuation.UNDO else before)
            note(work, request, refusal)
            if option is Continuation.UNDO:
                items = [Item(undone=True) for _ in items]
            items.append(Item(error=refusal.error))
            if option is not Continuation.CONTINUE:
                break
    return DoneMessage(Ran(tuple(items), Handed(work.placeholder)), work.write())


def _perform_item(work: Work, request: CoreRequest[Any], *, alone: bool) -> Response:
    scope = work.caller.scope
    flaw = request_checks.flaw(request)
    if flaw is not None:
        raise Refusal(flaw, scope)
    refused = (
        None if request.names_an_object else authorization.refuse(work.caller, request.operation)
    )
    if refused is not None:
        if isinstance(request, request_types.NewKey):
            next(work.fresh)  # later items must not get its key
        raise Refusal(refused, scope)
    if type(request) is request_types.QueryAuditTrail and not alone:
        raise Refusal(InvalidField("Query Audit is no part of a batch"), scope)
    if request.needs_placeholder and not work.placeholder:
        raise Refusal(ItemNotFound("no object was named, made or found before"), scope)
    return perform(work, request)


def note(work: Work, request: CoreRequest[Any], refusal: Refusal) -> None:
    """Record a refusal for each key that the request names, or means by the placeholder."""
    if request.operation in audit_trail.WRITTEN:
        for key_id in _ids_of(request) or (work.placeholder,):
            work.note(request.operation, key_id, refusal.scope, refusal.error.reason)


class KeyDemand(NamedTuple):
    """An operation, and the key that it names; None: a new key, one made before, or none.

    ``placeholder``: it means the key that an earlier request has found. ``found``: it finds one.
    ``role``: the operation that a role must have for it, None: this operation.
    """

    operation: CoreOperation
    key_id: KeyId | None = None
    placeholder: bool = False
    found: request_types.LocateObjects | None = None
    role: CoreOperation | None = None


def list_demands(requests: Sequence[CoreRequest[Any]]) -> list[KeyDemand]:
    """The demands of these requests, key by key; a key that leaves wrapped needs Encrypt of another
    one."""
    demands: list[KeyDemand] = []
    for request in requests:
        if request.needs_placeholder:
            demands.append(KeyDemand(request.operation, placeholder=True))
        elif isinstance(request, request_types.LocateObjects):
            demands.append(KeyDemand(request.operation, found=request))
        else:
            ids = _ids_of(request) or ("",)
            demands += [
                KeyDemand(request.operation, KeyId(key_id) if key_id else None) for key_id in ids
            ]
        if isinstance(request, request_types.Get) and request.wrapping is not None:
            under = request.wrapping.key_id
            demands.append(KeyDemand(CoreOperation.ENCRYPT, under, role=CoreOperation.GET))
    return demands


def judge_requests(work: Work, demands: Sequence[KeyDemand]) -> DoneMessage[None]:
    """The first refusal of a message that another server will execute; it is recorded.

    Refusals by role, or of keys that the caller does not see, are left to that server.
    """
    for one in demands:
        operation = one.operation
        key_id = (work.placeholder or None) if one.placeholder else one.key_id
        row = None if key_id is None else work.find_stored(key_id)
        if row is not None:
            passed = authorization.refuse_key(work.caller, one.role or operation, row)
        else:
            passed = authorization.refuse(work.caller, one.role or operation)
        if passed or (row is None and key_id is not None):
            continue
        try:
            work.judge(operation, row)
        except Refusal as refusal:
            if operation in audit_trail.WRITTEN:
                work.note(operation, key_id or "", refusal.scope, refusal.error.reason)
            return DoneMessage(refusal.error, work.write())
        if one.found is not None and request_checks.flaw(one.found) is None:
            with suppress(Refusal, DatesCome):
                attribute_operations.locate(work, one.found)
        elif operation in _MAKING:
            work.placeholder = KeyId("")
    return DoneMessage(None)


_MAKING: Final = (CoreOperation.CREATE, CoreOperation.REGISTER, CoreOperation.RE_KEY)


def _ids_of(request: CoreRequest[Any]) -> tuple[str, ...]:
    """The ids that the trail records for a failed request; none for the placeholder."""
    match request:
        case request_types.ObjectRequest():
            return () if request.unique_identifier is None else (request.unique_identifier,)
        case request_types.Get() | request_types.GetObjectAttributes():
            return request.unique_identifiers or ()
        case _:
            return ("",)


# ---- long messages -------------------------------------------------------------------------------
# A long message is executed in portions: each is a transaction, and other messages come between
# them. KMIP lets the result of an item stand whatever becomes of the next one, unless the Batch
# Error Continuation Option is *Undo* (KMIP 1.4 section 6.13): such a message is one transaction. An
# item that means the ID Placeholder stays in the portion of the item before it where possible; the
# placeholder is passed on to the next portion.


ITEMS: Final = 100
"""Items of one portion, which delays other messages by about ten milliseconds."""

Do = Callable[[Sequence[CoreRequest[Any]], Handed], Awaitable[Ran]]
"""Executes some items of a message, with the values handed on by earlier ones; durable on
return."""


async def do_in_portions(
    option: Continuation, requests: Sequence[CoreRequest[Any]], do: Do
) -> tuple[Item, ...]:
    """An outcome for each item that was executed.

    Raises the error of the first portion: nothing has happened then. Errors of later portions are
    outcomes of their items, because earlier portions have happened.
    """
    items: list[Item] = []
    handed = Handed(alone=len(requests) == 1)
    for portion in [requests] if option is Continuation.UNDO else _cut(requests):
        try:
            ran = await do(portion, handed)
        except ProductError as error:
            if not items:
                raise
            items += [Item(error=error)] * (len(portion) if option is Continuation.CONTINUE else 1)
        else:
            items += ran.items
            handed = ran.handed
        if option is Continuation.STOP and items[-1].error is not None:
            break
    return tuple(items)


def _cut(requests: Sequence[CoreRequest[Any]]) -> Iterator[Sequence[CoreRequest[Any]]]:
    begin = 0
    while begin < len(requests):
        end = begin + ITEMS
        while end - begin < 2 * ITEMS and end < len(requests) and requests[end].needs_placeholder:
            end += 1
        yield requests[begin:end]
        begin = end
