"""VMs that move between hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.api.commands.base import Command, named, wrong
from protocol import names
from protocol.terms import MigrateEncryption

if TYPE_CHECKING:
    from lab.api.answers import Migration, Vm


class VmMigrate(Command["Migration"], frozen=True, tag="vm.migrate"):
    """MigrateVM_Task: the VM goes on on ``host``, of the same cluster, as it runs or is off.

    Refused, it runs on where it is, and is not locked by
    it [MOB-05].
    """

    vm: str
    host: str

    def __post_init__(self) -> None:
        if not self.vm or not self.host:
            raise wrong("a migration has a VM, and a host that it goes to")
        named(names.VM, self.vm)
        named(names.NODE, self.host)


class VmSetMigrateEncryption(Command["Vm"], frozen=True, tag="vm.set-migrate-encryption"):
    """ReconfigVM_Task, ``migrateEncryption``: whether the memory of a VM in clear travels
    encrypted; that of an encrypted VM always does [MOB-02]."""

    vm: str
    policy: MigrateEncryption
