"""The files of a VM, and the vSAN disks of a host, read and damaged behind every host's back."""

from __future__ import annotations

import msgspec

from chaos.matrix.evidence import Wrapped
from chaos.matrix.scene import cluster_of
from chaos.oracle.terms import TableEvent
from lab.core import LabCore
from protocol.terms import NodeName, VmName
from services.esxi.vms.files import add_checksum, verify_checksum
from services.esxi.vms.vmx import VmConfig, vmx_file
from services.esxi.vsan.groups import path_of
from services.esxi.vsan.label import DiskImage, unpack_disk


async def disk_of(lab: LabCore, event: TableEvent, vm: VmName) -> bytes:
    """The VM's disk file as the datastore has it."""
    file = (await _config(lab, event, vm)).disks[0].file
    return await lab.datastore_file(_store(event), vm, file)


async def read_wrapped(lab: LabCore, event: TableEvent, vm: VmName) -> Wrapped:
    """Keys and wrapped DEKs of the VM, as its configuration on the datastore has them."""
    config = await _config(lab, event, vm)
    parts = (config.home, *(disk.dek for disk in config.disks))
    return Wrapped(keys=config.keys, deks=tuple(part.wrapped for part in parts if part is not None))


async def flip_bit(lab: LabCore, event: TableEvent, vm: VmName) -> None:
    """Flip one bit in the middle of the VM's first block on the datastore."""
    file = (await _config(lab, event, vm)).disks[0].file
    data = bytearray(await lab.datastore_file(_store(event), vm, file))
    data[2048] ^= 1
    await lab.spoil(_store(event), vm, file, bytes(data))


async def replace_dek(
    lab: LabCore, event: TableEvent, vm: VmName, of: tuple[TableEvent, VmName]
) -> None:
    """Put the wrapped DEK of another VM's disk in the place of this one's; the key id stays."""
    config, other = await _config(lab, event, vm), await _config(lab, *of)
    disk, theirs = config.disks[0], other.disks[0]
    if disk.dek is None or theirs.dek is None:
        raise ValueError(f"{vm} or {of[1]} is not encrypted")
    dek = msgspec.structs.replace(disk.dek, wrapped=theirs.dek.wrapped)
    disks = (msgspec.structs.replace(disk, dek=dek), *config.disks[1:])
    made = msgspec.msgpack.encode(msgspec.structs.replace(config, disks=disks))
    await lab.spoil(_store(event), vm, vmx_file(vm), add_checksum(made))


async def flip_vsan_bit(lab: LabCore, host: NodeName) -> None:
    """Flip one bit in the middle of the first block of a replica; the file's checksum fits."""
    image, _ = await _vsan_disks(lab, host)
    blocks = bytearray(image.blocks)
    blocks[2048] ^= 1
    await _put(lab, host, DiskImage(image.label, bytes(blocks)))


async def replace_vsan_dek(lab: LabCore, host: NodeName) -> None:
    """Put the wrapped DEK of another disk in the place of that of a replica's; the key id stays."""
    image, other = await _vsan_disks(lab, host)
    label = msgspec.structs.replace(image.label, wrapped=other.label.wrapped)
    await _put(lab, host, DiskImage(label, image.blocks))


async def _vsan_disks(lab: LabCore, host: NodeName) -> tuple[DiskImage, DiskImage]:
    """The disk with the replica, and another one of the same group."""
    images = []
    for number in range(1, lab.spec(host).config["vsan"]["disks"] + 1):
        image = unpack_disk(await lab.disk_file(host, path_of("group-1", f"disk-{number}")))
        if image is None or not image.label.encrypted:
            raise ValueError(f"disk-{number} of {host} is damaged, or not encrypted")
        images.append(image)
    images.sort(key=lambda image: not image.blocks)
    return images[0], images[1]


async def _put(lab: LabCore, host: NodeName, image: DiskImage) -> None:
    path = path_of(image.label.group, image.label.disk)
    await lab.put_disk_file(host, path, image.pack())


async def _config(lab: LabCore, event: TableEvent, vm: VmName) -> VmConfig:
    body = verify_checksum(await lab.datastore_file(_store(event), vm, vmx_file(vm)))
    if body is None:
        raise ValueError(f"{vmx_file(vm)} is damaged")
    return msgspec.msgpack.decode(body, type=VmConfig)


def _store(event: TableEvent) -> str:
    return f"datastore-{cluster_of(event)}"
