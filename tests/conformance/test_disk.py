"""The Disk port's files: what survives a crash, and what a power loss takes."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Coroutine
from typing import Any

import pytest

from services.runtime.incarnation import NodeDown, WayDown
from services.runtime.ports import Disk
from tests.conformance.storage import Bench, both

Calls = tuple[Coroutine[Any, Any, object], ...]
CRASH, POWER_LOSS, STOP = WayDown.CRASH, WayDown.POWER_LOSS, WayDown.STOP


async def put(disk: Disk, path: str, data: bytes) -> None:
    """Write a new file so that it is durable, folder and all."""
    await disk.write(path, data)
    await disk.sync(path)
    folders = path.split("/")[:-1]
    for depth in range(len(folders), -1, -1):
        await disk.sync_folder("/".join(folders[:depth]))


@both
async def test_write_reads_back_and_survives_a_crash(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("a/b", b"one")
    await disk.append("a/b", b" two")
    await disk.append("log", b"first")
    assert await disk.read("a/b") == b"one two"
    for way in (CRASH, STOP):
        life, disk = await bench.after(life, way)
        assert await disk.read("a/b") == b"one two"
        assert await disk.read("log") == b"first"
        assert await disk.list() == ("a", "log")
        assert await disk.list("a") == ("b",)
        assert await disk.list("none") == ()


@both
async def test_power_loss_takes_what_was_never_synced(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("new", b"1")
    await disk.write("content-only", b"2")
    await disk.sync("content-only")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.list() == ()
    with pytest.raises(FileNotFoundError):
        await disk.read("content-only")


@both
async def test_power_loss_keeps_what_was_synced(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "a/b/c", b"kept")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("a/b/c") == b"kept"
    life, disk = await bench.after(life, POWER_LOSS)  # also the second time
    assert await disk.read("a/b/c") == b"kept"


@both
async def test_a_name_without_its_content_is_an_empty_file(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("f", b"never synced")
    await disk.sync_folder()
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("f") == b""


@both
async def test_overwrite_and_append_go_back_to_the_last_sync(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "over", b"old")
    await put(disk, "log", b"1")
    await disk.append("log", b"2")
    await disk.sync("log")
    await disk.append("log", b"3")
    await disk.write("over", b"new and longer")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("over") == b"old"
    assert await disk.read("log") == b"12"


@both
async def test_an_append_with_its_sync_is_durable(bench: Bench) -> None:
    """Also of a file whose name is not yet durable; then that is what gets lost."""
    life, disk = bench.boot()
    await put(disk, "log", b"1" * 3000)
    await disk.append("log", b"2", sync=True)
    await disk.append("new", b"3", sync=True)
    await disk.append("log", b"4")
    assert await disk.read("log") == b"1" * 3000 + b"24"
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("log") == b"1" * 3000 + b"2"
    assert await disk.list() == ("log",)
    await disk.append("log", b"5", sync=True)
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("log") == b"1" * 3000 + b"25"


@both
async def test_sync_reaches_a_file_whose_name_is_durable(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "over", b"old and longer")
    await disk.write("over", b"new")
    await disk.sync("over")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("over") == b"new"


@both
async def test_replace_without_sync_folder_is_lost(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "state", b"old")
    await disk.write("state.new", b"new")
    await disk.sync("state.new")
    await disk.replace("state.new", "state")
    assert await disk.read("state") == b"new"
    assert await disk.list() == ("state",)
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("state") == b"old"
    assert await disk.list() == ("state",)


@both
async def test_replace_with_all_syncs_is_kept(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "state", b"old")
    await disk.write("state.new", b"new")
    await disk.sync("state.new")
    await disk.replace("state.new", "state")
    await disk.sync_folder()
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("state") == b"new"
    assert await disk.list() == ("state",)


@both
async def test_replace_without_sync_of_the_content_leaves_neither(bench: Bench) -> None:
    """The order of content and name is not kept: the new name comes with no content."""
    life, disk = bench.boot()
    await put(disk, "state", b"old")
    await disk.write("state.new", b"new")
    await disk.replace("state.new", "state")
    await disk.sync_folder()
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("state") == b""


@both
async def test_a_sync_after_replace_does_not_reach_the_old_name(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "state", b"old")
    await disk.write("state.new", b"new")
    await disk.replace("state.new", "state")
    await disk.sync("state")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("state") == b"old"


@both
async def test_replace_across_folders_shows_both_until_both_are_synced(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "from/f", b"1")
    await put(disk, "to/g", b"2")
    await disk.replace("from/f", "to/f")
    await disk.sync_folder("to")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("from/f") == b"1"
    assert await disk.read("to/f") == b"1"
    await disk.append("to/f", b"+")
    assert await disk.read("from/f") == b"1"


@both
async def test_later_writes_overtake_earlier_ones(bench: Bench) -> None:
    """Torn order: what is written second may be all that a power loss leaves."""
    life, disk = bench.boot()
    await put(disk, "journal", b"0")
    await put(disk, "data", b"0")
    await disk.write("journal", b"1")
    await disk.write("data", b"1")
    await disk.sync("data")
    life, disk = await bench.after(life, POWER_LOSS)
    assert (await disk.read("journal"), await disk.read("data")) == (b"0", b"1")


@both
async def test_remove_comes_back_without_sync_folder(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "gone", b"1")
    await put(disk, "back", b"2")
    await disk.remove("gone")
    await disk.sync_folder()
    await disk.remove("back")
    assert await disk.list() == ()
    with pytest.raises(FileNotFoundError):
        await disk.remove("back")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.list() == ("back",)
    assert await disk.read("back") == b"2"


@both
async def test_a_file_made_anew_under_a_removed_name_is_another_file(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "f", b"old")
    await disk.remove("f")
    await disk.write("f", b"new")
    await disk.sync("f")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("f") == b"old"


@both
async def test_a_new_folder_is_a_name_in_its_parent(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("a/b/f", b"1")
    await disk.sync("a/b/f")
    await disk.sync_folder("a/b")
    await disk.sync_folder()
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.list() == ("a",)  # "b" is in "a", and nobody synced that
    assert await disk.list("a") == ()


@both
async def test_a_folder_whose_parent_is_synced_later_brings_its_names(bench: Bench) -> None:
    life, disk = bench.boot()
    await disk.write("a/f", b"1")
    await disk.sync("a/f")
    await disk.sync_folder("a")
    life, disk = await bench.after(life, CRASH)
    await disk.sync_folder()
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("a/f") == b"1"


@both
async def test_wrong_kinds_of_path(bench: Bench) -> None:
    _, disk = bench.boot()
    await disk.write("folder/file", b"1")
    folders: Calls = (
        disk.read("folder"),
        disk.write("folder", b""),
        disk.append("folder", b""),
        disk.sync("folder"),
        disk.remove("folder"),
        disk.replace("folder", "other"),
        disk.replace("folder/file", "folder"),
    )
    for call in folders:
        with pytest.raises(IsADirectoryError):
            await call
    files: Calls = (
        disk.read("folder/file/below"),
        disk.write("folder/file/below", b""),
        disk.append("folder/file/below/more", b""),
        disk.list("folder/file"),
        disk.sync_folder("folder/file"),
    )
    for call in files:
        with pytest.raises(NotADirectoryError):
            await call
    absent: Calls = (
        disk.read("none"),
        disk.sync("none"),
        disk.remove("none"),
        disk.sync_folder("none"),
        disk.replace("none", "other"),
        disk.replace("folder/file", "none/other"),
    )
    for call in absent:
        with pytest.raises(FileNotFoundError):
            await call
    assert await disk.read("folder/file") == b"1"


@both
async def test_paths_do_not_leave_the_disk(bench: Bench) -> None:
    _, disk = bench.boot()
    await disk.write("inside", b"1")
    for path in ("/etc/passwd", "../x", "a/../../x", "a//b", "./x", "a/.", "a\0b", "a\\b"):
        for call in (
            disk.read(path),
            disk.write(path, b"x"),
            disk.append(path, b"x"),
            disk.sync(path),
            disk.remove(path),
            disk.replace("inside", path),
            disk.replace(path, "inside"),
            disk.list(path),
            disk.sync_folder(path),
        ):
            with pytest.raises(ValueError, match="plain name"):
                await call
    for name in ("", "..", "a/b"):
        with pytest.raises(ValueError, match="plain name"):
            await disk.database(name)
    with pytest.raises(ValueError, match="needs a name"):
        await disk.write("", b"x")
    assert await disk.list() == ("inside",)


@both
async def test_a_full_disk(bench: Bench) -> None:
    _, disk = bench.boot()
    await put(disk, "f", b"old")
    await put(disk, "log", b"old")
    bench.store.full = True
    for call in (disk.write("f", b"new"), disk.append("log", b"new"), disk.write("g", b"1")):
        with pytest.raises(OSError, match="No space") as caught:
            await call
        assert caught.value.errno == errno.ENOSPC
    assert bench.store.refused == 3
    assert await disk.read("log") == b"old"
    # As on a real disk: the truncation succeeded before the device was full.
    assert await disk.read("f") == b""
    await disk.replace("log", "log.1")
    await disk.remove("f")
    bench.store.full = False
    await disk.write("f", b"new")
    assert await disk.read("f") == b"new"


@both
async def test_a_failing_disk(bench: Bench) -> None:
    _, disk = bench.boot()
    await put(disk, "f", b"old")
    bench.store.fail = True
    for call in (
        disk.read("f"),
        disk.write("f", b"new"),
        disk.append("f", b"new"),
        disk.sync("f"),
        disk.replace("f", "g"),
        disk.remove("f"),
        disk.list(),
        disk.sync_folder(),
        disk.database("d"),
    ):
        with pytest.raises(OSError, match="Input/output") as caught:
            await call
        assert caught.value.errno == errno.EIO
    assert bench.store.refused == 9
    bench.store.fail = False
    assert await disk.read("f") == b"old"
    assert await disk.list() == ("f",)


@both
async def test_a_dead_life_does_nothing(bench: Bench) -> None:
    life, old = bench.boot()
    await put(old, "f", b"1")
    life.end(CRASH)
    with pytest.raises(NodeDown):
        await old.write("f", b"from the dead")
    with pytest.raises(RuntimeError, match="earlier life"):
        bench.boot()
    await bench.store.end(life, CRASH)
    _, disk = bench.boot()
    for call in (old.write("f", b"x"), old.remove("f"), old.read("f"), old.database("d")):
        with pytest.raises(NodeDown):
            await call
    with pytest.raises(NodeDown):
        await old.datastore("cluster")
    assert await disk.read("f") == b"1"


@both
async def test_a_call_that_waits_when_its_life_ends_does_nothing(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "f", b"1")
    database = await disk.database("d", ["CREATE TABLE IF NOT EXISTS t (a)"])
    with bench.busy():
        calls = [
            asyncio.create_task(call)
            for call in (disk.write("f", b"2"), disk.append("g", b"2"), disk.remove("f"))
        ]
        calls.append(asyncio.create_task(database.transact(_insert)))
        await asyncio.sleep(0)
        life.end(CRASH)
    for task in calls:
        with pytest.raises(NodeDown):
            await task
    await bench.store.end(life, CRASH)
    _, disk = bench.boot()
    assert await disk.list() == ("f",)
    assert await disk.read("f") == b"1"
    database = await disk.database("d")
    assert await database.query(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]) == 0


def _insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO t VALUES (1)")


@both
async def test_an_old_image_comes_back_as_it_was(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "a/f", b"1")
    await disk.write("a/f", b"2")
    with pytest.raises(RuntimeError, match="is on"):
        await bench.store.save("early")
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    await bench.store.save("early")
    life, disk = bench.boot()
    await put(disk, "a/f", b"3")
    await disk.write("later", b"")
    life.end(STOP)
    await bench.store.end(life, STOP)
    await bench.store.restore("early")
    life, disk = bench.boot()
    assert await disk.list() == ("a",)
    assert await disk.read("a/f") == b"2"
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("a/f") == b"1"  # what was not durable then is not durable now
    life.end(STOP)
    await bench.store.end(life, STOP)
    await bench.store.restore("early")  # a copy may be put back again
    await bench.store.drop("early")
    await bench.store.drop("early")
    with pytest.raises(KeyError):
        await bench.store.restore("early")
    assert await bench.boot()[1].read("a/f") == b"2"


@both
async def test_a_wiped_disk_is_empty_and_its_copies_are_not(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "a/f", b"1")
    await disk.write("later", b"2")
    with pytest.raises(RuntimeError, match="is on"):
        await bench.store.wipe()
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    await bench.store.save("before")
    await bench.store.wipe()
    assert list(bench.store.images()) == []
    life, disk = bench.boot()
    assert await disk.list() == ()
    await put(disk, "b", b"3")
    life, disk = await bench.after(life, POWER_LOSS)
    assert await disk.read("b") == b"3"
    life.end(STOP)
    await bench.store.end(life, STOP)
    await bench.store.restore("before")
    assert await bench.boot()[1].read("a/f") == b"1"


@both
async def test_images_show_everything_at_rest(bench: Bench) -> None:
    life, disk = bench.boot()
    await put(disk, "a/f", b"old")
    await disk.write("a/f", b"new")
    await disk.write("b", b"2")
    database = await disk.database("keys", ["CREATE TABLE IF NOT EXISTS k (v TEXT)"])
    await database.transact(
        lambda c: c.execute("INSERT INTO k VALUES ('in-the-database')").rowcount
    )
    life.end(CRASH)
    await bench.store.end(life, CRASH)
    images = dict(bench.store.images())
    assert images["written/a/f"] == b"new"
    assert images["written/b"] == b"2"
    assert images["synced/a/f"] == b"old"
    assert "synced/b" not in images
    assert b"in-the-database" in images["databases/keys.db"]
    assert sorted(images) == [
        "databases/keys.db",
        "synced/a/f",
        "written/a/f",
        "written/b",
    ]
