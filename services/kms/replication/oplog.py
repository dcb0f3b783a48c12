"""The logs of changes of a group's servers, how far each server has them, and counters of a server
for its operator.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from protocol.terms import KeyId, NodeName
from services.kms.audit.audit_trail import EMPTY, TrailEnd
from services.kms.commit.unit_of_work import KeyChange
from services.kms.replication import checksums

_COUNTERS_SCHEMA: Final = (
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


def begin_counters(connection: sqlite3.Connection) -> None:
    """Make the tables on the first start."""
    for statement in _COUNTERS_SCHEMA:
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


def count_event(connection: sqlite3.Connection, name: str, more: int) -> None:
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


_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS oplog (
        node TEXT NOT NULL,
        key_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (node, key_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS oplog_in_order ON oplog (node, epoch, sequence)",
    """CREATE TABLE IF NOT EXISTS marks (
        holder TEXT NOT NULL,
        node TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (holder, node)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS epochs (
        epoch INTEGER PRIMARY KEY,
        last INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS peers (
        node TEXT PRIMARY KEY,
        down_since REAL,
        why TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        digest BLOB NOT NULL,
        everything INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS active (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        node TEXT NOT NULL,
        term INTEGER NOT NULL
    ) STRICT""",
    # In a table of its own, because older databases have appointments without stamps.
    """CREATE TABLE IF NOT EXISTS appointed (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        at REAL NOT NULL
    ) STRICT""",
)


class LogPlace(NamedTuple):
    """A place in a log; places sort in the order of the log."""

    epoch: int
    sequence: int


START: Final = LogPlace(0, 0)

DRAWN: Final = 2**32
"""An epoch has a number drawn below this in its low bits; the high bits count up."""

_LOST: Final = 2**62  # the last number of an epoch that this server has lost


class LogRow(NamedTuple):
    """A row of the log of ``node``; ``at`` in Unix seconds of that server's clock."""

    node: NodeName
    key_id: KeyId
    place: LogPlace
    at: float


class PeerRow(NamedTuple):
    """Another server: since when it does not answer, the end of its trail when it last answered,
    and whether it must send everything."""

    node: NodeName
    down_since: float | None
    why: str
    seen: TrailEnd
    everything: bool


def begin(
    connection: sqlite3.Connection,
    me: NodeName,
    peers: Sequence[NodeName],
    active: NodeName | None,
    *,
    at: float,
    drawn: int,
) -> None:
    """Create the tables on the first start. A new peer has nothing yet, and existing keys must be
    sent. ``drawn``: a number below ``DRAWN`` that no other life has drawn."""
    for statement in _SCHEMA:
        connection.execute(statement)
    checksums.begin(connection)
    begin_counters(connection)
    known = marks(connection, me).get(me)
    if known is not None:  # of a database without epochs of lives
        connection.execute("INSERT OR IGNORE INTO epochs VALUES (?, ?)", known)
    connection.execute("DELETE FROM epochs WHERE last = 0")  # of a life without a change
    _begin_epoch(connection, _epoch(connection), drawn)
    if known is None:
        log_everything(connection, me, at)
    connection.executemany(
        "INSERT OR IGNORE INTO peers VALUES (?, NULL, '', ?, ?, 0)",
        [(peer, *EMPTY) for peer in peers],
    )
    if active is not None:
        connection.execute("INSERT OR IGNORE INTO active VALUES (1, ?, 0)", (active,))
    connection.execute("INSERT OR IGNORE INTO appointed VALUES (1, 0)")


# ---- the logs ------------------------------------------------------------------------------


def put(
    me: NodeName, connection: sqlite3.Connection, changes: Sequence[KeyChange], at: float
) -> tuple[KeyChange, ...]:
    """Log changes that were made here. No peer must have them before the answer."""
    key_ids = [change.key_id for change in changes]
    checksums.mark_unsummed(connection, key_ids)
    log(connection, me, key_ids, at)
    return ()


def log(connection: sqlite3.Connection, me: NodeName, key_ids: Sequence[KeyId], at: float) -> None:
    """Send the others these keys again, whether they changed or not."""
    if not key_ids:
        return
    epoch = _epoch(connection)
    last = connection.execute("SELECT last FROM epochs WHERE epoch = ?", (epoch,)).fetchone()[0]
    rows = [
        (me, key_id, epoch, number, float(at)) for number, key_id in enumerate(key_ids, last + 1)
    ]
    connection.executemany("INSERT OR REPLACE INTO oplog VALUES (?, ?, ?, ?, ?)", rows)
    last += len(rows)
    connection.execute("UPDATE epochs SET last = ? WHERE epoch = ?", (last, epoch))
    _mark(connection, me, me, LogPlace(epoch, last))


def log_everything(connection: sqlite3.Connection, me: NodeName, at: float) -> None:
    """Log every key as changed here and now, so that all others get it."""
    found = connection.execute("SELECT key_id FROM keys ORDER BY ordinal").fetchall()
    log(connection, me, [KeyId(key_id) for (key_id,) in found], at)


def has(connection: sqlite3.Connection, place: LogPlace) -> bool:
    """Whether this server's own log contains that place."""
    found = connection.execute("SELECT last FROM epochs WHERE epoch = ?", (place.epoch,)).fetchone()
    return place == START or (found is not None and place.sequence <= found[0])


def begin_epoch(
    connection: sqlite3.Connection, me: NodeName, peer_place: LogPlace, at: float, drawn: int
) -> None:
    """This server was restored, and may have lost what a peer has (``peer_place``): send everything
    again, and request everything."""
    if not has(connection, peer_place):
        connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (peer_place.epoch, _LOST))
    connection.execute("DELETE FROM oplog WHERE node = ?", (me,))
    _begin_epoch(connection, _epoch(connection), drawn)
    log_everything(connection, me, at)
    connection.execute("UPDATE peers SET everything = 1")


def _epoch(connection: sqlite3.Connection) -> int:
    """The epoch of this life's changes: the last one that is known."""
    return int(connection.execute("SELECT coalesce(max(epoch), 0) FROM epochs").fetchone()[0])


def _begin_epoch(connection: sqlite3.Connection, last: int, drawn: int) -> None:
    epoch = (last // DRAWN + 1) * DRAWN + drawn
    connection.execute("INSERT INTO epochs VALUES (?, 0)", (epoch,))


def next_for(
    connection: sqlite3.Connection, me: NodeName, peer: NodeName, limit: int, *, relay: bool
) -> list[LogRow]:
    """The rows of this server's log that the peer lacks, in order; with ``relay`` of other servers'
    logs too."""
    theirs = marks(connection, peer)
    logs = [me, *(node for node in marks(connection, me) if node not in (me, peer))]
    found: list[LogRow] = []
    for node in logs if relay else [me]:
        rows = connection.execute(
            "SELECT key_id, epoch, sequence, at FROM oplog WHERE node = ? "
            "AND (epoch, sequence) > (?, ?) ORDER BY epoch, sequence LIMIT ?",
            (node, *theirs.get(node, START), limit - len(found)),
        )
        found += [LogRow(node, KeyId(key), LogPlace(*place), at) for key, *place, at in rows]
    return found


def take(
    connection: sqlite3.Connection,
    me: NodeName,
    rows: Sequence[LogRow],
    after: Mapping[NodeName, LogPlace],
    now: float,
) -> None:
    """Take log rows whose keys are stored in this transaction. Rows after a gap are not counted and
    arrive again; rows that were counted before are not counted again."""
    mine = marks(connection, me)
    senders = dict.fromkeys(row.node for row in rows if row.node != me)
    whole = [node for node in senders if mine.get(node, START) >= after.get(node, START)]
    for row in rows:
        if row.node not in whole or row.place <= mine.get(row.node, START):
            continue
        connection.execute(
            "INSERT OR REPLACE INTO oplog VALUES (?, ?, ?, ?, ?)",
            (row.node, row.key_id, *row.place, row.at),
        )
        mine[row.node] = row.place
        count_applied(connection, row.node, now - row.at)
    for node in whole:
        _mark(connection, me, node, mine[node])


# ---- marks and peers -----------------------------------------------------------------------


def marks(connection: sqlite3.Connection, holder: NodeName) -> dict[NodeName, LogPlace]:
    """How far ``holder`` has each log, as known here."""
    found = connection.execute(
        "SELECT node, epoch, sequence FROM marks WHERE holder = ? ORDER BY node", (holder,)
    )
    return {NodeName(node): LogPlace(epoch, sequence) for node, epoch, sequence in found}


def _mark(connection: sqlite3.Connection, holder: NodeName, node: NodeName, at: LogPlace) -> None:
    connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", (holder, node, *at))


def record_peer(
    connection: sqlite3.Connection,
    peer: NodeName,
    theirs: Mapping[NodeName, LogPlace],
    end: TrailEnd | None,
) -> bool:
    """Record what the peer has, and the end of its trail (None: do not store it).

    Returns whether it was marked as down.
    """
    connection.execute("DELETE FROM marks WHERE holder = ?", (peer,))
    for node, place in theirs.items():
        _mark(connection, peer, node, place)
    was = connection.execute("SELECT down_since FROM peers WHERE node = ?", (peer,)).fetchone()
    connection.execute("UPDATE peers SET down_since = NULL, why = '' WHERE node = ?", (peer,))
    if end is not None:
        connection.execute("UPDATE peers SET sequence = ?, digest = ? WHERE node = ?", (*end, peer))
    return was is not None and was[0] is not None


def confirm_everything(connection: sqlite3.Connection, peer: NodeName) -> None:
    """The peer knows that it must send everything."""
    connection.execute("UPDATE peers SET everything = 0 WHERE node = ?", (peer,))


def mark_down(connection: sqlite3.Connection, peer: NodeName, at: float, why: str) -> bool:
    """Mark the peer as not answering, since ``at`` (Unix seconds); returns whether that is new."""
    done = connection.execute(
        "UPDATE peers SET down_since = ?, why = ? WHERE node = ? AND down_since IS NULL",
        (float(at), why, peer),
    )
    return done.rowcount > 0


def peers(connection: sqlite3.Connection) -> tuple[PeerRow, ...]:
    """The servers that this one replicates with, by name."""
    found = connection.execute(
        "SELECT node, down_since, why, sequence, digest, everything FROM peers ORDER BY node"
    )
    return tuple(
        PeerRow(NodeName(node), since, why, TrailEnd(sequence, digest), bool(everything))
        for node, since, why, sequence, digest, everything in found
    )


# ---- for operators --------------------------------------------------------------------------


def waiting(connection: sqlite3.Connection, me: NodeName, peer: NodeName) -> tuple[int, float]:
    """How many keys of this server's log the peer has not confirmed, and the stamp of the first."""
    place = marks(connection, peer).get(me, START)
    found = connection.execute(
        "SELECT count(*), coalesce(min(at), 0) FROM oplog WHERE node = ? "
        "AND (epoch, sequence) > (?, ?)",
        (me, *place),
    ).fetchone()
    return int(found[0]), float(found[1])


def at_risk(
    connection: sqlite3.Connection, me: NodeName, others: Iterable[NodeName], limit: int
) -> tuple[int, tuple[KeyId, ...]]:
    """How many keys made here no other server has confirmed, and the first of them in order of the
    log."""
    place = max((marks(connection, peer).get(me, START) for peer in others), default=START)
    found = connection.execute(
        "SELECT key_id, count(*) OVER () FROM oplog JOIN keys USING (key_id) "
        "WHERE node = ? AND origin = ? AND (epoch, sequence) > (?, ?) "
        "ORDER BY epoch, sequence LIMIT ?",
        (me, me, *place, limit),
    ).fetchall()
    return (found[0][1] if found else 0), tuple(KeyId(key_id) for key_id, _ in found)


# ---- the active server ------------------------------------------------------------------------


class Active(NamedTuple):
    """The server that takes changes (None in mode ``async``), by the ``term``-th appointment.
    ``at`` is its stamp, in Unix seconds; 0 for the one of the configuration."""

    node: NodeName | None
    term: int
    at: float


_STEP: Final = 1e-6  # seconds from one stamp to the next, unless the clock is further ahead


def active(connection: sqlite3.Connection) -> Active:
    """The active server, as known here."""
    found = connection.execute(
        "SELECT node, term, at FROM active JOIN appointed USING (one)"
    ).fetchone()
    return Active(None, 0, 0.0) if found is None else Active(*found)


def appoint(connection: sqlite3.Connection, node: NodeName, now: float) -> Active:
    """Record that an operator appoints a server at the time ``now`` (Unix seconds); returns the
    appointment.

    Its stamp is that time, and above the one known here whatever the clock shows. So it is above
    those that it follows, and of two independent appointments the later one is above.
    """
    last = active(connection)
    made = Active(node, last.term + 1, max(now, last.at + _STEP))
    _write_appointment(connection, made)
    return made


def record_active(connection: sqlite3.Connection, reported: Active) -> bool:
    """Record a peer's active server; returns whether that is news."""
    if not counts(reported, active(connection)):
        return False
    _write_appointment(connection, reported)
    return True


def counts(reported: Active, mine: Active) -> bool:
    """Whether an appointment replaces the known one: the later stamp does; the lower name settles
    equal ones."""
    if mine.node is None or reported.node is None or reported == mine:
        return False
    later = (reported.at, reported.term) > (mine.at, mine.term)
    return later or (
        (reported.at, reported.term) == (mine.at, mine.term) and reported.node <= mine.node
    )


def _write_appointment(connection: sqlite3.Connection, one: Active) -> None:
    connection.execute("UPDATE active SET node = ?, term = ?", (one.node, one.term))
    connection.execute("UPDATE appointed SET at = ?", (one.at,))
