"""The files of VMs on the shared datastore: read, write, lock, and clean up after a crash.

A VM's configuration names the disk file in force. Rewriting a disk writes a new file first and
switches the configuration in one write. The old file is emptied afterwards or, if the host failed
in between, when the VM is opened next.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from protocol.errors import DatastoreFault, NotFound, SaveFailed
from protocol.terms import VmName
from services.esxi.vms.file_formats import (
    CLONING_FILE,
    POWER_FILE,
    SUFFIX,
    PowerRecord,
    VmConfig,
    decode_power,
    encode_power,
    nvram_file,
    vmem_file,
    vmx_file,
)
from services.runtime.ports import Datastore, VmLockHeld

_CHECK: Final = 4  # bytes of a CRC-32
_config = msgspec.msgpack.Decoder(VmConfig)


@asynccontextmanager
async def hold_lock(datastore: Datastore, vm: VmName) -> AsyncIterator[None]:
    """Hold the VM's lock for a change; ``DatastoreFault`` while another host holds it."""
    async with lock_and_keep(datastore, vm):
        yield
    await release_lock(datastore, vm)


@asynccontextmanager
async def lock_and_keep(datastore: Datastore, vm: VmName) -> AsyncIterator[None]:
    """Take the VM's lock, and keep it unless the block fails; then the lock is released.

    The error of the block is raised, even when the datastore refuses the release; this life can
    then still use the lock, and its end releases it. ``DatastoreFault`` as in ``take_lock``.
    """
    await take_lock(datastore, vm)
    try:
        yield
    except BaseException:
        with suppress(DatastoreFault):
            await release_lock(datastore, vm)
        raise


async def take_lock(datastore: Datastore, vm: VmName) -> None:
    """Take the lock for as long as the VM runs; ``DatastoreFault`` while another host holds it."""
    try:
        await datastore.lock(vm)
    except VmLockHeld as held:
        raise DatastoreFault(str(held)) from None
    except OSError as error:
        raise DatastoreFault(f"{vm}: its lock: {error.strerror or error}") from None


async def release_lock(datastore: Datastore, vm: VmName) -> None:
    """Release the lock. ``DatastoreFault`` when the datastore refuses: this life still holds it."""
    try:
        await datastore.unlock(vm)
    except OSError as error:
        raise DatastoreFault(f"{vm}: its lock: {error.strerror or error}") from None


async def read_config(datastore: Datastore, vm: VmName) -> VmConfig:
    """The VM's configuration. ``NotFound`` when the VM has no files, ``DatastoreFault`` when they
    are unreadable."""
    try:
        data = await datastore.read(vm, vmx_file(vm))
    except FileNotFoundError:
        raise NotFound(f"{vm} has no files on the datastore") from None
    except OSError as error:
        raise DatastoreFault(f"{vm}: {error.strerror or error}") from None
    body = verify_checksum(data)
    try:
        config = _config.decode(b"" if body is None else body)
    except (msgspec.DecodeError, ValueError):
        raise DatastoreFault(f"{vm}: {vmx_file(vm)} is damaged") from None
    if config.vm != vm:
        raise DatastoreFault(f"{vm}: {vmx_file(vm)} belongs to {config.vm}")
    return config


async def write_config(datastore: Datastore, config: VmConfig) -> None:
    """Replace the configuration atomically; durable on return. Errors as in ``_put_in_force``."""
    data = add_checksum(msgspec.msgpack.encode(config))
    await _put_in_force(datastore, config.vm, vmx_file(config.vm), data)


async def _put_in_force(datastore: Datastore, vm: VmName, file: str, data: bytes) -> None:
    """Write a file that defines the state of the VM.

    A failed write may have been made all the same (the folder was not synced). A caller that took
    it for a refusal would empty the files that are in force now. So the write is repeated;
    ``SaveFailed`` when that fails too, ``DatastoreFault`` when the file is unchanged.
    """
    try:
        await write_file(datastore, vm, file, data)
    except DatastoreFault:
        if not await _may_have_content(datastore, vm, file, data):
            raise
        try:
            await write_file(datastore, vm, file, data)
        except DatastoreFault as error:
            raise SaveFailed(f"{error}: the change may have been made or not") from None


async def _may_have_content(datastore: Datastore, vm: VmName, file: str, data: bytes) -> bool:
    """Whether the file may have this content; True when that cannot be read."""
    try:
        return await datastore.read(vm, file) == data
    except FileNotFoundError:
        return False
    except OSError:
        return True


def add_checksum(body: bytes) -> bytes:
    """``body`` with a checksum in front: a flipped bit could name another disk file as the one in
    force, and the true one would be emptied."""
    return zlib.crc32(body).to_bytes(_CHECK, "big") + body


def verify_checksum(data: bytes) -> bytes | None:
    """The content of data with a checksum; None when it is damaged."""
    body = data[_CHECK:]
    return body if data[:_CHECK] == zlib.crc32(body).to_bytes(_CHECK, "big") else None


async def write_file(datastore: Datastore, vm: VmName, file: str, data: bytes) -> None:
    """Replace a file; ``DatastoreFault`` for no space and the like."""
    try:
        await datastore.write(vm, file, data)
    except OSError as error:
        raise DatastoreFault(f"{vm}: {file}: {error.strerror or error}") from None


async def read_power(datastore: Datastore, vm: VmName) -> PowerRecord | None:
    """The last accepted power command; None when it is damaged or missing."""
    try:
        body = verify_checksum(await datastore.read(vm, POWER_FILE))
        return None if body is None else decode_power(body)
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise DatastoreFault(f"{vm}: {POWER_FILE}: {error.strerror or error}") from None


async def write_power(datastore: Datastore, vm: VmName, record: PowerRecord) -> None:
    """Store the last accepted power command beside the VM, for step B9 of a later boot."""
    await _put_in_force(datastore, vm, POWER_FILE, add_checksum(encode_power(record)))


async def empty_unused_files(datastore: Datastore, config: VmConfig) -> None:
    """Empty every disk file that the configuration does not name: it may hold clear blocks.

    The same applies to the state of a virtual TPM that was removed, or whose addition did not
    finish, to the memory of a snapshot that does not exist, and to the mark of a clone: with a
    configuration the clone is complete, and without one it would be taken for half made.

    A VM may have the name of such a file: its configuration is not emptied. ``DatastoreFault`` when
    the datastore refuses.
    """
    vtpm = config.vtpm
    serials = [one.vtpm for one in config.snapshots if one.vtpm]
    serials += [] if vtpm is None else [vtpm.serial]
    needed = {nvram_file(config.vm, serial) for serial in serials}
    needed |= {vmem_file(config.vm, one.memory) for one in config.snapshots if one.memory}
    needed |= {*config.files, vmx_file(config.vm), POWER_FILE}
    try:
        for file in await datastore.files(config.vm):
            ours = file.startswith("disk-") or file.endswith((".nvram", SUFFIX))
            ours |= file == CLONING_FILE
            if not ours or file in needed:
                continue
            if any(await datastore.read_blocks(config.vm, file, [0], 1)):
                await write_file(datastore, config.vm, file, b"")
    except OSError as error:
        raise DatastoreFault(f"{config.vm}: {error.strerror or error}") from None
