"""What a row outside of the grid makes different: what every twist is to a play."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from chaos.matrix.faults import StagedFault
from chaos.matrix.scene import StagingScene


class Twist:
    """Nothing is different. ``hosts``, ``knobs``: what the lab's file says of hosts, and as its
    knobs, that it does not say otherwise. ``in_order``: events of vCenter come in the order that
    is fixed for the cell. ``spare``: how many hosts more each cluster has, that play nobody.
    ``tpm_required``: P is a native provider that leaves out hosts without a TPM."""

    in_order: ClassVar[bool] = True
    spare: ClassVar[int] = 0
    tpm_required: ClassVar[bool] = False
    hosts: Mapping[str, object] = MappingProxyType({})
    knobs: Mapping[str, str] = MappingProxyType({})

    async def prepare(self, scene: StagingScene) -> str:
        """Before the fault, in a healthy lab: empty, or what was not as the row says."""
        return ""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        """What is made in the place of the row's fault; None: that itself."""
        return None

    async def find_deviation(self, scene: StagingScene) -> str:
        """While the fault holds, when letters are fixed: empty, or what is not as the row says."""
        return ""

    def over(self, found: str) -> str:
        """What the aftermath of an event has ``found``, as this row has it: empty when it is well
        there."""
        return found
