"""``tpm.swap``: the mainboard is replaced: another TPM, another endorsement key, the same disk.

``accept: false``: its cure leaves vCenter's record of the old TPM, so that somebody sees the
mismatch and clears it (``host.clear-tpm``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Notes, Params, Targets, names
from chaos.faults.power import NodesParams, some_of
from chaos.faults.tpms import TpmFault
from chaos.lab import Directory, LabUnderTest
from protocol.messages.agent import TpmAct
from protocol.terms import Role


class TpmSwapParams(NodesParams):
    """Which hosts; ``accept``: the cure has vCenter forget the TPM that it recorded."""

    accept: bool = True


class TpmSwapFault(TpmFault, frozen=True, kw_only=True):
    """Mainboards are replaced: what was sealed is lost, vCenter sees another endorsement key."""

    kind: ClassVar[str] = "tpm.swap"
    example: ClassVar[str] = "on: esxi-001"
    params: ClassVar[type[Params]] = TpmSwapParams
    act: ClassVar[TpmAct] = TpmAct.SWAP

    @classmethod
    def of(cls, id: str, params: TpmSwapParams, targets: Targets) -> Fault:
        return cls(id=id, accept=params.accept, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,))

    def file_fields(self) -> dict[str, Any]:
        return super().file_fields() | ({} if self.accept else {"accept": False})

    def summary(self) -> str:
        return f"mainboard of {names(self.nodes)} replaced"

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        for node in self.nodes:
            acted = await lab.tpm(node, TpmAct.INFO)
            if acted.ek == notes["ek"][node]:
                return f"{node} still has the endorsement key it had"
        return ""
