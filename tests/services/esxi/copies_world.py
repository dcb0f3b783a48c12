"""What two hosts' VMs hold, as a model says and as it lies there: disks, memory, virtual TPM.

``Vm`` is the model. ``seen`` reads the same of a VM without asking its host: the files of the
datastore opened under keys that the test has, and the pages of the guest that runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec

from protocol.guest import guest_seed, read_guest_block
from protocol.guest_tpm import secret_of
from protocol.terms import CryptoKeyId, NodeName, VmName
from services.esxi.vms import file_formats
from services.esxi.vms.file_formats import (
    VmConfig,
    VmKeys,
    decrypt_nvram,
    nvram_file,
    open_vm,
    vmx_file,
)
from services.esxi.vms.files import verify_checksum
from services.esxi.vms.guest import SPAN, GuestMemory, decrypt_blocks, pack_memory, split_image
from services.esxi.vms.vtpm import read_counter
from services.runtime.virtual_tpm import VirtualTpmCommands
from tests.services.esxi.rig import A, B, Rig, material

FRESH = b"a run that nobody has seen"
Disks = tuple[tuple[tuple[bytes, int], ...], ...]
"""By disk and block: whose content, and of which generation; the guest's journal last."""


@dataclass(frozen=True)
class Tpm:
    """What a virtual TPM has sealed, and how far its counter is. ``ek`` and ``ak`` are its keys;
    without ``ek`` it is new."""

    ek: bytes = b""
    ak: bytes = b""
    marker: bytes = b""
    counter: int = 0


@dataclass(frozen=True)
class Kept:
    """A snapshot. ``memory``: all that the guest went on from, None without."""

    disks: Disks
    tpm: Tpm | None
    memory: bytes | None


@dataclass(frozen=True)
class Vm:
    """A VM on ``host``. ``memory`` is None while it is off, ``FRESH`` of a guest that started."""

    name: VmName
    host: NodeName
    disks: Disks
    tpm: Tpm | None
    memory: bytes | None
    keys: tuple[CryptoKeyId, ...]
    kept: dict[str, Kept] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        return self.memory is not None

    def as_in(self, name: str, *, resumed: bool) -> Vm:
        """Gone back to that snapshot."""
        of = self.kept[name]
        return replace(self, disks=of.disks, tpm=of.tpm, memory=of.memory if resumed else None)

    def snapped(self, name: str, *, memory: bool) -> Vm:
        of = Kept(self.disks, self.tpm, self.memory if memory else None)
        return replace(self, kept={**self.kept, name: of})

    def without(self, name: str) -> Vm:
        return replace(self, kept={there: of for there, of in self.kept.items() if there != name})

    def started(self) -> Vm:
        return replace(self, memory=FRESH)

    def stopped(self) -> Vm:
        return replace(self, memory=None)


def config_of(rig: Rig, vm: VmName) -> VmConfig:
    """As it lies on the datastore."""
    body = verify_checksum(bytes(rig.array.folders[vm][vmx_file(vm)]))
    assert body is not None, f"{vm}: its configuration is damaged"
    return msgspec.msgpack.decode(body, type=VmConfig)


def keys_of(config: VmConfig) -> VmKeys:
    """Opened under the keys that the test has."""
    if not config.keys:
        return VmKeys((None,) * len(config.disks), config.nvram)
    return open_vm(config, {key: material(key) for key in config.keys})


def memory_of(rig: Rig, vm: VmName, node: NodeName) -> bytes | None:
    """All that its guest would go on from; None when it does not run there."""
    there = rig.host(node).vms.get(vm)
    if there is None or there.guest is None:
        return None
    assert not there.guest.fault, there.guest.fault
    return pack_memory(there.guest.freeze())


def secret_in(memory: bytes) -> bytes:
    """What lies in the memory of that run, and of no other."""
    return msgspec.msgpack.decode(memory, type=GuestMemory).pages[0][:32]


def disks_of(rig: Rig, vm: VmName) -> Disks:
    config = config_of(rig, vm)
    found = []
    for disk, dek in zip(config.disks, keys_of(config).deks, strict=True):
        stored = split_image(bytes(rig.array.folders[vm][disk.file]), vm, disk)
        first = (disk.number - 1) * SPAN
        plain = enumerate(decrypt_blocks(dek, stored))
        found.append(tuple(read_guest_block(block, first + at) for at, block in plain))
    return tuple(found)


def counter_of(rig: Rig, vm: VmName, node: NodeName) -> int:
    """How far the counter of its virtual TPM is; a copy of its state is asked, not the guest."""
    host, config = rig.host(node), config_of(rig, vm)
    guest = host.vms[vm].guest
    if guest is not None and guest.vtpm is not None:
        state = guest.vtpm._state
        _, counter = rig.run(host.virtual_tpms.run_command(state, "vtpm.count", read_counter))
        return counter
    home = keys_of(config).home
    assert home is not None and config.vtpm is not None
    data = bytes(rig.array.folders[vm][nvram_file(vm, config.vtpm.serial)])
    state, _ = decrypt_nvram(vm, config.vtpm.ek, data, home)

    def started(tpm: VirtualTpmCommands) -> int:
        tpm.power_on()
        return read_counter(tpm)

    _, counter = rig.run(host.virtual_tpms.run_command(state, "vtpm.count", started))
    return counter


def differs(rig: Rig, vm: Vm, seen_before: set[bytes]) -> str:
    """In what the VM is not as the model has it; empty when it is."""
    there = rig.host(vm.host).vms.get(vm.name)
    if there is None or there.config is None:
        return "its host does not have it"
    config = config_of(rig, vm.name)
    if there.config != config:
        return "its host has another configuration in mind"
    if config.keys != vm.keys:
        return f"it is under {config.keys}"
    kept = {one.name: bool(one.memory) for one in config.snapshots}
    if kept != {name: of.memory is not None for name, of in vm.kept.items()}:
        return f"it has the snapshots {kept}"
    memory = memory_of(rig, vm.name, vm.host)
    if (memory is None) != (vm.memory is None):
        return "it is off" if memory is None else "it runs"
    if memory is not None and vm.memory == FRESH and secret_in(memory) in seen_before:
        return "it goes on from a memory of before"
    if memory is not None and vm.memory not in (FRESH, memory):
        return "its memory is another"
    if disks_of(rig, vm.name) != vm.disks:
        return "its disks hold something else"
    return "" if vm.tpm is None else _tpm_differs(rig, vm, vm.tpm, config)


def _tpm_differs(rig: Rig, vm: Vm, tpm: Tpm, config: VmConfig) -> str:
    if config.vtpm is None or (tpm.ek and config.vtpm.ek != tpm.ek):
        return "its virtual TPM is another"
    if tpm.marker and counter_of(rig, vm.name, vm.host) != tpm.counter:
        return "its virtual TPM has counted otherwise"
    return ""


def left_over(rig: Rig, vms: dict[VmName, Vm]) -> list[str]:
    """Files that have something in them, and that nothing needs."""
    found = [f"the folder {name}" for name in rig.array.folders if name not in vms]
    for name in set(vms) & set(rig.array.folders):
        config = config_of(rig, name)
        needed = {*config.files, vmx_file(name), "power"}
        needed |= {
            file_formats.vmem_file(name, one.memory) for one in config.snapshots if one.memory
        }
        serials = [one.vtpm for one in config.snapshots if one.vtpm]
        serials += [] if config.vtpm is None else [config.vtpm.serial]
        needed |= {nvram_file(name, serial) for serial in serials}
        there = {file for file, data in rig.array.folders[name].items() if data}
        found += sorted(f"{name}/{file}" for file in there - needed)
    return found


def in_clear(rig: Rig, secrets: set[bytes]) -> list[str]:
    """Where one of these stands as it is, on the datastore or on a host's disk."""
    stores = ((f"{node} ", rig.store(node).images()) for node in (A, B))
    places: Iterator[tuple[str, bytes]] = (
        (where + path, data)
        for where, images in (("", rig.array.images()), *stores)
        for path, data in images
    )
    return [path for path, data in places if any(secret in data for secret in secrets)]


def secrets_of(vm: Vm, markers: set[bytes]) -> set[bytes]:
    """What an encrypted VM must not show: its data's seeds, its memory, what its TPM has sealed."""
    found = {guest_seed(marker) for marker in markers}
    memories = [vm.memory, *(of.memory for of in vm.kept.values())]
    found |= {secret_in(memory) for memory in memories if memory not in (None, FRESH)}
    if vm.tpm is not None and vm.tpm.marker:
        found.add(secret_of(vm.tpm.marker).reveal())
    return found | {material(key).reveal() for key in vm.keys}
