"""The history of a staging, and which of its records show what a cell's letter rests on."""

from __future__ import annotations

from typing import Any

from chaos.history import History


class Book:
    """Writes the history of one staging; ``trail`` gives an event its own part of it."""

    def __init__(self, history: History) -> None:
        self.history = history

    def write(self, type: str, node: str, op: str, **data: Any) -> int:
        """The ``seq`` of the new record; 0 when the history is full."""
        record = self.history.add(type, node, op=op, **data)
        return 0 if record is None else record.seq

    def trail(self, name: str) -> Trail:
        """What is written for the event called ``name``, and remembered as its evidence."""
        return Trail(self, name)


class Trail:
    """Records of one event, in order."""

    def __init__(self, book: Book, name: str) -> None:
        self._book, self.name = book, name
        self.records: list[int] = []

    def write(self, type: str, node: str, op: str, **data: Any) -> int:
        """As ``Book.write``; the record is evidence of this event from now on."""
        seq = self._book.write(type, node, op, event=self.name, **data)
        self.records.append(seq)
        return seq
