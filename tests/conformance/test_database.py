"""The Disk port's databases: durable before acknowledged, one writer, no clock, no dice."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.ports import Database
from services.runtime.sql import os_error_of
from tests.conformance.storage import Bench, both

CRASH, POWER_LOSS = WayDown.CRASH, WayDown.POWER_LOSS
SCHEMA = ("CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY, v TEXT NOT NULL UNIQUE)",)
Fn = Callable[[sqlite3.Connection], Any]


def insert(value: str) -> Fn:
    return lambda c: c.execute("INSERT INTO row (v) VALUES (?)", (value,)).lastrowid


def values(connection: sqlite3.Connection) -> list[str]:
    return [v for (v,) in connection.execute("SELECT v FROM row ORDER BY n")]


async def opened(bench: Bench) -> tuple[Incarnation, Database]:
    life, disk = bench.boot()
    return life, await disk.database("d", SCHEMA)


async def held_after(bench: Bench, life: Incarnation, way: WayDown) -> list[str]:
    """What the database holds in the next life."""
    life, disk = await bench.after(life, way)
    return await (await disk.database("d", SCHEMA)).query(values)


@both
async def test_a_commit_survives_crash_and_power_loss(bench: Bench) -> None:
    life, database = await opened(bench)
    assert await database.transact(insert("a")) == 1
    life, disk = await bench.after(life, CRASH)
    database = await disk.database("d", SCHEMA)
    await database.transact(insert("b"))
    assert await held_after(bench, life, POWER_LOSS) == ["a", "b"]


@both
async def test_a_crash_in_the_midst_of_a_transaction_is_a_rollback(bench: Bench) -> None:
    life, database = await opened(bench)
    await database.transact(insert("before"))

    def fn(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO row (v) VALUES ('lost')")
        life.end(CRASH)

    applied: list[None] = []
    with pytest.raises(NodeDown):
        await database.transact(fn, applied.append)
    with pytest.raises(NodeDown):
        await database.transact(insert("from the dead"))
    with pytest.raises(NodeDown):
        await database.query(values)
    assert applied == []
    assert await held_after(bench, life, CRASH) == ["before"]


@both
async def test_an_old_handle_does_not_reach_the_next_life(bench: Bench) -> None:
    life, old = await opened(bench)
    life, disk = await bench.after(life, CRASH)
    database = await disk.database("d", SCHEMA)
    with pytest.raises(NodeDown):
        await old.transact(insert("ghost"))
    assert await database.query(values) == []


@both
async def test_power_loss_drops_what_was_committed_without_full(bench: Bench) -> None:
    life, database = await opened(bench)
    await database.transact(insert("durable"))
    life, disk = await bench.after(life, CRASH)
    database = await disk.database("d", (*SCHEMA, "PRAGMA synchronous=OFF"))
    await database.transact(insert("not durable"))
    assert await database.query(values) == ["durable", "not durable"]
    assert await held_after(bench, life, POWER_LOSS) == ["durable"]


@both
async def test_a_crash_keeps_what_was_committed_without_full(bench: Bench) -> None:
    life, disk = bench.boot()
    database = await disk.database("d", (*SCHEMA, "PRAGMA synchronous=NORMAL"))
    await database.transact(insert("written"))
    life, disk = await bench.after(life, CRASH)
    database = await disk.database("d", SCHEMA)  # with FULL again, but nothing is synced yet
    assert await database.query(values) == ["written"]
    assert await held_after(bench, life, POWER_LOSS) == []


@both
async def test_lives_without_full_one_after_another_have_one_durable_state(bench: Bench) -> None:
    life, database = await opened(bench)
    await database.transact(insert("durable"))
    for value in ("a", "b"):
        life, disk = await bench.after(life, CRASH)
        database = await disk.database("d", (*SCHEMA, "PRAGMA synchronous=OFF"))
        await database.transact(insert(value))
    assert await database.query(values) == ["durable", "a", "b"]
    assert await held_after(bench, life, POWER_LOSS) == ["durable"]


@both
async def test_the_next_full_commit_makes_all_before_it_durable(bench: Bench) -> None:
    life, disk = bench.boot()
    database = await disk.database("d", (*SCHEMA, "PRAGMA synchronous=OFF"))
    await database.transact(insert("a"))
    await disk.database("d", ["PRAGMA synchronous=FULL"])
    await database.transact(lambda c: None)  # writes nothing, so it syncs nothing
    await database.transact(insert("b"))
    assert await held_after(bench, life, POWER_LOSS) == ["a", "b"]


@both
async def test_an_empty_full_commit_makes_nothing_durable(bench: Bench) -> None:
    life, disk = bench.boot()
    database = await disk.database("d", (*SCHEMA, "PRAGMA synchronous=OFF"))
    await database.transact(insert("a"))
    await disk.database("d", ["PRAGMA synchronous=FULL"])
    await database.transact(lambda c: None)
    assert await held_after(bench, life, POWER_LOSS) == []


@both
async def test_applied_comes_in_commit_order_before_any_caller_resumes(bench: Bench) -> None:
    _, database = await opened(bench)
    seen: list[tuple[str, int]] = []

    async def call(index: int) -> None:
        number = await database.transact(insert(str(index)), lambda n: seen.append(("applied", n)))
        seen.append(("resumed", number))
        # What a resumed caller can read from memory is never behind what is on disk.
        assert ("applied", number) in seen

    async with asyncio.TaskGroup() as group:
        for index in range(50):
            group.create_task(call(index))
    numbers = [number for kind, number in seen if kind == "applied"]
    assert numbers == list(range(1, 51))
    assert sorted(n for kind, n in seen if kind == "resumed") == numbers
    assert len(await database.query(values)) == 50


@both
async def test_calls_commit_in_the_order_in_which_they_were_made(bench: Bench) -> None:
    _, database = await opened(bench)
    made: list[str] = []

    async def call(index: int) -> None:
        made.append(str(index))
        await database.transact(insert(str(index)))

    async with asyncio.TaskGroup() as group:
        for index in range(20):
            group.create_task(call(index))
    assert await database.query(values) == made


@both
async def test_a_failing_function_undoes_only_itself(bench: Bench) -> None:
    _, database = await opened(bench)
    await database.transact(insert("taken"))
    errors: list[BaseException] = []
    applied: list[str] = []

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO row (v) VALUES ('half')")
        raise LookupError("of the function's own")

    async def call(fn: Fn, name: str) -> None:
        try:
            await database.transact(fn, lambda _: applied.append(name))
        except (LookupError, sqlite3.IntegrityError) as error:
            errors.append(error)

    async with asyncio.TaskGroup() as group:
        for fn, name in (
            (insert("a"), "a"),
            (half, "half"),
            (insert("b"), "b"),
            (insert("taken"), "taken"),
            (insert("c"), "c"),
        ):
            group.create_task(call(fn, name))
    assert sorted(await database.query(values)) == ["a", "b", "c", "taken"]
    assert sorted(applied) == ["a", "b", "c"]
    assert {type(error) for error in errors} == {LookupError, sqlite3.IntegrityError}


@both
async def test_a_function_without_failing_neighbours_runs_once(bench: Bench) -> None:
    """And again only when one that shares its commit has failed: it takes and gives values."""
    _, database = await opened(bench)
    runs: list[str] = []

    def counted(name: str, then: Fn) -> Fn:
        def fn(connection: sqlite3.Connection) -> Any:
            runs.append(name)
            return then(connection)

        return fn

    async def call(name: str, then: Fn) -> None:
        with suppress(LookupError):
            await database.transact(counted(name, then))

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(call(name, insert(name)))
    assert sorted(runs) == ["a", "b", "c"]
    runs.clear()
    await call("alone", _fail)
    assert runs == ["alone"]
    async with asyncio.TaskGroup() as group:
        for name, then in (("d", insert("d")), ("bad", _fail), ("e", insert("e"))):
            group.create_task(call(name, then))
    assert sorted(await database.query(values)) == ["a", "b", "c", "d", "e"]


@both
async def test_one_that_rolls_everything_back_does_not_take_its_neighbours(bench: Bench) -> None:
    _, database = await opened(bench)
    await database.transact(insert("taken"))
    failed: list[BaseException] = []

    def takes_all(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR ROLLBACK INTO row (v) VALUES ('taken')")

    async def call(fn: Fn) -> None:
        try:
            await database.transact(fn)
        except sqlite3.IntegrityError as error:
            failed.append(error)

    async with asyncio.TaskGroup() as group:
        for fn in (insert("a"), insert("b"), takes_all, insert("c")):
            group.create_task(call(fn))
    assert sorted(await database.query(values)) == ["a", "b", "c", "taken"]
    assert len(failed) == 1


@both
async def test_a_failing_applied_is_its_callers_error(bench: Bench) -> None:
    _, database = await opened(bench)

    def fail(result: Any) -> None:
        raise LookupError(f"row {result}")

    with pytest.raises(LookupError, match="row 1"):
        await database.transact(insert("committed"), fail)
    assert await database.query(values) == ["committed"]


@both
async def test_a_caller_that_gives_up_leaves_memory_as_the_disk_is(bench: Bench) -> None:
    """It may or may not have happened; what was applied is what is committed."""
    life, database = await opened(bench)
    applied: list[int] = []
    tasks = []
    for index in range(20):
        tasks.append(asyncio.create_task(database.transact(insert(str(index)), applied.append)))
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks)
    committed = await database.transact(lambda c: [n for (n,) in c.execute("SELECT n FROM row")])
    assert sorted(applied) == sorted(committed)
    assert len(committed) >= 10
    assert len(await held_after(bench, life, POWER_LOSS)) == len(committed)


@both
async def test_a_query_sees_what_was_acknowledged_and_changes_nothing(bench: Bench) -> None:
    _, database = await opened(bench)
    for index in range(20):
        await database.transact(insert(str(index)))
        for long in (False, True):
            assert len(await database.query(values, long=long)) == index + 1
    for fn in (
        insert("by a query"),
        lambda c: c.execute("DELETE FROM row"),
        lambda c: c.execute("DROP TABLE row"),
        lambda c: c.execute("CREATE TABLE other (a)"),
    ):
        for long in (False, True):
            with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|readonly"):
                await database.query(fn, long=long)
    with pytest.raises(LookupError):
        await database.query(_fail)
    assert len(await database.query(values)) == 20


def _fail(connection: sqlite3.Connection) -> None:
    raise LookupError


@both
async def test_sql_reads_no_clock_and_draws_no_dice(bench: Bench) -> None:
    _, disk = bench.boot()
    database = await disk.database(
        "d", (*SCHEMA, "CREATE TABLE IF NOT EXISTS stamp (a, at TEXT DEFAULT CURRENT_TIMESTAMP)")
    )
    for expression in (
        "random()",
        "randomblob(8)",
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "datetime('now')",
        "DateTime()",
        "julianday('now')",
        "strftime('%s', 'now')",
        "unixepoch()",
        "date()",
        "time('now')",
    ):
        fn = _selects(expression)
        for run in (database.transact, database.query):
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                await run(fn)
    # A column's default is evaluated without the authorizer: the function itself refuses.
    with pytest.raises(sqlite3.OperationalError, match="raised exception"):
        await database.transact(lambda c: c.execute("INSERT INTO stamp (a) VALUES (1)"))
    assert await database.query(_selects("abs(-3) + length('four')")) == 7


def _selects(expression: str) -> Fn:
    return lambda c: c.execute(f"SELECT {expression}").fetchone()[0]


@both
async def test_a_function_cannot_end_the_transaction_it_runs_in(bench: Bench) -> None:
    _, disk = bench.boot()
    database = await disk.database("d", SCHEMA)
    await database.transact(insert("a"))
    for fn in (
        lambda c: c.commit(),
        lambda c: c.rollback(),
        lambda c: c.executescript("CREATE TABLE other (a)"),
        lambda c: c.execute("COMMIT"),
        lambda c: c.execute("SAVEPOINT mine"),
        lambda c: c.execute("ATTACH ':memory:' AS other"),
        lambda c: c.execute("PRAGMA synchronous=OFF"),
        lambda c: c.execute("PRAGMA journal_mode=OFF"),
    ):
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            await database.transact(fn)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        await disk.database("e", ["PRAGMA journal_mode=OFF"])
    assert await database.query(values) == ["a"]


@both
async def test_schema_statements_may_run_again(bench: Bench) -> None:
    life, disk = bench.boot()
    first = await disk.database("d", SCHEMA)
    await first.transact(insert("a"))
    assert await disk.database("d", SCHEMA) is first
    other = await disk.database("other", SCHEMA)
    assert await other.query(values) == []
    assert await held_after(bench, life, CRASH) == ["a"]


@both
async def test_a_full_and_a_failing_device(bench: Bench) -> None:
    life, database = await opened(bench)
    await database.transact(insert("a"))
    for switch, code in (("full", errno.ENOSPC), ("fail", errno.EIO)):
        setattr(bench.store, switch, True)
        with pytest.raises(OSError, match=r"No space|Input/output") as caught:
            await database.transact(insert("refused"))
        assert caught.value.errno == code
        if switch == "full":
            assert await database.query(values) == ["a"]
        else:
            with pytest.raises(OSError, match="Input/output"):
                await database.query(values)
        setattr(bench.store, switch, False)
    await database.transact(insert("b"))
    assert await held_after(bench, life, POWER_LOSS) == ["a", "b"]


@both
async def test_an_old_copy_of_the_disk_brings_the_old_database(bench: Bench) -> None:
    life, database = await opened(bench)
    await database.transact(insert("old"))
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    await bench.store.save("early")
    life, database = await opened(bench)
    await database.transact(insert("new"))
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    await bench.store.restore("early")
    life, database = await opened(bench)
    assert await database.query(values) == ["old"]
    await database.transact(insert("other"))
    assert await held_after(bench, life, POWER_LOSS) == ["old", "other"]


@both
async def test_databases_of_a_copy_come_back_without_its_files(bench: Bench) -> None:
    life, database = await opened(bench)
    await database.transact(insert("old"))
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    await bench.store.save("early")
    life, database = await opened(bench)
    await database.transact(insert("new"))
    disk = bench.store.disk(life)
    await disk.write("beside", b"new")
    await disk.sync("beside")
    with pytest.raises(RuntimeError, match="is on"):
        await bench.store.restore_databases("early")
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    await bench.store.restore_databases("early")
    life, database = await opened(bench)
    assert await database.query(values) == ["old"]
    assert await bench.store.disk(life).read("beside") == b"new"
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    with pytest.raises(KeyError):
        await bench.store.restore_databases("never")


@both
async def test_many_lives_one_after_another(bench: Bench) -> None:
    expected: list[str] = []
    life, disk = bench.boot()
    for index in range(12):
        sloppy = index % 3 == 0
        schema = (*SCHEMA, "PRAGMA synchronous=OFF") if sloppy else SCHEMA
        database = await disk.database("d", schema)
        assert await database.query(values) == expected
        await database.transact(insert(str(index)))
        if not sloppy:
            expected.append(str(index))
        life, disk = await bench.after(life, POWER_LOSS)


@both
async def test_a_text_that_is_none_is_a_damaged_database(bench: Bench) -> None:
    """One bit of a page, and neither side reads it; what it says is in no error."""
    _, disk = bench.boot()
    database = await disk.database("d", SCHEMA)
    with pytest.raises(OSError, match="damaged") as caught:
        await database.query(lambda one: one.execute("SELECT CAST(x'ff41' AS TEXT)").fetchall())
    assert caught.value.errno == errno.EIO
    assert "A" not in str(caught.value)
    with pytest.raises(OSError, match="damaged"):
        await database.transact(lambda one: one.execute("SELECT CAST(x'ff41' AS TEXT)").fetchall())


def test_an_index_of_the_log_that_cannot_grow_is_a_full_disk() -> None:
    """Nothing is wrong with the database then: nobody is to be told to remove it."""
    for code, number in (
        (sqlite3.SQLITE_IOERR_SHMSIZE, errno.ENOSPC),
        (sqlite3.SQLITE_FULL, errno.ENOSPC),
        (sqlite3.SQLITE_IOERR_READ, errno.EIO),
        (sqlite3.SQLITE_BUSY, errno.EBUSY),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, errno.EBUSY),
    ):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        found = os_error_of(error, "d.db")
        assert isinstance(found, OSError)
        assert found.errno == number
