"""Inserts many rows of a table with few statements.

Between two statements, and between two rows of ``executemany`` too, a thread acquires Python's lock
again, which the loop's thread may hold for a while; within one statement it does not need it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

MOST: Final = 16
"""Rows of one statement; a statement is cached for each number of rows."""


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert these rows, which have equal lengths; ``into``: a statement up to its VALUES."""
    for at in range(0, len(rows), MOST):
        some = rows[at : at + MOST]
        statement = _statement(into, len(some), len(some[0]))
        connection.execute(statement, tuple(chain.from_iterable(some)))


@lru_cache(maxsize=256)
def _statement(into: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return into + ", ".join([row] * rows)
