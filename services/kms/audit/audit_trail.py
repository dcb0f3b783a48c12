"""The audit trail: one row per operation, numbered from 1 without gaps and chained by digests.

Where an administrator has cut it, a cut with a tag of the vault is what preceded its first row; a
trail that begins anywhere else was shortened by somebody else.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from protocol.errors import CryptographicFailure
from protocol.terms import KeyId, ResultReason
from services.kms.objects import bulk_insert
from services.kms.objects.request_types import AuditRecord, CoreOperation
from services.kms.sealing.vault import Vault

CUTS_SCHEMA: Final = (
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
_encode_cut = msgspec.msgpack.Encoder().encode


class TrailCut(NamedTuple):
    """The last removed row, the time of the cut (Unix seconds), and the last row of the cut before;
    0: there was none."""

    sequence: int
    digest: bytes
    at: float
    before: int


START: Final = TrailCut(0, bytes(32), 0.0, 0)
"""The cut of a trail that was never cut."""


def list_cuts(connection: sqlite3.Connection, vault: Vault) -> tuple[TrailCut, ...]:
    """Every cut in order; ``CryptographicFailure`` when one was altered or is missing."""
    found: list[TrailCut] = []
    rows = connection.execute(
        "SELECT sequence, digest, at, before, tag FROM audit_cuts ORDER BY sequence"
    )
    for *fields, tag in rows:
        vault.verify(
            _KIND, _encode_cut(fields), tag, f"the cut of the audit trail at row {fields[0]}"
        )
        cut = TrailCut(*fields)
        if cut.before != (found[-1].sequence if found else 0):
            raise CryptographicFailure(
                f"a cut of the audit trail before row {cut.sequence} is gone"
            )
        found.append(cut)
    return tuple(found)


def last_cut(connection: sqlite3.Connection, vault: Vault) -> TrailCut:
    """The last cut; ``CryptographicFailure`` as in ``all_of``."""
    found = list_cuts(connection, vault)
    return found[-1] if found else START


def find_summary(connection: sqlite3.Connection, vault: Vault, cut: TrailCut) -> bytes | None:
    """The summary of the rows up to the last cut, as given to ``put``; None when there is no cut.
    ``CryptographicFailure`` when it was altered."""
    if cut == START:
        return None
    found = connection.execute("SELECT told, tag FROM audit_told").fetchone()
    if found is None:
        raise CryptographicFailure("the summary of the audit trail's cut rows is missing")
    vault.verify(_KIND, _encode_cut((cut.sequence, found[0])), found[1], "the summary of cut rows")
    return bytes(found[0])


def put_cut(connection: sqlite3.Connection, vault: Vault, cut: TrailCut, summary: bytes) -> None:
    """Let the trail begin after ``cut``; ``summary``: that of all rows up to it."""
    tag = vault.tag(_KIND, _encode_cut(list(cut)))
    connection.execute("INSERT INTO audit_cuts VALUES (?, ?, ?, ?, ?)", (*cut, tag))
    tag = vault.tag(_KIND, _encode_cut((cut.sequence, summary)))
    connection.execute("INSERT OR REPLACE INTO audit_told VALUES (1, ?, ?)", (summary, tag))


def sweep_cuts(connection: sqlite3.Connection, rows: int) -> bool:
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


def is_cut_at(connection: sqlite3.Connection, sequence: int, digest: bytes) -> bool:
    """Whether the trail was cut after that row."""
    found = connection.execute("SELECT digest FROM audit_cuts WHERE sequence = ?", (sequence,))
    row = found.fetchone()
    return row is not None and row[0] == digest


SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS audit (
        sequence INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        scope TEXT NOT NULL,
        operation TEXT NOT NULL,
        key_id TEXT NOT NULL,
        result TEXT NOT NULL,
        times INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS audit_head (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        sequence INTEGER NOT NULL,
        digest BLOB NOT NULL,
        tag BLOB NOT NULL
    ) STRICT""",
    *CUTS_SCHEMA,
)

CHANGING: Final = frozenset(
    {
        CoreOperation.CREATE,
        CoreOperation.REGISTER,
        CoreOperation.ADD_ATTRIBUTE,
        CoreOperation.MODIFY_ATTRIBUTE,
        CoreOperation.DELETE_ATTRIBUTE,
        CoreOperation.ACTIVATE,
        CoreOperation.REVOKE,
        CoreOperation.DESTROY,
        CoreOperation.RE_KEY,
        CoreOperation.GET_USAGE_ALLOCATION,
        CoreOperation.DATE_REACHED,
        CoreOperation.SERVE,
        CoreOperation.REPLICATE,
    }
)
ADMITTING: Final = frozenset(
    {CoreOperation.TRUST, CoreOperation.DISTRUST, CoreOperation.MOVE_IDENTITY}
)
"""Operations that change an identity."""

WRITTEN: Final = CHANGING | {CoreOperation.GET, CoreOperation.ENCRYPT, CoreOperation.DECRYPT}
"""Operations that are recorded when they succeed too."""

SUCCESS: Final = "Success"
"""The reason in the row of a successful operation; otherwise it is the Result Reason."""

ID_LIMIT: Final = 300
"""Longest key id in a row, in characters; an invented longer id is cut there."""

_START: Final = bytes(32)
_HEAD: Final = b"audit head"
_ROWS: Final = "INSERT INTO audit VALUES "
_MAX: Final = 2**63 - 1
_encode = msgspec.msgpack.Encoder().encode


class TrailEnd(NamedTuple):
    """The end of a trail at some time: number and digest of its last row."""

    sequence: int
    digest: bytes


EMPTY: Final = TrailEnd(0, _START)


class AuditEntry(msgspec.Struct, frozen=True, gc=False):
    """One operation to record.

    ``scope`` of the key, else of the caller: the scope that may read the row. ``reason`` None: it
    succeeded. ``times``: how many operations of the kind it stands for; above 1 they are refusals,
    of any keys.
    """

    who: str
    scope: str
    operation: CoreOperation
    key_id: str
    reason: ResultReason | None = None
    times: int = 1


def begin(connection: sqlite3.Connection, vault: Vault) -> None:
    """Write the head of an empty trail; once in the life of a database."""
    tag = vault.tag(_HEAD, _encode((0, _START)))
    connection.execute("INSERT INTO audit_head VALUES (1, 0, ?, ?)", (_START, tag))


def begun(connection: sqlite3.Connection) -> bool:
    """Whether a server ever used this database."""
    return connection.execute("SELECT 1 FROM audit_head").fetchone() is not None


class Appending(Protocol):
    """The trail as a message uses it."""

    def end(self) -> TrailEnd:
        """The end of the trail, with the entries appended so far."""
        ...

    def append(self, at: float, entries: Sequence[AuditEntry]) -> TrailEnd:
        """Append entries with the time ``at`` (Unix seconds); returns the new end."""
        ...

    def changing(self) -> None:
        """Called before a message writes rows of keys."""
        ...


class AuditTrail:
    """The trail in one transaction: messages append to it in order, and its end is written once."""

    def __init__(self, connection: sqlite3.Connection, vault: Vault) -> None:
        self._connection, self._vault = connection, vault
        self._end: TrailEnd | None = None
        self._rows: list[tuple[object, ...]] = []

    def end(self) -> TrailEnd:
        """The end of the trail, with the entries appended so far.

        ``CryptographicFailure`` when the head is not the one that this server wrote.
        """
        if self._end is None:
            self._end = head(self._connection, self._vault)
        return self._end

    def append(self, at: float, entries: Sequence[AuditEntry]) -> TrailEnd:
        """Number these entries and chain them, for ``write``; returns the new end.

        ``at`` is the server's time of all entries, in Unix seconds.
        """
        return self.append_each([(at, entry) for entry in entries])

    def append_each(self, dated: Iterable[tuple[float, AuditEntry]]) -> TrailEnd:
        """As ``append``, for entries with a time each."""
        (last, digest), rows = self.end(), self._rows
        # Inlined from ``link``, because there are many rows.
        sha256, encode = hashlib.sha256, _encode
        for at, entry in dated:
            last += 1
            # What SQLite gives back, so that checking later hashes the very same bytes.
            row = (
                last,
                float(at),
                entry.who,
                entry.scope,
                entry.operation.value,
                entry.key_id[:ID_LIMIT],
                SUCCESS if entry.reason is None else entry.reason.value,
                entry.times,
            )
            digest = sha256(digest + encode(row)).digest()
            rows.append((*row, digest))
        self._end = TrailEnd(last, digest)
        return self._end

    def changing(self) -> None:
        """They are in this transaction too."""

    def write(self) -> bool:
        """Write the entries appended since the last call, and the head; False: there were none."""
        if not self._rows:
            return False
        bulk_insert.insert(self._connection, _ROWS, self._rows)
        self._rows = []
        last, digest = self.end()
        self._connection.execute(
            "UPDATE audit_head SET sequence = ?, digest = ?, tag = ?",
            (last, digest, self._vault.tag(_HEAD, _encode((last, digest)))),
        )
        return True


def head(connection: sqlite3.Connection, vault: Vault) -> TrailEnd:
    """The end of the trail; ``CryptographicFailure`` if it was altered."""
    found = connection.execute("SELECT sequence, digest, tag FROM audit_head").fetchone()
    if found is None:
        raise CryptographicFailure("the audit trail has no head")
    sequence, digest, tag = found
    vault.verify(_HEAD, _encode((sequence, digest)), tag, "the head of the audit trail")
    return TrailEnd(sequence, digest)


def has(connection: sqlite3.Connection, end: TrailEnd) -> bool:
    """Whether the trail contains ``end``. An empty trail's end is always contained. Of cut rows the
    trail knows the last one of each cut."""
    if end == EMPTY:
        return True
    found = connection.execute("SELECT digest FROM audit WHERE sequence = ?", (end.sequence,))
    row = found.fetchone()
    if row is None:
        return is_cut_at(connection, end.sequence, end.digest)
    return bool(row[0] == end.digest)


class Subjects(NamedTuple):
    """The subjects of a trail: the number of the last row that changed each key (by id), identity
    (by digest) and rejection (by name), in the order of their first rows. ``ended`` are rejections
    that ended; some may have begun again since."""

    keys: dict[str, int]
    identities: dict[str, int]
    rejections: dict[str, int]
    ended: dict[str, int]


_subjects = msgspec.msgpack.Decoder(Subjects).decode


def check(connection: sqlite3.Connection, vault: Vault) -> Subjects:
    """Verify the whole trail, from the last cut on.

    ``CryptographicFailure`` names the first altered row.
    """
    last, sealed = head(connection, vault)
    subjects, end = _walk(connection, vault, _MAX)
    if end != (last, sealed):
        raise CryptographicFailure(f"the audit trail ends at row {end.sequence}, not {last}")
    return subjects


def summarize_until(
    connection: sqlite3.Connection, vault: Vault, sequence: int
) -> tuple[bytes, bytes]:
    """The subjects of the trail up to that row, cut rows included, packed for ``cuts.put``, and the
    digest of the row. ``CryptographicFailure`` as in ``check``, and when there is no such row."""
    subjects, end = _walk(connection, vault, sequence)
    if end.sequence != sequence:
        raise CryptographicFailure(f"the audit trail has no row {sequence}")
    return _encode(subjects), end.digest


def _walk(connection: sqlite3.Connection, vault: Vault, until: int) -> tuple[Subjects, TrailEnd]:
    cut = last_cut(connection, vault)
    summary = find_summary(connection, vault, cut)
    subjects = Subjects({}, {}, {}, {}) if summary is None else _subjects(summary)
    expected, digest = cut.sequence, cut.digest
    rows = connection.execute(
        "SELECT sequence, at, who, scope, operation, key_id, result, times, digest "
        "FROM audit WHERE sequence > ? AND sequence <= ? ORDER BY sequence",
        (cut.sequence, until),
    )
    changed = {operation.value: subjects.keys for operation in CHANGING}
    changed |= {operation.value: subjects.identities for operation in ADMITTING}
    changed[CoreOperation.REJECT.value] = subjects.rejections
    changed[CoreOperation.END_REJECTION.value] = subjects.ended
    sha256, encode = hashlib.sha256, _encode
    for found in rows:
        expected += 1
        # Inlined from ``link``, because there are many rows.
        digest = sha256(digest + encode(found[:-1])).digest()
        if found[0] != expected or digest != found[-1]:
            raise CryptographicFailure(f"audit row {expected} was altered or removed")
        if found[6] == SUCCESS and (by_subject := changed.get(found[4])) is not None:
            by_subject[found[5]] = expected
    return subjects, TrailEnd(expected, digest)


def older(connection: sqlite3.Connection, vault: Vault, before: float) -> TrailEnd | None:
    """The last row of the longest beginning of the trail that is older than ``before`` (Unix
    seconds of this server's clock); None when no uncut row is."""
    cut = last_cut(connection, vault)
    found = connection.execute(
        "SELECT max(sequence) FROM audit WHERE sequence > ? AND sequence < "
        "(SELECT coalesce(min(sequence), ?) FROM audit WHERE sequence > ? AND at >= ?)",
        (cut.sequence, _MAX, cut.sequence, before),
    ).fetchone()[0]
    if found is None:
        return None
    row = connection.execute("SELECT digest FROM audit WHERE sequence = ?", (found,)).fetchone()
    return TrailEnd(found, row[0])


def raw(
    connection: sqlite3.Connection, after: int, until: int, limit: int
) -> tuple[tuple[object, ...], ...]:
    """Rows above ``after``, up to ``until``, as chained, each with its digest."""
    found = connection.execute(
        "SELECT sequence, at, who, scope, operation, key_id, result, times, digest FROM audit "
        "WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?",
        (after, until, limit),
    )
    return tuple(found.fetchall())


def count_gets_since(connection: sqlite3.Connection, key_id: KeyId, at: float) -> int:
    """How often the key was given since ``at``, in Unix seconds of this server's clock."""
    found = connection.execute(
        "SELECT count(*) FROM audit WHERE key_id = ? AND at >= ? AND operation = ? AND result = ?",
        (key_id, at, CoreOperation.GET.value, SUCCESS),
    )
    return int(found.fetchone()[0])


def read(
    connection: sqlite3.Connection, after: int, limit: int, scope: str | None
) -> tuple[AuditRecord, ...]:
    """Uncut rows above ``after`` in order, of one scope; None: of all."""
    rows = connection.execute(
        "SELECT sequence, at, who, operation, key_id, result, times, digest FROM audit "
        "WHERE sequence > max(?, (SELECT coalesce(max(sequence), 0) FROM audit_cuts)) "
        "AND (? IS NULL OR scope = ?) ORDER BY sequence LIMIT ?",
        (after, scope, scope, limit),
    )
    return tuple(
        AuditRecord(
            sequence=sequence,
            at=at,
            who=who,
            operation=operation,
            key_id=key_id,
            result=result,
            times=times,
            digest=digest.hex(),
        )
        for sequence, at, who, operation, key_id, result, times, digest in rows
    )


def link(before: bytes, row: Sequence[object]) -> bytes:
    """The digest of a row (its fields without the digest), from the digest of the row before it."""
    return hashlib.sha256(before + _encode(row)).digest()
