"""``tpm.clear``: the TPM is cleared; what it sealed is gone, its endorsement key stays.

``latent``: it is cleared while its host runs, which goes on as it is until its next boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, all_of, names
from chaos.faults.power import NodesParams, some_of
from chaos.faults.tpms import TpmFault
from chaos.lab import Directory, LabUnderTest
from protocol.messages.agent import TpmAct
from protocol.terms import Role


class TpmClearParams(NodesParams):
    """Which hosts; ``latent``: they are not booted for it."""

    latent: bool = False


class TpmClearFault(TpmFault, frozen=True, kw_only=True):
    """TPMs are cleared as in the firmware's set-up; what was sealed under them is lost."""

    kind: ClassVar[str] = "tpm.clear"
    example: ClassVar[str] = "on: esxi-001"
    params: ClassVar[type[Params]] = TpmClearParams
    latent: bool = False
    act: ClassVar[TpmAct] = TpmAct.CLEAR

    @classmethod
    def of(cls, id: str, params: TpmClearParams, targets: Targets) -> Fault:
        return cls(id=id, latent=params.latent, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,))

    def file_fields(self) -> dict[str, Any]:
        return super().file_fields() | ({"latent": True} if self.latent else {})

    def summary(self) -> str:
        how = ", not booted since" if self.latent else ""
        return f"TPM of {names(self.nodes)} cleared{how}"

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes = await super().survey(lab)
        dark = [node for node in self.nodes if not notes["srk"][node]]
        if dark:
            text = f"{names(tuple(dark))}: off or failed, so a clear could not be seen"
            raise ChaosError("KS-CHAOS-106", text)
        for node in self.nodes:  # one that is disabled is on until its host's next boot
            if not self.latent and not (await lab.firmware_of(node)).tpm_enabled:
                text = f"the TPM of {node} is disabled in the firmware: it cannot be cleared there"
                raise ChaosError("KS-CHAOS-106", text)
        return notes

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        if not self.latent:
            return await super().begin(lab, until, notes)

        await all_of(self.nodes, lambda node: lab.tpm(node, self.act))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The storage root key is another one or none, so what was sealed under it does not load;
        and unless it is latent, the host has booted since."""
        for node in self.nodes:
            if not self.latent and (await lab.status(node)).boot <= notes["boots"][node]:
                return f"{node} is in the boot of before: its TPM cannot have been cleared"
            acted = await lab.tpm(node, TpmAct.INFO)
            if acted.info is None or acted.info.failed:
                return f"the TPM of {node} does not tell its storage root key"
            if acted.srk == notes["srk"][node]:
                return f"the TPM of {node} has the storage root key that it had"
            if acted.ek != notes["ek"][node]:
                return f"{node} has another endorsement key: that is no clear"
        return ""
