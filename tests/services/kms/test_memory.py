"""Databases that tests open in memory end with their test, never in the garbage collector."""

from __future__ import annotations

import gc
import sqlite3
import sys
import threading

import pytest

from tests.services.kms.memory import closing_databases, in_memory


def collect_on_another_thread() -> None:
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()


@pytest.mark.slow
def test_a_dropped_database_is_not_closed_by_a_collector_on_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    cycle: list[object] = [in_memory()]
    cycle.append(cycle)
    del cycle
    collect_on_another_thread()
    assert ignored == []


def test_databases_of_a_block_are_closed_at_its_end_and_others_stay_open() -> None:
    outer = in_memory()
    with closing_databases():
        inner = in_memory()
        inner.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        inner.execute("SELECT 1")
    assert outer.execute("SELECT 1").fetchone() == (1,)
