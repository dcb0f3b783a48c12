"""A node's storage in memory: two images, its databases, and its access to the shared array.

Each call first spends its virtual time (``charge``), then takes effect at once. So a crash at any
instant falls before or after a call, and a process that dies while it waits did nothing.
"""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Database, Datastore, Disk
from services.runtime.sim.database import Charge, SimDatabase, StoredDatabase, charge_nothing
from services.runtime.sim.gate import StorageCall, StorageGate
from services.runtime.sim.images import Images
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
