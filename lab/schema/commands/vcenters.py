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
    """``backup`` is its name."""

    backup: str

    def __post_init__(self) -> None:
        if not self.backup:
            raise wrong("a backup has a name")
        check_names(names.BACKUP, self.backup)


class VcenterBackup(_OfBackup, frozen=True, tag="vcenter.backup"):
    """Take a file-based backup of a vCenter [NKP-08]; it is stopped for it, and started again.

    A backup of the same name is replaced.
    """


class VcenterRestore(_OfBackup, frozen=True, tag="vcenter.restore"):
    """Stop a vCenter, put a backup back, and start it: it knows nothing of what came since.

    A vCenter that was off stays off. KS-USE-002 when there is no such backup.
    """


class VcenterRebuild(Command["HostPowerList"], frozen=True, tag="vcenter.rebuild"):
    """Install a vCenter anew under its name: it knows no host, no VM and no key provider.

    What brings them back is ``host.add``, ``provider.add`` under the same name [LOCK-06] and
    ``provider.import`` of a backup [NKP-04].
    """
