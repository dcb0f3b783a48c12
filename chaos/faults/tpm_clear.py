"""``tpm.clear``: the TPM is cleared; what it sealed is gone, its endorsement key stays."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.base import Fault, Notes, Targets, all_of, names
from chaos.faults.boards import BoardFault, resets
from chaos.faults.power import NodesParams
from chaos.lab import Lab
from protocol.messages.control import TpmAct
from protocol.terms import NodeName


class TpmClear(BoardFault, frozen=True, kw_only=True):
    """Latent on a running host: it shows at the next boot."""

    kind: ClassVar[str] = "tpm.clear"

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.chosen(params, targets))

    def summary(self) -> str:
        return f"TPM of {names(self.nodes)} cleared"

    async def begin(self, lab: Lab, until: float, notes: Notes) -> None:
        async def clear(node: NodeName) -> None:
            await lab.tpm(node, TpmAct.CLEAR)

        await all_of(self.nodes, clear)

    async def bites(self, lab: Lab, notes: Notes) -> str:
        """A clear sets the reset counter back, and nothing else does; the EK stays the same."""
        for node in self.nodes:
            acted = await lab.tpm(node, TpmAct.INFO)
            before = notes["resets"][node]
            if acted.ek != notes["ek"][node]:
                return f"{node} has another endorsement key: that is no clear"
            if resets(acted) >= max(before, 1):
                return f"the reset counter of {node}'s TPM is {resets(acted)}, before {before}"
        return ""
