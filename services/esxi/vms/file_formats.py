"""The content of a VM's files on the datastore: its configuration (``.vmx``), the state of its
virtual TPM (``.nvram``), the memory of a snapshot (``.vmem``), and its last accepted power
command with its owner (``power``). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.disk import DEK_SIZE
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.errors import CryptographicFailure, InvalidArgument, NotFound
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, PowerState, VmName
from services.runtime.ports import Rng
from services.runtime.virtual_tpm import VirtualTpmState


class PowerRecord(msgspec.Struct, frozen=True):
    """The last accepted power command. ``owner``: the host that accepted it, or to which the VM has
    moved since; None in a file of a release that did not record it. ``epoch``: that of the owner's
    HA; empty when HA was off."""

    wanted: PowerState
    owner: NodeName | None = None
    epoch: str = ""


def encode_power(record: PowerRecord) -> bytes:
    """The content of the file."""
    mark = "" if record.owner is None else f" {record.owner} {record.epoch}"
    return f"{record.wanted.value}{mark}".encode()


def decode_power(body: bytes) -> PowerRecord:
    """The record in a file; ``ValueError`` for anything else."""
    wanted, *mark = body.decode().split(" ")
    if not mark:
        return PowerRecord(PowerState(wanted))
    owner, epoch = mark
    return PowerRecord(PowerState(wanted), NodeName(owner), epoch)


_MAGIC: Final = b"KSNVRAM1"
_NUMBER: Final = 8
_HEAD: Final = len(_MAGIC) + _NUMBER


def nvram_file(vm: VmName, serial: int = 1) -> str:
    """The name of the file that holds the state of that VM's vTPM."""
    return f"{vm}.nvram" if serial == 1 else f"{vm}-{serial}.nvram"


def encrypt_nvram(
    vm: VmName, ek: bytes, state: VirtualTpmState, number: int, home: KeyMaterial, rng: Rng
) -> bytes:
    """The file with this state and save ``number``. A TPM with power loses it: only NV is kept."""
    nonce = rng.token(NONCE_SIZE)
    box = AESGCM(home.reveal()).encrypt(nonce, state.nv, _nvram_aad(vm, ek, number))
    return _MAGIC + number.to_bytes(_NUMBER, "big") + nonce + box


def decrypt_nvram(
    vm: VmName, ek: bytes, data: bytes, home: KeyMaterial
) -> tuple[VirtualTpmState, int]:
    """The state, without power, and the number of its save.

    ``CryptographicFailure`` for a file of another VM, vTPM or key, or an altered or truncated one.
    """
    if not data.startswith(_MAGIC) or len(data) < _HEAD + NONCE_SIZE:
        raise CryptographicFailure(f"{nvram_file(vm)} holds no state of a virtual TPM")
    number = int.from_bytes(data[len(_MAGIC) : _HEAD], "big")
    nonce, box = data[_HEAD : _HEAD + NONCE_SIZE], data[_HEAD + NONCE_SIZE :]
    try:
        nv = AESGCM(home.reveal()).decrypt(nonce, box, _nvram_aad(vm, ek, number))
    except InvalidTag:
        raise CryptographicFailure(f"{nvram_file(vm)} does not open") from None
    return VirtualTpmState(nv), number


def _nvram_aad(vm: VmName, ek: bytes, number: int) -> bytes:
    return b"|".join((b"keystead vtpm", vm.encode(), str(number).encode(), ek))


SUFFIX: Final = ".vmem"
_SEALED: Final = b"KSVMEM1S"
_CLEAR: Final = b"KSVMEM1C"
_DIGEST: Final = 32


def vmem_file(vm: VmName, number: int) -> str:
    """The name of the file that holds the memory of that number."""
    return f"{vm}-Snapshot{number}{SUFFIX}"


def pack_vmem(
    vm: VmName, snapshot: str, number: int, memory: bytes, home: KeyMaterial | None, rng: Rng
) -> bytes:
    """The file with this memory; ``home`` is None on a VM in clear."""
    bound = _vmem_aad(vm, snapshot, number)
    if home is None:
        return _CLEAR + hashlib.sha256(bound + memory).digest() + memory
    nonce = rng.token(NONCE_SIZE)
    return _SEALED + nonce + AESGCM(home.reveal()).encrypt(nonce, memory, bound)


def unpack_vmem(
    vm: VmName, snapshot: str, number: int, data: bytes, home: KeyMaterial | None
) -> bytes:
    """The memory in the file; ``CryptographicFailure`` for every other file."""
    bound, file = _vmem_aad(vm, snapshot, number), vmem_file(vm, number)
    magic = _CLEAR if home is None else _SEALED
    if not data.startswith(magic):
        raise CryptographicFailure(f"{file} does not hold the memory of {vm}")
    rest = data[len(magic) :]
    if home is None:
        digest, memory = rest[:_DIGEST], rest[_DIGEST:]
        if digest != hashlib.sha256(bound + memory).digest():
            raise CryptographicFailure(f"{file} is not as it was written")
        return memory
    nonce, box = rest[:NONCE_SIZE], rest[NONCE_SIZE:]
    try:
        return AESGCM(home.reveal()).decrypt(nonce, box, bound)
    except (InvalidTag, ValueError):
        raise CryptographicFailure(f"{file} does not open") from None


def _vmem_aad(vm: VmName, snapshot: str, number: int) -> bytes:
    return f"keystead vmem|{vm}|{snapshot}|{number}|".encode()


POWER_FILE: Final = "power"
CLONING_FILE: Final = "cloning"
FIRST_DISK: Final = 2000
"""Device key of "Hard disk 1" (vim25 VirtualDevice.key)."""
BLOCKS_LIMIT: Final = 16384
EFI: Final = "efi"
BIOS: Final = "bios"
HARDWARE: Final = 21
"""The virtual hardware version of 8.0 U2 and later, which new VMs have."""
_HARDWARE_LIMITS: Final = (4, HARDWARE)
_HOME_DEK_SIZE: Final = 32
_SEED_SIZE: Final = 32


class WrappedDek(msgspec.Struct, frozen=True):
    """A DEK as stored with its object: wrapped under the key ``key``, with a tag."""

    key: CryptoKeyId
    wrapped: bytes


class VtpmDevice(msgspec.Struct, frozen=True):
    """A VM's virtual TPM: the public area of its endorsement key, and the certificate (DER) for it,
    empty when there is none. Its state is in ``<vm>.nvram`` or, after the home got its
    ``serial``-th DEK, in a file with that number."""

    ek: bytes
    certificate: bytes = b""
    serial: int = 1


class MigrationOffer(msgspec.Struct, frozen=True):
    """The host that ran the VM has released it, for ``target`` to resume it."""

    migration: str
    target: NodeName


class DiskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual disk. ``key`` is its device key: 2000 for the first, 2001 for the second.

    ``blocks`` of 4,096 bytes each, ``serial`` names its file, ``dek`` is None on a disk in clear. A
    disk may be under another key than its VM's home (KEY-04). ``operation`` added it.
    """

    key: int = FIRST_DISK
    blocks: int
    serial: int = 1
    dek: WrappedDek | None = None
    operation: str = ""

    @property
    def number(self) -> int:
        """1 for the first: the N of "Hard disk N"."""
        return self.key - FIRST_DISK + 1

    @property
    def label(self) -> str:
        """As people see it, "Hard disk 1"."""
        return f"Hard disk {self.number}"

    @property
    def file(self) -> str:
        """The name of its file in force, in the VM's folder."""
        return disk_file(self.serial)


class VmSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier state of a VM: copies of its files, under the VM's present DEKs.

    ``serials``: of the disk files, in the order of the VM's disks, which cannot be added or removed
    while there is a snapshot. ``vtpm``: the serial of the state of its virtual TPM, 0 without.
    ``memory``: the number of the file with the guest's memory, 0 without.
    """

    name: str
    serials: tuple[int, ...]
    vtpm: int = 0
    memory: int = 0


class VmConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of ``<vm>.vmx``. ``home`` and each disk's DEK are None on an unencrypted VM.

    ``nvram`` is the guest's seed of 32 bytes, under the home DEK when encrypted. ``serial`` is the
    last number of a disk file: a rewritten disk is another file. ``offer``: a migration is being
    switched over; the next host that takes the VM's lock decides its outcome and removes it.
    ``memories``: the last number of a memory file; none is used twice.
    """

    vm: VmName
    disks: tuple[DiskConfig, ...]
    serial: int = 1
    nvram: bytes = b""
    home: WrappedDek | None = None
    offer: MigrationOffer | None = None
    vtpm: VtpmDevice | None = None
    firmware: str = EFI
    hardware: int = HARDWARE
    snapshots: tuple[VmSnapshot, ...] = ()
    template: bool = False
    memories: int = 0

    @property
    def encrypted(self) -> bool:
        """Whether the home is encrypted; its disks may be encrypted or not."""
        return self.home is not None

    @property
    def keys(self) -> tuple[CryptoKeyId, ...]:
        """Ids of all keys needed to power on, the home's first, each once."""
        wrapped = (self.home, *(disk.dek for disk in self.disks))
        return tuple(dict.fromkeys(one.key for one in wrapped if one is not None))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the disk files that it needs: those in force, and those of snapshots."""
        kept = (serial for one in self.snapshots for serial in one.serials)
        return (*(disk.file for disk in self.disks), *map(disk_file, kept))

    def disk(self, number: int) -> DiskConfig:
        """ "Hard disk ``number``"; ``NotFound`` when the VM has no disk of that number."""
        for disk in self.disks:
            if disk.number == number:
                return disk
        raise NotFound(f"{self.vm} has no Hard disk {number}")


@dataclass(frozen=True)
class VmKeys:
    """An opened VM: the DEK of each disk in order (None: clear), the seed, and the home's DEK."""

    deks: tuple[KeyMaterial | None, ...]
    seed: bytes
    home: KeyMaterial | None = None


def disk_file(serial: int) -> str:
    """The name of the disk file of that number."""
    return f"disk-{serial}.vmdk"


def vmx_file(vm: VmName) -> str:
    """The name of the configuration file of that VM."""
    return f"{vm}.vmx"


def new_config(
    vm: VmName, blocks: int, rng: Rng, firmware: str = EFI, hardware: int = HARDWARE
) -> VmConfig:
    """An unencrypted VM of one disk; ``InvalidArgument`` for an invalid disk size, firmware or
    hardware version."""
    if firmware not in (EFI, BIOS):
        raise InvalidArgument(f"firmware: {firmware} is neither {EFI} nor {BIOS}")
    least, most = _HARDWARE_LIMITS
    if not least <= hardware <= most:
        raise InvalidArgument(f"hardware version: {hardware} is not within {least}..{most}")
    check_size(blocks)
    disks, seed = (DiskConfig(blocks=blocks),), rng.token(_SEED_SIZE)
    return VmConfig(vm=vm, disks=disks, nvram=seed, firmware=firmware, hardware=hardware)


def check_size(blocks: int) -> None:
    """``InvalidArgument`` for a disk size out of range."""
    if not 1 <= blocks <= BLOCKS_LIMIT:
        raise InvalidArgument(f"blocks: {blocks} is not within 1..{BLOCKS_LIMIT}")


def encrypt_config(
    config: VmConfig,
    key: CryptoKeyId,
    kek: KeyMaterial,
    rng: Rng,
    only: Collection[int] | None = None,
) -> tuple[VmConfig, VmKeys]:
    """The same VM with new DEKs under ``kek`` and its next disk files; and the opened keys.

    ``only``: the device keys of the disks to encrypt; the others stay in clear.
    """
    home = KeyMaterial(rng.token(_HOME_DEK_SIZE))
    seed, serial = config.nvram, config.serial
    disks: list[DiskConfig] = []
    deks: list[KeyMaterial | None] = []
    for disk in config.disks:
        if only is not None and disk.key not in only:
            disks.append(disk)
            deks.append(None)
            continue
        serial, dek = serial + 1, KeyMaterial(rng.token(DEK_SIZE))
        wrapped = wrap_dek(config.vm, disk.key, dek, key, kek, rng)
        disks.append(msgspec.structs.replace(disk, serial=serial, dek=wrapped))
        deks.append(dek)
    made = msgspec.structs.replace(
        config,
        offer=None,
        serial=serial,
        nvram=wrap(home, KeyMaterial(seed), _aad(config.vm, "nvram"), rng.token(NONCE_SIZE)),
        home=wrap_home(config.vm, home, key, kek, rng),
        disks=tuple(disks),
    )
    return made, VmKeys(tuple(deks), seed, home)


def with_encrypted_disks(
    config: VmConfig, key: CryptoKeyId, kek: KeyMaterial, rng: Rng
) -> tuple[VmConfig, VmKeys]:
    """The same VM, whose home is encrypted, with its clear disks encrypted under ``kek`` in their
    next files. Returns the new DEKs too, None for disks that stay unchanged."""
    clear = [disk.key for disk in config.disks if disk.dek is None]
    return with_new_deks(config, key, kek, rng, clear)


def with_new_deks(
    config: VmConfig, key: CryptoKeyId, kek: KeyMaterial, rng: Rng, only: Collection[int]
) -> tuple[VmConfig, VmKeys]:
    """The same VM with new DEKs under ``kek`` for these disks, in their next files. Returns the new
    DEKs too, None for disks that stay unchanged."""
    serial, disks = config.serial, []
    deks: list[KeyMaterial | None] = []
    for disk in config.disks:
        dek = None
        if disk.key in only:
            serial, dek = serial + 1, KeyMaterial(rng.token(DEK_SIZE))
            wrapped = wrap_dek(config.vm, disk.key, dek, key, kek, rng)
            disk = msgspec.structs.replace(disk, serial=serial, dek=wrapped)
        disks.append(disk)
        deks.append(dek)
    made = msgspec.structs.replace(config, serial=serial, disks=tuple(disks))
    return made, VmKeys(tuple(deks), b"")


def rewrap_config(
    config: VmConfig,
    opened: VmKeys,
    key: CryptoKeyId,
    kek: KeyMaterial,
    rng: Rng,
    only: Collection[int] | None = None,
) -> VmConfig:
    """The same VM with its DEKs rewrapped under ``kek`` (CryptoSpecShallowRecrypt).

    ``only``: the device keys of the disks whose DEKs are rewrapped; the home's is not then.
    """
    home = config.home
    if only is None:
        if opened.home is None:
            raise ValueError(f"{config.vm} is not encrypted")
        home = wrap_home(config.vm, opened.home, key, kek, rng)
    disks = tuple(
        disk
        if dek is None or (only is not None and disk.key not in only)
        else msgspec.structs.replace(disk, dek=wrap_dek(config.vm, disk.key, dek, key, kek, rng))
        for disk, dek in zip(config.disks, opened.deks, strict=True)
    )
    return msgspec.structs.replace(config, home=home, disks=disks)


def decrypt_config(config: VmConfig, opened: VmKeys) -> VmConfig:
    """The same VM without encryption; its configuration still names the present disk files."""
    disks = tuple(msgspec.structs.replace(disk, dek=None) for disk in config.disks)
    return msgspec.structs.replace(config, nvram=opened.seed, home=None, disks=disks, offer=None)


def clone_config(
    config: VmConfig,
    opened: VmKeys,
    vm: VmName,
    keks: Mapping[CryptoKeyId, KeyMaterial],
    rng: Rng,
) -> tuple[VmConfig, VmKeys]:
    """The same VM under another name, with the same keys (CLN-01): its disks keep their DEKs, its
    home gets a new one. It has no snapshots, and no virtual TPM yet."""
    home, nvram, wrapped = None, opened.seed, None
    if config.home is not None:
        home = KeyMaterial(rng.token(_HOME_DEK_SIZE))
        nvram = wrap(home, KeyMaterial(opened.seed), _aad(vm, "nvram"), rng.token(NONCE_SIZE))
        wrapped = wrap_home(vm, home, config.home.key, keks[config.home.key], rng)
    disks = tuple(
        msgspec.structs.replace(disk, operation="")
        if disk.dek is None or dek is None
        else msgspec.structs.replace(
            disk,
            operation="",
            dek=wrap_dek(vm, disk.key, dek, disk.dek.key, keks[disk.dek.key], rng),
        )
        for disk, dek in zip(config.disks, opened.deks, strict=True)
    )
    made = VmConfig(
        vm=vm,
        disks=disks,
        serial=config.serial,
        nvram=nvram,
        home=wrapped,
        firmware=config.firmware,
        hardware=config.hardware,
    )
    return made, VmKeys(opened.deks, opened.seed, home)


def with_new_files(config: VmConfig, only: Collection[int]) -> VmConfig:
    """The same VM with these disks in their next files."""
    serial, disks = config.serial, []
    for disk in config.disks:
        if disk.key in only:
            serial += 1
            disk = msgspec.structs.replace(disk, serial=serial)
        disks.append(disk)
    return msgspec.structs.replace(config, serial=serial, disks=tuple(disks))


def wrap_home(
    vm: VmName, home: KeyMaterial, key: CryptoKeyId, kek: KeyMaterial, rng: Rng
) -> WrappedDek:
    """The home's DEK wrapped under ``kek``."""
    return WrappedDek(key, wrap(kek, home, _aad(vm, "home"), rng.token(NONCE_SIZE)))


def wrap_dek(
    vm: VmName, disk: int, dek: KeyMaterial, key: CryptoKeyId, kek: KeyMaterial, rng: Rng
) -> WrappedDek:
    """The DEK of the disk with that device key, wrapped under ``kek``."""
    return WrappedDek(key, wrap(kek, dek, _aad(vm, f"disk/{disk}"), rng.token(NONCE_SIZE)))


def with_encrypted_home(
    config: VmConfig, key: CryptoKeyId, kek: KeyMaterial, rng: Rng
) -> tuple[VmConfig, KeyMaterial]:
    """The same VM with only its home encrypted under ``kek`` (VTPM-02), and the home's DEK."""
    made, opened = encrypt_config(config, key, kek, rng, only=())
    if opened.home is None:
        raise ValueError(f"{config.vm}: its home was not encrypted")
    return made, opened.home


def with_clear_home(config: VmConfig, home: KeyMaterial) -> VmConfig:
    """The same VM with its home decrypted (VTPM-03)."""
    return msgspec.structs.replace(config, nvram=open_seed(config, home), home=None)


def open_vm(config: VmConfig, keks: Mapping[CryptoKeyId, KeyMaterial]) -> VmKeys:
    """Unwrap the DEKs of an encrypted VM; ``CryptographicFailure`` when a tag is wrong.

    ``keks`` has every key of ``config.keys``. An unencrypted disk has no DEK.
    """
    home = open_home(config, keks)
    seed = open_seed(config, home)
    return VmKeys(tuple(open_disk(config, disk, keks) for disk in config.disks), seed, home)


def open_home(config: VmConfig, keks: Mapping[CryptoKeyId, KeyMaterial]) -> KeyMaterial:
    """The home's DEK; ``CryptographicFailure`` when its tag is wrong."""
    if config.home is None:
        raise ValueError(f"{config.vm} is not encrypted")
    return unwrap(keks[config.home.key], config.home.wrapped, _aad(config.vm, "home"))


def open_seed(config: VmConfig, home: KeyMaterial | None) -> bytes:
    """The guest's seed; ``home`` is None on a VM whose home is in clear."""
    if home is None:
        return config.nvram
    return unwrap(home, config.nvram, _aad(config.vm, "nvram")).reveal()


def open_disk(
    config: VmConfig, disk: DiskConfig, keks: Mapping[CryptoKeyId, KeyMaterial]
) -> KeyMaterial | None:
    """A disk's DEK, None for one in clear; ``CryptographicFailure`` when its tag is wrong."""
    if disk.dek is None:
        return None
    return unwrap(keks[disk.dek.key], disk.dek.wrapped, _aad(config.vm, f"disk/{disk.key}"))


def _aad(vm: VmName, use: str) -> bytes:
    """Binds a wrapped key to its VM and its use."""
    return f"keystead vm|{vm}|{use}".encode()
