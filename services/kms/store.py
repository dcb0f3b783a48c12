"""Keys in the database: rows, their tags, and every SQL statement about them.

Functions here run inside ``Database.transact`` or ``query``; they take and give values.
Material is wrapped with AES-256-GCM, bound to id, scope, algorithm, length and usage; the row as
a whole, with its state, carries a tag of the vault, so that an edited file cannot turn
Compromised back into Active. ``changed`` is the audit row of the last change: putting an older
row back disagrees with the trail, which the check at start finds.

Attributes that Locate finds keys by stand in ``attribute_index`` too, which is made of the rows.

Rows are never deleted: a destroyed key keeps a tombstone without material. (What was overwritten
in the database file may stand in its log file until SQLite resets that.) ``ordinal`` is the
order of creation and the only order anything is listed in.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms import audit, identities, replication
from services.kms.attributes import indexed
from services.kms.keyrow import KeyRow
from services.kms.master import Vault, make_master, read_master
from services.runtime.ports import Database, Disk, Rng

DATABASE: Final = "keys"
SCHEMA: Final = (
    # Overwrite what is destroyed, also in freed pages; not every SQLite does so by default.
    "PRAGMA secure_delete = ON",
    """CREATE TABLE IF NOT EXISTS keys (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
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
        UNIQUE (scope, operation_id, origin)
    ) STRICT""",
    # With the dates that change a state by themselves, so that counting reads no rows.
    "CREATE INDEX IF NOT EXISTS keys_by_state_and_dates ON keys "
    "(scope, state, ordinal, activation_date, deactivation_date)",
    """CREATE TABLE IF NOT EXISTS attribute_index (
        name TEXT NOT NULL,
        value BLOB NOT NULL,
        key_id TEXT NOT NULL,
        PRIMARY KEY (name, value, key_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS attribute_index_by_key ON attribute_index (key_id)",
    """CREATE TABLE IF NOT EXISTS format (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        number INTEGER NOT NULL
    ) STRICT""",
    *audit.SCHEMA,
    *replication.SCHEMA,
    *identities.SCHEMA,
)

FORMAT: Final = 2
"""Of the database; 1 had no attributes, and said of itself no number."""

_KIND: Final = b"key"
_COLUMNS: Final = (
    "key_id, scope, operation_id, origin, algorithm, length, usage_mask, state, initial_date, "
    "activation_date, deactivation_date, compromise_date, destroy_date, last_change_date, "
    "wrapped, changed, digest, attributes"
)
_SELECT: Final = f"SELECT {_COLUMNS}, tag FROM keys "  # noqa: S608 - constants only
_FIND: Final = _SELECT + "WHERE key_id = ?"
_FIND_CREATED: Final = _SELECT + "WHERE scope = ? AND operation_id = ?"
_INSERT: Final = f"INSERT INTO keys ({_COLUMNS}, tag) VALUES ({', '.join('?' * 19)})"  # noqa: S608
_CHANGED: Final = KeyRow.__struct_fields__.index("changed")
_encode = msgspec.msgpack.Encoder().encode


class OtherFormat(Exception):
    """The database was written by another version of keystead; the text says which format."""


def binding(key_id: KeyId, scope: str, algorithm: str, length: int, usage_mask: int) -> bytes:
    """The associated data of wrapped material: facts that never change."""
    return _encode(("keystead kms key", key_id, scope, algorithm, length, usage_mask))


def material(vault: Vault, row: KeyRow) -> KeyMaterial | None:
    """The key itself, None once destroyed; ``CryptographicFailure`` if it does not unwrap."""
    if row.wrapped is None:
        return None
    aad = binding(row.key_id, row.scope, row.algorithm, row.length, row.usage_mask)
    return vault.open(row.wrapped, aad)


def digest(material: KeyMaterial) -> bytes:
    """The attribute Digest: SHA-256 of the key's bytes."""
    return hashlib.sha256(material.reveal()).digest()


# ---- statements ---------------------------------------------------------------------------


def find(connection: sqlite3.Connection, vault: Vault, key_id: KeyId) -> KeyRow | None:
    """The key; ``CryptographicFailure`` if its row is not as this server wrote it."""
    found = connection.execute(_FIND, (key_id,)).fetchone()
    return None if found is None else _verified(vault, found)


def find_created(
    connection: sqlite3.Connection, vault: Vault, scope: str, operation_id: str
) -> KeyRow | None:
    """The key that this operation has made, if it has.

    Each server of a pair may have made one while they were apart: both then mean the older one.
    """
    found = connection.execute(_FIND_CREATED, (scope, operation_id)).fetchall()
    made = [_verified(vault, one) for one in found]
    return min(made, key=lambda row: (row.initial_date, row.origin)) if made else None


def rows(connection: sqlite3.Connection, vault: Vault) -> Iterator[KeyRow]:
    """Every key in order of creation; ``CryptographicFailure`` as in ``find``."""
    for found in connection.execute(_SELECT + "ORDER BY ordinal"):
        yield _verified(vault, found)


def insert(connection: sqlite3.Connection, vault: Vault, row: KeyRow) -> None:
    """Write a new key with its tag."""
    values = msgspec.to_builtins(row, builtin_types=(bytes,))  # SQLite takes no enums
    connection.execute(_INSERT, (*values, vault.tag(_KIND, _encode(row))))
    _index(connection, row)


def update(connection: sqlite3.Connection, vault: Vault, row: KeyRow) -> None:
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
            vault.tag(_KIND, _encode(row)),
            row.key_id,
        ),
    )
    _index(connection, row)


def _index(connection: sqlite3.Connection, row: KeyRow) -> None:
    """Have the index say what the row does. A row that ever had attributes keeps stamps of them."""
    if not row.attributes:
        return
    connection.execute("DELETE FROM attribute_index WHERE key_id = ?", (row.key_id,))
    connection.executemany(
        "INSERT OR IGNORE INTO attribute_index VALUES (?, ?, ?)",
        [(name, value, row.key_id) for name, value in indexed(row.attributes)],
    )


def ordinal(connection: sqlite3.Connection, key_id: KeyId, scope: str | None) -> int | None:
    """Where the key stands in the order of creation; None if there is none in this scope."""
    found = connection.execute(
        "SELECT ordinal FROM keys WHERE key_id = ? AND (? IS NULL OR scope = ?)",
        (key_id, scope, scope),
    ).fetchone()
    return None if found is None else int(found[0])


def _verified(vault: Vault, found: tuple[object, ...]) -> KeyRow:
    *values, tag = found
    row = msgspec.convert(values, KeyRow)
    _check_tag(vault, row.key_id, _encode(row), tag)
    return row


def _check_tag(vault: Vault, key_id: str, row: bytes, tag: object) -> None:
    if not isinstance(tag, bytes):
        raise CryptographicFailure(f"the row of key {key_id} has no tag")
    vault.verify(_KIND, row, tag, f"the row of key {key_id}")


# ---- opening ------------------------------------------------------------------------------


async def open_store(disk: Disk, rng: Rng) -> tuple[Database, Vault]:
    """Open the database and its master key, making both on the first start.

    ``OtherFormat`` when another version wrote the database.
    ``CryptographicFailure`` when it cannot be read, the master key is missing or
    another one, or a row of the keys or of the trail is not as this server wrote it.
    """
    try:
        return await _opened(disk, rng)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise CryptographicFailure(f"its database cannot be read: {error.strerror}") from None


async def _opened(disk: Disk, rng: Rng) -> tuple[Database, Vault]:
    database = await disk.database(DATABASE, SCHEMA)
    served = await database.query(audit.begun)
    if served:
        await database.query(_check_format)
    master = await read_master(disk)
    if master is None:
        if served:
            raise CryptographicFailure("the master key is missing: no stored key can be opened")
        master = await make_master(disk, rng)
    vault = Vault(master)
    if not served:
        await database.transact(lambda connection: begin(connection, vault))
    await database.query(lambda connection: check(connection, vault))
    return database, vault


def begin(connection: sqlite3.Connection, vault: Vault) -> None:
    """Make a database that is new one that was served from."""
    connection.execute("INSERT OR REPLACE INTO format VALUES (1, ?)", (FORMAT,))
    audit.begin(connection, vault)


def _check_format(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT number FROM format").fetchone()
    number = 1 if found is None else found[0]
    if number != FORMAT:
        raise OtherFormat(f"its database has format {number}, and this version has {FORMAT}")


def check(connection: sqlite3.Connection, vault: Vault) -> None:
    """Every row against its tag, and against the trail; ``CryptographicFailure`` names one."""
    changed = audit.check(connection, vault)
    for found in connection.execute(_SELECT):
        # A row as SQLite has it is encoded as a KeyRow is, so none is made only to be checked.
        row, key_id, tag = found[:-1], found[0], found[-1]
        _check_tag(vault, key_id, _encode(row), tag)
        if changed.pop(key_id, None) != row[_CHANGED]:
            raise CryptographicFailure(f"key {key_id} is not the one the audit trail tells of")
    for key_id in changed:
        raise CryptographicFailure(f"key {key_id} is in the audit trail, but its row is gone")
