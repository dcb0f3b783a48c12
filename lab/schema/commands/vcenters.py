"""The vCenter appliance: backup, restore, reinstallation.

The commands go to the first vCenter of the lab unless ``--vcenter`` names another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import HostPowerList, VcenterCopy


class _OfBackup(Command["VcenterCopy"], frozen=True):
    backup: str

    def __post_init__(self) -> None:
        if not self.backup:
            raise wrong("the name of the backup is empty")
        check_names(names.BACKUP, self.backup)


class VcenterBackup(_OfBackup, frozen=True, tag="vcenter.backup"):
    """Back up vCenter; it is stopped for the backup and started again.

    keystead vcenter backup before-the-change
    keystead vcenter backup nightly --vcenter vcenter-b

    A file-based backup [NKP-08]. A backup of the same name is replaced.
    """

    def message(self, answer: VcenterCopy) -> str:
        return f"backup {answer.backup} of {answer.vcenter}"


class VcenterRestore(_OfBackup, frozen=True, tag="vcenter.restore"):
    """Restore vCenter from a backup; later changes are lost.

    keystead vcenter restore before-the-change
    keystead vcenter restore nightly --vcenter vcenter-b

    A powered-off vCenter stays off. KS-USE-002 when there is no such backup.
    """

    def message(self, answer: VcenterCopy) -> str:
        return f"restored {answer.backup} to {answer.vcenter}"


class VcenterRebuild(Command["HostPowerList"], frozen=True, tag="vcenter.rebuild"):
    """Reinstall vCenter: its inventory and its key providers are lost.

    keystead vcenter rebuild
    keystead vcenter rebuild --vcenter vcenter-b

    Add them again with ``HostAdd``, with ``ProviderAdd`` under the same name [LOCK-06], and with
    ``ProviderImport`` of a backup [NKP-04].
    """
