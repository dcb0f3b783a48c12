"""What takes its time in a database holds nothing but others that do, and no commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from services.runtime.incarnation import NodeDown
from tests.conformance.storage import Bench, LabBench
from tests.conformance.test_database import CRASH, insert, opened, values


def test_a_query_does_not_wait_for_a_long_one(tmp_path: Path) -> None:
    bench = LabBench(tmp_path)
    bench.run(_beside_a_long_one(bench))


async def _beside_a_long_one(bench: Bench) -> None:
    _, database = await opened(bench)
    await database.transact(insert("before"))
    begun, free = threading.Event(), threading.Event()

    def takes_its_time(connection: sqlite3.Connection) -> list[str]:
        seen = values(connection)
        begun.set()
        assert free.wait(20)
        assert values(connection) == seen, "it is one look"
        return seen

    async with asyncio.TaskGroup() as group:
        long = group.create_task(database.query(takes_its_time, long=True))
        await asyncio.to_thread(begun.wait, 20)
        another = group.create_task(database.query(values, long=True))
        async with asyncio.timeout(10):
            assert await database.query(values) == ["before"]
            await database.transact(insert("meanwhile"))
            assert await database.query(values) == ["before", "meanwhile"]
        assert not long.done() and not another.done()
        free.set()
    assert long.result() == ["before"] and another.result() == ["before", "meanwhile"]


def test_an_end_waits_for_a_long_one(tmp_path: Path) -> None:
    """Its files are closed after it, not under it."""
    bench = LabBench(tmp_path)
    bench.run(_ends(bench))


async def _ends(bench: Bench) -> None:
    life, database = await opened(bench)
    begun, seen = threading.Event(), list[list[str]]()

    def takes_its_time(connection: sqlite3.Connection) -> None:
        begun.set()
        threading.Event().wait(0.2)
        seen.append(values(connection))

    query = asyncio.ensure_future(database.query(takes_its_time, long=True))
    await asyncio.to_thread(begun.wait, 20)
    await bench.after(life, CRASH)
    assert seen == [[]]
    with pytest.raises(NodeDown):
        await query
