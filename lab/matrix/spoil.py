"""The files of a VM, read and damaged behind every host's back."""

from __future__ import annotations

import msgspec

from chaos.matrix.evidence import Wrapped
from chaos.matrix.scene import cluster_of
from chaos.oracle.terms import Event
from lab.core import LabCore
from protocol.terms import VmName
from services.esxi.vms.files import checked, with_check
from services.esxi.vms.vmx import VmConfig, vmx_file


async def disk_of(lab: LabCore, event: Event, vm: VmName) -> bytes:
    """The VM's disk file as the datastore has it."""
    file = (await _config(lab, event, vm)).disks[0].file
    return await lab.datastore_file(_store(event), vm, file)


async def wrapped(lab: LabCore, event: Event, vm: VmName) -> Wrapped:
    """Keys and wrapped DEKs of the VM, as its configuration on the datastore has them."""
    config = await _config(lab, event, vm)
    parts = (config.home, *(disk.dek for disk in config.disks))
    return Wrapped(keys=config.keys, deks=tuple(part.wrapped for part in parts if part is not None))


async def flip_bit(lab: LabCore, event: Event, vm: VmName) -> None:
    """Flip one bit in the middle of the VM's first block on the datastore."""
    file = (await _config(lab, event, vm)).disks[0].file
    data = bytearray(await lab.datastore_file(_store(event), vm, file))
    data[2048] ^= 1
    await lab.spoil(_store(event), vm, file, bytes(data))


async def replace_dek(lab: LabCore, event: Event, vm: VmName, of: tuple[Event, VmName]) -> None:
    """Put the wrapped DEK of another VM's disk in the place of this one's; the key id stays."""
    config, other = await _config(lab, event, vm), await _config(lab, *of)
    disk, theirs = config.disks[0], other.disks[0]
    if disk.dek is None or theirs.dek is None:
        raise ValueError(f"{vm} or {of[1]} is not encrypted")
    dek = msgspec.structs.replace(disk.dek, wrapped=theirs.dek.wrapped)
    disks = (msgspec.structs.replace(disk, dek=dek), *config.disks[1:])
    made = msgspec.msgpack.encode(msgspec.structs.replace(config, disks=disks))
    await lab.spoil(_store(event), vm, vmx_file(vm), with_check(made))


async def _config(lab: LabCore, event: Event, vm: VmName) -> VmConfig:
    body = checked(await lab.datastore_file(_store(event), vm, vmx_file(vm)))
    if body is None:
        raise ValueError(f"{vmx_file(vm)} is damaged")
    return msgspec.msgpack.decode(body, type=VmConfig)


def _store(event: Event) -> str:
    return f"datastore-{cluster_of(event)}"
