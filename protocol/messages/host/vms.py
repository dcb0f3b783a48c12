"""Virtual machines of a host, and their guests."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Command, Done, VirtualDisk, VmSummary
from protocol.terms import CryptoKeyId, ProviderId, VmName

DISKS_LIMIT: Final = 15
"""Disks that a VM may have."""


class HostCreateVm(Command["VmState"], frozen=True, kw_only=True):
    """Make and register a VM of ``blocks`` blocks of 4,096 bytes.

    ``firmware``: ``efi`` unless it says ``bios``; ``hardware``: its virtual hardware version, 21
    unless it says another one.

    With ``key`` it is encrypted under that key from its first byte on; with ``provider`` alone
    under one that the host makes. Keys and faults are as in ``ReconfigureVm``. No change when this
    host has registered one of that name already.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    blocks: int = 64
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None
    firmware: str | msgspec.UnsetType = msgspec.UNSET
    hardware: int | msgspec.UnsetType = msgspec.UNSET


class HostRegisterVm(Command["VmState"], frozen=True, kw_only=True):
    """Register the VM whose files lie on the datastore; saved before the reply."""

    vm: VmName


class HostUnregisterVm(Command[Done], frozen=True, kw_only=True):
    """Take it out of this host's inventory; its files stay. Refused while it runs."""

    vm: VmName


class HostDestroyVm(Command[Done], frozen=True, kw_only=True):
    """Unregister and delete the files. Refused while it runs."""

    vm: VmName


class ReconfigureVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecEncrypt: new DEKs under this KEK, data rewritten, VM powered off.

    ``key`` None: the host makes the key itself, with ``provider``, whose keys are born on hosts
    (KEY-02); its answer names the key, and a repeat is no change. ``NotAvailable`` from a host that
    has no such provider.

    Of a VM whose home is under ``key`` already (VTPM-02) its clear disks come under it too.
    ``EncryptionKeyRequired`` if the key is not cached, ``InvalidState`` if encrypted already
    with another key or the host is not safe; no change if encrypted with this key.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class HostRecryptVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecShallowRecrypt, or CryptoSpecDeepRecrypt when ``deep``: the VM, which is under the
    keys ``old``, comes under ``key``; None: under one that the host makes of ``provider`` (KEY-02).

    Shallow: its DEKs are wrapped anew, also while it runs (REK-01). Deep: new DEKs, data rewritten,
    VM powered off (REK-02). ``disk``: of that one alone. No change when it is under ``key``, or
    under other keys of that provider, already.
    ``EncryptionKeyRequired`` when an old key or the new one is not cached, ``InvalidPowerState``,
    ``InvalidState`` when it, or the disk, is not encrypted or under keys that are not ``old``.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    old: tuple[CryptoKeyId, ...]
    provider: ProviderId
    key: CryptoKeyId | None = None
    deep: bool = False
    disk: int | None = None


class HostDecryptVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecDecrypt: data rewritten in clear, VM powered off (CLN-02). No change without
    encryption; ``EncryptionKeyRequired`` when a key of it is not cached."""

    seeks_keys: ClassVar[bool] = True
    vm: VmName


class HostAddDisk(Command["DisksOfVm"], frozen=True, kw_only=True):
    """A new disk of ``blocks`` blocks, empty, for a VM that is powered off.

    On an encrypted VM it is encrypted: under ``key``, else under one that the host makes of
    ``provider`` (KEY-02), else under the key of the VM's home. ``EncryptionKeyRequired`` when one
    of these, or the home's, is not cached; ``InvalidState``: a key for a VM in clear;
    ``InvalidPowerState``; ``ResourceInUse`` when it has ``DISKS_LIMIT`` disks. No change when the
    operation has made its disk already.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    operation_id: str
    blocks: int = 64
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class HostRemoveDisk(Command["DisksOfVm"], frozen=True, kw_only=True):
    """Take "Hard disk ``disk``" away, with its data; the VM is powered off.

    The home's key is needed, the disk's is not (LOCK-03). ``InvalidState`` of the only disk. No
    change when there is none of that number.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    disk: int


class DisksOfVm(Reply, frozen=True, kw_only=True):
    """The VM after the command, and all of its disks in their order."""

    summary: VmSummary
    disks: tuple[VirtualDisk, ...]


class HostPowerOnVm(Command["VmState"], frozen=True, kw_only=True):
    """Power on; ``EncryptionKeyRequired`` names the keys no means of this host can find."""

    seeks_keys: ClassVar[bool] = True
    vm: VmName


class HostPowerOffVm(Command["VmState"], frozen=True, kw_only=True):
    """Power off at once, without the guest; that this is wanted is remembered in any case."""

    vm: VmName


class VmState(Reply, frozen=True, kw_only=True):
    """The VM after the command."""

    summary: VmSummary


class GuestWrite(Request["GuestAnswer"], frozen=True, kw_only=True):
    """The guest fills its disk with blocks made from ``marker`` (running VM only)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    marker: bytes


class GuestChallenge(Request["GuestAnswer"], frozen=True, kw_only=True):
    """Read these blocks from the datastore now and digest them with the nonce.

    Then one block is rewritten with its next generation and read back.
    """

    vm: VmName
    nonce: bytes
    blocks: tuple[int, ...]


class GuestAnswer(Reply, frozen=True, kw_only=True):
    """``digest`` = SHA-256 of nonce and each block's content, in the order asked.

    ``rewritten`` is the block whose generation went from ``generation - 1`` to ``generation``.
    ``run``: 8 bytes that stay the same as long as the guest runs, and go along with its memory.
    """

    digest: bytes
    rewritten: int = -1
    generation: int = 0
    run: bytes = b""
