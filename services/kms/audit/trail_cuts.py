"""The cuts of an audit trail: what preceded its first row.

A cut is the last row that was removed: its number and digest, with a tag of the vault. The rest of
the chain begins there; a trail that begins anywhere else was shortened by somebody else. Cuts are
never removed, and each names the one before it. Other servers that have seen the trail end at one
of them recognise it.

What the removed rows prove about keys, identities and rejections is stored beside the last cut
(``told``), for the check at start.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

import msgspec

from protocol.errors import CryptographicFailure
from services.kms.sealing.vault import Vault

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS audit_cuts (
        sequence INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        at REAL NOT NULL,
        before INTEGER NOT NULL,
        tag BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS audit_told (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        told BLOB NOT NULL,
        tag BLOB NOT NULL
    ) STRICT""",
)
_KIND: Final = b"audit cut"
_encode = msgspec.msgpack.Encoder().encode


class TrailCut(NamedTuple):
    """The last removed row, the time of the cut (Unix seconds), and the last row of the cut before;
    0: there was none."""

    sequence: int
    digest: bytes
    at: float
    before: int


START: Final = TrailCut(0, bytes(32), 0.0, 0)
"""The cut of a trail that was never cut."""


def all_of(connection: sqlite3.Connection, vault: Vault) -> tuple[TrailCut, ...]:
    """Every cut in order; ``CryptographicFailure`` when one was altered or is missing."""
    found: list[TrailCut] = []
    rows = connection.execute(
        "SELECT sequence, digest, at, before, tag FROM audit_cuts ORDER BY sequence"
    )
    for *fields, tag in rows:
        vault.verify(_KIND, _encode(fields), tag, f"the cut of the audit trail at row {fields[0]}")
        cut = TrailCut(*fields)
        if cut.before != (found[-1].sequence if found else 0):
            raise CryptographicFailure(
                f"a cut of the audit trail before row {cut.sequence} is gone"
            )
        found.append(cut)
    return tuple(found)


def last(connection: sqlite3.Connection, vault: Vault) -> TrailCut:
    """The last cut; ``CryptographicFailure`` as in ``all_of``."""
    found = all_of(connection, vault)
    return found[-1] if found else START


def find_summary(connection: sqlite3.Connection, vault: Vault, cut: TrailCut) -> bytes | None:
    """The summary of the rows up to the last cut, as given to ``put``; None when there is no cut.
    ``CryptographicFailure`` when it was altered."""
    if cut == START:
        return None
    found = connection.execute("SELECT told, tag FROM audit_told").fetchone()
    if found is None:
        raise CryptographicFailure("the summary of the audit trail's cut rows is missing")
    vault.verify(_KIND, _encode((cut.sequence, found[0])), found[1], "the summary of cut rows")
    return bytes(found[0])


def put(connection: sqlite3.Connection, vault: Vault, cut: TrailCut, summary: bytes) -> None:
    """Let the trail begin after ``cut``; ``summary``: that of all rows up to it."""
    tag = vault.tag(_KIND, _encode(list(cut)))
    connection.execute("INSERT INTO audit_cuts VALUES (?, ?, ?, ?, ?)", (*cut, tag))
    tag = vault.tag(_KIND, _encode((cut.sequence, summary)))
    connection.execute("INSERT OR REPLACE INTO audit_told VALUES (1, ?, ?)", (summary, tag))


def sweep(connection: sqlite3.Connection, rows: int) -> bool:
    """Remove so many of the cut rows; returns whether any were left. No code reads them
    meanwhile."""
    removed = connection.execute(
        "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit WHERE sequence <= "
        "(SELECT max(sequence) FROM audit_cuts) ORDER BY sequence LIMIT ?)",
        (rows,),
    )
    return removed.rowcount > 0


def left(connection: sqlite3.Connection) -> bool:
    """Whether cut rows are still to be removed."""
    found = connection.execute(
        "SELECT 1 FROM audit WHERE sequence <= (SELECT max(sequence) FROM audit_cuts) LIMIT 1"
    )
    return found.fetchone() is not None


def is_at(connection: sqlite3.Connection, sequence: int, digest: bytes) -> bool:
    """Whether the trail was cut after that row."""
    found = connection.execute("SELECT digest FROM audit_cuts WHERE sequence = ?", (sequence,))
    row = found.fetchone()
    return row is not None and row[0] == digest
