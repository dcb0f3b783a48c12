"""Migration of VMs between hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import VmName, doc
from lab.schema.commands.base import Command, check_names, wrong
from protocol import names
from protocol.terms import MigrateEncryption

if TYPE_CHECKING:
    from lab.schema.answers import Migration, Vm


class VmMigrate(Command["Migration"], frozen=True, tag="vm.migrate"):
    """Migrate a VM to another host: by vMotion if it runs, else by registering it there.

    keystead vm migrate vm-01 --host esxi-002
    keystead vm migrate vm-01 --host esxi-003 --to-vcenter vcenter-b
    keystead vm migrate vm-01 --host esxi-002 -o json

    MigrateVM_Task, or RelocateVM_Task with ``to_vcenter``. The other vCenter must have a key
    provider of the same name with the same keys [MOB-07]. If the migration is refused, the VM keeps
    running on its host and is not locked [MOB-05].
    """

    vm: VmName
    host: Annotated[
        str, doc("Destination host; in the same cluster without --to-vcenter.", name="--host")
    ]
    to_vcenter: Annotated[str, doc("vCenter of the destination host, if another one.")] = ""
    to_user: Annotated[
        str, doc("User at the other vCenter. Default: the user of this command.")
    ] = ""

    def __post_init__(self) -> None:
        if not self.vm or not self.host:
            raise wrong("name a VM and a destination host")
        check_names(names.VM, self.vm)
        check_names(names.NODE, self.host)
        if self.to_vcenter:
            check_names(names.NODE, self.to_vcenter)
        if self.to_user:
            check_names(names.PRINCIPAL, self.to_user)
            if not self.to_vcenter:
                raise wrong("--to-user needs --to-vcenter")


class VmSetMigrateEncryption(Command["Vm"], frozen=True, tag="vm.set-migrate-encryption"):
    """Set encrypted vMotion of an unencrypted VM: disabled, opportunistic or required.

    keystead vm set-migrate-encryption vm-08 disabled
    keystead vm set-migrate-encryption vm-08 required -o json

    ReconfigVM_Task, migrateEncryption. vMotion of an encrypted VM is always encrypted [MOB-02].
    """

    vm: VmName
    policy: MigrateEncryption
