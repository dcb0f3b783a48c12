"""New keys that need no lookup: made on the loop, and written together.

A Create without attributes has one outcome at a server without replication: nothing in the database
concerns a key whose id is new. Its row is made on the loop when its group leaves, except for what
only the transaction knows: the number of its row in the trail, which its tag covers, and whether
another KEK has become the current one. The keys of a group are a few statements, whatever their
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
"""Told of a new key when it is durable, or why nobody knows that it is."""


class NewKeyOrder(msgspec.Struct, gc=False):
    """A new key that was asked for: who asks, for what, and who is told."""

    caller: KeyServerCaller
    request: Create
    over: Over


class Making(msgspec.Struct, gc=False):
    """A new key on its way to the database: its row, which has no number yet, and what the trail
    says of it. ``Mint.make_keys`` makes them."""

    row: StoredKeyRow
    entry: AuditEntry


def write(
    connection: sqlite3.Connection, trail: AuditTrail, vault: Vault, made: Sequence[Making]
) -> tuple[KeyId, ...]:
    """Write these keys with their entries of the trail, in their order; which they are."""
    end = trail.append_each([(one.row.initial_date, one.entry) for one in made])
    first = end.sequence - len(made) + 1
    store.insert_all(connection, vault, [one.row for one in made], first)
    return tuple([one.row.key_id for one in made])
