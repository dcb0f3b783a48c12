"""vMotion: what vCenter tells both hosts, and what these say to each other (MOB-01, MOB-03).

vCenter has the target prepare, then the source migrate, and asks the target at the end how it went.
The source alone speaks to the target: the guest's memory in parts, then the switch-over.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host.session import Command, VmSummary
from protocol.terms import CryptoKeyId, NodeName, VmName


class StreamKey(msgspec.Struct, frozen=True, kw_only=True):
    """What of a stream's key is no secret: the 64 bits with which its nonces begin."""

    nonce_base: bytes


class HostPrepareMigration(Command["MigrationPrepared"], frozen=True, kw_only=True):
    """To the target: the VM will come from ``source``. It finds the VM's keys, registers the VM,
    saved before the reply, and waits for its memory.

    ``material``: the key of the stream; None, as is ``stream``: it comes in clear (MOB-02).
    ``EncryptionKeyRequired`` when the host has not a key of the VM; ``InvalidState`` when it is not
    safe, is in maintenance mode, or the VM runs there.
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
    """To the source: send the VM's memory to ``target``, stop here, and have it go on there.

    A migration is done once: a repeat is told what came of it. Refused, the VM runs on here.
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
    """To the target: is it running here? If not, it shall not come any more."""

    vm: VmName
    migration: str


class MigrationEnded(Reply, frozen=True, kw_only=True):
    """The VM as this host has it now; None when it is not registered here."""

    summary: VmSummary | None = None


class SendMemory(Request["MemoryTaken"], frozen=True, kw_only=True):
    """From the source to the target: part ``number`` of the stream, from 0 on.

    ``last``: with it the memory is whole. The same part again is no change.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    number: int
    data: bytes
    last: bool = False


class MemoryTaken(Reply, frozen=True, kw_only=True):
    """The part was opened; after the last one, the memory was understood."""


class SwitchOver(Request["SwitchedOver"], frozen=True, kw_only=True):
    """From the source, which has given the VM's lock up: go on with it.

    Any error means that it does not run here, unless the answer was lost; who takes the lock next
    sees in the VM's configuration which of the two it was.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str


class SwitchedOver(Reply, frozen=True, kw_only=True):
    """The guest goes on here."""


class CheckRelocate(Request["RelocateChecked"], frozen=True, kw_only=True):
    """CheckRelocate_Task (VirtualMachineProvisioningChecker): could this host have the VM, whose
    files lie on ``datastore``? Nothing is registered by it.

    Keys are looked for by every means that this host has by itself, and must open the VM.
    ``InvalidArgument``: this host has another datastore; ``NotFound``: no files;
    ``EncryptionKeyRequired``: keys are missing, or do not open the VM; ``InvalidState``: they are
    other keys than ``keys``, or this host takes no VMs. An empty ``datastore`` asks for its name.
    """

    repeat: ClassVar[Repeat] = Repeat.READ
    vm: VmName
    datastore: str = ""
    keys: tuple[CryptoKeyId, ...] = ()


class RelocateChecked(Reply, frozen=True, kw_only=True):
    """The datastore of this host, by name; the VM, if it was named, can be had."""

    datastore: str
