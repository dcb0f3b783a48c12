"""Operations on the attributes of keys, and Locate, inside the transaction of a message.

Names are unique (KMIP 1.4 section 3.2), except that servers which were disconnected may give one
Name to two keys, and no key loses its Name.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from protocol.attributes import GRANTED_SCOPE, Attribute, ObjectName
from protocol.errors import (
    IllegalOperation,
    InvalidField,
    InvalidMessage,
    PermissionDenied,
    ProductError,
)
from protocol.terms import KeyId, ResultReason
from services.kms.access.authorization import absent
from services.kms.commit import group_commit, store
from services.kms.commit.unit_of_work import Refusal, Work
from services.kms.objects import attributes, request_types, search
from services.kms.objects.key_row import DESTROYED, StoredKeyRow, as_at
from services.kms.objects.request_types import (
    AddObjectAttribute,
    CoreOperation,
    DeleteObjectAttribute,
    ListObjectAttributes,
    ModifyObjectAttribute,
    ObjectAttributeChanged,
    ObjectAttributeNames,
)
from services.kms.objects.search import Sought

_NAME: Final = attributes.NAME.encode()
_OF_KEYS: Final = (
    "FROM attribute_index JOIN keys USING (key_id) "
    "WHERE name = 'Name' AND state NOT IN (?, ?) GROUP BY scope, value HAVING count(*) > 1"
)


class NameHolders(NamedTuple):
    """A Name, and keys that have it."""

    name: str
    key_ids: tuple[KeyId, ...]


def other_holders(work: Work, row: StoredKeyRow, attribute: Attribute) -> list[KeyId]:
    """Other keys of the scope that have this Name and are not destroyed; at most two of the stored
    ones."""
    sought = Sought(row.scope, (attribute,), work.at, destroyed=False)
    key = attributes.key_of(attribute.value)
    drafts = work.drafts()
    stored, _ = search.find_matching(work.connection, sought, 0, 2)
    found = [key_id for key_id in stored if key_id not in drafts] + [
        key_id
        for key_id, draft in drafts.items()
        if key in draft.attributes and search.matches(draft, sought)
    ]
    return [key_id for key_id in found if key_id != row.key_id]


def got(work: Work, mine: StoredKeyRow | None, merged: StoredKeyRow) -> tuple[NameHolders, ...]:
    """Names that the key ``mine`` got (None: all that it has) and that another key has too."""
    if merged.state in DESTROYED:
        return ()
    before = () if mine is None else _names(mine)
    found = []
    for one in _names(merged):
        keys = other_holders(work, merged, one) if one not in before else []
        if keys and isinstance(one.value, ObjectName):
            ids = tuple(sorted([merged.key_id, *keys]))
            found.append(NameHolders(one.value.value, ids))
    return tuple(found)


def view(connection: sqlite3.Connection, limit: int) -> tuple[tuple[NameHolders, ...], int]:
    """The first shared Names with their keys, and how many there are."""
    rows = connection.execute(
        f"SELECT value, group_concat(key_id, ' ') {_OF_KEYS} LIMIT ?",
        (*DESTROYED, limit),
    )
    found = tuple(
        [
            NameHolders(attributes.name_of(value), tuple(map(KeyId, sorted(ids.split(" ")))))
            for value, ids in rows
        ]
    )
    total = connection.execute(f"SELECT count(*) FROM (SELECT 1 {_OF_KEYS})", DESTROYED)  # noqa: S608
    return found, int(total.fetchone()[0])


def _names(row: StoredKeyRow) -> tuple[Attribute, ...]:
    """The Names without their indices, by which two servers may differ."""
    if _NAME not in row.attributes:  # cheaper than decoding all attributes
        return ()
    return tuple(
        [
            Attribute(name=one.name, value=one.value)
            for one in attributes.of(row, (attributes.NAME,))
        ]
    )


def get_attributes(
    work: Work, request: request_types.GetObjectAttributes
) -> request_types.ObjectAttributeList:
    """The attributes of each key that the caller sees."""
    ids = request.unique_identifiers
    if request.names is not None and len(set(request.names)) < len(request.names):
        raise Refusal(InvalidMessage("an attribute is named more than once"), work.caller.scope)
    rows = [work.find(key_id) for key_id in ((work.placeholder,) if ids is None else ids)]
    listed = not request.required
    seen = [row for row in rows if row is not None and _is_visible(work, row, listed=listed)]
    if request.required and len(seen) < len(rows):
        raise Refusal(absent(work.caller), work.caller.scope)
    return request_types.ObjectAttributeList(
        objects=tuple([_attributes_of(row, request.names) for row in seen])
    )


def _is_visible(work: Work, row: StoredKeyRow, *, listed: bool) -> bool:
    """Whether the caller sees the key; ``Refusal`` when the server rejects that."""
    if not work.caller.sees(row):
        return False
    try:
        work.judge(CoreOperation.GET_ATTRIBUTES, row, listed=listed)
    except Refusal as refusal:
        if refusal.error.reason is not ResultReason.ITEM_NOT_FOUND:
            raise
        return False
    return True


def _attributes_of(
    row: StoredKeyRow, names: tuple[str, ...] | None
) -> request_types.ObjectAttributes:
    return request_types.ObjectAttributes(
        unique_identifier=row.key_id,
        state=row.state,
        algorithm=row.algorithm,
        length=row.length,
        usage_mask=row.usage_mask,
        initial_date=row.initial_date,
        activation_date=row.activation_date,
        deactivation_date=row.deactivation_date,
        compromise_date=row.compromise_date,
        destroy_date=row.destroy_date,
        last_change_date=row.last_change_date,
        attributes=() if names is None else attributes.of(row, names),
    )


def get_attribute_list(work: Work, request: ListObjectAttributes) -> ObjectAttributeNames:
    """See ``ListObjectAttributes``."""
    row = work.object(request)
    return ObjectAttributeNames(unique_identifier=row.key_id, names=attributes.names(row))


def add_attribute(work: Work, request: AddObjectAttribute) -> ObjectAttributeChanged:
    """See ``AddObjectAttribute``."""
    row = work.object(request)
    try:
        if not work.caller.owns(row) and request.attribute.name != GRANTED_SCOPE:
            raise PermissionDenied(f"the key was granted to {work.caller.who}, not to change")
        if request.indexed:
            raise InvalidField("the index of a new attribute is the server's")
        there = attributes.like(row, request.attribute) if request.repeat else None
        if there is not None:
            return ObjectAttributeChanged(unique_identifier=row.key_id, attribute=there)
        changed, made = attributes.add_attribute(row, request.attribute, work.at, work.server)
        check_name(work, row, made)
    except ProductError as error:
        raise work.refusal(error, row) from None
    return _write_change(work, request, changed, made)


def modify_attribute(work: Work, request: ModifyObjectAttribute) -> ObjectAttributeChanged:
    """See ``ModifyObjectAttribute``."""
    row = work.object(request)
    try:
        changed, made = attributes.modify_attribute(row, request.attribute, work.at, work.server)
        check_name(work, row, made)
    except ProductError as error:
        raise work.refusal(error, row) from None
    return _write_change(work, request, changed, made)


def delete_attribute(work: Work, request: DeleteObjectAttribute) -> ObjectAttributeChanged:
    """See ``DeleteObjectAttribute``."""
    row = work.object(request)
    try:
        changed, gone = attributes.delete_attribute(
            row, request.name, request.index, work.at, work.server
        )
    except ProductError as error:
        raise work.refusal(error, row) from None
    return _write_change(work, request, changed, gone)


def _write_change(
    work: Work,
    request: AddObjectAttribute | ModifyObjectAttribute | DeleteObjectAttribute,
    row: StoredKeyRow,
    attribute: Attribute,
) -> ObjectAttributeChanged:
    work.update(as_at(row, work.at), request.operation)
    return ObjectAttributeChanged(unique_identifier=row.key_id, attribute=attribute)


def check_name(work: Work, row: StoredKeyRow, attribute: Attribute) -> None:
    """``IllegalOperation`` when another object of the scope has the Name (KMIP 1.4 section 3.2).

    A destroyed object keeps its Name as a record, but others may take it.
    """
    if not isinstance(attribute.value, ObjectName):
        return
    others = other_holders(work, row, attribute)
    if others:
        raise IllegalOperation(f"key {others[0]} has the name {attribute.value.value}")


# ---- Locate -------------------------------------------------------------------------------


def locate(work: Work, request: request_types.LocateObjects) -> request_types.LocatedObjects:
    """Locate; ``ItemNotFound`` when ``after`` is not a key that this caller sees."""
    scope = None if work.caller.every_scope else work.caller.scope
    start: int | None = 0
    if request.after:
        start = store.ordinal(work.connection, request.after, scope)
    if start is None:
        raise Refusal(absent(work.caller), work.caller.scope)
    sought = Sought(scope, request.attributes, work.at, request.destroyed)
    if search.reveals_states(request.attributes):
        group_commit.reach_due_dates(work, scope)
    most = request.offset_items + request.maximum_items
    found, total = _find_keys(work, sought, start, most, newest_first=request.newest_first)
    found = found[request.offset_items :]
    # Several matches empty the placeholder, unless only one key was requested.
    one = len(found) == 1 and (total == 1 or request.maximum_items == 1)
    work.placeholder, work.repeated = found[0] if one else KeyId(""), False
    return request_types.LocatedObjects(unique_identifiers=found, total=total)


def _find_keys(
    work: Work, sought: Sought, after: int, limit: int, *, newest_first: bool
) -> tuple[tuple[KeyId, ...], int]:
    """Keys of the store and of this message's drafts, of which the new ones are the newest."""
    drafts, most = work.drafts(), limit + len(work.drafts())
    found, total = search.find_matching(
        work.connection, sought, after, most, newest_first=newest_first
    )
    if not drafts:
        return found, total
    before = {key_id: _was(work, key_id, sought) for key_id in drafts}
    matching = [key_id for key_id, row in drafts.items() if search.matches(row, sought)]
    kept = [key_id for key_id in found if key_id not in drafts or key_id in matching]
    new = [key_id for key_id in matching if key_id not in kept and before[key_id] is not True]
    total += len(matching) - sum(1 for was in before.values() if was is True)
    every = [*reversed(new), *kept] if newest_first else [*kept, *new]
    return tuple(every[:limit]), total


def _was(work: Work, key_id: KeyId, sought: Sought) -> bool | None:
    """Whether the key matched before this message; None when it did not exist."""
    row = work.before(key_id)
    return None if row is None else search.matches(row, sought)
