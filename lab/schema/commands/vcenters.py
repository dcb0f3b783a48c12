"""A vCenter as its appliance's administrator has it: its backups, and a new installation.

They go to the first vCenter of the lab unless ``--vcenter`` names one.
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
            raise wrong("a backup has a name")
        check_names(names.BACKUP, self.backup)


class VcenterBackup(_OfBackup, frozen=True, tag="vcenter.backup"):
    """Take a backup of vCenter; it is stopped for it, and started again.

    keystead vcenter backup before-the-change
    keystead vcenter backup nightly --vcenter vcenter-b

    A file-based backup [NKP-08]; one of the same name is replaced.
    """

    def message(self, answer: VcenterCopy) -> str:
        return f"backup {answer.backup} of {answer.vcenter}"


class VcenterRestore(_OfBackup, frozen=True, tag="vcenter.restore"):
    """Restore a backup of vCenter: it knows nothing of what came since.

    keystead vcenter restore before-the-change
    keystead vcenter restore nightly --vcenter vcenter-b

    A vCenter that was off stays off. KS-USE-002 when there is no such backup.
    """

    def message(self, answer: VcenterCopy) -> str:
        return f"restored {answer.backup} to {answer.vcenter}"


class VcenterRebuild(Command["HostPowerList"], frozen=True, tag="vcenter.rebuild"):
    """Install vCenter anew: it knows no host, no VM, no key provider. Add them again.

    keystead vcenter rebuild
    keystead vcenter rebuild --vcenter vcenter-b

    By ``HostAdd``, ``ProviderAdd`` under the same name [LOCK-06], and ``ProviderImport`` of a
    backup [NKP-04].
    """
