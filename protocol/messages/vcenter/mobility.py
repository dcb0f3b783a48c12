"""VMs that move: from host to host of their cluster, running or off (vMotion, MOB-01 to MOB-08)."""

from __future__ import annotations

from typing import ClassVar

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import MigrateEncryption, NodeName, VmName


class MigrateVm(Request["VmRelocated"], frozen=True, kw_only=True):
    """MigrateVM_Task: the VM goes on on ``host``, of the same cluster. No change when it is there.

    Of a user without Cryptographer.RegisterHost an encrypted VM moves to safe hosts only (MOB-05).
    ``EncryptionKeyRequired``: the target has not the VM's keys and they cannot be had;
    ``InvalidState``: it is in maintenance mode or has encryption disabled (MOB-06). Refused, the VM
    runs on where it is, and is not locked by it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    host: NodeName


class VmRelocated(Reply, frozen=True, kw_only=True):
    """The VM after the task. Of one that ran: how long its guest stood still, in lab seconds, and
    how many bytes of memory went from host to host, and whether the stream was ``encrypted``; None
    when it was off, or there already."""

    vm: VmInfo
    gap_s: float | None = None
    size: int | None = None
    encrypted: bool | None = None


class ReconfigVm(Request["VmRelocated"], frozen=True, kw_only=True):
    """ReconfigVM_Task with ``migrateEncryption`` alone: whether the VM's memory travels encrypted.

    ``InvalidState`` for anything but ``required`` of an encrypted VM (MOB-02).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migrate_encryption: MigrateEncryption
