"""Databases in memory that tests make and let go of."""

from __future__ import annotations

import sqlite3


class _ClosesItself(sqlite3.Connection):
    """Python 3.13 warns of one that nobody has closed; a test's ends with the test."""

    def __del__(self) -> None:
        self.close()


def in_memory() -> sqlite3.Connection:
    """A new database; each statement is a transaction of its own, unless one is begun."""
    return sqlite3.connect(":memory:", isolation_level=None, factory=_ClosesItself)
