"""VMs that move between hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import VmName, doc
from lab.schema.commands.base import Command, check_names, wrong
from protocol import names
from protocol.terms import MigrateEncryption

if TYPE_CHECKING:
    from lab.schema.answers import Migration, Vm


class VmMigrate(Command["Migration"], frozen=True, tag="vm.migrate"):
    """Move a VM to another host: vMotion when it runs, registered there when it is off.

    keystead vm migrate vm-01 --host esxi-002
    keystead vm migrate vm-01 --host esxi-003 --to-vcenter vcenter-b
    keystead vm migrate vm-01 --host esxi-002 -o json

    MigrateVM_Task; RelocateVM_Task with ``to_vcenter``, which must have the VM's key provider by
    its name, with the same keys [MOB-07]. A VM whose move is refused runs on where it is, and is
    not locked by it [MOB-05].
    """

    vm: VmName
    host: Annotated[str, doc("The host that it goes to, of the same cluster.", name="--host")]
    to_vcenter: Annotated[str, doc("The host is one of this vCenter, which has the VM then.")] = ""
    to_user: Annotated[
        str, doc("Who asks for it at that vCenter; else the user of this command.")
    ] = ""

    def __post_init__(self) -> None:
        if not self.vm or not self.host:
            raise wrong("a migration has a VM, and a host that it goes to")
        check_names(names.VM, self.vm)
        check_names(names.NODE, self.host)
        if self.to_vcenter:
            check_names(names.NODE, self.to_vcenter)
        if self.to_user:
            check_names(names.PRINCIPAL, self.to_user)
            if not self.to_vcenter:
                raise wrong("a user of another vCenter is for a move to one: name it too")


class VmSetMigrateEncryption(Command["Vm"], frozen=True, tag="vm.set-migrate-encryption"):
    """Whether the memory of a VM in clear travels encrypted: disabled, opportunistic, required.

    keystead vm set-migrate-encryption vm-08 disabled
    keystead vm set-migrate-encryption vm-08 required -o json

    ReconfigVM_Task, migrateEncryption. The memory of an encrypted VM always does [MOB-02].
    """

    vm: VmName
    policy: MigrateEncryption
