"""A whole copy of a VM at its host, made from files on the datastore (CLN-01).

1. the source's keys are looked for by every means that this host has   2. its disks, and the state
of its virtual TPM, are read in its turn, in which a guest that runs stands still: what it was told
is written is in the copy, and all of one instant   3. the host's configuration says that it makes
this clone, and so does a mark in its folder   4. disks and virtual TPM are written, under the DEKs
that they have, or new ones, while the source goes on   5. the clone is registered   6. its
configuration is written, in one write, and the mark goes

What fails takes folder and registration back. A host that fell before 6 does so when it boots: of a
clone without a configuration, in a folder that has its mark or nothing at all (``given_up``). One
that fell within 6 has a clone, whose mark goes with the next ``files.tidy``.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from protocol import names
from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    InvalidState,
    ProductError,
)
from protocol.messages.host import HostCloneVm, TpmProvisionPolicy
from protocol.secret import KeyMaterial
from protocol.terms import PowerState, ProviderId, VmName
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.esxi.keys import search
from services.esxi.providers import making
from services.esxi.vms import vtpm_commands
from services.esxi.vms.encrypt import read_disk, usable_kek, write_disks
from services.esxi.vms.files import hold_lock, read_config, write, write_config, write_power
from services.esxi.vms.guest import decrypt_blocks
from services.esxi.vms.nvram import encrypt_nvram, nvram_file
from services.esxi.vms.power import unwrap_deks
from services.esxi.vms.vm import RegisteredVm, queue_of
from services.esxi.vms.vmx import (
    CLONING_FILE,
    VmConfig,
    VmKeys,
    VtpmDevice,
    clone_config,
    decrypt_config,
    encrypt_config,
    vmx_file,
)
from services.esxi.vms.vtpm import read_state
from services.runtime.virtual_tpm import VirtualTpmState


async def clone(host: EsxiHost, message: HostCloneVm) -> RegisteredVm:
    """See ``HostCloneVm`` and the module's text. The turn of the clone is held by the caller."""
    names.VM.check(message.vm)
    known = host.vms.get(message.vm)
    if known is not None and known.config is not None:
        return known
    host.check_takes_vms()
    source, running = await _read_source(host, message)
    async with hold_lock(host.datastore, message.vm):
        if vmx_file(message.vm) in await host.datastore.files(message.vm):
            raise AlreadyExists(f"{message.vm} has files on the datastore: register it")
        try:
            made = await _create_clone(host, message, source)
        except ProductError:
            await _take_back(host, message.vm)
            raise
    vm = host.vms[message.vm] = RegisteredVm(message.vm, made)
    host.node.record(
        "vm.cloned",
        vm=vm.name,
        source=message.source,
        recrypt=message.recrypt,
        running=running,
    )
    return vm


@dataclass(frozen=True)
class _Source:
    """What a clone is made of: the source opened, the contents of its disks, and the state of its
    virtual TPM when that is copied."""

    config: VmConfig
    opened: VmKeys
    disks: list[list[bytes]]
    vtpm: VirtualTpmState | None


async def _read_source(host: EsxiHost, message: HostCloneVm) -> tuple[_Source, bool]:
    """Steps 1 and 2, and whether the source runs. Its keys are here before its guest has to wait:
    they may have to be asked for."""
    config = await read_config(host.datastore, message.source)
    if message.recrypt and config.home is None:
        raise InvalidState(f"{message.source} is not encrypted: there is nothing to recrypt")
    if config.keys:
        await search.bring(host, config.keys, subject=config.vm, ask=False)
    async with host.node.turn(queue_of(message.source)):
        source = host.vms.get(message.source)
        if source is not None and source.guest is not None:  # the lock is held by its run
            return await _read(host, message), True
        async with hold_lock(host.datastore, message.source):
            return await _read(host, message), False


async def _read(host: EsxiHost, message: HostCloneVm) -> _Source:
    config = await read_config(host.datastore, message.source)
    opened = VmKeys((None,) * len(config.disks), config.nvram)
    if config.keys:
        opened = unwrap_deks(host, config)
    disks = [
        decrypt_blocks(dek, await read_disk(host.datastore, config, disk))
        for disk, dek in zip(config.disks, opened.deks, strict=True)
    ]
    state = None
    if config.vtpm is not None and opened.home and message.tpm is TpmProvisionPolicy.COPY:
        state, _ = await read_state(host.datastore, config.vm, config.vtpm, opened.home)
    return _Source(config, opened, disks, state)


async def _create_clone(host: EsxiHost, message: HostCloneVm, of: _Source) -> VmConfig:
    """Steps 3 to 6: all files, the configuration last."""
    source, name, now = of.config, message.vm, host.archive.now
    host.archive.change(cloning=(*_without(now.cloning, name), name))
    await host.archive.save(ConfigurationSection.VMS)
    await write(host.datastore, name, CLONING_FILE, host.node.name.encode())
    keks = {key: usable_kek(host, source.vm, key) for key in source.keys}
    made, keys = clone_config(source, of.opened, message.vm, keks, host.rng)
    if message.recrypt:
        made, keys = await _under_a_new_key(host, message, made, keys)
    await write_disks(host.datastore, made, keys, of.disks)
    made = await _with_vtpm(host, of, made, keys.home)
    await write_power(host.datastore, made.vm, host.power_record(PowerState.OFF))
    made = msgspec.structs.replace(made, template=message.template)
    now = host.archive.now
    host.archive.change(vms=(*_without(now.vms, name), name), cloning=_without(now.cloning, name))
    await host.archive.save(ConfigurationSection.VMS)
    await write_config(host.datastore, made)
    await write(host.datastore, name, CLONING_FILE, b"")
    return made


def _without(names: tuple[VmName, ...], name: VmName) -> tuple[VmName, ...]:
    return tuple(other for other in names if other != name)


async def _under_a_new_key(
    host: EsxiHost, message: HostCloneVm, made: VmConfig, keys: VmKeys
) -> tuple[VmConfig, VmKeys]:
    """The same VM with new DEKs for its home and each encrypted disk, all under the new key."""
    key = message.key or await making.new_key(host, message.provider or ProviderId(""))
    encrypted = [disk.key for disk in made.disks if disk.dek is not None]
    clear, kek = decrypt_config(made, keys), usable_kek(host, made.vm, key)
    return encrypt_config(clear, key, kek, host.rng, encrypted)


async def _with_vtpm(
    host: EsxiHost, of: _Source, made: VmConfig, home: KeyMaterial | None
) -> VmConfig:
    """VTPM-07. A copy has the seeds of its source, its endorsement key and the certificate of that;
    one that replaces it has neither."""
    device, state = of.config.vtpm, of.vtpm
    if device is None or home is None:
        return made
    if state is not None:
        device = VtpmDevice(device.ek, device.certificate)
    else:
        tpms = host.virtual_tpms
        new = await tpms.manufacture()
        state, ek = await tpms.run_command(new, "vtpm.endorse", vtpm_commands.endorsement_key)
        device = VtpmDevice(ek)
    data = encrypt_nvram(made.vm, device.ek, state, 1, home, host.rng)
    await write(host.datastore, made.vm, nvram_file(made.vm), data)
    return msgspec.structs.replace(made, vtpm=device)


async def _take_back(host: EsxiHost, name: VmName) -> None:
    """Neither folder nor registration. What the disk refuses, the next boot takes back."""
    try:
        await host.datastore.remove(name)
    except OSError as error:
        host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))
        return
    await _forget(host, name)


async def _forget(host: EsxiHost, name: VmName) -> None:
    now = host.archive.now
    host.archive.change(vms=_without(now.vms, name), cloning=_without(now.cloning, name))
    await host.archive.save(ConfigurationSection.VMS)


async def give_up_all(host: EsxiHost) -> None:
    """At boot: nothing stays of clones that were being made when this host fell."""
    for name in host.archive.now.cloning:
        if not await given_up(host, name):
            await _forget(host, name)  # somebody has made a VM of that name since


async def given_up(host: EsxiHost, name: VmName) -> bool:
    """At boot: whether this is a clone that this host was making when it fell; what there is of it
    is taken back then. One that another host is at, or has made, is left alone."""
    try:
        async with hold_lock(host.datastore, name):
            files = await host.datastore.files(name)
            if vmx_file(name) in files or not await _is_ours(host, name, files):
                return False
            await _take_back(host, name)
    except (DatastoreFault, OSError) as error:
        host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))
        return False
    host.node.record("vm.clone_given_up", level="warning", vm=name)
    return True


async def _is_ours(host: EsxiHost, name: VmName, files: tuple[str, ...]) -> bool:
    if CLONING_FILE not in files:
        return not files and name in host.archive.now.cloning
    return await host.datastore.read(name, CLONING_FILE) == host.node.name.encode()
