"""Keys in the database: rows, their tags, and every SQL statement about them.

Functions here run inside ``Database.transact`` or ``query``. New keys that need no lookup are made
on the loop, and written together.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import AuditEntry, AuditTrail
from services.kms.objects import bulk_insert
from services.kms.objects.attributes import raw_index
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import Create
from services.kms.sealing.vault import Vault, kek_bytes, kek_of

SCHEMA: Final = (
    # Overwrite destroyed data, also in freed pages; not every SQLite does so by default.
    "PRAGMA secure_delete = ON",
    """CREATE TABLE IF NOT EXISTS keys (
        ordinal INTEGER PRIMARY KEY,
        key_id TEXT NOT NULL UNIQUE,
        scope TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        origin TEXT NOT NULL,
        algorithm TEXT NOT NULL,
        length INTEGER NOT NULL,
        usage_mask INTEGER NOT NULL,
        state TEXT NOT NULL,
        initial_date REAL NOT NULL,
        activation_date REAL,
        deactivation_date REAL,
        compromise_date REAL,
        destroy_date REAL,
        last_change_date REAL NOT NULL,
        wrapped BLOB,
        changed INTEGER NOT NULL,
        digest BLOB NOT NULL,
        attributes BLOB NOT NULL,
        tag BLOB NOT NULL,
        kek_id BLOB GENERATED ALWAYS AS (substr(wrapped, 1, 4)) VIRTUAL,
        UNIQUE (scope, operation_id, origin, key_id)
    ) STRICT""",
    # Includes the dates that change a state by themselves, so that counting reads no rows.
    "CREATE INDEX IF NOT EXISTS keys_by_state_and_dates ON keys "
    "(scope, state, ordinal, activation_date, deactivation_date)",
    # Keys with a future date, which are few, so that checking for due ones costs nothing.
    "CREATE INDEX IF NOT EXISTS keys_to_activate ON keys (activation_date) "
    "WHERE state = 'Pre-Active' AND activation_date IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS keys_to_deactivate ON keys (deactivation_date) "
    "WHERE state = 'Active' AND deactivation_date IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS attribute_index (
        name TEXT NOT NULL,
        value BLOB NOT NULL,
        key_id TEXT NOT NULL,
        PRIMARY KEY (name, value, key_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS attribute_index_by_key ON attribute_index (key_id)",
    """CREATE TABLE IF NOT EXISTS ring (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        header BLOB NOT NULL,
        box BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS format (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        number INTEGER NOT NULL
    ) STRICT""",
)

FORMAT: Final = 3
"""Format of the database; 1 had no attributes and no number of its own; 2 had no key ring."""

KIND: Final = b"key"
"""The kind of tag of these rows."""

_COLUMNS: Final = (
    "key_id, scope, operation_id, origin, algorithm, length, usage_mask, state, initial_date, "
    "activation_date, deactivation_date, compromise_date, destroy_date, last_change_date, "
    "wrapped, changed, digest, attributes"
)
_SELECT: Final = f"SELECT {_COLUMNS}, tag FROM keys "  # noqa: S608 - constants only
_FIND: Final = _SELECT + "WHERE key_id = ?"
_FIND_CREATED: Final = _SELECT + "WHERE scope = ? AND operation_id = ?"
_KEYS: Final = f"INSERT INTO keys ({_COLUMNS}, tag) VALUES "  # noqa: S608
_INDEX: Final = "INSERT OR IGNORE INTO attribute_index VALUES "
_CHANGED: Final = StoredKeyRow.__struct_fields__.index("changed")
_INSERT: Final = f"{_KEYS}({', '.join('?' * 19)})"
_encode = msgspec.msgpack.Encoder().encode


def binding(key_id: KeyId, scope: str, algorithm: str, length: int, usage_mask: int) -> bytes:
    """The associated data of wrapped material: facts that never change."""
    return _encode(("keystead kms key", key_id, scope, algorithm, length, usage_mask))


def material(vault: Vault, row: StoredKeyRow) -> KeyMaterial | None:
    """The key itself, None once destroyed; ``CryptographicFailure`` if it does not unwrap."""
    if row.wrapped is None:
        return None
    return vault.open(row.wrapped, _aad(row))


def _aad(row: StoredKeyRow) -> bytes:
    return binding(row.key_id, row.scope, row.algorithm, row.length, row.usage_mask)


def digest(material: KeyMaterial) -> bytes:
    """The attribute Digest: SHA-256 of the key's bytes."""
    return hashlib.sha256(material.reveal()).digest()


# ---- statements ---------------------------------------------------------------------------


def find(connection: sqlite3.Connection, vault: Vault, key_id: KeyId) -> StoredKeyRow | None:
    """The key; ``CryptographicFailure`` if its row is not as this server wrote it."""
    found = connection.execute(_FIND, (key_id,)).fetchone()
    return None if found is None else _verify_row(vault, found)


def find_created(
    connection: sqlite3.Connection, vault: Vault, scope: str, operation_id: str
) -> StoredKeyRow | None:
    """The key that this operation has made, if any.

    Servers may have made one each while they were disconnected, and a server that was put back to
    an older state may have made two: the oldest counts.
    """
    found = connection.execute(_FIND_CREATED, (scope, operation_id)).fetchall()
    made = [_verify_row(vault, one) for one in found]
    if not made:
        return None
    return min(made, key=lambda row: (row.initial_date, row.origin, row.key_id))


def rows(
    connection: sqlite3.Connection, vault: Vault, after: int, limit: int
) -> tuple[StoredKeyRow, ...]:
    """The first keys above the ordinal ``after``, in order of creation; ``CryptographicFailure`` as
    in ``find``."""
    found = connection.execute(
        _SELECT + "WHERE ordinal > ? ORDER BY ordinal LIMIT ?", (after, limit)
    )
    return tuple(_verify_row(vault, one) for one in found.fetchall())


def rows_by_id(
    connection: sqlite3.Connection, vault: Vault, after: KeyId, limit: int
) -> tuple[StoredKeyRow, ...]:
    """The first keys after the id ``after``, in order of their ids; otherwise as ``rows``."""
    found = connection.execute(_SELECT + "WHERE key_id > ? ORDER BY key_id LIMIT ?", (after, limit))
    return tuple(_verify_row(vault, one) for one in found.fetchall())


def find_due_keys(
    connection: sqlite3.Connection, scope: str | None, at: float, limit: int
) -> tuple[KeyId, ...]:
    """At most ``limit`` keys of a scope (None: all scopes) whose state a date has changed at the
    time ``at``, but not yet in their rows."""
    found = connection.execute(
        "SELECT key_id FROM keys INDEXED BY keys_to_activate "
        "WHERE state = 'Pre-Active' AND activation_date <= ? AND (? IS NULL OR scope = ?) "
        "UNION ALL SELECT key_id FROM keys INDEXED BY keys_to_deactivate "
        "WHERE state = 'Active' AND deactivation_date <= ? AND (? IS NULL OR scope = ?) LIMIT ?",
        (at, scope, scope, at, scope, scope, limit),
    )
    return tuple([KeyId(key_id) for (key_id,) in found])


def insert(connection: sqlite3.Connection, vault: Vault, row: StoredKeyRow) -> None:
    """Write a new key with its tag, under the present current KEK."""
    connection.execute(_INSERT, _tag_row(vault, row))
    if row.attributes:
        _add_to_index(connection, row)


def insert_all(
    connection: sqlite3.Connection, vault: Vault, made: Sequence[StoredKeyRow], first: int
) -> None:
    """As ``insert`` for each row, in order, in few statements. The audit row of the first key is
    ``first``, and each further one's is the next."""
    tagged, place = vault.tagger(KIND), _CHANGED
    written: list[tuple[Any, ...]] = []
    for number, row in enumerate(made, first):
        values = _plain(_under_current(vault, row))
        values[place] = number
        written.append((*values, tagged(_encode(values))))
    bulk_insert.insert(connection, _KEYS, written)
    found = [(name, value, row.key_id) for row in made for name, value in raw_index(row.attributes)]
    bulk_insert.insert(connection, _INDEX, found)


def _tag_row(vault: Vault, row: StoredKeyRow) -> tuple[Any, ...]:
    """The columns of a new key, with its tag."""
    row = _under_current(vault, row)
    return (*_plain(row), vault.tag(KIND, _encode(row)))


def _plain(row: StoredKeyRow) -> list[Any]:
    """The fields as SQLite takes them, without enums; encoded, they equal those of the row."""
    values: list[Any] = msgspec.to_builtins(row, builtin_types=(bytes,))
    return values


def _under_current(vault: Vault, row: StoredKeyRow) -> StoredKeyRow:
    """A new key with its material under the present current KEK."""
    if row.wrapped is None or kek_of(row.wrapped) == vault.ring.current.number:
        return row
    return msgspec.structs.replace(row, wrapped=vault.rewrap(row.wrapped, _aad(row)))


def update(connection: sqlite3.Connection, vault: Vault, row: StoredKeyRow) -> None:
    """Write what can change: state, dates, attributes, material, audit row."""
    connection.execute(
        "UPDATE keys SET state = ?, activation_date = ?, deactivation_date = ?, "
        "compromise_date = ?, destroy_date = ?, last_change_date = ?, wrapped = ?, changed = ?, "
        "attributes = ?, tag = ? WHERE key_id = ?",
        (
            row.state.value,
            row.activation_date,
            row.deactivation_date,
            row.compromise_date,
            row.destroy_date,
            row.last_change_date,
            row.wrapped,
            row.changed,
            row.attributes,
            vault.tag(KIND, _encode(row)),
            row.key_id,
        ),
    )
    _index(connection, row)


def _index(connection: sqlite3.Connection, row: StoredKeyRow) -> None:
    """Update the index to match the row. A row that ever had attributes keeps stamps of them."""
    if not row.attributes:
        return
    connection.execute("DELETE FROM attribute_index WHERE key_id = ?", (row.key_id,))
    _add_to_index(connection, row)


def _add_to_index(connection: sqlite3.Connection, row: StoredKeyRow) -> None:
    connection.executemany(
        f"{_INDEX}(?, ?, ?)",
        [(name, value, row.key_id) for name, value in raw_index(row.attributes)],
    )


def ordinal(connection: sqlite3.Connection, key_id: KeyId, scope: str | None) -> int | None:
    """The position of the key in the order of creation; None if there is none in this scope."""
    found = connection.execute(
        "SELECT ordinal FROM keys WHERE key_id = ? AND (? IS NULL OR scope = ?)",
        (key_id, scope, scope),
    ).fetchone()
    return None if found is None else int(found[0])


def _verify_row(vault: Vault, found: tuple[object, ...]) -> StoredKeyRow:
    *values, tag = found
    try:
        row = msgspec.convert(values, StoredKeyRow)
    except msgspec.ValidationError:  # an unknown state
        raise row_altered(str(values[0])) from None
    vault.verify(KIND, _encode(row), tag, f"the row of key {row.key_id}")
    return row


def raw(connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Every key in order of creation, unverified: the fields of a ``StoredKeyRow``, then its
    tag."""
    return connection.execute(_SELECT + "ORDER BY ordinal")


def misplaced(connection: sqlite3.Connection) -> bool:
    """Whether the ordinals of the keys are not 1, 2, 3 and so on; lists and rotations rely on
    that."""
    least, most, count = connection.execute(
        "SELECT coalesce(min(ordinal), 1), coalesce(max(ordinal), 0), count(*) FROM keys"
    ).fetchone()
    return bool((least, most) != (1, count))


def row_altered(key_id: str) -> CryptographicFailure:
    """The error for a row that is not as this server wrote it."""
    return CryptographicFailure(f"the row of key {key_id} was altered")


# ---- the ring, and rows not yet under its current KEK --------------------------------------


def ring(connection: sqlite3.Connection) -> tuple[bytes, bytes]:
    """Header and box of the key ring; ``CryptographicFailure`` when there is none."""
    found = connection.execute("SELECT header, box FROM ring").fetchone()
    if found is None:
        raise CryptographicFailure("its key ring is missing: no stored key can be opened")
    return found[0], found[1]


def write_ring(connection: sqlite3.Connection, header: bytes, box: bytes) -> None:
    """Replace the key ring."""
    connection.execute("INSERT OR REPLACE INTO ring VALUES (1, ?, ?)", (header, box))


def waiting(connection: sqlite3.Connection, vault: Vault) -> int:
    """How many keys are wrapped under another KEK than the current one."""
    current = kek_bytes(vault.ring.current.number)
    found = connection.execute("SELECT count(*) FROM keys WHERE kek_id <> ?", (current,))
    return int(found.fetchone()[0])


def rewrap(
    connection: sqlite3.Connection, vault: Vault, after: int, nonces: Sequence[bytes]
) -> int | None:
    """Read the first keys above the ordinal ``after``, as many as there are ``nonces``, and rewrap
    those that are not under the current KEK. Returns the ordinal of the last one, None when there
    was none.

    Nothing else of a key changes, not even the number of its last audit row.
    """
    current = kek_bytes(vault.ring.current.number)
    looked = connection.execute(
        "SELECT ordinal, key_id, kek_id FROM keys WHERE ordinal > ? ORDER BY ordinal LIMIT ?",
        (after, len(nonces)),
    ).fetchall()
    for (_, key_id, kek), nonce in zip(looked, nonces, strict=False):
        if kek is None or kek == current:
            continue
        row = find(connection, vault, key_id)
        secret = None if row is None else material(vault, row)
        if row is None or secret is None:
            raise CryptographicFailure(f"the row of key {key_id} is gone")
        row = msgspec.structs.replace(row, wrapped=vault.close(secret, _aad(row), nonce))
        tag = vault.tag(KIND, _encode(row))
        connection.execute(
            "UPDATE keys SET wrapped = ?, tag = ? WHERE key_id = ?", (row.wrapped, tag, key_id)
        )
    return int(looked[-1][0]) if looked else None


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


def write_new_keys(
    connection: sqlite3.Connection, trail: AuditTrail, vault: Vault, made: Sequence[Making]
) -> tuple[KeyId, ...]:
    """Write these keys with their entries of the trail, in order; returns the keys."""
    end = trail.append_each([(one.row.initial_date, one.entry) for one in made])
    first = end.sequence - len(made) + 1
    insert_all(connection, vault, [one.row for one in made], first)
    return tuple([one.row.key_id for one in made])
