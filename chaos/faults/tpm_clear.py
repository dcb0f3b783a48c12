"""``tpm.clear``: the TPM is cleared; what it sealed is gone, its endorsement key stays."""

from __future__ import annotations

from typing import ClassVar

from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets, names
from chaos.faults.power import NodesParams
from chaos.faults.tpms import TpmFault, resets
from chaos.lab import Lab
from protocol.messages.agent import TpmAct


class TpmClear(TpmFault, frozen=True, kw_only=True):
    """TPMs are cleared as in the firmware's set-up; what was sealed under them is lost."""

    kind: ClassVar[str] = "tpm.clear"
    example: ClassVar[str] = "on: esxi-001"
    act: ClassVar[TpmAct] = TpmAct.CLEAR

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.chosen(params, targets))

    def summary(self) -> str:
        return f"TPM of {names(self.nodes)} cleared"

    async def survey(self, lab: Lab) -> Notes:
        notes = await super().survey(lab)
        dark = [node for node in self.nodes if notes["resets"][node] is None]
        if dark:
            text = f"{names(tuple(dark))}: off or failed, so a clear could not be seen"
            raise ChaosError("KS-CHAOS-106", text)
        return notes

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """It has booted since, and boots count from 0: only a clear sets the counter back."""
        for node in self.nodes:
            if (await lab.status(node)).boot <= notes["boots"][node]:
                return f"{node} is in the boot of before: its TPM cannot have been cleared"
            acted = await lab.tpm(node, TpmAct.INFO)
            before, after = notes["resets"][node], resets(acted)
            if after is None or after > before:
                return f"the reset counter of {node}'s TPM was {before} and is {after}"
            if acted.ek != notes["ek"][node]:
                return f"{node} has another endorsement key: that is no clear"
        return ""
