"""A node's storage as a folder of this machine: ``image_folders`` for files, SQLite for databases.

Everything that blocks runs in one thread of the store, in the order of the calls. A call that still
waits when its life ends does nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Database, Datastore, Disk
from services.runtime.real.database import DatabaseFile, LabDatabase
from services.runtime.real.image_folders import TREES, ImageFolders
from services.runtime.store import (
    Array,
    Arrays,
    Store,
    Switches,
    check_plain_name,
    components,
    database_name,
    file_components,
    find_array,
)

T = TypeVar("T")

DATABASES = "databases"
START_ROOM = 1 << 20
"""Bytes that must be free to start a node: its databases have logs, and its own log grows."""


class LabStore(Switches, Store):
    """One node's storage below ``folder``; ``arrays`` finds a shared array (``KeyError``).

    Nothing is touched before the first call, so the store may be created on the loop. After a
    process was killed, create a new store on the same folder. ``made``: the folder must exist
    already.

    The end of a life never fails. Work that the machine refuses then (no room, a device remounted
    read-only) is pending: the first call of the next life does it, or raises the ``OSError``.
    """

    def __init__(self, folder: Path, arrays: Arrays, *, made: bool = False) -> None:
        super().__init__()
        self.folder, self.arrays = folder, arrays
        self.trees = ImageFolders(folder)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix=f"disk-{folder.name}")
        self._one = threading.Lock()
        self._made = made
        self._ready = False  # checked for the present life, and no work is pending
        self._power_lost = False
        self._disk: LabDisk | None = None

    def disk(self, life: Incarnation) -> LabDisk:
        if self._disk is None:
            self._disk = LabDisk(life, self)
            self._ready = False
        elif self._disk.life is not life:
            raise RuntimeError(f"{life.node} boot {life.boot}: an earlier life has the disk")
        return self._disk

    def make(self) -> None:
        """Create the folder of a new disk now. Blocks."""
        self._run_if_ready(lambda: None)

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, self._run_if_ready, work)

    def _run_if_ready(self, work: Callable[[], T]) -> T:
        with self._one:
            if not self._ready:
                self._make_ready()
            return work()

    def _make_ready(self) -> None:
        """Before the first call of a life: check that the disk exists, and do pending work."""
        databases = self.folder / DATABASES
        if self._made and not (self.trees.exists() and databases.is_dir()):
            raise OSError(errno.EIO, "the folder of this disk is gone", str(self.folder))
        if self._power_lost:
            self._lose_power()
        self.trees.recover()
        databases.mkdir(0o700, exist_ok=True)
        self._made = self._ready = True

    def file(self, database: str) -> DatabaseFile:
        """The files of one database of this node."""
        return DatabaseFile(self.folder / DATABASES, database)

    async def end(self, life: Incarnation, way: WayDown) -> None:
        life.end(way)
        disk = self._disk
        if disk is not None and disk.life is not life:
            raise RuntimeError(f"{life.node} boot {life.boot} has not the disk")
        await asyncio.get_running_loop().run_in_executor(self.pool, self._close, disk, way)
        self._disk = None
        self._ready = False
        if disk is not None:
            for array in disk.arrays.values():
                await array.end(life)

    def _close(self, disk: LabDisk | None, way: WayDown) -> None:
        with self._one:
            if disk is not None:
                disk.close()
            self.trees.close()
            if way is WayDown.POWER_LOSS:
                self._power_lost = True
                with suppress(OSError):
                    self._lose_power()

    def _lose_power(self) -> None:
        if self.trees.exists():
            self.trees.lose_power()
        for name in self._databases():
            self.file(name).lose_power()
        self._power_lost = False

    def _databases(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / DATABASES).glob("*.db"))

    # ---- copies -----------------------------------------------------------------------------

    async def save(self, label: str) -> None:
        await self._when_off(label, self._save)

    async def restore(self, label: str) -> None:
        await self._when_off(label, lambda kept: self._restore(kept, (*TREES, DATABASES)))

    async def restore_databases(self, label: str) -> None:
        await self._when_off(label, lambda kept: self._restore(kept, (DATABASES,)))

    async def drop(self, label: str) -> None:
        await self._when_off(label, lambda kept: shutil.rmtree(kept, ignore_errors=True))

    async def wipe(self) -> None:
        self._check_off()
        await self.run(self._wipe)

    def _check_off(self) -> None:
        if self._disk is not None:
            raise RuntimeError(f"{self._disk.life.node} is on; its disk is in use")

    async def _when_off(self, label: str, work: Callable[[Path], None]) -> None:
        self._check_off()
        kept = self.folder / "copies" / check_plain_name(label)
        await self.run(lambda: work(kept))

    async def check_room(self, *, to_copy: bool) -> None:
        self.admit("room", grows=True)
        await self.run(lambda: self._check_room(to_copy))

    def _check_room(self, to_copy: bool) -> None:
        if to_copy:
            trees = [self.folder / name for name in (*TREES, DATABASES)]
            files = [path for tree in trees for path in tree.rglob("*")]
            needed = START_ROOM + sum(path.lstat().st_size for path in files)
            if shutil.disk_usage(self.folder).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        trial = self.folder / "room"
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, START_ROOM)
        finally:
            os.close(descriptor)
            trial.unlink()

    def _clone_aside(self, source: Path) -> Path:
        """Copy beside the target, not yet in place; the copy is deleted when there is no room."""
        unfinished = self.folder / "copying"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            _clone(source, unfinished)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return unfinished

    def _save(self, kept: Path) -> None:
        unfinished = self._clone_aside(self.folder)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(0o700, exist_ok=True)
        os.rename(unfinished, kept)

    def _restore(self, kept: Path, names: Sequence[str]) -> None:
        if not kept.is_dir():
            raise KeyError(kept.name)
        unfinished = self._clone_aside(kept)
        for name in names:
            shutil.rmtree(self.folder / name)
            os.rename(unfinished / name, self.folder / name)
        shutil.rmtree(unfinished)

    def _wipe(self) -> None:
        for name in (*TREES, DATABASES):
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir(0o700)

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Blocking. Raw database files, including unused pages."""
        self._run_if_ready(lambda: None)
        for path, data in self.trees.walk(synced=False):
            yield f"written/{path}", data
        for path, data in self.trees.walk(synced=True):
            yield f"synced/{path}", data
        for file in sorted((self.folder / DATABASES).iterdir()):
            yield f"{DATABASES}/{file.name}", file.read_bytes()

    def close(self) -> None:
        """Release threads and open files, as a crash would; the store is not used any more."""
        if self._disk is not None:
            self._disk.life.end(WayDown.CRASH)
            self._disk.close()
        self.pool.shutdown(wait=True)
        self.trees.close()


class LabDisk(Disk):
    """The Disk port of one life."""

    def __init__(self, life: Incarnation, store: LabStore) -> None:
        self.life, self._store, self._trees = life, store, store.trees
        self.arrays: dict[str, Array] = {}
        self._databases: dict[str, LabDatabase] = {}

    async def _do(self, path: str, effect: Callable[[], T], *, grows: bool = False) -> T:
        self.life.check()
        self._store.admit(path, grows=grows)

        def work() -> T:
            self.life.check()
            return effect()

        try:
            return await self._store.run(work)
        finally:
            self.life.check()

    async def read(self, path: str) -> bytes:
        file_components(path)
        return await self._do(path, lambda: self._trees.read(path))

    async def write(self, path: str, data: bytes) -> None:
        file_components(path)

        def effect() -> None:
            if self._store.full:  # the file is truncated before the device reports that it is full
                self._trees.write(path, b"")
            self._store.admit(path, grows=True)
            self._trees.write(path, data)

        await self._do(path, effect)

    async def append(self, path: str, data: bytes, *, sync: bool = False) -> None:
        file_components(path)

        def effect() -> None:
            if sync:  # in the same thread: another switch of threads costs more than the write
                self._store.admit(path)
                self._trees.append_synced(path, data)
            else:
                self._trees.append(path, data)

        await self._do(path, effect, grows=True)

    async def sync(self, path: str) -> None:
        file_components(path)
        await self._do(path, lambda: self._trees.sync(path))

    async def replace(self, source: str, target: str) -> None:
        file_components(source)
        file_components(target)
        await self._do(target, lambda: self._trees.replace(source, target))

    async def sync_folder(self, folder: str = "") -> None:
        components(folder)
        await self._do(folder, lambda: self._trees.sync_folder(folder))

    async def list(self, folder: str = "") -> tuple[str, ...]:
        components(folder)
        return await self._do(folder, lambda: self._trees.names(folder))

    async def remove(self, path: str) -> None:
        file_components(path)
        await self._do(path, lambda: self._trees.remove(path))

    async def database(
        self, name: str, schema: Sequence[str] = (), *, ledger: bool = False
    ) -> Database:
        file = self._store.file(database_name(name))
        new = await self._do(name, lambda: not file.path.exists())
        self._store.admit(name, grows=new)
        found = self._databases.get(name)
        if found is None:
            found = self._databases[name] = LabDatabase(file, self.life, self._store)
        try:
            await found.prepare(schema, ledger=ledger)
        finally:
            self.life.check()
        return found

    async def datastore(self, name: str) -> Datastore:
        self.life.check()
        array = self.arrays[name] = find_array(self._store.arrays, name)
        return array.open(self.life)

    def close(self) -> None:
        """Close every database of this life."""
        for database in self._databases.values():
            database.close()


def _clone(source: Path, target: Path) -> None:
    """Copy trees and databases; hard links to one file stay hard links."""
    copied: dict[tuple[int, int], Path] = {}
    target.mkdir(0o700)
    for tree in (*TREES, DATABASES):
        (target / tree).mkdir(0o700)
        for path in sorted((source / tree).rglob("*")):
            goal = target / path.relative_to(source)
            if path.is_dir():
                goal.mkdir(0o700)
                continue
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            if key in copied:
                os.link(copied[key], goal)
            else:
                shutil.copy(path, goal)
                copied[key] = goal
