"""A program that keeps each promise of the real storage once, for a look at its system calls.

``python -m tests.services.runtime.real.promises FOLDER`` writes ``begin NAME`` and ``end NAME``
into ``FOLDER/marks`` around each; what a promise needs must have been done by its ``end``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.terms import NodeName
from services.runtime.durable import replace_durably
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import LabStore
from services.runtime.real.state_files import FileNv

SCHEMA = ("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)",)


class Marks:
    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / "marks", os.O_WRONLY | os.O_CREAT)

    @contextmanager
    def promise(self, name: str) -> Iterator[None]:
        os.write(self._fd, f"begin {name}\n".encode())
        yield
        os.write(self._fd, f"end {name}\n".encode())


async def keep_each(folder: Path) -> None:
    marks = Marks(folder)
    array = LabArray(folder / "array")
    store = LabStore(folder / "disk", {"cluster": array}.__getitem__)
    life = Incarnation(NodeName("esxi-001"), 1)
    disk = store.disk(life)
    await disk.write("bank/state", b"old")
    with marks.promise("disk.sync"):
        await disk.sync("bank/state")
    with marks.promise("disk.sync_folder"):
        await disk.sync_folder("bank")
    with marks.promise("replace_durably"):
        await replace_durably(disk, "bank/state", b"new", folder_is_new=True)
    database = await disk.database("d", SCHEMA)
    with marks.promise("database.transact"):
        await database.transact(lambda c: c.execute("INSERT INTO t VALUES (1)").rowcount)
    datastore = await disk.datastore("cluster")
    with marks.promise("datastore.write"):
        await datastore.write("vm", "file", bytes(8))
    with marks.promise("datastore.write again"):
        await datastore.write("vm", "file", bytes(4))
    with marks.promise("datastore.write_blocks"):
        await datastore.write_blocks("vm", "file", {0: b"data"})
    with marks.promise("datastore.remove"):
        await datastore.remove("vm")
    with marks.promise("tpm.store"):
        FileNv(folder / "tpm" / "esxi-001.nv").store(b"image")
    await store.end(life, WayDown.STOP)
    store.close()
    array.close()


if __name__ == "__main__":
    asyncio.run(keep_each(Path(sys.argv[1])))
