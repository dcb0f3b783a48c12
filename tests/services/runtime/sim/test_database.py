"""Databases of a simulated disk are let go of with their world."""

from __future__ import annotations

import gc
import sqlite3
import threading

import pytest

from services.runtime.sim.database import StoredDatabase


@pytest.mark.slow
def test_a_drive_that_nobody_has_any_more_closes_on_any_thread() -> None:
    drive = StoredDatabase()
    connection = drive.connection
    itself: list[object] = [drive]
    itself.append(itself)  # only the collector ends it
    del drive, itself
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.slow
def test_a_drive_that_somebody_has_stays_open() -> None:
    drive = StoredDatabase()
    connection, keep = drive.connection, drive.keep
    del drive
    gc.collect()
    connection.execute("CREATE TABLE t (x)")
    keep()
    connection.close()
