"""Counters of a server of a group, for its operator.

Functions here run inside ``Database.transact`` or ``query``.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from protocol.terms import KeyId, NodeName

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS origins (
        node TEXT PRIMARY KEY,
        applied INTEGER NOT NULL,
        lag_s REAL NOT NULL,
        worst_lag_s REAL NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS breaches (
        key_id TEXT NOT NULL,
        peer TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (key_id, peer)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS tallies (
        name TEXT PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)


class OriginRow(NamedTuple):
    """How many changes of a server were applied here, and with what delay in seconds."""

    node: NodeName
    applied: int
    lag_s: float
    worst_lag_s: float


def begin(connection: sqlite3.Connection) -> None:
    """Make the tables on the first start."""
    for statement in _SCHEMA:
        connection.execute(statement)


def count_applied(connection: sqlite3.Connection, node: NodeName, lag_s: float) -> None:
    """Count a change of ``node`` that was applied ``lag_s`` after it was made. With differing
    clocks the lag may be negative; it counts as none."""
    lag_s = max(lag_s, 0.0)
    connection.execute(
        "INSERT INTO origins VALUES (?, 1, ?, ?) ON CONFLICT (node) DO UPDATE SET "
        "applied = applied + 1, lag_s = excluded.lag_s, "
        "worst_lag_s = max(worst_lag_s, excluded.worst_lag_s)",
        (node, lag_s, lag_s),
    )


def origins(connection: sqlite3.Connection) -> tuple[OriginRow, ...]:
    """The servers whose changes were applied here, by name."""
    found = connection.execute(
        "SELECT node, applied, lag_s, worst_lag_s FROM origins ORDER BY node"
    )
    return tuple(OriginRow(NodeName(node), *rest) for node, *rest in found)


def count(connection: sqlite3.Connection, name: str, more: int) -> None:
    """Add to a counter; no change when ``more`` is 0."""
    if more:
        connection.execute(
            "INSERT INTO tallies VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET "
            "number = number + excluded.number",
            (name, more),
        )


def tallies(connection: sqlite3.Connection) -> dict[str, int]:
    """All counters by name."""
    return dict(connection.execute("SELECT name, number FROM tallies ORDER BY name").fetchall())


def breach(connection: sqlite3.Connection, key_id: KeyId, peer: NodeName, at: float) -> bool:
    """Record that the peer has another material under this id; returns whether that is new."""
    done = connection.execute(
        "INSERT OR IGNORE INTO breaches VALUES (?, ?, ?)", (key_id, peer, float(at))
    )
    return done.rowcount > 0


def count_breaches(connection: sqlite3.Connection) -> int:
    """How many ids have two materials."""
    return int(connection.execute("SELECT count(DISTINCT key_id) FROM breaches").fetchone()[0])


def breaches(connection: sqlite3.Connection, limit: int) -> list[tuple[KeyId, NodeName, float]]:
    """The first ids with two materials, and the server that has the other one."""
    found = connection.execute(
        "SELECT key_id, peer, at FROM breaches ORDER BY at, key_id, peer LIMIT ?", (limit,)
    )
    return [(KeyId(key_id), NodeName(peer), at) for key_id, peer, at in found]
