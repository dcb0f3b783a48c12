"""Rows of the trail that wait: of messages that only read, at a server whose audit is ``buffered``.

They keep their order, and each is written before anything that came after it: the next
transaction of a message takes all of them along, in front of its own (``commits``). What the disk
refuses waits on, and no row is added until it is written (``reading``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from services.kms.audit import EMPTY, AuditEntry, TrailEnd

ROWS: Final = 4096
"""Rows that wait at most, and those of the one message that comes to it."""


class Page(msgspec.Struct, frozen=True):
    """The rows of one message, and its time in Unix seconds."""

    at: float
    entries: tuple[AuditEntry, ...]


class Changes(Exception):
    """The message does not only read: it has to be a transaction."""


class Draft:
    """In the place of a ``Trail``: takes the rows of one message that is not in a transaction."""

    def __init__(self) -> None:
        self.pages: list[Page] = []

    def end(self) -> TrailEnd:
        """Nobody knows yet where the trail ends then."""
        return EMPTY

    def append(self, at: float, entries: Sequence[AuditEntry]) -> TrailEnd:
        """As ``Trail.append``."""
        self.pages.append(Page(at, tuple(entries)))
        return EMPTY

    def changing(self) -> None:
        """There is nothing here to write keys into: ``Changes``."""
        raise Changes


class Unwritten:
    """Used on the loop only. ``refused``: the disk did not take them when it was asked last."""

    def __init__(self) -> None:
        self.refused = False
        self.rows = 0
        self._pages: list[Page] = []

    @property
    def full(self) -> bool:
        """Whether one more would be too many, or would wait for nobody knows how long."""
        return self.refused or self.rows >= ROWS

    def add(self, pages: Sequence[Page]) -> None:
        """Have these wait behind the others."""
        for page in pages:
            self._pages.append(page)
            self.rows += len(page.entries)

    def take(self) -> list[Page]:
        """All of them, for a transaction; none is kept here."""
        taken, self._pages, self.rows = self._pages, [], 0
        return taken

    def put_back(self, pages: list[Page]) -> None:
        """That transaction was refused: they are in front again."""
        if pages:
            self.refused = True
            self._pages = pages + self._pages
            self.rows += sum(len(page.entries) for page in pages)
