"""Names that several keys of a scope have. Servers that were disconnected may give one Name to two
keys, and no key loses its Name. KMIP 1.4 section 3.2 requires unique Names.

A client that looks for such a Name finds all of its keys. Operators see it, and remove it from all
keys but one. A destroyed key does not share its Name.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from protocol.attributes import Attribute, ObjectName
from protocol.terms import KeyId
from services.kms.commit.unit_of_work import Work
from services.kms.objects import attributes, search
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.search import Sought
from services.kms.objects.states import DESTROYED

_NAME: Final = attributes.NAME.encode()
_OF_KEYS: Final = (
    "FROM attribute_index JOIN keys USING (key_id) "
    "WHERE name = 'Name' AND state NOT IN (?, ?) GROUP BY scope, value HAVING count(*) > 1"
)


class NameHolders(NamedTuple):
    """A Name, and keys that have it."""

    name: str
    key_ids: tuple[KeyId, ...]


def others(work: Work, row: StoredKeyRow, attribute: Attribute) -> list[KeyId]:
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
        keys = others(work, merged, one) if one not in before else []
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
