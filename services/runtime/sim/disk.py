"""A node's storage in memory: two images, *written* and *synced*, as inodes and folders; its
databases; and its access to the shared array.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Database, Datastore, Disk
from services.runtime.sim.database import Charge, SimDatabase, StoredDatabase, charge_nothing
from services.runtime.sim.gate import StorageCall, StorageGate
from services.runtime.sql import check_integrity, os_error_of
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


@dataclass(eq=False)
class Inode:
    """A file's content: as written, and as the last ``sync`` left it.

    The next sync does not carry the first ``clean`` bytes. ``reaching`` is what a sync brings to
    the device, when that differs from what was written.
    """

    written: bytes = b""
    synced: bytes = b""
    clean: int = 0
    reaching: bytes | None = None


@dataclass(eq=False)
class Folder:
    """A folder's names: as they are, and as the last ``sync_folder`` left them."""

    written: dict[str, Inode | Folder] = field(default_factory=dict)
    synced: dict[str, Inode | Folder] = field(default_factory=dict)


class Images:
    """A whole disk. All methods are synchronous and take effect at once."""

    def __init__(self) -> None:
        self._root = Folder()

    def _folder(self, names: tuple[str, ...], *, make: bool = False) -> Folder:
        here = self._root
        for name in names:
            found = here.written.get(name)
            if found is None and make:
                found = here.written[name] = Folder()
            match found:
                case None:
                    raise _error(errno.ENOENT, "/".join(names))
                case Inode():
                    raise _error(errno.ENOTDIR, "/".join(names))
                case Folder():
                    here = found
        return here

    def _file(self, path: str) -> Inode:
        *above, name = file_components(path)
        match self._folder(tuple(above)).written.get(name):
            case None:
                raise _error(errno.ENOENT, path)
            case Folder():
                raise _error(errno.EISDIR, path)
            case Inode() as inode:
                return inode

    def _create_file(self, path: str) -> Inode:
        *above, name = file_components(path)
        self._folder(tuple(above), make=True).written.setdefault(name, Inode())
        return self._file(path)

    def read(self, path: str) -> bytes:
        """The written content of the file."""
        return self._file(path).written

    def write(self, path: str, data: bytes) -> None:
        """Create or truncate the file, and its folders."""
        inode = self._create_file(path)
        inode.written, inode.clean, inode.reaching = bytes(data), 0, None

    def append(self, path: str, data: bytes) -> None:
        """Write at the end of the file, created if needed."""
        inode = self._create_file(path)
        inode.written += data
        if inode.reaching is not None:
            inode.reaching += data

    def sync(self, path: str) -> None:
        """Carry the content of the file to the synced image."""
        inode = self._file(path)
        inode.synced = inode.written if inode.reaching is None else inode.reaching
        inode.clean = len(inode.written)

    def lose_unsynced(self, path: str) -> None:
        """A sync of the file has failed: what was written since the last sync never reaches the
        device.

        It can still be read, and the next sync succeeds, because the kernel counts it as written
        back (as Linux does). The device has a hole in its place until it is written again.
        """
        inode = self._file(path)
        kept = (inode.written if inode.reaching is None else inode.reaching)[: inode.clean]
        inode.reaching = kept + bytes(len(inode.written) - len(kept))
        inode.clean = len(inode.written)

    def replace(self, source: str, target: str) -> None:
        """Rename atomically."""
        inode = self._file(source)
        *above, name = file_components(target)
        folder = self._folder(tuple(above))
        if isinstance(folder.written.get(name), Folder):
            raise _error(errno.EISDIR, target)
        *source_above, source_name = file_components(source)
        del self._folder(tuple(source_above)).written[source_name]
        folder.written[name] = inode

    def remove(self, path: str) -> None:
        """Remove the file; ``FileNotFoundError`` when it is not there."""
        self._file(path)
        *above, name = file_components(path)
        del self._folder(tuple(above)).written[name]

    def sync_folder(self, folder: str) -> None:
        """Carry the names in ``folder`` to the synced image."""
        here = self._folder(components(folder))
        here.synced = dict(here.written)

    def names(self, folder: str) -> tuple[str, ...]:
        """The sorted names in ``folder``; empty when it is not there."""
        try:
            return tuple(sorted(self._folder(components(folder)).written))
        except FileNotFoundError:
            return ()

    def after_power_loss(self) -> Images:
        """The disk that boots after a power loss: the synced image, which is now the written one
        too."""
        after = Images()
        after._root = _survivors(self._root)
        return after

    def walk(self, *, synced: bool) -> Iterator[tuple[str, bytes]]:
        """(path, content) of one image, in order of path."""
        yield from _walk(self._root, "", synced)


def _survivors(folder: Folder) -> Folder:
    """``folder`` with synced names and contents; two names of one file become two files."""
    after = Folder()
    for name, entry in folder.synced.items():
        match entry:
            case Folder():
                after.written[name] = _survivors(entry)
            case Inode():
                after.written[name] = Inode(entry.synced, entry.synced, len(entry.synced))
    after.synced = dict(after.written)
    return after


def _walk(folder: Folder, above: str, synced: bool) -> Iterator[tuple[str, bytes]]:
    names = folder.synced if synced else folder.written
    for name in sorted(names):
        match names[name]:
            case Folder() as below:
                yield from _walk(below, f"{above}{name}/", synced)
            case Inode() as inode:
                yield f"{above}{name}", inode.synced if synced else inode.written


def _error(code: int, path: str) -> OSError:
    """An ``OSError``; Python picks its subclass from the code."""
    return OSError(code, os.strerror(code), path)


T = TypeVar("T")


@dataclass(frozen=True)
class DiskCopy:
    """A saved copy: both images, and for each database its bytes and its durable state."""

    images: Images
    databases: dict[str, tuple[bytes, bytes | None]]


class SimStore(Switches, Store):
    """One simulated node's storage. ``arrays`` finds a shared array by name (``KeyError``).

    ``gate``, if set, is called where calls take effect.
    """

    def __init__(self, arrays: Arrays, charge: Charge = charge_nothing) -> None:
        super().__init__()
        self.arrays, self.charge = arrays, charge
        self.gate: StorageGate | None = None
        self.on_disk = Images()
        self.drives: dict[str, StoredDatabase] = {}
        self._copies: dict[str, DiskCopy] = {}
        self._disk: SimDisk | None = None

    def disk(self, life: Incarnation) -> SimDisk:
        if self._disk is None:
            self._disk = SimDisk(life, self)
        elif self._disk.life is not life:
            raise RuntimeError(f"{life.node} boot {life.boot}: an earlier life has the disk")
        return self._disk

    async def end(self, life: Incarnation, way: WayDown) -> None:
        life.end(way)
        disk = self._disk
        if disk is not None:
            if disk.life is not life:
                raise RuntimeError(f"{life.node} boot {life.boot} has not the disk")
            disk.roll_back()
            self._disk = None
        if way is WayDown.POWER_LOSS:
            self.on_disk = self.on_disk.after_power_loss()
            self.drives = {name: drive.lose_power() for name, drive in self.drives.items()}
        if disk is not None:
            for array in disk.arrays.values():
                await array.end(life)

    def _check_off(self) -> None:
        if self._disk is not None:
            raise RuntimeError(f"{self._disk.life.node} is on; its disk is in use")

    async def save(self, label: str) -> None:
        self._check_off()
        self._copies[check_plain_name(label)] = DiskCopy(
            copy.deepcopy(self.on_disk),
            {name: (drive.image(), drive.durable) for name, drive in self.drives.items()},
        )

    async def restore(self, label: str) -> None:
        await self.restore_databases(label)
        self.on_disk = copy.deepcopy(self._copies[check_plain_name(label)].images)

    async def restore_databases(self, label: str) -> None:
        self._check_off()
        kept = self._copies[check_plain_name(label)]
        for drive in self.drives.values():
            drive.close()
        self.drives = {name: StoredDatabase(*images) for name, images in kept.databases.items()}

    async def drop(self, label: str) -> None:
        self._check_off()
        self._copies.pop(check_plain_name(label), None)

    async def check_room(self, *, to_copy: bool) -> None:
        self.admit("room", grows=True)

    async def wipe(self) -> None:
        self._check_off()
        self.close()
        self.on_disk = Images()

    def images(self) -> Iterator[tuple[str, bytes]]:
        for path, data in self.on_disk.walk(synced=False):
            yield f"written/{path}", data
        for path, data in self.on_disk.walk(synced=True):
            yield f"synced/{path}", data
        for name in sorted(self.drives):
            drive = self.drives[name]
            yield f"databases/{name}.db", drive.image()
            if drive.durable is not None:
                yield f"databases/{name}.durable", drive.durable

    def walk_copies(self) -> Iterator[tuple[str, bool, str, bytes]]:
        """Every byte of the saved copies: label, whether it is a database, path, bytes."""
        for label, kept in self._copies.items():
            for synced in (False, True):
                for path, data in kept.images.walk(synced=synced):
                    yield label, False, path, data
            for name, images in kept.databases.items():
                for image in images:
                    yield label, True, name, image or b""

    def close(self) -> None:
        """Free the databases' memory at the end of a run."""
        for drive in self.drives.values():
            drive.close()
        self.drives = {}


class SimDisk(Disk):
    """The Disk port of one life."""

    def __init__(self, life: Incarnation, store: SimStore) -> None:
        self.life, self._store = life, store
        self.arrays: dict[str, Array] = {}
        self._databases: dict[str, SimDatabase] = {}
        self._one = asyncio.Lock()

    async def _do(
        self,
        call: str,
        path: str,
        effect: Callable[[Images], T],
        *,
        grows: bool = False,
        data: bytes | None = None,
    ) -> T:
        """Spend the time of the call, then apply ``effect``, unless the life ended meanwhile.

        Calls run one after another in the order in which they were made: a disk is one device.
        """
        self.life.check()
        async with self._one:
            self.life.check()
            await self._store.charge(f"disk.{call} {path}")
            self.life.check()
            gate = self._store.gate
            if gate is None:
                self._store.admit(path, grows=grows)
                return effect(self._store.on_disk)
            passing = StorageCall(self.life, f"disk.{call}", path, data, grows or data is not None)
            await gate.before(passing)
            self._store.admit(path, grows=grows)
            value = effect(self._store.on_disk)
            await gate.after(passing)
            return value

    async def read(self, path: str) -> bytes:
        file_components(path)
        return await self._do("read", path, lambda on: on.read(path))

    async def write(self, path: str, data: bytes) -> None:
        file_components(path)

        def effect(on: Images) -> None:
            if self._store.full:  # the file is truncated before the device reports that it is full
                on.write(path, b"")
            self._store.admit(path, grows=True)
            on.write(path, data)

        await self._do("write", path, effect, data=data)

    async def append(self, path: str, data: bytes, *, sync: bool = False) -> None:
        file_components(path)
        await self._do("append", path, lambda on: on.append(path, data), grows=True, data=data)
        if sync:
            await self.sync(path)

    async def sync(self, path: str) -> None:
        file_components(path)
        await self._do("sync", path, lambda on: on.sync(path))

    async def replace(self, source: str, target: str) -> None:
        file_components(source)
        file_components(target)
        await self._do("replace", target, lambda on: on.replace(source, target))

    async def sync_folder(self, folder: str = "") -> None:
        components(folder)
        await self._do("sync_folder", folder, lambda on: on.sync_folder(folder))

    async def list(self, folder: str = "") -> tuple[str, ...]:
        components(folder)
        return await self._do("list", folder, lambda on: on.names(folder))

    async def remove(self, path: str) -> None:
        file_components(path)
        await self._do("remove", path, lambda on: on.remove(path))

    async def database(
        self, name: str, schema: Sequence[str] = (), *, ledger: bool = False
    ) -> Database:
        database_name(name)
        new = name not in self._store.drives
        await self._do("database", name, lambda on: None, grows=new)
        if name not in self._store.drives:
            self._store.drives[name] = StoredDatabase()
        found = self._databases.get(name)
        if found is None:
            drive = self._store.drives[name]
            check_integrity(drive.connection, name)
            found = SimDatabase(name, self.life, drive, self._store, self._store.charge)
            self._databases[name] = found
        try:
            found.writer.prepare(schema)
        except sqlite3.Error as error:
            raise os_error_of(error, name) from None
        return found

    async def datastore(self, name: str) -> Datastore:
        self.life.check()
        array = self.arrays[name] = find_array(self._store.arrays, name)
        return array.open(self.life)

    def roll_back(self) -> None:
        """Undo the transactions that the life left open in its databases."""
        for database in self._databases.values():
            database.writer.rollback()
