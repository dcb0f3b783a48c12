"""A cluster's shared array in memory; a lock belongs to one incarnation and dies with it."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Iterator, Mapping, Sequence

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.ports import Datastore, VmLockHeld
from services.runtime.sim.database import Charge, charge_nothing
from services.runtime.store import Array, block_start, check_plain_name, place_blocks


class SimArray(Array):
    """All VM folders of one cluster, and the holder of each lock."""

    def __init__(self, charge: Charge = charge_nothing) -> None:
        self.charge = charge
        self.folders: dict[str, dict[str, bytearray]] = {}
        self.locks: dict[str, Incarnation] = {}
        self._open: dict[Incarnation, SimDatastore] = {}

    def open(self, life: Incarnation) -> SimDatastore:
        return self._open.setdefault(life, SimDatastore(life, self))

    async def end(self, life: Incarnation) -> None:
        self._open.pop(life, None)
        for vm in [vm for vm, holder in self.locks.items() if holder is life]:
            del self.locks[vm]

    def images(self) -> Iterator[tuple[str, bytes]]:
        for vm in sorted(self.folders):
            for name, data in sorted(self.folders[vm].items()):
                yield f"vms/{vm}/{name}", bytes(data)


class SimDatastore(Datastore):
    """The Datastore port of one life."""

    def __init__(self, life: Incarnation, array: SimArray) -> None:
        self._life, self._array = life, array

    def _charge_call(self, call: str, vm: str, file: str | None = None) -> Awaitable[None]:
        """Spend the virtual time of a call; the caller then checks that the life has not ended."""
        where = (
            check_plain_name(vm)
            if file is None
            else f"{check_plain_name(vm)}/{check_plain_name(file)}"
        )
        self._life.check()
        return self._array.charge(f"datastore.{call} {where}")

    def _file(self, vm: str, file: str) -> bytearray:
        try:
            return self._array.folders[vm][file]
        except KeyError:
            raise FileNotFoundError(
                errno.ENOENT, os.strerror(errno.ENOENT), f"{vm}/{file}"
            ) from None

    async def lock(self, vm: str) -> None:
        await self._charge_call("lock", vm)
        self._life.check()
        holder = self._array.locks.get(vm)
        if holder is not None and holder.alive and holder is not self._life:
            raise VmLockHeld(vm, holder.node)
        self._array.locks[vm] = self._life

    async def unlock(self, vm: str) -> None:
        await self._charge_call("unlock", vm)
        self._life.check()
        if self._array.locks.get(vm) is self._life:
            del self._array.locks[vm]

    async def holders(self, vms: Sequence[str]) -> dict[str, NodeName]:
        self._life.check()
        await self._array.charge(f"datastore.holders {len([check_plain_name(vm) for vm in vms])}")
        self._life.check()
        found = ((vm, self._array.locks.get(vm)) for vm in vms)
        return {vm: life.node for vm, life in found if life is not None and life.alive}

    async def read(self, vm: str, file: str) -> bytes:
        await self._charge_call("read", vm, file)
        self._life.check()
        return bytes(self._file(vm, file))

    async def write(self, vm: str, file: str, data: bytes) -> None:
        await self._charge_call("write", vm, file)
        self._life.check()
        self._array.folders.setdefault(vm, {})[file] = bytearray(data)

    async def read_blocks(
        self, vm: str, file: str, blocks: Sequence[int], size: int
    ) -> list[bytes]:
        starts = [block_start(index, size) for index in blocks]
        await self._charge_call("read_blocks", vm, file)
        self._life.check()
        content = self._file(vm, file)
        return [bytes(content[start : start + size]) for start in starts]

    async def write_blocks(self, vm: str, file: str, blocks: Mapping[int, bytes]) -> None:
        """Half of the blocks are written before the time is spent, so that a crash in between
        leaves some of both."""
        early = len(blocks) // 2
        self._life.check()
        if early:
            self._write_part(check_plain_name(vm), check_plain_name(file), blocks, slice(early))
        await self._charge_call("write_blocks", vm, file)
        self._life.check()
        self._write_part(vm, file, blocks, slice(early, None))

    def _write_part(self, vm: str, file: str, blocks: Mapping[int, bytes], part: slice) -> None:
        content = self._file(vm, file)
        for start, data in place_blocks(vm, file, blocks, len(content))[part]:
            content[start : start + len(data)] = data

    async def files(self, vm: str) -> tuple[str, ...]:
        await self._charge_call("files", vm)
        self._life.check()
        return tuple(sorted(self._array.folders.get(vm, ())))

    async def vms(self) -> tuple[str, ...]:
        self._life.check()
        await self._array.charge("datastore.vms")
        self._life.check()
        return tuple(sorted(self._array.folders))

    async def remove(self, vm: str) -> None:
        await self._charge_call("remove", vm)
        self._life.check()
        self._array.folders.pop(vm, None)
