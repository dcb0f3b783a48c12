"""How many commits of a database were acknowledged, in a file beside it.

SQLite itself does not miss commits that are gone with its log, nor a file that was emptied: it
opens what is there. The number is written after each commit and before anybody hears of it, so
a database that has fewer commits than its ledger has lost some. The file is not synced: after a
power loss of the machine it says too little at most, and a damaged one says nothing.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from contextlib import suppress
from pathlib import Path

_NUMBER = 8  # bytes, and four of a check


class CommitLedger:
    """The ledger of one database; the number of a commit is SQLite's ``user_version``.

    All methods block.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def check(self, connection: sqlite3.Connection, database: str) -> None:
        """``OSError`` if ``database``, behind ``connection``, has lost commits."""
        (has,) = connection.execute("PRAGMA user_version").fetchone()
        told = self._read_count()
        if has < told:
            lost = f"it has {has} of {told} commits that were acknowledged"
            raise OSError(errno.EIO, f"the database is not as it was left: {lost}", database)

    def _read_count(self) -> int:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return 0
        number, check = data[:_NUMBER], data[_NUMBER:]
        return int.from_bytes(number, "big") if check == _check(number) else 0

    def count(self, connection: sqlite3.Connection) -> int:
        """In the transaction that is open: give its commit the next number, and return it."""
        (has,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {has + 1}")
        return int(has) + 1

    def note(self, commit: int) -> None:
        """That commit is durable; called before it is acknowledged."""
        number = commit.to_bytes(_NUMBER, "big")
        with suppress(OSError):  # it then says too little, and the commit is durable all the same
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._fd, number + _check(number), 0)

    def forget(self) -> None:
        """Commits are about to be taken back on purpose."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _check(number: bytes) -> bytes:
    return zlib.crc32(number).to_bytes(4, "big")
