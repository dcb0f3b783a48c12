"""What a node writes is for its owner's eyes alone, whatever the umask of its process lets pass."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import LabStore

SCHEMA = ("CREATE TABLE IF NOT EXISTS t (a TEXT) STRICT",)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO t VALUES ('secret')")


def readable_by_others(folder: Path) -> list[str]:
    """Paths below ``folder`` that another user may read, enter or change, with their modes."""
    found = []
    for path in sorted(folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            found.append(f"{path.relative_to(folder)} {mode:o}")
    return found


async def test_files_folders_and_databases(tmp_path: Path, open_umask: None) -> None:
    array = LabArray(tmp_path / "array")
    store = LabStore(tmp_path / "disk", lambda name: array)
    for boot in (1, 2):
        life = Incarnation(NodeName("kms"), boot)
        disk = store.disk(life)
        await disk.write("a/b", b"secret")
        await disk.sync("a/b")
        await disk.sync_folder("a")
        await disk.write("a/new", b"secret")
        await disk.replace("a/new", "a/b")
        for name, pragma in (("keys", ()), ("careless", ("PRAGMA synchronous=OFF",))):
            database = await disk.database(name, (*SCHEMA, *pragma), ledger=not pragma)
            await database.transact(insert)
        datastore = await disk.datastore("array")
        await datastore.lock("vm-1")
        await datastore.write("vm-1", "vm-1.vmx", b"wrapped")
        assert readable_by_others(tmp_path) == []
        await store.end(life, WayDown.POWER_LOSS)
        await store.save(f"copy-{boot}")
        await store.restore(f"copy-{boot}")
        assert readable_by_others(tmp_path) == []
    store.close()
