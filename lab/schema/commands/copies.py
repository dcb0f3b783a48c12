"""Clones, templates and snapshots of VMs, by tasks of vCenter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from lab.schema.commands.arguments import VmName, doc
from lab.schema.commands.base import Command, check_names, wrong
from lab.schema.tables import ColumnTable, field
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Vm

TpmPolicy = Literal["", "copy", "replace"]


class VmClone(Command["Vm"], frozen=True, tag="vm.clone"):
    """Clone a VM or a template; the clone is powered off and uses the same keys.

    keystead vm clone vm-01 vm-01-copy
    keystead vm clone vm-01 vm-01-copy --recrypt --tpm replace

    CloneVM_Task, a full clone [CLN-01]. The source VM may run.
    """

    vm: VmName
    clone: str
    host: Annotated[
        str,
        doc("Host in the same cluster. Default: the host of a running source, else the emptiest."),
    ] = ""
    recrypt: Annotated[bool, doc("Encrypt the clone with a new KEK and new DEKs.")] = False
    provider: Annotated[str, doc("Key provider for --recrypt. Default: the default provider.")] = ""
    tpm: Annotated[
        TpmPolicy,
        doc("Virtual TPM of the clone: a copy or a new one. Default: vCenter's knob [VTPM-07]."),
    ] = ""
    template: Annotated[bool, doc("Make the clone a template.")] = False

    def __post_init__(self) -> None:
        if not self.vm or not self.clone:
            raise wrong("name the VM to clone, and the clone")
        check_names(names.VM, self.vm, self.clone)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmTemplate(Command["Vm"], frozen=True, tag="vm.template"):
    """Convert a powered-off VM to a template (MarkAsTemplate), or back with --off.

    keystead vm template vm-01
    keystead vm template vm-01 --off

    A template can be cloned, but not powered on.
    """

    vm: VmName
    off: Annotated[bool, doc("Convert the template back to a VM.")] = False


class _Snapshot(Command["Vm"], frozen=True):
    table = ColumnTable(
        "vm",
        (field("vm"), field("host"), field("power"), ("SNAPSHOTS", lambda vm: vm.list_snapshots())),
    )
    vm: VmName
    snapshot: Annotated[str, doc("Name of the snapshot, unique for its VM.")]

    def __post_init__(self) -> None:
        if not self.snapshot:
            raise wrong("the name of the snapshot is empty")
        check_names(names.SNAPSHOT, self.snapshot)


class VmSnapshotCreate(_Snapshot, frozen=True, tag="vm.snapshot.create"):
    """Take a snapshot of a VM's disks and virtual TPM (CreateSnapshot_Task).

    keystead vm snapshot create vm-01 before
    keystead vm snapshot create vm-01 running --memory

    The VM may run. A VM with a snapshot cannot be encrypted, decrypted or deep recrypted
    [REK-02, CLN-02].
    """

    memory: Annotated[bool, doc("Include the memory of a running VM.", negated=True)] = False


class VmSnapshotRemove(_Snapshot, frozen=True, tag="vm.snapshot.remove"):
    """Delete a snapshot (RemoveSnapshot_Task); the VM does not change.

    keystead vm snapshot remove vm-01 before
    keystead vm snapshot remove vm-01 before -o json
    """


class VmSnapshotRevert(_Snapshot, frozen=True, tag="vm.snapshot.revert"):
    """Revert a VM to a snapshot (RevertToSnapshot_Task).

    keystead vm snapshot revert vm-01 before
    keystead vm snapshot revert vm-01 running --suppress-power-on

    The VM is powered off afterwards; it runs if the snapshot includes its memory. The key of the
    VM's home must be available [VTPM-06]; a VM that runs afterwards needs all its keys.
    """

    suppress_power_on: Annotated[
        bool, doc("Leave the VM powered off, even if the snapshot includes its memory.")
    ] = False
