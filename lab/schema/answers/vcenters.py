"""Backups of vCenters."""

from __future__ import annotations

from lab.schema.answers.base import Answer, MachineState
from protocol.terms import NodeName, ProviderId


class VcenterCopy(Answer, frozen=True, kw_only=True):
    """A backup that was taken of a vCenter, or restored to it; ``machine`` is its state now.

    ``gone``: key providers that it does not know any more, by what was restored.
    """

    vcenter: NodeName
    backup: str
    machine: MachineState
    gone: tuple[ProviderId, ...] = ()
