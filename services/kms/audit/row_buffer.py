"""Rows of the trail that wait to be written: those of messages that only read, when the server's
audit is ``buffered``.

They keep their order, and each is written once, before anything that follows it: each transaction
writes all of them in front of its own rows (``commit.group_commit``). Rows that the disk refuses
stay here, and no row is added until they are written (``operations.buffered_reads``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import EMPTY, AuditEntry, AuditTrail, TrailEnd

ROWS: Final = 4096
"""Rows that wait at most, and those of the one message that comes to it."""


class Page(msgspec.Struct, frozen=True, gc=False):
    """The rows of one message, and its time in Unix seconds."""

    at: float
    entries: tuple[AuditEntry, ...]


class Changes(Exception):
    """The message does not only read: it has to be a transaction."""


class TrailDraft:
    """Stands for an ``AuditTrail``: takes the rows of one message that is not in a transaction."""

    def __init__(self) -> None:
        self.pages: list[Page] = []

    def end(self) -> TrailEnd:
        """Nobody knows yet where the trail ends then."""
        return EMPTY

    def append(self, at: float, entries: Sequence[AuditEntry]) -> TrailEnd:
        """As ``AuditTrail.append``."""
        self.pages.append(Page(at, tuple(entries)))
        return EMPTY

    def changing(self) -> None:
        """There is nothing here to write keys into: ``Changes``."""
        raise Changes


class TrailLoad:
    """Pages that go into the database together; ``end`` of the trail behind them, when a
    transaction has written them, which may have failed then. That one is the writer's own."""

    __slots__ = ("end", "pages", "rows")

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.rows = 0
        self.end: TrailEnd | None = None

    def write(self, connection: sqlite3.Connection, trail: AuditTrail) -> None:
        """Write the pages, unless an earlier transaction has done so; in the writer.

        Who began that one may not know yet, or never learn it, that it is committed; the digest
        of its last row says so.
        """
        if self.end is not None and audit_trail.has(connection, self.end):
            return
        for page in self.pages:
            trail.append(page.at, page.entries)
        trail.write()
        self.end = trail.end()


class Unwritten:
    """Used on the loop only. ``refused``: the disk did not take them when it was asked last.

    Loads are here until they are known to be committed, and each transaction is given all of
    them: so one that fails, or is given up, loses none and has none overtaken.
    """

    def __init__(self) -> None:
        self.refused = False
        self.rows = 0
        self._loads: list[TrailLoad] = []
        self._open: TrailLoad | None = None  # the last one, which nobody has been given yet

    @property
    def full(self) -> bool:
        """Whether one more would be too many, or would wait for nobody knows how long."""
        return self.refused or self.rows >= ROWS

    def add(self, pages: Sequence[Page]) -> None:
        """Have these wait behind the others."""
        if self._open is None:
            self._open = TrailLoad()
            self._loads.append(self._open)
        count = sum([len(page.entries) for page in pages])
        self._open.pages += pages
        self._open.rows += count
        self.rows += count

    def loads(self) -> tuple[TrailLoad, ...]:
        """All of them in order, for a transaction."""
        self._open = None
        return tuple(self._loads)

    def record_commit(self, loads: Sequence[TrailLoad]) -> None:
        """These are committed."""
        self.refused = False
        for load in loads:
            if load in self._loads:  # not told by an earlier transaction
                self._loads.remove(load)
                self.rows -= load.rows

    def record_refusal(self) -> None:
        """A transaction was refused."""
        self.refused = bool(self._loads)
