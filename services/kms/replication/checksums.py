"""One number over all keys of a server of a group, by which two servers detect a difference.

Logs and marks record which changes a server has (``oplog``). Equal marks do not prove equal keys: a
restored server may have given new changes the numbers of lost ones, and the server that could have
noticed may be gone. So each server keeps a *total* over all its keys and sends it when two servers
compare. A server with the same marks and another total sends all its keys.

The total is the exclusive or of a digest of each key. A change only notes its key; the total is
updated at intervals. Functions here run inside ``Database.transact`` or ``query``.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec

from protocol.terms import KeyId
from services.kms.commit import store
from services.kms.objects.key_row import StoredKeyRow
from services.kms.replication.key_merge import comparable_part
from services.kms.sealing.vault import Vault

AT_ONCE: Final = 256  # keys that one transaction adds up
AHEAD: Final = 32  # keys that are added for one answer and not stored

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS contents (
        key_id TEXT PRIMARY KEY,
        digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS unsummed (key_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS total (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        digest BLOB NOT NULL
    ) STRICT""",
)
_NOTHING: Final = bytes(32)
_encode = msgspec.msgpack.Encoder().encode


def digest(row: StoredKeyRow) -> bytes:
    """The digest of the parts of a key on which servers that replicate must agree."""
    return hashlib.sha256(_encode(comparable_part(row))).digest()


def digests(
    connection: sqlite3.Connection, vault: Vault, after: KeyId, limit: int
) -> tuple[tuple[KeyId, bytes], ...]:
    """The digests of the first keys after the id ``after``, in order of the ids."""
    rows = store.rows_by_id(connection, vault, after, limit)
    return tuple((row.key_id, digest(row)) for row in rows)


def fingerprints(
    connection: sqlite3.Connection, vault: Vault, secret: bytes, after: KeyId, limit: int
) -> tuple[tuple[StoredKeyRow, str], ...]:
    """The first keys after the key ``after`` in order of creation, each with the fingerprint of its
    material under ``secret``, empty for one without."""
    place = store.ordinal(connection, after, None) or 0
    rows = store.rows(connection, vault, place, limit)
    keys = [store.material(vault, row) for row in rows]
    return tuple(
        (row, "" if key is None else key.fingerprint(secret))
        for row, key in zip(rows, keys, strict=True)
    )


def begin(connection: sqlite3.Connection) -> None:
    """Create the tables on the first start, with all existing keys still to be added."""
    for statement in _SCHEMA:
        connection.execute(statement)
    done = connection.execute("INSERT OR IGNORE INTO total VALUES (1, ?)", (_NOTHING,))
    if done.rowcount > 0:
        connection.execute("INSERT OR IGNORE INTO unsummed SELECT key_id FROM keys")


def mark_unsummed(connection: sqlite3.Connection, key_ids: Iterable[KeyId]) -> None:
    """Note that these keys must be added again."""
    connection.executemany(
        "INSERT OR IGNORE INTO unsummed VALUES (?)", [(key_id,) for key_id in key_ids]
    )


def add_up(connection: sqlite3.Connection, vault: Vault) -> bool:
    """Add some of the changed keys; returns whether these were all."""
    digests = _ahead(connection, vault, AT_ONCE)
    total = _sum(connection, digests)
    connection.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?)", digests.items())
    connection.executemany(
        "DELETE FROM unsummed WHERE key_id = ?", [(key_id,) for key_id in digests]
    )
    connection.execute("UPDATE total SET digest = ?", (total,))
    return len(digests) < AT_ONCE


def total(connection: sqlite3.Connection, vault: Vault) -> bytes:
    """The present total; None when too much has changed since it was updated."""
    digests = _ahead(connection, vault, AHEAD + 1)
    return b"" if len(digests) > AHEAD else _sum(connection, digests)


def _ahead(connection: sqlite3.Connection, vault: Vault, limit: int) -> dict[KeyId, bytes]:
    """Some of the changed keys, with their digests."""
    found = connection.execute("SELECT key_id FROM unsummed ORDER BY key_id LIMIT ?", (limit,))
    rows = [store.find(connection, vault, KeyId(key_id)) for (key_id,) in found.fetchall()]
    return {row.key_id: digest(row) for row in rows if row is not None}


def _sum(connection: sqlite3.Connection, digests: dict[KeyId, bytes]) -> bytes:
    """The total with these digests in place of those that it includes for their keys."""
    known = connection.execute("SELECT digest FROM total").fetchone()[0]
    number = int.from_bytes(known)
    for key_id, digest in digests.items():
        was = connection.execute(
            "SELECT digest FROM contents WHERE key_id = ?", (key_id,)
        ).fetchone()
        number ^= int.from_bytes(digest) ^ (0 if was is None else int.from_bytes(was[0]))
    return number.to_bytes(len(_NOTHING))
