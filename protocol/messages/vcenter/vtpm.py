"""Virtual TPMs of VMs: added, removed, and the CA that certifies them."""

from __future__ import annotations

from typing import ClassVar

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import ProviderId, VmName


class AddVtpm(Request["VmReconfigured"], frozen=True, kw_only=True):
    """ReconfigVM_Task that adds a VirtualTPM to a powered-off VM (VTPM-02).

    Its home is encrypted under a new KEK of ``provider`` (the default when None), unless it is
    already; its disks stay as they are.
    ``InvalidPowerState`` while it runs, ``InvalidArgument`` of a VM without EFI or with too old a
    hardware version, ``AlreadyExists`` when it has one.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    provider: ProviderId | None = None


class RemoveVtpm(Request["VmReconfigured"], frozen=True, kw_only=True):
    """ReconfigVM_Task that removes the VirtualTPM: what is in it is destroyed (VTPM-03).

    The home is decrypted, and its key released, unless a disk is encrypted. No change without one.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmReconfigured(Reply, frozen=True, kw_only=True):
    """The VM after the task."""

    vm: VmInfo


class QueryVmca(Request["VmcaState"], frozen=True, kw_only=True):
    """The certificate (DER) of VMCA, which signs those of vTPMs; it is made with the first one."""


class VmcaState(Reply, frozen=True, kw_only=True):
    """Empty while there is none, or when it cannot be read."""

    certificate: bytes
