"""What the files of a VM on the datastore hold. Pure.

``<vm>.vmx``  the configuration: which disk file, wrapped DEKs with their key ids, the nvram
``disk-N.vmdk``  blocks of 4,096 bytes, XTS-AES-256 under the disk's DEK when encrypted; one
more block than the guest's disk has: the guest's own journal
``power``  the last accepted power command (step B9)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.crypto.disk import DEK_SIZE
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, VmName
from services.runtime.ports import Rng

POWER_FILE: Final = "power"
BLOCKS_LIMIT: Final = 16384
_HOME_DEK_SIZE: Final = 32
_SEED_SIZE: Final = 32


class WrappedDek(msgspec.Struct, frozen=True):
    """A DEK as kept with its object: under the key ``key``, with a tag."""

    key: CryptoKeyId
    wrapped: bytes


class VmConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of ``<vm>.vmx``. ``home`` and ``disk`` are None on an unencrypted VM.

    ``nvram`` is the guest's seed of 32 bytes; under the home DEK when encrypted. ``serial``
    counts disk files: a rewritten disk is another file.
    """

    vm: VmName
    blocks: int
    serial: int = 1
    nvram: bytes = b""
    home: WrappedDek | None = None
    disk: WrappedDek | None = None

    @property
    def disk_file(self) -> str:
        """The name of the disk file in force."""
        return f"disk-{self.serial}.vmdk"

    @property
    def encrypted(self) -> bool:
        """Whether the home is encrypted; its disks may be or not."""
        return self.home is not None

    @property
    def keys(self) -> tuple[CryptoKeyId, ...]:
        """Ids of all keys needed to power on, the home's first, without repetition."""
        home, disk = self.home, self.disk
        if home is None:
            return () if disk is None else (disk.key,)
        return (home.key,) if disk is None or disk.key == home.key else (home.key, disk.key)


@dataclass(frozen=True)
class VmKeys:
    """A VM opened: the DEK of its disk and that of its home (None: clear), and the guest's seed."""

    dek: KeyMaterial | None
    seed: bytes
    home: KeyMaterial | None = None


def vmx_file(vm: VmName) -> str:
    """The name of the configuration file of that VM."""
    return f"{vm}.vmx"


def new_config(vm: VmName, blocks: int, rng: Rng) -> VmConfig:
    """An unencrypted VM; ``InvalidArgument`` for a disk size out of range."""
    if not 1 <= blocks <= BLOCKS_LIMIT:
        raise InvalidArgument(f"blocks: {blocks} is not within 1..{BLOCKS_LIMIT}")
    return VmConfig(vm=vm, blocks=blocks, nvram=rng.token(_SEED_SIZE))


def encrypted_config(
    config: VmConfig, key: CryptoKeyId, kek: KeyMaterial, rng: Rng
) -> tuple[VmConfig, VmKeys]:
    """The same VM with new DEKs under ``kek`` and its next disk file; and the opened keys."""
    home, dek = KeyMaterial(rng.token(_HOME_DEK_SIZE)), KeyMaterial(rng.token(DEK_SIZE))
    seed = config.nvram
    made = msgspec.structs.replace(
        config,
        serial=config.serial + 1,
        nvram=wrap(home, KeyMaterial(seed), _aad(config.vm, "nvram"), rng.token(NONCE_SIZE)),
        home=WrappedDek(key, wrap(kek, home, _aad(config.vm, "home"), rng.token(NONCE_SIZE))),
        disk=WrappedDek(key, wrap(kek, dek, _aad(config.vm, "disk"), rng.token(NONCE_SIZE))),
    )
    return made, VmKeys(dek, seed, home)


def rewrapped_config(
    config: VmConfig, opened: VmKeys, key: CryptoKeyId, kek: KeyMaterial, rng: Rng
) -> VmConfig:
    """The same VM with its DEKs as they are, wrapped under ``kek`` (CryptoSpecShallowRecrypt)."""
    if opened.home is None:
        raise ValueError(f"{config.vm} is not encrypted")
    disk = None
    if opened.dek is not None:
        disk = WrappedDek(
            key, wrap(kek, opened.dek, _aad(config.vm, "disk"), rng.token(NONCE_SIZE))
        )
    home = WrappedDek(key, wrap(kek, opened.home, _aad(config.vm, "home"), rng.token(NONCE_SIZE)))
    return msgspec.structs.replace(config, home=home, disk=disk)


def decrypted_config(config: VmConfig, opened: VmKeys) -> VmConfig:
    """The same VM without encryption; its disk file is still the one that it names."""
    return msgspec.structs.replace(config, nvram=opened.seed, home=None, disk=None)


def open_vm(config: VmConfig, keks: Mapping[CryptoKeyId, KeyMaterial]) -> VmKeys:
    """Unwrap the DEKs of an encrypted VM; ``CryptographicFailure`` when a tag is wrong.

    ``keks`` has every key of ``config.keys``. A disk that is not encrypted has no DEK.
    """
    if config.home is None:
        raise ValueError(f"{config.vm} is not encrypted")
    home = unwrap(keks[config.home.key], config.home.wrapped, _aad(config.vm, "home"))
    seed = unwrap(home, config.nvram, _aad(config.vm, "nvram"))
    dek = None
    if config.disk is not None:
        dek = unwrap(keks[config.disk.key], config.disk.wrapped, _aad(config.vm, "disk"))
    return VmKeys(dek, seed.reveal(), home)


def _aad(vm: VmName, use: str) -> bytes:
    """Binds a wrapped key to its VM and its use there."""
    return f"keystead vm|{vm}|{use}".encode()
