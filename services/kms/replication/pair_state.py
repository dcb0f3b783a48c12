"""What one server of a pair stores about the other: keys that wait for it, and whether it is down.

Functions here run inside ``Database.transact`` or ``query``. A key *waits* from the transaction
that changes it until the peer has confirmed that change, so a crash loses nothing that has to be
sent. The peer is *marked as down* durably before a change is answered that it does not have. The
transaction that finds nothing waiting removes the mark.

``seen`` is the end of the peer's trail when it last confirmed or sent something. A peer whose trail
no longer has that row was put back to an older state, and gets every key again. Each message to the
peer carries ``seen``, so nothing is confirmed, and ``seen`` not renewed, before the loss is
noticed; a peer sends nothing before it has compared it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from protocol.terms import KeyId, NodeName
from services.kms.audit.audit_trail import EMPTY, TrailEnd
from services.kms.commit.unit_of_work import KeyChange

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS waiting (
        key_id TEXT PRIMARY KEY,
        changed INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS waiting_in_order ON waiting (changed)",
    """CREATE TABLE IF NOT EXISTS peer (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        node TEXT NOT NULL,
        down_since REAL,
        why TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT""",
)


class PeerView(NamedTuple):
    """The state of the peer; ``down_since`` in Unix seconds, None when it is not marked as down."""

    down_since: float | None
    why: str
    seen: TrailEnd
    waiting: int


def begin(connection: sqlite3.Connection, peer: NodeName | None) -> None:
    """Store the name of the peer; a new peer has seen nothing, so every key waits for it."""
    if peer is None:
        connection.execute("DELETE FROM waiting")
        connection.execute("DELETE FROM peer")
        return
    found = connection.execute("SELECT node FROM peer").fetchone()
    if found is None or found[0] != peer:
        connection.execute(
            "INSERT OR REPLACE INTO peer VALUES (1, ?, NULL, '', ?, ?)", (peer, *EMPTY)
        )
        queue_everything(connection)


def queue_everything(connection: sqlite3.Connection) -> None:
    """Every key waits; nothing is known of the peer's trail."""
    connection.execute("INSERT OR REPLACE INTO waiting SELECT key_id, changed FROM keys")
    connection.execute("UPDATE peer SET sequence = ?, digest = ?", EMPTY)


def put(connection: sqlite3.Connection, changes: Iterable[KeyChange]) -> bool:
    """These changes wait for the peer. False when there is no peer."""
    if connection.execute("SELECT 1 FROM peer").fetchone() is None:
        return False
    connection.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?)", changes)
    return True


def queue_changes(
    connection: sqlite3.Connection, changes: Sequence[KeyChange], at: float
) -> tuple[KeyChange, ...]:
    """As ``put``; returns those that the peer must confirm before the answer: none when it is
    down."""
    if not put(connection, changes) or is_down(connection):
        return ()
    return tuple(changes)


def first(connection: sqlite3.Connection, limit: int) -> tuple[KeyChange, ...]:
    """Waiting changes, the oldest first."""
    rows = connection.execute(
        "SELECT key_id, changed FROM waiting ORDER BY changed LIMIT ?", (limit,)
    )
    return tuple(KeyChange(KeyId(key_id), changed) for key_id, changed in rows)


def confirm(connection: sqlite3.Connection, changes: Iterable[KeyChange], seen: TrailEnd) -> bool:
    """The peer has these changes. Returns whether the mark is removed: nothing waits and it was
    down."""
    connection.executemany("DELETE FROM waiting WHERE key_id = ? AND changed = ?", changes)
    saw(connection, seen)
    return clear(connection)


def saw(connection: sqlite3.Connection, end: TrailEnd) -> None:
    """The peer has sent keys, and its trail ends there."""
    connection.execute("UPDATE peer SET sequence = ?, digest = ?", end)


def clear(connection: sqlite3.Connection) -> bool:
    """The peer answers: remove the mark if nothing waits. Returns whether it was marked."""
    done = connection.execute(
        "UPDATE peer SET down_since = NULL, why = '' "
        "WHERE down_since IS NOT NULL AND NOT EXISTS (SELECT 1 FROM waiting)"
    )
    return done.rowcount > 0


def mark_down(connection: sqlite3.Connection, at: float, why: str) -> bool:
    """Mark the peer as not answering, since ``at`` (Unix seconds); returns whether that is new."""
    done = connection.execute(
        "UPDATE peer SET down_since = ?, why = ? WHERE down_since IS NULL", (float(at), why)
    )
    return done.rowcount > 0


def is_down(connection: sqlite3.Connection) -> bool:
    """Whether the peer is marked as down."""
    found = connection.execute("SELECT 1 FROM peer WHERE down_since IS NOT NULL").fetchone()
    return found is not None


def view(connection: sqlite3.Connection) -> PeerView:
    """Everything that is known of the peer."""
    down_since, why, sequence, digest = connection.execute(
        "SELECT down_since, why, sequence, digest FROM peer"
    ).fetchone()
    waiting = connection.execute("SELECT count(*) FROM waiting").fetchone()[0]
    return PeerView(down_since, why, TrailEnd(sequence, digest), waiting)
