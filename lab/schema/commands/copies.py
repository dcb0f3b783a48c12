"""Clones, templates and snapshots of VMs, asked of vCenter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Vm

TpmPolicy = Literal["", "copy", "replace"]


class VmClone(Command["Vm"], frozen=True, tag="vm.clone"):
    """CloneVM_Task: ``clone`` is a whole copy of ``vm``, off, running or a template [CLN-01].

    ``host`` empty: the emptiest of the cluster, or that of a ``vm`` that runs. It is under the keys
    of ``vm``; with ``recrypt`` under a new one of ``provider`` (empty: the default one). ``tpm``:
    what it has for a virtual TPM, empty: as vCenter's knob says [VTPM-07]. ``template``: it is a
    template itself.
    """

    vm: str
    clone: str
    host: str = ""
    recrypt: bool = False
    provider: str = ""
    tpm: TpmPolicy = ""
    template: bool = False

    def __post_init__(self) -> None:
        if not self.vm or not self.clone:
            raise wrong("a clone has a source, and a name of its own")
        check_names(names.VM, self.vm, self.clone)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmTemplate(Command["Vm"], frozen=True, tag="vm.template"):
    """MarkAsTemplate: the VM is a template, which is cloned and not powered on; ``off``: it is a
    VM again."""

    vm: str
    off: bool = False


class _Snapshot(Command["Vm"], frozen=True):
    """``snapshot`` is its name, of which a VM has one."""

    vm: str
    snapshot: str

    def __post_init__(self) -> None:
        if not self.snapshot:
            raise wrong("a snapshot has a name")
        check_names(names.SNAPSHOT, self.snapshot)


class VmSnapshotCreate(_Snapshot, frozen=True, tag="vm.snapshot.create"):
    """CreateSnapshot_Task: the VM as it is now, also while it runs; with ``memory`` that of its
    guest too, of which a VM that is off has none. While it has one it is not encrypted, decrypted
    or recrypted deeply [REK-02, CLN-02]."""

    memory: bool = False


class VmSnapshotRemove(_Snapshot, frozen=True, tag="vm.snapshot.remove"):
    """RemoveSnapshot_Task: the VM stays as it is."""


class VmSnapshotRevert(_Snapshot, frozen=True, tag="vm.snapshot.revert"):
    """RevertToSnapshot_Task: the VM is as it was; its home's key is needed [VTPM-06]. With memory
    in the snapshot it runs then, and needs all its keys, unless ``suppress_power_on``; without it
    is off."""

    suppress_power_on: bool = False
