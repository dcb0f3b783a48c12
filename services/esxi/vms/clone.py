"""A whole copy of a VM at its host, made from files on the datastore (CLN-01), and templates: VMs
that are not powered on until they are converted back.
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
from protocol.messages.host.vms import HostCloneVm, TpmProvisionPolicy
from protocol.secret import KeyMaterial
from protocol.terms import PowerState, ProviderId, VmName
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.esxi.keys import vm_keys
from services.esxi.vms import vtpm
from services.esxi.vms.file_formats import (
    CLONING_FILE,
    VmConfig,
    VmKeys,
    VtpmDevice,
    clone_config,
    decrypt_config,
    encrypt_config,
    encrypt_nvram,
    nvram_file,
    vmx_file,
)
from services.esxi.vms.files import hold_lock, read_config, write_config, write_file, write_power
from services.esxi.vms.guest import decrypt_blocks
from services.esxi.vms.power import unwrap_deks
from services.esxi.vms.reconfigure import read_disk, usable_kek, write_disks
from services.esxi.vms.vm import RegisteredVm, queue_of
from services.esxi.vms.vtpm import read_state
from services.runtime.virtual_tpm import VirtualTpmState


async def clone(host: EsxiHost, message: HostCloneVm) -> RegisteredVm:
    """See ``HostCloneVm`` and the module's text. The caller holds the clone's turn."""
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
            await _remove_clone(host, message.vm)
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
    """The source of a clone: the opened VM, the contents of its disks, and the state of its virtual
    TPM when that is copied."""

    config: VmConfig
    opened: VmKeys
    disks: list[list[bytes]]
    vtpm: VirtualTpmState | None


async def _read_source(host: EsxiHost, message: HostCloneVm) -> tuple[_Source, bool]:
    """Steps 1 and 2; returns whether the source runs too. The keys are brought before its guest
    stops, because that may take requests to other nodes."""
    config = await read_config(host.datastore, message.source)
    if message.recrypt and config.home is None:
        raise InvalidState(f"{message.source} is not encrypted: there is nothing to recrypt")
    if config.keys:
        await vm_keys.bring_keys(host, config.keys, subject=config.vm, ask=False)
    async with host.node.turn(queue_of(message.source)):
        source = host.vms.get(message.source)
        if source is not None and source.guest is not None:  # its running guest holds the lock
            return await _read_without_guest(host, message), True
        async with hold_lock(host.datastore, message.source):
            return await _read_without_guest(host, message), False


async def _read_without_guest(host: EsxiHost, message: HostCloneVm) -> _Source:
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
    """Steps 3 to 6: write all files, the configuration last."""
    source, name, now = of.config, message.vm, host.archive.now
    host.archive.change(cloning=(*_without(now.cloning, name), name))
    await host.archive.save(ConfigurationSection.VMS)
    await write_file(host.datastore, name, CLONING_FILE, host.node.name.encode())
    keks = {key: usable_kek(host, source.vm, key) for key in source.keys}
    made, keys = clone_config(source, of.opened, message.vm, keks, host.rng)
    if message.recrypt:
        made, keys = await _rewrap_clone(host, message, made, keys)
    await write_disks(host.datastore, made, keys, of.disks)
    made = await _add_vtpm(host, of, made, keys.home)
    await write_power(host.datastore, made.vm, host.power_record(PowerState.OFF))
    made = msgspec.structs.replace(made, template=message.template)
    now = host.archive.now
    host.archive.change(vms=(*_without(now.vms, name), name), cloning=_without(now.cloning, name))
    await host.archive.save(ConfigurationSection.VMS)
    await write_config(host.datastore, made)
    await write_file(host.datastore, name, CLONING_FILE, b"")
    return made


def _without(names: tuple[VmName, ...], name: VmName) -> tuple[VmName, ...]:
    return tuple(other for other in names if other != name)


async def _rewrap_clone(
    host: EsxiHost, message: HostCloneVm, made: VmConfig, keys: VmKeys
) -> tuple[VmConfig, VmKeys]:
    """The same VM with new DEKs for its home and each encrypted disk, all under the new key."""
    key = message.key or await vm_keys.new_key(host, message.provider or ProviderId(""))
    encrypted = [disk.key for disk in made.disks if disk.dek is not None]
    clear, kek = decrypt_config(made, keys), usable_kek(host, made.vm, key)
    return encrypt_config(clear, key, kek, host.rng, encrypted)


async def _add_vtpm(
    host: EsxiHost, of: _Source, made: VmConfig, home: KeyMaterial | None
) -> VmConfig:
    """VTPM-07. A copied virtual TPM has the seeds, the endorsement key and the certificate of its
    source; a replaced one has none of them."""
    device, state = of.config.vtpm, of.vtpm
    if device is None or home is None:
        return made
    if state is not None:
        device = VtpmDevice(device.ek, device.certificate)
    else:
        tpms = host.virtual_tpms
        new = await tpms.manufacture()
        state, ek = await tpms.run_command(new, "vtpm.endorse", vtpm.endorsement_key)
        device = VtpmDevice(ek)
    data = encrypt_nvram(made.vm, device.ek, state, 1, home, host.rng)
    await write_file(host.datastore, made.vm, nvram_file(made.vm), data)
    return msgspec.structs.replace(made, vtpm=device)


async def _remove_clone(host: EsxiHost, name: VmName) -> None:
    """Remove folder and registration. What the disk refuses is removed by the next boot."""
    try:
        await host.datastore.remove(name)
    except OSError as error:
        host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))
        return
    await _forget_clone(host, name)


async def _forget_clone(host: EsxiHost, name: VmName) -> None:
    now = host.archive.now
    host.archive.change(vms=_without(now.vms, name), cloning=_without(now.cloning, name))
    await host.archive.save(ConfigurationSection.VMS)


async def remove_unfinished_clones(host: EsxiHost) -> None:
    """At boot: remove clones that were being made when this host failed."""
    for name in host.archive.now.cloning:
        if not await remove_unfinished_clone(host, name):
            await _forget_clone(host, name)  # a VM of that name was created since


async def remove_unfinished_clone(host: EsxiHost, name: VmName) -> bool:
    """At boot: whether this host was making this clone when it failed; then its remains are
    removed. A VM that another host uses, or has made, is left alone."""
    try:
        async with hold_lock(host.datastore, name):
            files = await host.datastore.files(name)
            if vmx_file(name) in files or not await _is_unfinished(host, name, files):
                return False
            await _remove_clone(host, name)
    except (DatastoreFault, OSError) as error:
        host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))
        return False
    host.node.record("vm.clone_given_up", level="warning", vm=name)
    return True


async def _is_unfinished(host: EsxiHost, name: VmName, files: tuple[str, ...]) -> bool:
    if CLONING_FILE not in files:
        return not files and name in host.archive.now.cloning
    return await host.datastore.read(name, CLONING_FILE) == host.node.name.encode()


async def mark_template(host: EsxiHost, name: VmName, *, template: bool) -> RegisteredVm:
    """See ``HostMarkTemplate``; a repeat changes nothing. No keys are needed: nothing is opened."""
    vm = host.require_powered_off(name, "power it off to make a template of it")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.template != template:
            config = msgspec.structs.replace(config, template=template)
            await write_config(host.datastore, config)
            host.node.record("vm.template", vm=name, template=template)
        vm.config, vm.problem = config, ""
    return vm
