"""vMotion: what vCenter sends to both hosts, and what the hosts exchange (MOB-01, MOB-03).

vCenter has the target prepare, then has the source migrate, and finally asks the target for the
result. Only the source sends to the target: the guest's memory in parts, then the switch-over.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host.session import Command, VmSummary
from protocol.terms import CryptoKeyId, NodeName, VmName


class StreamKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public part of a stream's key: the 64 bits with which its nonces begin."""

    nonce_base: bytes


class HostPrepareMigration(Command["MigrationPrepared"], frozen=True, kw_only=True):
    """To the target: prepare for the VM to come from ``source``. The target finds the VM's keys,
    registers the VM (saved before the reply), and waits for its memory.

    ``material``: the key of the stream. None, as is ``stream``: memory comes in clear (MOB-02).
    ``EncryptionKeyRequired`` when the host does not have a key of the VM; ``InvalidState`` when it
    is not safe, is in maintenance mode, or the VM runs there.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    migration: str
    source: NodeName
    stream: StreamKey | None = None
    material: Sealed | None = None


class MigrationPrepared(Reply, frozen=True, kw_only=True):
    """The VM as the target has it: registered, and not running."""

    summary: VmSummary


class HostMigrateVm(Command["VmMigrated"], frozen=True, kw_only=True):
    """To the source: send the VM's memory to ``target``, stop the VM here, and have it continue
    there.

    A migration runs once: a repeat returns its result. After a refusal the VM continues here.
    """

    vm: VmName
    migration: str
    target: NodeName
    stream: StreamKey | None = None
    material: Sealed | None = None


class VmMigrated(Reply, frozen=True, kw_only=True):
    """The VM runs on the target and is not registered on the source any more.

    ``gap_s``: lab seconds in which the guest stood still. ``size``: bytes of memory that were sent.
    """

    gap_s: float
    size: int


class HostEndMigration(Command["MigrationEnded"], frozen=True, kw_only=True):
    """To the target: does the VM run here? If not, the migration is cancelled."""

    vm: VmName
    migration: str


class MigrationEnded(Reply, frozen=True, kw_only=True):
    """The VM as this host has it now; None when it is not registered here."""

    summary: VmSummary | None = None


class SendMemory(Request["MemoryTaken"], frozen=True, kw_only=True):
    """From the source to the target: part ``number`` of the stream, from 0.

    ``last``: the last part. Sending the same part again changes nothing.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    number: int
    data: bytes
    last: bool = False


class MemoryTaken(Reply, frozen=True, kw_only=True):
    """The part was decrypted; after the last part, the memory was complete and valid."""


class SwitchOver(Request["SwitchedOver"], frozen=True, kw_only=True):
    """From the source, which has released the VM's lock: run the VM.

    After an error the VM does not run here, unless only the answer was lost; the next holder of the
    lock sees in the VM's configuration which host has it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str


class SwitchedOver(Reply, frozen=True, kw_only=True):
    """The guest continues here."""


class CheckRelocate(Request["RelocateChecked"], frozen=True, kw_only=True):
    """CheckRelocate_Task (VirtualMachineProvisioningChecker): could this host run the VM, whose
    files are on ``datastore``? It registers nothing.

    The host looks for keys by every means of its own, and they must open the VM.
    ``InvalidArgument``: this host has another datastore. ``NotFound``: no files.
    ``EncryptionKeyRequired``: keys are missing, or do not open the VM. ``InvalidState``: they are
    not ``keys``, or this host takes no VMs. An empty ``datastore`` asks the source for its name;
    it refuses with ``InvalidState`` a VM that is off there and locked by another host.
    """

    repeat: ClassVar[Repeat] = Repeat.READ
    vm: VmName
    datastore: str = ""
    keys: tuple[CryptoKeyId, ...] = ()


class RelocateChecked(Reply, frozen=True, kw_only=True):
    """The name of this host's datastore; if a VM was named, this host can run it."""

    datastore: str
