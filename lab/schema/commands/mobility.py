"""VMs that move between hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names
from protocol.terms import MigrateEncryption

if TYPE_CHECKING:
    from lab.schema.answers import Migration, Vm


class VmMigrate(Command["Migration"], frozen=True, tag="vm.migrate"):
    """MigrateVM_Task: the VM goes on on ``host``, of the same cluster, as it runs or is off.

    With ``to_vcenter`` RelocateVM_Task: ``host`` is one of that vCenter, which must have the VM's
    key provider by its name, with the same keys [MOB-07]. ``to_user``: who asks for it there; the
    user of the command when empty. Refused, the VM runs on where it is, and is not locked by
    it [MOB-05].
    """

    vm: str
    host: str
    to_vcenter: str = ""
    to_user: str = ""

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
    """ReconfigVM_Task, ``migrateEncryption``: whether the memory of a VM in clear travels
    encrypted; that of an encrypted VM always does [MOB-02]."""

    vm: str
    policy: MigrateEncryption
