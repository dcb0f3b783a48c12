"""``host.reboot``: an orderly stop, and the boot at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Targets
from chaos.faults.power import NodesParams, PowerFault, some_of
from chaos.lab import Directory
from chaos.oracle.effects import FaultEffect, Takes
from protocol.terms import Role


class HostRebootFault(PowerFault, frozen=True, kw_only=True):
    """Hosts reboot in order: the archive is saved, disks are synced, the TPM gets TPM2_Shutdown."""

    kind: ClassVar[str] = "host.reboot"
    example: ClassVar[str] = "on: esxi-001"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,), failure_is_open=True)
    way: ClassVar[str] = "stop"
    verb: ClassVar[str] = "orderly stop of"
    lasts_s: ClassVar[float | None] = 0.0

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,))
