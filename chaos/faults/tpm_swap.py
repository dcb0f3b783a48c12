"""``tpm.swap``: the mainboard is replaced: another TPM, another endorsement key, the same disk."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.base import Fault, Notes, Targets, names
from chaos.faults.power import NodesParams
from chaos.faults.tpms import TpmFault
from chaos.lab import Lab
from protocol.messages.agent import TpmAct


class TpmSwap(TpmFault, frozen=True, kw_only=True):
    """Mainboards are replaced: what was sealed is lost, vCenter sees another endorsement key."""

    kind: ClassVar[str] = "tpm.swap"
    example: ClassVar[str] = "on: esxi-001"
    act: ClassVar[TpmAct] = TpmAct.SWAP

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.chosen(params, targets))

    def summary(self) -> str:
        return f"mainboard of {names(self.nodes)} replaced"

    async def bites(self, lab: Lab, notes: Notes) -> str:
        for node in self.nodes:
            acted = await lab.tpm(node, TpmAct.INFO)
            if acted.ek == notes["ek"][node]:
                return f"{node} still has the endorsement key it had"
        return ""
