"""A VM's virtual TPM as a device: added, certified, removed while the VM is powered off.

Adding: 1. manufacture a new TPM
2. write its state
3. switch the configuration in one write: it gets the device, and an encrypted home

A crash before step 3 leaves the VM unchanged, a crash after it the VM with its vTPM. Removing: the
configuration is switched first; the state is emptied afterwards, or when the VM is opened next
(``files.empty_unused_files``).
"""

from __future__ import annotations

import msgspec

from protocol.errors import InvalidArgument, InvalidState, NotFound
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, ProviderId, VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import search
from services.esxi.providers import key_creation
from services.esxi.vms import vtpm_commands
from services.esxi.vms.encrypt import usable_kek
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    read_config,
    write_config,
    write_file,
)
from services.esxi.vms.nvram import encrypt_nvram, nvram_file
from services.esxi.vms.snapshots import check_no_snapshots
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import (
    EFI,
    VmConfig,
    VtpmDevice,
    open_home,
    with_clear_home,
    with_encrypted_home,
)
from services.esxi.vms.vtpm import read_state

LEAST_HARDWARE = 14
"""Virtual hardware version from which a VM may have a vTPM (VTPM-02)."""


async def add_vtpm(
    host: EsxiHost, name: VmName, key: CryptoKeyId | None, provider: ProviderId | None
) -> RegisteredVm:
    """VTPM-02. No change when the VM has a vTPM. A clear home is encrypted under ``key``, or under
    a key of ``provider`` that the host makes; disks stay unchanged.

    ``InvalidPowerState`` while it runs, ``InvalidArgument`` for a VM that cannot have one,
    ``EncryptionKeyRequired`` and ``InvalidState`` as in ``encrypt``.
    """
    vm = host.require_powered_off(name, "power it off first")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.vtpm is None:
            check_vtpm_allowed(config)
            check_no_snapshots(config, "add a virtual TPM")
            config = await _create_vtpm(host, config, key, provider)
            host.node.record("vm.vtpm", vm=name, present=True)
        vm.config, vm.problem = config, ""
    return vm


def check_vtpm_allowed(config: VmConfig) -> None:
    """``InvalidArgument`` unless a VM of this firmware and hardware version may have a vTPM."""
    if config.firmware != EFI:
        raise InvalidArgument(f"{config.vm}: a virtual TPM needs firmware EFI, not BIOS")
    if config.hardware < LEAST_HARDWARE:
        raise InvalidArgument(
            f"{config.vm}: a virtual TPM needs hardware version {LEAST_HARDWARE} or later, not "
            f"{config.hardware}"
        )


async def _create_vtpm(
    host: EsxiHost, config: VmConfig, key: CryptoKeyId | None, provider: ProviderId | None
) -> VmConfig:
    if config.home is None:
        if key is None and provider is None:
            raise InvalidArgument("key, provider: one of them must be named")
        key = key or await key_creation.new_key(host, provider or ProviderId(""))
        config, home = with_encrypted_home(config, key, usable_kek(host, config.vm, key), host.rng)
    else:
        home = await _unwrap_home(host, config)
    tpms = host.virtual_tpms
    state, ek = await tpms.run_command(
        await tpms.manufacture(), "vtpm.endorse", vtpm_commands.endorsement_key
    )
    made = msgspec.structs.replace(config, vtpm=VtpmDevice(ek))
    data = encrypt_nvram(config.vm, ek, state, 1, home, host.rng)
    await write_file(host.datastore, config.vm, nvram_file(config.vm), data)
    await write_config(host.datastore, made)
    return made


async def store_vtpm_certificate(host: EsxiHost, name: VmName, certificate: bytes) -> None:
    """VTPM-04: store the certificate of its endorsement key with the device."""
    vm = host.require_powered_off(name, "power it off first")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.vtpm is None:
            raise NotFound(f"{name} has no virtual TPM")
        config = msgspec.structs.replace(
            config, vtpm=msgspec.structs.replace(config.vtpm, certificate=certificate)
        )
        await write_config(host.datastore, config)
        vm.config, vm.problem = config, ""


async def remove_vtpm(host: EsxiHost, name: VmName) -> RegisteredVm:
    """VTPM-03. No change when it has none."""
    vm = host.require_powered_off(name, "power it off first")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.vtpm is not None:
            check_no_snapshots(config, "remove its virtual TPM")
            home = await _unwrap_home(host, config)
            config = msgspec.structs.replace(config, vtpm=None)
            if all(disk.dek is None for disk in config.disks):
                config = with_clear_home(config, home)
            await write_config(host.datastore, config)
            host.node.record("vm.vtpm", vm=name, present=False)
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    return vm


async def _unwrap_home(host: EsxiHost, config: VmConfig) -> KeyMaterial:
    """The DEK of the VM's home. A host that gets its keys by itself fetches the one it lacks."""
    if config.home is None:
        raise InvalidState(f"{config.vm}: its home is not encrypted")
    key = config.home.key
    await search.bring_keys(host, (key,), subject=config.vm, ask=False)
    return open_home(config, {key: usable_kek(host, config.vm, key)})


async def move_vtpm(
    host: EsxiHost, config: VmConfig, old: KeyMaterial | None, new: KeyMaterial | None
) -> VmConfig:
    """``config``, whose home has a new DEK, with the vTPM's state under that DEK in its next file;
    unchanged when it has no vTPM. The caller writes the configuration."""
    device = config.vtpm
    if device is None or old is None or new is None:
        return config
    state, number = await read_state(host.datastore, config.vm, device, old)
    moved = msgspec.structs.replace(device, serial=device.serial + 1)
    data = encrypt_nvram(config.vm, device.ek, state, number + 1, new, host.rng)
    await write_file(host.datastore, config.vm, nvram_file(config.vm, moved.serial), data)
    return msgspec.structs.replace(config, vtpm=moved)
