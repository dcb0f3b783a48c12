"""A process that holds a node's storage is killed: what the next one finds on the same folders."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import VmLockHeld
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import LabStore
from services.runtime.store import Array

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[4]
SCHEMA = ["CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)"]

CHILD = """
import asyncio, sys
from pathlib import Path
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import LabStore

def sloppy(statements):
    return [*statements, "PRAGMA synchronous=OFF"] if "sloppy" in sys.argv else statements

async def main(folder):
    array = LabArray(folder / "array")
    store = LabStore(folder / "disk", {"cluster": array}.__getitem__)
    disk = store.disk(Incarnation(NodeName("esxi-001"), 1))
    await disk.write("state", b"old")
    await disk.sync("state")
    await disk.sync_folder()
    await disk.write("state.new", b"new")
    await disk.sync("state.new")
    await disk.replace("state.new", "state")
    await (await disk.datastore("cluster")).lock("vm")
    schema = sloppy(["CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)"])
    database = await disk.database("d", schema)
    for number in range(100):
        await database.transact(lambda c: c.execute("INSERT INTO t VALUES (?)", (number,)).rowcount)
    print("ready", flush=True)
    while True:
        number += 1
        await database.transact(lambda c: c.execute("INSERT INTO t VALUES (?)", (number,)).rowcount)
        print(number, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def killed_in_the_midst(folder: Path, *options: str) -> int:
    """Run the child until it has acknowledged commits, kill it; the last number it told."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        told = [int(child.stdout.readline()) for _ in range(20)]
        asyncio.run(expect_lock_held(folder))
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    assert child.returncode == -signal.SIGKILL
    return told[-1]


async def expect_lock_held(folder: Path) -> None:
    array = LabArray(folder / "array")
    life = Incarnation(NodeName("esxi-002"), 1)
    with pytest.raises(VmLockHeld) as caught:
        await array.open(life).lock("vm")
    assert caught.value.holder == "esxi-001"
    await array.end(life)
    array.close()


@pytest.mark.parametrize("options", [(), ("sloppy",)])
def test_the_next_process_finds_what_was_written(tmp_path: Path, options: tuple[str, ...]) -> None:
    last = killed_in_the_midst(tmp_path, *options)

    async def next_process() -> None:
        array = LabArray(tmp_path / "array")
        store = LabStore(tmp_path / "disk", {"cluster": array}.__getitem__)
        life = Incarnation(NodeName("esxi-001"), 2)
        disk = store.disk(life)
        assert await disk.read("state") == b"new"
        assert await disk.list() == ("state",)
        numbers = await (await disk.database("d", SCHEMA)).query(numbers_in)
        # Everything that was acknowledged, and at most the one that was under way.
        assert numbers in (list(range(last + 1)), list(range(last + 2)))
        await (await disk.datastore("cluster")).lock("vm")
        await store.end(life, WayDown.POWER_LOSS)

        disk = store.disk(Incarnation(NodeName("esxi-001"), 3))
        assert await disk.read("state") == b"old"  # the folder was never synced
        kept = await (await disk.database("d", SCHEMA)).query(numbers_in)
        assert kept == ([] if options else numbers)
        await store.end(disk.life, WayDown.CRASH)
        store.close()
        array.close()

    asyncio.run(next_process())


def numbers_in(connection: sqlite3.Connection) -> list[int]:
    return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY a")]


def no_arrays(name: str) -> Array:
    raise KeyError(name)


def test_power_loss_of_a_process_that_is_gone(tmp_path: Path) -> None:
    """The lab may tell a fresh store how the life of a killed process ended."""
    killed_in_the_midst(tmp_path)

    async def next_process() -> None:
        store = LabStore(tmp_path / "disk", no_arrays)
        gone = Incarnation(NodeName("esxi-001"), 1)
        await store.end(gone, WayDown.POWER_LOSS)
        life = Incarnation(NodeName("esxi-001"), 2)
        assert await store.disk(life).read("state") == b"old"
        await store.end(life, WayDown.CRASH)
        store.close()

    asyncio.run(next_process())
