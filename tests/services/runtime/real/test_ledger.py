"""The ledger beside a database: commits that are gone are missed, a damaged ledger says nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.runtime.real.database import CommitLedger


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        yield made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[CommitLedger]:
    made = CommitLedger(tmp_path / "commits")
    yield made
    made.close()


def acknowledge(ledger: CommitLedger, connection: sqlite3.Connection, commits: int) -> None:
    for _ in range(commits):
        ledger.note(ledger.count(connection))


def test_as_many_commits_as_were_told_of_or_more_are_right(
    ledger: CommitLedger, connection: sqlite3.Connection
) -> None:
    ledger.check(connection, "x.db")
    acknowledge(ledger, connection, 3)
    ledger.check(connection, "x.db")
    ledger.count(connection)  # durable, and the end came before it was told
    ledger.check(connection, "x.db")


@pytest.mark.parametrize("has", [0, 1, 2])
def test_a_database_with_fewer_commits_has_lost_some(
    ledger: CommitLedger, connection: sqlite3.Connection, has: int
) -> None:
    acknowledge(ledger, connection, 3)
    connection.execute(f"PRAGMA user_version = {has}")
    with pytest.raises(OSError, match=f"it has {has} of 3 commits that were acknowledged") as told:
        ledger.check(connection, "x.db")
    assert told.value.filename == "x.db"


@pytest.mark.parametrize("damage", [b"", b"\0" * 7, b"\0" * 7 + b"\x09", b"\0" * 7 + b"\x09" * 5])
def test_a_damaged_ledger_says_nothing(
    ledger: CommitLedger, connection: sqlite3.Connection, tmp_path: Path, damage: bytes
) -> None:
    acknowledge(ledger, connection, 3)
    (tmp_path / "commits").write_bytes(damage)
    ledger.check(connection, "x.db")


def test_a_ledger_that_is_to_forget_leaves_no_file(
    ledger: CommitLedger, connection: sqlite3.Connection, tmp_path: Path
) -> None:
    acknowledge(ledger, connection, 3)
    ledger.forget()
    assert list(tmp_path.iterdir()) == []
    connection.execute("PRAGMA user_version = 0")
    ledger.check(connection, "x.db")
    acknowledge(ledger, connection, 1)
    connection.execute("PRAGMA user_version = 0")
    with pytest.raises(OSError, match="it has 0 of 1"):
        ledger.check(connection, "x.db")
