"""``tpm.swap``: the board is replaced: another TPM, another endorsement key, the same disk."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.base import Fault, Notes, Targets, all_of, names
from chaos.faults.boards import BoardFault
from chaos.faults.power import NodesParams
from chaos.lab import Lab
from protocol.messages.control import NodeRunState, TpmAct
from protocol.terms import NodeName


class TpmSwap(BoardFault, frozen=True, kw_only=True):
    """A board is changed with the power off: a running host is stopped in order, and powered
    on again with the new board. The fault is begun when it has shown its screen or runs."""

    kind: ClassVar[str] = "tpm.swap"
    holds_power: ClassVar[bool] = True

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.chosen(params, targets))

    def summary(self) -> str:
        return f"board of {names(self.nodes)} replaced"

    async def begin(self, lab: Lab, until: float, notes: Notes) -> None:
        async def swap(node: NodeName) -> None:
            state = (await lab.status(node)).state
            if state is not NodeRunState.OFF:
                orderly = state is NodeRunState.RUNNING
                await lab.power_off(node, "stop" if orderly else "power_loss")
            await lab.tpm(node, TpmAct.SWAP)
            if state is not NodeRunState.OFF:
                await lab.power_on(node)

        await all_of(self.nodes, swap)

    async def bites(self, lab: Lab, notes: Notes) -> str:
        for node in self.nodes:
            acted = await lab.tpm(node, TpmAct.INFO)
            if acted.ek == notes["ek"][node]:
                return f"{node} still has the endorsement key it had"
        return ""

    async def healed(self, lab: Lab, notes: Notes) -> str:
        """As its base says; the boot that showed the fault was one, so it takes two."""
        later = {node: boot + 1 for node, boot in notes.get("boots", {}).items()}
        return await super().healed(lab, notes | {"boots": later})
