"""Backups of vCenters."""

from __future__ import annotations

from lab.schema.answers.base import Answer, MachineState
from lab.schema.tables import ColumnTable, field
from protocol.terms import NodeName, ProviderId


class VcenterCopy(Answer, frozen=True, kw_only=True):
    """A backup that was taken of a vCenter, or restored to it; ``machine`` is its state now.

    ``gone``: key providers that it does not know any more, by what was restored.
    """

    vcenter: NodeName
    backup: str
    machine: MachineState
    gone: tuple[ProviderId, ...] = ()

    table = ColumnTable("backup", (field("backup"), field("vcenter")))

    def remarks(self) -> tuple[str, ...]:
        if not self.gone:
            return ()
        return (f"warning: it does not know the key providers {', '.join(self.gone)} any more",)
