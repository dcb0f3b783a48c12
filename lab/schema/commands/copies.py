"""Clones, templates and snapshots of VMs, asked of vCenter."""

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
    """Clone a VM that is off or runs, or a template; the clone is off, and under the same keys.

    keystead vm clone vm-01 vm-01-copy
    keystead vm clone vm-01 vm-01-copy --recrypt --tpm replace

    CloneVM_Task makes a whole copy [CLN-01].
    """

    vm: VmName
    clone: str
    host: Annotated[
        str, doc("Host of the same cluster; the emptiest, or that of a VM that runs.")
    ] = ""
    recrypt: Annotated[bool, doc("New keys: a new KEK, and data keys of its own.")] = False
    provider: Annotated[str, doc("Key provider of --recrypt; the default.")] = ""
    tpm: Annotated[
        TpmPolicy, doc("Its virtual TPM: the same, or a new one; as vCenter's knob says [VTPM-07].")
    ] = ""
    template: Annotated[bool, doc("It is a template itself.")] = False

    def __post_init__(self) -> None:
        if not self.vm or not self.clone:
            raise wrong("a clone has a source, and a name of its own")
        check_names(names.VM, self.vm, self.clone)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmTemplate(Command["Vm"], frozen=True, tag="vm.template"):
    """MarkAsTemplate: make a template of a VM that is off; it is cloned, and not powered on.

    keystead vm template vm-01
    keystead vm template vm-01 --off
    """

    vm: VmName
    off: Annotated[bool, doc("It is a VM again.")] = False


class _Snapshot(Command["Vm"], frozen=True):
    table = ColumnTable(
        "vm",
        (field("vm"), field("host"), field("power"), ("SNAPSHOTS", lambda vm: vm.list_snapshots())),
    )
    vm: VmName
    snapshot: Annotated[str, doc("Its name; a VM has one of that name.")]

    def __post_init__(self) -> None:
        if not self.snapshot:
            raise wrong("a snapshot has a name")
        check_names(names.SNAPSHOT, self.snapshot)


class VmSnapshotCreate(_Snapshot, frozen=True, tag="vm.snapshot.create"):
    """CreateSnapshot_Task: keep a VM's disks, and its virtual TPM, as they are now.

    keystead vm snapshot create vm-01 before
    keystead vm snapshot create vm-01 running --memory

    The VM may run. While it has a snapshot it is not encrypted, decrypted or recrypted deeply
    [REK-02, CLN-02].
    """

    memory: Annotated[bool, doc("The memory of a VM that runs, too.", negated=True)] = False


class VmSnapshotRemove(_Snapshot, frozen=True, tag="vm.snapshot.remove"):
    """RemoveSnapshot_Task: forget a snapshot; the VM stays as it is.

    keystead vm snapshot remove vm-01 before
    keystead vm snapshot remove vm-01 before -o json
    """


class VmSnapshotRevert(_Snapshot, frozen=True, tag="vm.snapshot.revert"):
    """RevertToSnapshot_Task: have the VM as it was: off, or, with its memory, running.

    keystead vm snapshot revert vm-01 before
    keystead vm snapshot revert vm-01 running --suppress-power-on

    The key of its home is needed [VTPM-06]; a VM that runs then needs all its keys.
    """

    suppress_power_on: Annotated[bool, doc("Leave it off, also with memory in the snapshot.")] = (
        False
    )
