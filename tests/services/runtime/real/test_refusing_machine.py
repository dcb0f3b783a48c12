"""The machine itself refuses: no room, a read-only remount, a folder that is gone.

A node hears an ``OSError`` and goes on; the way down completes; the next life does what is owed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.logs.records import RecordLog
from protocol.errors import SaveFailed
from protocol.messages.agent import AddNode, NodeRecord, NodeSpec
from protocol.terms import NodeName, Role
from services.catalog import recipe
from services.runtime.agent import Agent
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Disk
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import START_ROOM, LabStore
from services.runtime.real.files import replace_file
from services.runtime.real.state_files import read_boots, write_boots
from services.runtime.real.world import LabTime, LabWorld

pytestmark = pytest.mark.lab
SCHEMA = ["CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b BLOB)"]
ROOM = 512 << 10  # bytes of the small device


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room; skipped where none may be mounted."""
    mount = tmp_path / "device"
    mount.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(mount))
    done = subprocess.run(("mount", *options), capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system may be mounted here")
    yield mount
    subprocess.run(("umount", "-l", str(mount)), check=True)


def fill(device: Path) -> Path:
    """Use up all of its room, to the last byte."""
    filler = device / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return filler


class Node:
    """Lives of one node on a store in ``folder``."""

    def __init__(self, folder: Path, array: LabArray | None = None) -> None:
        def find(name: str) -> LabArray:
            if array is None:
                raise KeyError(name)
            return array

        self.store = LabStore(folder, find)
        self.boots = 0

    def boot(self) -> Disk:
        self.boots += 1
        self.life = Incarnation(NodeName("esxi-001"), self.boots)
        return self.store.disk(self.life)

    async def down(self, way: WayDown) -> None:
        await self.store.end(self.life, way)


async def put(disk: Disk, data: bytes) -> None:
    await disk.write("state", data)
    await disk.sync("state")
    await disk.sync_folder()


def insert(number: int, size: int = 0) -> Callable[[sqlite3.Connection], int]:
    return lambda c: c.execute("INSERT INTO t VALUES (?, ?)", (number, bytes(size))).rowcount


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY a")]


def played(body: Coroutine[Any, Any, object]) -> None:
    asyncio.run(body)


def test_a_full_device_loses_nothing_and_lets_every_life_end(device: Path) -> None:
    async def body() -> None:
        node = Node(device / "disk", array := LabArray(device / "array"))
        disk = node.boot()
        await put(disk, b"durable")
        database = await disk.database("d", SCHEMA)
        await database.transact(insert(1))
        datastore = await disk.datastore("cluster")
        await disk.write("state", b"not synced")
        filler = fill(device)
        for refused in (
            disk.append("state", bytes(8192)),
            disk.write("other", bytes(8192)),
            database.transact(insert(2, 64 << 10)),
            datastore.write("vm", "file", bytes(8192)),
        ):
            with pytest.raises(OSError) as caught:
                await refused
            assert caught.value.errno == errno.ENOSPC
        await datastore.lock("vm")
        await node.down(WayDown.POWER_LOSS)

        disk = node.boot()
        assert await disk.read("state") == b"durable"
        assert await (await disk.database("d")).query(numbers) == [1]
        await (await disk.datastore("cluster")).lock("vm")  # nobody of an earlier life has it
        await node.down(WayDown.POWER_LOSS)

        filler.unlink()
        disk = node.boot()
        await put(disk, b"room again")
        await (await disk.database("d", SCHEMA)).transact(insert(2, 64 << 10))
        await node.down(WayDown.POWER_LOSS)
        assert await node.boot().read("state") == b"room again"
        node.store.close()
        array.close()

    played(body())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_power_loss_that_is_refused_is_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def body() -> None:
        node = Node(tmp_path / "disk")
        disk = node.boot()
        await put(disk, b"durable")
        await disk.write("state", b"not synced")
        with monkeypatch.context() as machine:
            machine.setattr(os, "rename", _refuses(code))
            await node.down(WayDown.POWER_LOSS)  # completes all the same
            disk = node.boot()
            for _ in range(2):
                with pytest.raises(OSError) as caught:
                    await disk.read("state")
                assert caught.value.errno == code
            await node.down(WayDown.CRASH)
        assert await node.boot().read("state") == b"durable"
        await node.down(WayDown.CRASH)
        node.store.close()

    played(body())


def _refuses(code: int) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


def test_a_disk_whose_folder_is_gone_is_no_new_disk(tmp_path: Path) -> None:
    async def body() -> None:
        node = Node(tmp_path / "disk")
        disk = node.boot()
        await put(disk, b"durable")
        await disk.sync_folder()
        database = await disk.database("d", SCHEMA)
        await database.transact(insert(1))
        os.rename(tmp_path / "disk", tmp_path / "elsewhere")
        for refused in (disk.write("a/b", b"x"), put(disk, b"x"), database.transact(insert(2))):
            with pytest.raises(OSError):
                await refused
        await node.down(WayDown.POWER_LOSS)
        disk = node.boot()
        for each in (disk.read("state"), disk.write("state", b"x"), disk.database("d", SCHEMA)):
            with pytest.raises(OSError, match="the folder of this disk is gone") as caught:
                await each
            assert not isinstance(
                caught.value, FileNotFoundError
            )  # nobody takes it for a first boot
        await node.down(WayDown.CRASH)
        os.rename(tmp_path / "elsewhere", tmp_path / "disk")
        disk = node.boot()
        assert await disk.read("state") == b"durable"
        assert await (await disk.database("d")).query(numbers) == [
            1,
            2,
        ]  # the refusal was no promise
        await node.down(WayDown.CRASH)
        node.store.close()

    played(body())


def test_a_database_that_was_removed_acknowledges_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        node = Node(tmp_path / "disk")
        database = await node.boot().database("d", SCHEMA)
        await database.transact(insert(1))
        shutil.rmtree(tmp_path / "disk")
        with pytest.raises(OSError, match="was taken away"):
            await database.transact(insert(2))
        await node.down(WayDown.POWER_LOSS)
        node.store.close()

    played(body())


@pytest.mark.parametrize("how", ["removed", "exchanged"])
def test_a_log_of_commits_that_was_taken_away_acknowledges_nothing(
    tmp_path: Path, how: str
) -> None:
    """What is in it would be gone with the process; an orderly end saves it."""

    async def body() -> None:
        node = Node(tmp_path / "disk")
        database = await node.boot().database("d", SCHEMA)
        await database.transact(insert(1))
        [log] = (tmp_path / "disk").rglob("d.db-wal")
        content = log.read_bytes()
        log.unlink()
        if how == "exchanged":
            log.write_bytes(content)
        for number in (2, 3):
            with pytest.raises(OSError, match="was taken away"):
                await database.transact(insert(number))
        await node.down(WayDown.STOP)
        assert 1 in await (await node.boot().database("d", SCHEMA)).query(numbers)
        await node.down(WayDown.CRASH)
        node.store.close()

    played(body())


@pytest.mark.parametrize("how", ["removed", "an older one", "without its log"])
def test_the_second_reader_reads_no_other_database(tmp_path: Path, how: str) -> None:
    """It begins with what first takes its time; by then the database may be another one."""

    async def body() -> None:
        node = Node(tmp_path / "disk")
        database = await node.boot().database("d", SCHEMA)
        await database.transact(insert(1))
        [path] = (tmp_path / "disk").rglob("d.db")
        older = sqlite3.connect(path.with_name("older"))
        with sqlite3.connect(path) as now:
            now.backup(older)
        now.close()
        older.close()
        await database.transact(insert(2))
        assert await database.query(numbers) == [1, 2]
        if how == "an older one":
            os.replace(path.with_name("older"), path)
        else:
            path.with_name("d.db-wal" if how == "without its log" else path.name).unlink()
        assert await database.query(numbers) == [1, 2]
        for _ in range(2):
            with pytest.raises(OSError, match="was taken away"):
                await database.query(numbers, long=True)
        assert await database.query(numbers) == [1, 2]
        assert path.exists() == (how != "removed"), "who only reads makes no database"
        await node.down(WayDown.CRASH)
        node.store.close()

    played(body())


def test_a_file_that_could_not_be_replaced_keeps_no_room(device: Path) -> None:
    replace_file(device / "kept", b"old", durable=True)
    filler = fill(device)
    with pytest.raises(OSError, match="No space"):
        replace_file(device / "kept", bytes(8192), durable=True)
    assert sorted(os.listdir(device)) == [filler.name, "kept"]
    assert (device / "kept").read_bytes() == b"old"


def test_a_log_that_cannot_be_put_aside_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RecordLog(tmp_path / "log", limit=200)
    line = NodeRecord(at=0.0, node=NodeName("n"), boot=1, level="info", kind="k", fields={})
    with monkeypatch.context() as machine:
        machine.setattr(os, "rename", _refuses(errno.EROFS))
        machine.setattr(os, "replace", _refuses(errno.EROFS))
        for _ in range(9):
            log.write(line)
    assert log.lost > 0
    log.write(line)
    assert (tmp_path / "log").read_bytes().count(b"\n") == 1
    log.close()


def test_what_the_lab_asks_of_a_machine_that_refuses_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_bytes(b"no folder")

    def no_keys(node: NodeName) -> Any:
        raise KeyError(node)

    agent = Agent(LabWorld(tmp_path, "", no_keys, LabTime(0.0, 0.0, 1.0), 1), recipe, print)
    with pytest.raises(SaveFailed, match=r"Not a directory \(.*nodes/kms\)"):
        played(agent.handle(AddNode(spec=NodeSpec(node=NodeName("kms"), role=Role.KMS))))


def test_a_node_boots_on_a_machine_that_has_no_room(device: Path) -> None:
    """Its number goes where the one before it stands, also when that one was shorter."""
    home = device / "esxi-001"
    home.mkdir()
    assert read_boots(home) == 0
    write_boots(home, 8)
    fill(device)
    for boot in (9, 10, 11):
        write_boots(home, boot)
        assert read_boots(home) == boot
    (home / "boots").write_bytes(b"")  # a kill in the middle of writing it
    assert read_boots(home) == 11
    assert sorted(os.listdir(home)) == ["boots", "boots.twin"]


def test_what_refuses_for_another_reason_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_boots(tmp_path) == 0
    monkeypatch.setattr(os, "replace", _refuses(errno.EROFS))
    with pytest.raises(OSError, match="Read-only"):
        write_boots(tmp_path, 1)
    assert read_boots(tmp_path) == 0


def test_a_copy_that_has_no_room_leaves_the_room_that_there_was(device: Path) -> None:
    """Else the node that was stopped for it could not start again."""

    async def body() -> None:
        node = Node(device / "disk")
        await put(node.boot(), bytes(90 << 10))
        await node.down(WayDown.STOP)
        await node.store.save("first")
        before = shutil.disk_usage(device).free
        assert before < 2 * (90 << 10)
        for work in (node.store.save("second"), node.store.restore("first")):
            with pytest.raises(OSError) as caught:
                await work
            assert caught.value.errno == errno.ENOSPC
            assert shutil.disk_usage(device).free == before
        assert await node.boot().read("state") == bytes(90 << 10)
        await node.down(WayDown.STOP)
        node.store.close()

    played(body())


@pytest.mark.parametrize(("room", "copy"), [(2 << 20, False), (1 << 19, True), (0, True)])
def test_whether_there_is_room_is_seen_while_a_node_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, copy: bool
) -> None:
    """``room``: bytes that are free beside what a start needs; a copy has 1 MiB and some."""

    async def body() -> None:
        node = Node(tmp_path / "disk")
        await put(node.boot(), bytes(512 << 10))
        usage = shutil.disk_usage(tmp_path)._replace(free=START_ROOM + room)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        await node.store.check_room(to_copy=False)
        if copy:
            with pytest.raises(OSError, match="No space left"):
                await node.store.check_room(to_copy=True)
        else:
            await node.store.check_room(to_copy=True)
        assert not (tmp_path / "disk" / "room").exists()
        node.store.full = True
        with pytest.raises(OSError, match="No space left"):
            await node.store.check_room(to_copy=False)
        node.store.close()

    played(body())


def test_where_a_start_finds_no_room_it_is_told_before(device: Path) -> None:
    async def body() -> None:
        node = Node(device / "disk")
        await put(node.boot(), b"small")
        with pytest.raises(OSError, match="No space left"):  # the device has half of a MiB
            await node.store.check_room(to_copy=False)
        assert not (device / "disk" / "room").exists()
        await node.down(WayDown.STOP)
        node.store.close()

    played(body())
