"""Rows of keys in memory, as they are in the database, for messages that only read.

A row is added when it was read and its tag was right. It is removed before a message runs that may
change its key. Until that message is committed, others read the row in a transaction after it. So a
cached row is never older than an answer that a client has, and a read that came before a change
precedes it in the trail.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from protocol.terms import KeyId
from services.kms.audit import audit_trail
from services.kms.objects import search
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import (
    CoreRequest,
    Get,
    GetObjectAttributes,
    LocateObjects,
    ObjectRequest,
)

KEYS: Final = 16_384
"""How many rows are kept; the oldest gives way."""

ATTRIBUTES: Final = 2048
"""Largest attributes of a cached row, in bytes: with all rows at this size the cache would take a
quarter of a gibibyte."""


class NotKept(Exception):
    """The requested data is only in the database."""


class _Nowhere:
    """In place of a database, for a message that needs none."""

    def execute(self, *_: object) -> object:
        raise NotKept


NOWHERE: Final = cast(sqlite3.Connection, _Nowhere())

NONE: Final = KeyId("")

Touched = Collection[KeyId] | None
"""Keys that a message may change, besides new ones; None: any key."""


def keys_touched_by(requests: Sequence[CoreRequest[Any]], placeholder: KeyId = NONE) -> Touched:
    """The keys that a message of these requests may change. Reads change keys too: the first Get of
    a key does, and a report of a key whose date has come. The ID Placeholder is a key that the
    message itself makes, unless the message uses Locate; then it is ``placeholder``, left by
    earlier items."""
    located = any(isinstance(request, LocateObjects) for request in requests)
    if located and any(_reveals_states(request) for request in requests):
        return None  # a date may have changed the state of any key
    ids: list[KeyId] = [placeholder] if placeholder else []
    for request in requests:
        if isinstance(request, Get | GetObjectAttributes):
            ids += request.unique_identifiers or ()
        elif isinstance(request, ObjectRequest) and request.unique_identifier is not None:
            ids.append(request.unique_identifier)
        elif located and request.needs_placeholder and request.operation in audit_trail.CHANGING:
            return None
    return ids


def _reveals_states(request: CoreRequest[Any]) -> bool:
    return isinstance(request, LocateObjects) and search.reveals_states(request.attributes)


class CacheLook:
    """A lookup in the database in progress; ``spoilt`` by a change that began meanwhile."""

    def __init__(self, key_ids: Collection[KeyId]) -> None:
        self.key_ids, self.spoilt = frozenset(key_ids), False


class RowCache:
    """The cached rows; used on the loop only."""

    def __init__(self) -> None:
        self._rows: dict[KeyId, StoredKeyRow] = {}
        self._changing: Counter[KeyId] = Counter()
        self._all = 0  # messages in progress that may change any key
        self._looks: dict[CacheLook, None] = {}

    def rows(self, key_ids: Collection[KeyId]) -> dict[KeyId, StoredKeyRow] | None:
        """The rows of these keys; None when one of them is not cached."""
        kept = self._rows
        try:
            return {key_id: kept[key_id] for key_id in key_ids}
        except KeyError:
            return None

    def row(self, key_id: KeyId) -> StoredKeyRow | None:
        """The row of this key; None when it is not cached."""
        return self._rows.get(key_id)

    def change(self, key_ids: Touched) -> None:
        """A message begins that may change these keys; call ``end_change`` when it is over."""
        if key_ids is None:
            self._all += 1
            self.clear()
            return
        for key_id in key_ids:
            self._changing[key_id] += 1
        self.forget(key_ids)

    def end_change(self, key_ids: Touched) -> None:
        """The message is over, committed or not."""
        if key_ids is None:
            self._all -= 1
            return
        for key_id in key_ids:
            self._changing[key_id] -= 1
            if not self._changing[key_id]:
                del self._changing[key_id]

    def forget(self, key_ids: Iterable[KeyId]) -> None:
        """Drop these rows: they have changed."""
        for key_id in key_ids:
            self._rows.pop(key_id, None)
            for look in self._looks:
                look.spoilt = look.spoilt or key_id in look.key_ids

    def clear(self) -> None:
        """Drop all rows."""
        self._rows.clear()
        for look in self._looks:
            look.spoilt = True

    def look(self, key_ids: Collection[KeyId]) -> CacheLook:
        """Begin a lookup of these keys in the database; call ``looked`` when it is over."""
        look = CacheLook(key_ids)
        look.spoilt = self._all > 0 or any(key_id in self._changing for key_id in key_ids)
        self._looks[look] = None
        return look

    def looked(self, look: CacheLook, found: Mapping[KeyId, StoredKeyRow]) -> bool:
        """Keep the rows that a lookup has found, unless a change began meanwhile; returns whether
        they are current. Only keys of the lookup are kept."""
        del self._looks[look]
        if look.spoilt or not found.keys() <= look.key_ids:
            return False
        for key_id, row in found.items():
            if len(row.attributes) <= ATTRIBUTES:
                self._rows[key_id] = row
        while len(self._rows) > KEYS:
            del self._rows[next(iter(self._rows))]
        return True
