"""Reconfiguring a VM at its host: encryption (new DEKs, data rewritten), disks added and removed, a
virtual TPM added, certified and removed, and other keys (shallow or deep recrypt, decryption).
Apart from a shallow recrypt, the VM is powered off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from protocol.crypto.disk import DEK_SIZE
from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ResourceInUse,
)
from protocol.messages.host.vms import DISKS_LIMIT, HostAddDisk, HostRecryptVm
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, ProviderId, VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import vm_keys
from services.esxi.vms import vtpm
from services.esxi.vms.file_formats import (
    EFI,
    FIRST_DISK,
    DiskConfig,
    VmConfig,
    VmKeys,
    VtpmDevice,
    check_size,
    decrypt_config,
    encrypt_config,
    encrypt_nvram,
    nvram_file,
    open_home,
    open_seed,
    rewrap_config,
    with_clear_home,
    with_encrypted_disks,
    with_encrypted_home,
    with_new_deks,
    with_new_files,
    wrap_dek,
)
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    read_config,
    write_config,
    write_file,
)
from services.esxi.vms.guest import decrypt_blocks, disk_image, fresh_blocks, split_image
from services.esxi.vms.power import unwrap_deks
from services.esxi.vms.snapshots import check_no_snapshots
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vtpm import read_state
from services.runtime.ports import Datastore


async def encrypt_vm(
    host: EsxiHost, name: VmName, key: CryptoKeyId | None, provider: ProviderId | None = None
) -> RegisteredVm:
    """Encrypt the VM ``name`` under ``key``; no change when it is encrypted under it already.

    ``key`` None: the host makes a key of ``provider`` (KEY-02), and a VM that is encrypted under a
    key of it stays unchanged; ``NotAvailable`` when that provider's keys are not made on hosts.
    ``EncryptionKeyRequired`` when this host cannot use the key, ``InvalidState`` when it is not
    safe or the VM has another key, ``InvalidPowerState`` while it runs.
    """
    vm = host.require_vm(name)
    if key is None and provider is None:
        raise InvalidArgument("key, provider: one of them must be named")
    if vm.guest is not None:
        raise InvalidPowerState(f"{name} is running: it is encrypted while powered off")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        clear = config.encrypted and any(disk.dek is None for disk in config.disks)
        if clear and config.home is not None and config.home.key == key:
            check_no_snapshots(config, "encrypt its disks")
            config = await _encrypt_disks(host, config, config.home.key)
        if config.encrypted and not _is_under(config, key, provider):
            raise InvalidState(f"{name} is encrypted with {config.keys[0]} already")
        if not config.encrypted:
            check_no_snapshots(config, "encrypt it")
            key = key or await vm_keys.new_key(host, provider or ProviderId(""))
            config = await _rewrite_disks_encrypted(host, config, key)
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    host.node.record("vm.encrypted", vm=name, key=str(config.keys[0]))
    return vm


async def _encrypt_disks(host: EsxiHost, config: VmConfig, key: CryptoKeyId) -> VmConfig:
    """Encrypt the clear disks of a VM with an encrypted home, under the key of the home
    (KEY-04)."""
    await _unwrap_home(host, config)
    kek = usable_kek(host, config.vm, key)
    there = [disk.file for disk in config.disks if disk.dek is not None]
    made, keys = with_encrypted_disks(config, key, kek, host.rng)
    clear = [
        await read_disk(host.datastore, config, disk) if disk.dek is None else []
        for disk in config.disks
    ]
    await write_disks(host.datastore, made, keys, clear, there)
    await write_config(host.datastore, made)
    return made


def _is_under(config: VmConfig, key: CryptoKeyId | None, provider: ProviderId | None) -> bool:
    if key is not None:
        return config.home is not None and config.home.key == key
    return all(of.provider_id == provider for of in config.keys)


async def _rewrite_disks_encrypted(host: EsxiHost, config: VmConfig, key: CryptoKeyId) -> VmConfig:
    clear = [await read_disk(host.datastore, config, disk) for disk in config.disks]
    made, keys = encrypt_config(config, key, usable_kek(host, config.vm, key), host.rng)
    await write_disks(host.datastore, made, keys, clear)
    await write_config(host.datastore, made)
    return made


async def read_disk(datastore: Datastore, config: VmConfig, disk: DiskConfig) -> list[bytes]:
    """A disk's blocks as stored on the datastore; ``DatastoreFault`` when they cannot be read."""
    try:
        image = await datastore.read(config.vm, disk.file)
    except OSError as error:
        raise DatastoreFault(f"{config.vm}: {disk.file}: {error.strerror or error}") from None
    return split_image(image, config.vm, disk)


async def write_disks(
    datastore: Datastore,
    config: VmConfig,
    keys: VmKeys,
    clear: Sequence[Sequence[bytes]],
    there: Collection[str] = (),
) -> None:
    """Write all disk files of ``config``, except those in ``there``, with these blocks under its
    DEKs; durable on return."""
    for disk, dek, blocks in zip(config.disks, keys.deks, clear, strict=True):
        if disk.file not in there:
            await write_file(datastore, config.vm, disk.file, disk_image(dek, blocks))


def usable_kek(host: EsxiHost, vm: VmName, key: CryptoKeyId) -> KeyMaterial:
    """The KEK under which this host may encrypt ``vm``.

    ``InvalidArgument`` for a reference without a key id (SC-39); ``EncryptionKeyRequired`` when the
    key is not cached, ``InvalidState`` when the host is not safe.
    """
    if not key.key_id:
        text = f"{vm}: the reference to {key.provider_id} has no key id (invalid metadata)"
        raise InvalidArgument(text)
    kek = host.keys.get(key)
    if kek is None:
        raise EncryptionKeyRequired(f"{vm}: a key is not on this host", (key,))
    if host.mode is not HostCryptoState.SAFE:
        raise InvalidState(f"{host.node.name} is {host.mode.value}, not safe")
    return kek


async def add_disk(host: EsxiHost, message: HostAddDisk) -> RegisteredVm:
    """See ``HostAddDisk``; no change when that operation has added its disk already."""
    vm = host.require_powered_off(message.vm, "its disks are changed while powered off")
    check_size(message.blocks)
    async with hold_lock(host.datastore, vm.name):
        config = await read_config(host.datastore, vm.name)
        if all(disk.operation != message.operation_id for disk in config.disks):
            config = await _write_disk(host, config, message)
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    return vm


async def _write_disk(host: EsxiHost, config: VmConfig, message: HostAddDisk) -> VmConfig:
    check_no_snapshots(config, "add a disk")
    if len(config.disks) >= DISKS_LIMIT:
        raise ResourceInUse(f"{config.vm} has {DISKS_LIMIT} disks")
    if config.home is None and (message.key, message.provider) != (None, None):
        raise InvalidState(f"{config.vm} is not encrypted: a disk of it cannot be")
    home = None if config.home is None else await _unwrap_home(host, config)
    disk = DiskConfig(
        key=max((there.key for there in config.disks), default=FIRST_DISK - 1) + 1,
        blocks=message.blocks,
        serial=config.serial + 1,
        operation=message.operation_id,
    )
    dek = None
    if config.home is not None:
        key = message.key or config.home.key
        if message.key is None and message.provider is not None:
            key = await vm_keys.new_key(host, message.provider)
        dek, kek = KeyMaterial(host.rng.token(DEK_SIZE)), usable_kek(host, config.vm, key)
        wrapped = wrap_dek(config.vm, disk.key, dek, key, kek, host.rng)
        disk = msgspec.structs.replace(disk, dek=wrapped)
    made = msgspec.structs.replace(config, serial=disk.serial, disks=(*config.disks, disk))
    image = disk_image(dek, fresh_blocks(disk, open_seed(config, home)))
    try:
        await write_file(host.datastore, config.vm, disk.file, image)
        await write_config(host.datastore, made)
    except DatastoreFault:
        await empty_unused_files(host.datastore, await read_config(host.datastore, config.vm))
        raise
    told = None if disk.dek is None else str(disk.dek.key)
    host.node.record("vm.disk_added", vm=config.vm, disk=disk.label, key=told)
    return made


async def remove_disk(host: EsxiHost, name: VmName, number: int) -> RegisteredVm:
    """See ``HostRemoveDisk``; no change when the VM has no disk of that number."""
    vm = host.require_powered_off(name, "its disks are changed while powered off")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        left = tuple(disk for disk in config.disks if disk.number != number)
        if len(left) != len(config.disks):
            if not left:
                raise InvalidState(f"Hard disk {number} is the only one of {name}")
            check_no_snapshots(config, "remove a disk")
            if config.home is not None:
                await _unwrap_home(host, config)
            config = msgspec.structs.replace(config, disks=left)
            await write_config(host.datastore, config)
            host.node.record("vm.disk_removed", vm=name, disk=f"Hard disk {number}")
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    return vm


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
        key = key or await vm_keys.new_key(host, provider or ProviderId(""))
        config, home = with_encrypted_home(config, key, usable_kek(host, config.vm, key), host.rng)
    else:
        home = await _unwrap_home(host, config)
    tpms = host.virtual_tpms
    state, ek = await tpms.run_command(
        await tpms.manufacture(), "vtpm.endorse", vtpm.endorsement_key
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
    """The DEK of the VM's home, without which its configuration is not changed (LOCK-02). A host
    that gets its keys by itself fetches the one it lacks."""
    if config.home is None:
        raise InvalidState(f"{config.vm}: its home is not encrypted")
    key = config.home.key
    await vm_keys.bring_keys(host, (key,), subject=config.vm, ask=False)
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


async def recrypt_vm(host: EsxiHost, message: HostRecryptVm) -> RegisteredVm:
    """See ``HostRecryptVm``. ``EncryptionKeyRequired`` names keys that are not here (REK-05)."""
    vm = host.require_vm(message.vm)
    if message.deep and vm.guest is not None:
        raise InvalidPowerState(f"{vm.name} is running: its data is rewritten while powered off")
    if vm.guest is not None:  # the guest's run holds the lock
        await _recrypt_locked(host, vm, message)
    else:
        async with hold_lock(host.datastore, vm.name):
            await _recrypt_locked(host, vm, message)
    return vm


async def _recrypt_locked(host: EsxiHost, vm: RegisteredVm, message: HostRecryptVm) -> None:
    config = await read_config(host.datastore, vm.name)
    if not config.encrypted:
        raise InvalidState(f"{vm.name} is not encrypted")
    only = None if message.disk is None else _require_encrypted_disk(config, message.disk).key
    if config.keys != message.old:
        if not _is_done(config, message):
            now, then = config.keys[0], message.old[0]
            raise InvalidState(f"{vm.name} is under {now}, not under {then}")
        _use_config(vm, config)
        await empty_unused_files(host.datastore, config)
        return
    if message.deep:
        check_no_snapshots(config, "recrypt it deeply")
    opened = await _find_and_unwrap_deks(host, config)
    key = message.key or await vm_keys.new_key(host, message.provider)
    kek = usable_kek(host, vm.name, key)
    if message.deep:
        config = await _rewrite_disks(host, config, opened, under=key, only=only)
    else:
        disks = None if only is None else (only,)
        config = rewrap_config(config, opened, key, kek, host.rng, disks)
        await write_config(host.datastore, config)
    _use_config(vm, config)
    if message.deep:
        await empty_unused_files(host.datastore, config)
    host.node.record(
        "vm.recrypted",
        vm=vm.name,
        key=str(key),
        old=[str(each) for each in message.old],
        deep=message.deep,
        disk=message.disk,
    )


def _require_encrypted_disk(config: VmConfig, number: int) -> DiskConfig:
    disk = config.disk(number)
    if disk.dek is None:
        raise InvalidState(f"{disk.label} of {config.vm} is not encrypted")
    return disk


def _is_done(config: VmConfig, message: HostRecryptVm) -> bool:
    """Whether the keys, which have changed, are the ones that this task sets."""
    keys = config.keys
    if message.disk is not None:
        dek = config.disk(message.disk).dek
        keys = () if dek is None else (dek.key,)
    if message.key is not None:
        return keys == (message.key,)
    return all(key.provider_id == message.provider for key in keys)


async def decrypt_vm(host: EsxiHost, name: VmName) -> RegisteredVm:
    """Decrypt a powered-off VM; no change when it is not encrypted.

    ``EncryptionKeyRequired`` when a key of it is not here. ``InvalidState`` for a VM with a virtual
    TPM, whose home must stay encrypted (VTPM-02).
    """
    vm = host.require_powered_off(name, "it is decrypted while powered off")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.vtpm is not None:
            raise InvalidState(f"{name} has a virtual TPM: remove that first")
        if config.encrypted:
            check_no_snapshots(config, "decrypt it")
            config = await _rewrite_disks(
                host, config, await _find_and_unwrap_deks(host, config), under=None
            )
            host.node.record("vm.decrypted", vm=name)
        _use_config(vm, config)
        await empty_unused_files(host.datastore, config)
    return vm


async def _find_and_unwrap_deks(host: EsxiHost, config: VmConfig) -> VmKeys:
    """The VM's DEKs, its keys looked for by every means of this host alone."""
    await vm_keys.bring_keys(host, config.keys, subject=config.vm, ask=False)
    return unwrap_deks(host, config)


async def _rewrite_disks(
    host: EsxiHost,
    config: VmConfig,
    opened: VmKeys,
    *,
    under: CryptoKeyId | None,
    only: int | None = None,
) -> VmConfig:
    """Write its encrypted disks as new files, under new DEKs or in clear, and then the
    configuration. ``only``: the device key of the one disk to rewrite; the home stays unchanged
    then.

    ``DatastoreFault`` when there is no room for two files of each disk: the old ones stay in force,
    and the written new ones are emptied.
    """
    rewritten = [d.key for d in config.disks if d.dek is not None and only in (None, d.key)]
    plain = [
        decrypt_blocks(dek, await read_disk(host.datastore, config, disk))
        if disk.key in rewritten
        else []
        for disk, dek in zip(config.disks, opened.deks, strict=True)
    ]
    there: tuple[str, ...] = tuple(d.file for d in config.disks if d.key not in rewritten)
    kek = None if under is None else usable_kek(host, config.vm, under)
    if under is None or kek is None:
        made = with_new_files(decrypt_config(config, opened), rewritten)
        keys = VmKeys((None,) * len(plain), b"")
    elif only is not None:
        made, keys = with_new_deks(config, under, kek, host.rng, rewritten)
    else:
        clear = decrypt_config(config, opened)
        made, keys = encrypt_config(clear, under, kek, host.rng, rewritten)
    try:
        if only is None:
            made = await move_vtpm(host, made, opened.home, keys.home)
        await write_disks(host.datastore, made, keys, plain, there)
        await write_config(host.datastore, made)
    except DatastoreFault:
        await empty_unused_files(host.datastore, await read_config(host.datastore, config.vm))
        raise
    return made


def _use_config(vm: RegisteredVm, config: VmConfig) -> None:
    vm.config, vm.problem = config, ""
    if vm.guest is not None:
        vm.guest.config = config
