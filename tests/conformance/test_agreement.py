"""Where the two drivers once differed, and now agree (decision 23 says where they cannot)."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest

from services.runtime.incarnation import WayDown
from tests.conformance.storage import Bench, both

SCHEMA = ("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)",)


async def at_once_in_order(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make each call before the one before it has ended, in this order under any loop."""
    turns = [asyncio.Event() for _ in range(len(calls) + 1)]
    turns[0].set()

    async def made(number: int) -> None:
        await turns[number].wait()
        turns[number + 1].set()
        await calls[number]()  # runs to its first wait before anybody else does anything

    await asyncio.gather(*(made(number) for number in range(len(calls))))


@both
async def test_calls_of_one_disk_take_effect_in_their_order(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("f", b"old")
    await disk.sync_folder()
    for number in range(20):
        old, new = b"old %d" % number, b"new %d" % number
        calls = (
            partial(disk.write, "f", old),
            partial(disk.sync, "f"),
            partial(disk.write, "f", new),
        )
        await at_once_in_order(calls)
        assert await disk.read("f") == new
        life, disk = await bench.after(life, WayDown.POWER_LOSS)
        assert await disk.read("f") == old


@both
async def test_a_query_sees_no_commit_before_its_applied_has_run(bench: Bench) -> None:
    life, disk = bench.boot()
    database = await disk.database("d", SCHEMA)
    applied: set[int] = set()

    def insert(connection: sqlite3.Connection, number: int) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])

    async def write() -> None:
        for number in range(400):
            await database.transact(partial(insert, number=number), applied.add)

    writing = asyncio.create_task(write())
    while not writing.done():
        seen = await database.query(count)
        assert seen <= len(applied)
    await writing
    assert await database.query(count) == len(applied) == 400
    await bench.store.end(life, WayDown.STOP)


@both
async def test_names_have_the_same_ends(bench: Bench) -> None:
    life, disk = bench.boot()
    longest = "n" * 255
    await disk.write(longest, b"1")
    await disk.sync_folder()
    assert await disk.list() == (longest,)
    deep = "/".join(["d" * 60] * 4)
    await disk.write(f"{deep}/f", b"2")
    await disk.sync_folder(deep)
    await disk.write("é" * 42 + "/f", b"3")  # each is six characters where a path is one name
    refused = ("é" * 43 + "/f", "é" * 128, "/".join(["d" * 60] * 5) + "/f")
    for path in (longest + "n", f"a/{longest}n", *refused):
        for call in (disk.write(path, b""), disk.read(path), disk.sync(path), disk.list(path)):
            with pytest.raises(OSError) as caught:
                await call
            assert caught.value.errno == errno.ENAMETOOLONG
    with pytest.raises(OSError) as caught:
        await disk.database(longest)
    assert caught.value.errno == errno.ENAMETOOLONG
    _, datastore = await bench.host("esxi-002")
    for vm_call in (datastore.write(longest + "n", "f", b""), datastore.lock(longest + "n")):
        with pytest.raises(OSError) as caught:
            await vm_call
        assert caught.value.errno == errno.ENAMETOOLONG
    await bench.store.end(life, WayDown.CRASH)


@both
async def test_what_is_not_there_has_its_number(bench: Bench) -> None:
    life, disk = bench.boot()
    _, datastore = await bench.host("esxi-002")
    for call in (
        datastore.read("vm", "file"),
        datastore.read_blocks("vm", "file", [0], 8),
        datastore.write_blocks("vm", "file", {0: b"x"}),
        disk.datastore("nowhere"),
        disk.read("nothing"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            await call
        assert caught.value.errno == errno.ENOENT
    await bench.store.end(life, WayDown.CRASH)


@both
async def test_a_rename_looks_at_its_source_first(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("folder/f", b"1")
    await disk.write("file", b"2")
    for source, target, code in (
        ("missing", "folder", errno.ENOENT),
        ("missing", "file", errno.ENOENT),
        ("file/x", "folder", errno.ENOTDIR),
        ("folder", "file", errno.EISDIR),
        ("file", "folder", errno.EISDIR),
    ):
        with pytest.raises(OSError) as caught:
            await disk.replace(source, target)
        assert caught.value.errno == code, (source, target)
    await bench.store.end(life, WayDown.CRASH)


@both
async def test_sql_does_not_tell_what_its_connection_did_before(bench: Bench) -> None:
    life, disk = bench.boot()
    database = await disk.database("d", SCHEMA)

    def told(connection: sqlite3.Connection, name: str) -> object:
        return connection.execute(f"SELECT {name}()").fetchone()

    await database.transact(lambda c: c.execute("INSERT INTO t VALUES (7)").rowcount)
    for name in ("last_insert_rowid", "changes", "total_changes"):
        for ask in (database.transact, database.query):
            with pytest.raises(sqlite3.DatabaseError):
                await ask(partial(told, name=name))
    rowid = await database.transact(lambda c: c.execute("INSERT INTO t VALUES (9)").lastrowid)
    assert rowid == 9
    await bench.store.end(life, WayDown.STOP)
