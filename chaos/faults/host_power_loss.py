"""``host.power_loss``: the power goes; what was not synced is gone, PCRs reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Targets
from chaos.faults.power import NodesParams, PowerFault, some_of
from chaos.lab import Directory
from protocol.terms import Role


class HostPowerLossFault(PowerFault, frozen=True, kw_only=True):
    """Hosts lose their power: the TPM without TPM2_Shutdown, the disk what was not synced."""

    kind: ClassVar[str] = "host.power_loss"
    example: ClassVar[str] = "on: role:esxi"
    way: ClassVar[str] = "power_loss"
    verb: ClassVar[str] = "power loss of"

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,), (1.0, 1.0, 0.5))
