"""Rows of the trail that are not written with their operation: refusals that are counted, so that a
flood of them does not cost a row each, and, when the server's audit is ``buffered``, rows of
messages that only read.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import EMPTY, AuditEntry, AuditTrail, TrailEnd

ROWS: Final = 32
"""Refusals of one caller that get their own row, in one minute."""

WINDOW_S: Final = 60.0


class Allowance(NamedTuple):
    """The refusals that one message may write.

    ``rows``: how many may have their own row. ``due``: counts of earlier ones, to be written with
    the first row.
    """

    rows: int = ROWS
    due: tuple[AuditEntry, ...] = ()


OWN_ROWS: Final = Allowance()
"""The allowance of a caller without refusals in this minute."""

NO_ROWS: Final = Allowance(0)


class Refusals:
    """The counts of this life; ``monotonic`` returns lab seconds. Used on the loop only."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began: dict[str, float] = {}
        self._rows: Counter[str] = Counter()
        self._counts: dict[str, Counter[AuditEntry]] = {}

    def allowance(self, who: str) -> Allowance:
        """The allowance for the next message of ``who``; report its use with ``record_use``."""
        rows = self._rows_left(who)
        if rows == 0:
            return NO_ROWS
        due = self._take_counts(who)
        return Allowance(rows, due) if due or rows < ROWS else OWN_ROWS

    def count_only(self, entry: AuditEntry) -> bool:
        """Count a refusal if its caller has no rows left; False when it has."""
        if self._rows_left(entry.who):
            return False
        self.put_back((entry,))
        return True

    def _rows_left(self, who: str) -> int:
        """How many refusals of ``who`` may have their own row now."""
        began = self._began.get(who)
        if began is None:
            return ROWS
        if self._monotonic() - began >= WINDOW_S:
            del self._began[who], self._rows[who]
        return max(0, ROWS - self._rows[who])

    def record_use(
        self, who: str, allowance: Allowance, rows: int, left_out: tuple[AuditEntry, ...]
    ) -> None:
        """Record that a message has written ``rows`` refusals, and only counted ``left_out``."""
        if rows:
            self._began.setdefault(who, self._monotonic())
            self._rows[who] += rows
        else:
            self.put_back(allowance.due)
        self.put_back(left_out)

    def all_due(self) -> tuple[AuditEntry, ...]:
        """Remove and return all counts."""
        return tuple(entry for who in list(self._counts) for entry in self._take_counts(who))

    def put_back(self, entries: tuple[AuditEntry, ...]) -> None:
        """Count these entries again: they were not written."""
        for entry in entries:
            kind = msgspec.structs.replace(entry, key_id="", times=1)
            self._counts.setdefault(entry.who, Counter())[kind] += entry.times

    def _take_counts(self, who: str) -> tuple[AuditEntry, ...]:
        counted = self._counts.pop(who, None)
        if counted is None:
            return ()
        return tuple(msgspec.structs.replace(e, times=times) for e, times in counted.items())


BUFFERED_ROWS: Final = 4096
"""How many rows wait at most, not counting those of the message that reaches the limit."""


class Page(msgspec.Struct, frozen=True, gc=False):
    """The rows of one message, and its time in Unix seconds."""

    at: float
    entries: tuple[AuditEntry, ...]


class Changes(Exception):
    """The message does not only read: it needs a transaction."""


class TrailDraft:
    """In place of an ``AuditTrail``: collects the rows of a message that runs without a
    transaction."""

    def __init__(self) -> None:
        self.pages: list[Page] = []

    def end(self) -> TrailEnd:
        """Unknown: the trail's end is only known in a transaction."""
        return EMPTY

    def append(self, at: float, entries: Sequence[AuditEntry]) -> TrailEnd:
        """As ``AuditTrail.append``."""
        self.pages.append(Page(at, tuple(entries)))
        return EMPTY

    def changing(self) -> None:
        """Raises ``Changes``: keys cannot be written without a transaction."""
        raise Changes


class TrailLoad:
    """Pages that go into the database together. ``end`` is the trail's end after them, once a
    transaction has written them; that transaction may have failed. Only the writer uses it."""

    __slots__ = ("end", "pages", "rows")

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.rows = 0
        self.end: TrailEnd | None = None

    def write(self, connection: sqlite3.Connection, trail: AuditTrail) -> None:
        """Write the pages, unless an earlier transaction has done so; in the writer.

        The caller of that transaction may not know yet, or never learn, that it is committed; the
        digest of its last row shows it.
        """
        if self.end is not None and audit_trail.has(connection, self.end):
            return
        for page in self.pages:
            trail.append(page.at, page.entries)
        trail.write()
        self.end = trail.end()


class Unwritten:
    """The rows that wait; used on the loop only. ``refused``: the disk refused them at the last
    try.

    Loads stay here until they are known to be committed, and each transaction gets all of them. So
    a transaction that fails, or is abandoned, loses none and reorders none.
    """

    def __init__(self) -> None:
        self.refused = False
        self.rows = 0
        self._loads: list[TrailLoad] = []
        self._open: TrailLoad | None = None  # the last load, which no transaction has yet

    @property
    def full(self) -> bool:
        """Whether one more row would be too many, or would wait for an unknown time."""
        return self.refused or self.rows >= BUFFERED_ROWS

    def add(self, pages: Sequence[Page]) -> None:
        """Append pages to those that wait."""
        if self._open is None:
            self._open = TrailLoad()
            self._loads.append(self._open)
        count = sum([len(page.entries) for page in pages])
        self._open.pages += pages
        self._open.rows += count
        self.rows += count

    def loads(self) -> tuple[TrailLoad, ...]:
        """All loads in order, for a transaction."""
        self._open = None
        return tuple(self._loads)

    def record_commit(self, loads: Sequence[TrailLoad]) -> None:
        """These loads are committed."""
        self.refused = False
        for load in loads:
            if load in self._loads:  # not recorded by an earlier transaction
                self._loads.remove(load)
                self.rows -= load.rows

    def record_refusal(self) -> None:
        """The disk refused a transaction."""
        self.refused = bool(self._loads)
