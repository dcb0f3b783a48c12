"""Rows of the trail that wait to be written: those of messages that only read, when the server's
audit is ``buffered``.

They keep their order, and each is written once, before anything that follows it: each transaction
writes all of them before its own rows (``commit.group_commit``). Rows that the disk refuses stay
here, and no row is added until they are written (``operations.buffered_reads``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import EMPTY, AuditEntry, AuditTrail, TrailEnd

ROWS: Final = 4096
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
        return self.refused or self.rows >= ROWS

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
