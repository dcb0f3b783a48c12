"""Databases in memory for tests, each closed when its test ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

_opened: list[sqlite3.Connection] = []


def in_memory() -> sqlite3.Connection:
    """A new database; each statement is a transaction of its own, unless one is begun.

    It stays referenced until ``closing_databases`` ends. SQLite refuses to close a connection on
    another thread than its own, and the garbage collector runs on any.
    """
    made = sqlite3.connect(":memory:", isolation_level=None)
    _opened.append(made)
    return made


@contextmanager
def closing_databases() -> Iterator[None]:
    """Close every database that is opened inside the block, on the thread that runs it."""
    before = len(_opened)
    try:
        yield
    finally:
        for connection in _opened[before:]:
            connection.close()
        del _opened[before:]
