"""New keys that need nothing looked up: made on the loop, and written together (decision 68).

A Create without attributes, at a server that has nobody to tell of it, has one outcome: nothing in
the database says anything about a key whose id is new. So its row is made where the message comes
in, but for what only the transaction knows: the number of its row in the trail, which its tag
covers, and whether another KEK has become the current one meanwhile. Those that come together are
a few statements, whatever their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from protocol.terms import KeyId
from services.kms import store
from services.kms.audit import AuditEntry, Trail
from services.kms.keyrow import KeyRow
from services.kms.master import Vault

Over = Callable[[KeyId, BaseException | None], None]
"""Told of a new key when it is durable, or why nobody knows that it is."""


class Making(msgspec.Struct, gc=False):
    """A new key on its way to the database: its row, which has no number yet, what the trail says
    of it, and who waits for it."""

    row: KeyRow
    entry: AuditEntry
    over: Over


def write(
    connection: sqlite3.Connection, trail: Trail, vault: Vault, made: Sequence[Making]
) -> tuple[KeyId, ...]:
    """Write these keys with their entries of the trail, in their order; which they are."""
    rows: list[KeyRow] = []
    for one in made:
        end = trail.append(one.row.initial_date, (one.entry,))
        rows.append(msgspec.structs.replace(one.row, changed=end.sequence))
    store.insert_all(connection, vault, rows)
    return tuple([row.key_id for row in rows])
