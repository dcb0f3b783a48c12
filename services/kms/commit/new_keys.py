"""New keys that need no lookup: made on the loop, and written together.

A Create without attributes has one outcome at a server without replication: nothing in the database
concerns a key whose id is new. Its row is made on the loop when its group leaves, except for what
only the transaction knows: the number of its row in the trail, which its tag covers, and whether
another KEK has become the current one. The keys of a group need a few statements, whatever their
number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import AuditEntry, AuditTrail
from services.kms.commit import store
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import Create
from services.kms.sealing.vault import Vault

Over = Callable[[KeyId, BaseException | None], None]
"""Called when a new key is durable, or with the error when that is unknown."""


class NewKeyOrder(msgspec.Struct, gc=False):
    """A request for a new key: its caller, its parameters, and its callback."""

    caller: KeyServerCaller
    request: Create
    over: Over


class Making(msgspec.Struct, gc=False):
    """A new key before it is written: its row, which has no number yet, and its entry of the trail.
    ``Mint.make_keys`` makes them."""

    row: StoredKeyRow
    entry: AuditEntry


def write(
    connection: sqlite3.Connection, trail: AuditTrail, vault: Vault, made: Sequence[Making]
) -> tuple[KeyId, ...]:
    """Write these keys with their entries of the trail, in order; returns the keys."""
    end = trail.append_each([(one.row.initial_date, one.entry) for one in made])
    first = end.sequence - len(made) + 1
    store.insert_all(connection, vault, [one.row for one in made], first)
    return tuple([one.row.key_id for one in made])
