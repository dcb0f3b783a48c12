"""VMs that move to a host of another vCenter (MOB-07).

A client tells the VM's vCenter, which leads: it has the other vCenter prepare, its own host send or
let go of the VM, and asks the other vCenter at the end how it went. Files stay where they lie, on a
datastore that both hosts have.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host import StreamKey
from protocol.messages.vcenter.mobility import VmRelocated
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import CryptoKeyId, MigrateEncryption, NodeName, VmName


class ServiceLocator(msgspec.Struct, frozen=True, kw_only=True):
    """Which vCenter, and as which of its users; empty: the one who gives the task, by name."""

    vcenter: NodeName
    user: str = ""


class RelocateVm(Request[VmRelocated], frozen=True, kw_only=True):
    """RelocateVM_Task with a ``service``: the VM goes on on ``host``, under that vCenter.

    Running or off as it is. No change when it has moved there by such a task.
    ``EncryptionKeyRequired``: the other vCenter has no key provider of that name, or not its keys,
    or the host does not open the VM with them (MOB-07, KEY-01). Refused, the VM is as it was.
    ``TimedOut``: nobody could say yet who has it; it is settled when both vCenters and the source
    answer.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    service: ServiceLocator
    host: NodeName


class PrepareRelocation(Request["RelocationPrepared"], frozen=True, kw_only=True):
    """From the vCenter that has the VM to the one that is to have it: judged, keys brought to
    ``host``, and the move recorded, durably.

    ``user`` asks for it here. ``datastore`` has the VM's files. ``running``: its memory comes from
    the host ``source``, sealed with ``material`` (None, as is ``stream``: in clear).
    ``AlreadyExists`` when this vCenter has a VM of that name.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    user: str
    host: NodeName
    source: NodeName
    datastore: str
    running: bool
    keys: tuple[CryptoKeyId, ...] = ()
    migrate_encryption: MigrateEncryption = MigrateEncryption.OPPORTUNISTIC
    stream: StreamKey | None = None
    material: Sealed | None = None

    @property
    def encrypted(self) -> bool:
        """Whether it asks for what an encrypted VM needs."""
        return bool(self.keys)


class RelocationPrepared(Reply, frozen=True, kw_only=True):
    """The VM may come now; no host of this vCenter starts it before it does."""


class EndRelocation(Request["RelocationEnded"], frozen=True, kw_only=True):
    """From the vCenter that had the VM: has it come?

    ``departed`` True: no host of the other side has it any more, so it is taken in here, running or
    off. False: one has it still, so it comes only if it runs here, and else does not come any
    more. None: nobody knows, so nothing is decided but that one that runs here has come.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    departed: bool | None = None


class RelocationEnded(Reply, frozen=True, kw_only=True):
    """``arrived`` None: undecided. ``vm``: as it is here now; None when it has not arrived, or has
    left again since."""

    arrived: bool | None
    vm: VmInfo | None = None
