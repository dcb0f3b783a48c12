"""The audit trail: one row per operation, written in the transaction that does it.

Rows are numbered from 1 without gaps. ``digest`` of a row is SHA-256 over the digest before it
and the row, so a changed, removed or inserted row breaks the chain; the head (last number and
digest) is kept beside it with a tag of the vault, so a cut end is noticed and a rewritten chain
cannot be signed without the master key.

Written down: what changes a key or releases material, and every refusal. Reading attributes or
the trail, Locate and Discover Versions are not. Never in it: key bytes.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from protocol.errors import (
    CryptographicFailure,
    ItemNotFound,
    PermissionDenied,
    ProductError,
    WrongKeyLifecycleState,
)
from protocol.messages.kms import AuditRow
from services.kms.access import Operation
from services.kms.master import Vault

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS audit (
        sequence INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        scope TEXT NOT NULL,
        operation TEXT NOT NULL,
        key_id TEXT NOT NULL,
        result TEXT NOT NULL,
        digest BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS audit_head (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        sequence INTEGER NOT NULL,
        digest BLOB NOT NULL,
        tag BLOB NOT NULL
    ) STRICT""",
)

CHANGING: Final = frozenset(
    {Operation.CREATE, Operation.ACTIVATE, Operation.REVOKE, Operation.DESTROY}
)
ID_LIMIT: Final = 64
"""Longest key id in a row; an id that somebody made up is cut there."""

_START: Final = bytes(32)
_HEAD: Final = b"audit head"
_encode = msgspec.msgpack.Encoder().encode


class Result(StrEnum):
    """How an operation ended: KMIP's result reasons."""

    SUCCESS = "Success"
    ITEM_NOT_FOUND = "Item Not Found"
    PERMISSION_DENIED = "Permission Denied"
    WRONG_KEY_LIFECYCLE_STATE = "Wrong Key Lifecycle State"
    CRYPTOGRAPHIC_FAILURE = "Cryptographic Failure"
    GENERAL_FAILURE = "General Failure"


def result_of(error: ProductError) -> Result:
    match error:
        case ItemNotFound():
            return Result.ITEM_NOT_FOUND
        case PermissionDenied():
            return Result.PERMISSION_DENIED
        case WrongKeyLifecycleState():
            return Result.WRONG_KEY_LIFECYCLE_STATE
        case CryptographicFailure():
            return Result.CRYPTOGRAPHIC_FAILURE
        case _:
            return Result.GENERAL_FAILURE


class Entry(msgspec.Struct, frozen=True):
    """One operation to write down. ``scope`` of the key, else of the caller: who may read it."""

    who: str
    scope: str
    operation: Operation
    key_id: str
    result: Result = Result.SUCCESS


def begin(connection: sqlite3.Connection, vault: Vault) -> None:
    """The head of an empty trail; once in the life of a database."""
    tag = vault.tag(_HEAD, _encode((0, _START)))
    connection.execute("INSERT INTO audit_head VALUES (1, 0, ?, ?)", (_START, tag))


def begun(connection: sqlite3.Connection) -> bool:
    """Whether this database was ever served from."""
    return connection.execute("SELECT 1 FROM audit_head").fetchone() is not None


def append(
    connection: sqlite3.Connection, vault: Vault, at: float, entries: Sequence[Entry]
) -> int:
    """Write ``entries`` in order and return the number of the first.

    ``CryptographicFailure`` when the head is not the one this server wrote.
    """
    sequence, digest = head(connection, vault)
    rows = []
    for number, entry in enumerate(entries, sequence + 1):
        # What SQLite gives back, so that checking later hashes the very same bytes.
        row = (
            number,
            float(at),
            entry.who,
            entry.scope,
            entry.operation.value,
            entry.key_id[:ID_LIMIT],
            entry.result.value,
        )
        digest = _link(digest, row)
        rows.append((*row, digest))
    connection.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    last = sequence + len(rows)
    connection.execute(
        "UPDATE audit_head SET sequence = ?, digest = ?, tag = ?",
        (last, digest, vault.tag(_HEAD, _encode((last, digest)))),
    )
    return sequence + 1


def head(connection: sqlite3.Connection, vault: Vault) -> tuple[int, bytes]:
    """Number and digest of the last row; ``CryptographicFailure`` if that was altered."""
    found = connection.execute("SELECT sequence, digest, tag FROM audit_head").fetchone()
    if found is None:
        raise CryptographicFailure("the audit trail has no head")
    sequence, digest, tag = found
    vault.verify(_HEAD, _encode((sequence, digest)), tag, "the head of the audit trail")
    return sequence, digest


def check(connection: sqlite3.Connection, vault: Vault) -> dict[str, int]:
    """Walk the whole trail; key id -> number of the last row that changed it.

    ``CryptographicFailure`` names the first row that is not as it was written.
    """
    last, sealed = head(connection, vault)
    changed: dict[str, int] = {}
    expected, digest = 0, _START
    rows = connection.execute(
        "SELECT sequence, at, who, scope, operation, key_id, result, digest "
        "FROM audit ORDER BY sequence"
    )
    for *row, stored in rows:
        expected += 1
        digest = _link(digest, tuple(row))
        if row[0] != expected or digest != stored:
            raise CryptographicFailure(f"audit row {expected} was altered or removed")
        if row[6] == Result.SUCCESS and row[4] in CHANGING:
            changed[row[5]] = expected
    if expected != last or digest != sealed:
        raise CryptographicFailure(f"the audit trail ends at row {expected}, not {last}")
    return changed


def read(
    connection: sqlite3.Connection, after: int, limit: int, scope: str | None
) -> tuple[AuditRow, ...]:
    """Rows above ``after`` in order; of one scope, or of all when None."""
    rows = connection.execute(
        "SELECT sequence, at, who, operation, key_id, result, digest FROM audit "
        "WHERE sequence > ? AND (? IS NULL OR scope = ?) ORDER BY sequence LIMIT ?",
        (after, scope, scope, limit),
    )
    return tuple(
        AuditRow(
            sequence=sequence,
            at=at,
            who=who,
            operation=operation,
            key_id=key_id,
            result=result,
            digest=digest.hex(),
        )
        for sequence, at, who, operation, key_id, result, digest in rows
    )


def _link(before: bytes, row: tuple[object, ...]) -> bytes:
    return hashlib.sha256(before + _encode(row)).digest()
