"""Clones, templates and snapshots of VMs, as clients ask vCenter for them."""

from __future__ import annotations

from typing import ClassVar

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.copies import TpmProvisionPolicy
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import NodeName, ProviderId, VmName


class CloneVm(Request["VmCloned"], frozen=True, kw_only=True):
    """CloneVM_Task: ``vm`` is a whole copy of ``source``, a template, or a VM that is off or runs.

    Of one that runs it has the disks as of one instant, and is off. It is under the keys of its
    source; with ``recrypt`` under a new one of ``provider`` (the default when None), with new data
    keys (CLN-01). ``host``: of the source's cluster; when None the emptiest, or that of a source
    that runs, which makes its clone in any case. ``template``: it is a template itself. ``tpm``:
    what it has for a virtual TPM (VTPM-07); None: as vCenter's knob says. A task that fails leaves
    no VM, but for a clone that was made and does not get to ``host``, which the error says.

    ``AlreadyExists``; ``InvalidState`` to recrypt a VM in clear; ``InvalidArgument``: the host is
    in another cluster; ``EncryptionKeyRequired`` when keys of the source cannot be had;
    ``InvalidVmState`` of a source that is locked and invalid (LOCK-02).
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    source: VmName
    host: NodeName | None = None
    template: bool = False
    recrypt: bool = False
    provider: ProviderId | None = None
    tpm: TpmProvisionPolicy | None = None


class VmCloned(Reply, frozen=True, kw_only=True):
    """The clone, powered off."""

    vm: VmInfo


class MarkAsTemplate(Request["VmMarked"], frozen=True, kw_only=True):
    """The VM, powered off, is a template from now on: it is cloned, and not powered on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class MarkAsVirtualMachine(Request["VmMarked"], frozen=True, kw_only=True):
    """The template is a VM again, on the host that it was registered on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmMarked(Reply, frozen=True, kw_only=True):
    """The VM or template."""

    vm: VmInfo


class CreateSnapshot(Request["VmSnapshots"], frozen=True, kw_only=True):
    """CreateSnapshot_Task: ``vm`` as it is now, also while it runs. With ``memory`` that of its
    guest is kept too; a VM that is off has none. No change when there is one of that name.

    It is under the keys of its VM, whose home's key is needed. While there is one, the VM is not
    encrypted, decrypted or recrypted deeply (REK-02, CLN-02).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    snapshot: str
    memory: bool = False


class RemoveSnapshot(Request["VmSnapshots"], frozen=True, kw_only=True):
    """RemoveSnapshot_Task: the VM stays as it is. No change when there is none of that name."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    snapshot: str


class RevertToSnapshot(Request["VmSnapshots"], frozen=True, kw_only=True):
    """RevertToSnapshot_Task: the VM is as it was then. With memory in the snapshot it runs
    afterwards, from that memory, unless ``suppress_power_on``; without, it is powered off.

    ``NotFound``; ``EncryptionKeyRequired`` without the key of its home (VTPM-06), or, of one that
    is to run, without any of its keys; ``DatastoreFault`` when the memory is damaged. A VM that
    ran goes on then. ``SaveFailed``: it may be as it was then, and off.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    snapshot: str
    suppress_power_on: bool = False


class VmSnapshots(Reply, frozen=True, kw_only=True):
    """The VM, with its snapshots in the order in which they were taken."""

    vm: VmInfo
