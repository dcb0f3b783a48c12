"""``host.tpm_disabled``: the TPM is switched off in the firmware (F5a).

In force from the next power-on: the host then finds no TPM, and one whose configuration is sealed
stops at its screen. What the TPM holds stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets, names
from chaos.faults.firmware import FirmwareFault
from chaos.faults.power import NodesParams, some_of
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.messages.agent import Firmware, TpmActed, TpmBackend
from protocol.terms import Role


class HostTpmDisabled(FirmwareFault, frozen=True, kw_only=True):
    """From their next boot on, hosts have no TPM."""

    kind: ClassVar[str] = "host.tpm_disabled"
    example: ClassVar[str] = "on: esxi-001"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEXT_POLICY,))
    inside: ClassVar[tuple[str, ...]] = ("host.reboot", "host.power_loss")

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,))

    def summary(self) -> str:
        return f"TPM of {names(self.nodes)} disabled in the firmware"

    def change_firmware(self, firmware: Firmware) -> Firmware:
        """See ``FirmwareFault``."""
        return msgspec.structs.replace(firmware, tpm_enabled=False)

    async def survey(self, lab: LabUnderTest) -> Notes:
        for node in self.nodes:
            if (await lab.status(node)).tpm is TpmBackend.NONE:
                raise ChaosError("KS-CHAOS-106", f"{node} has no TPM")
        return await super().survey(lab)

    def boot_problem(self, before: Firmware, was: dict[str, str], now: TpmActed) -> str:
        """It has no power: nothing has started it."""
        return "its TPM answers" if now.info is not None else ""
