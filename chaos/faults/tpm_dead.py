"""``tpm.dead``: the TPM answers nothing but its failure, from now on and at every boot (F6).

A running host notices it when it needs its TPM next; one whose configuration is sealed stops at
its screen at the next boot. What the TPM holds is there again when it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets, all_of, names, status_of
from chaos.faults.power import NodesFault, NodesParams
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.messages.agent import NodeRunState, TpmAct, TpmBackend
from protocol.terms import NodeName, Role


class TpmDead(NodesFault, frozen=True, kw_only=True):
    """TPMs fail, and stay in failure mode over power cycles."""

    kind: ClassVar[str] = "tpm.dead"
    example: ClassVar[str] = "on: esxi-001"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEXT_TPM,))
    alone: ClassVar[bool] = True
    role: ClassVar[Role | None] = Role.ESXI

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        there = [e.node for e in directory.nodes if e.role is Role.ESXI and e.tpm]
        return {"on": list(map(str, draws.pick(there, 1)))} if there else None

    def summary(self) -> str:
        return f"TPM of {names(self.nodes)} dead"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"TPM of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        for node in self.nodes:
            if (await lab.status(node)).tpm is TpmBackend.NONE:
                raise ChaosError("KS-CHAOS-106", f"{node} has no TPM")
            info = (await lab.tpm(node, TpmAct.INFO)).info
            if info is None or info.failed:
                raise ChaosError("KS-CHAOS-106", f"the TPM of {node} is off, or failed already")
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(self.nodes, lambda node: lab.tpm(node, TpmAct.FAIL))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each TPM that has power tells that it failed, and nothing else."""
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None:
                return f"{node} cannot be asked"
            acted = await lab.tpm(node, TpmAct.INFO)
            off = status.state is NodeRunState.OFF
            if not off and (acted.info is None or not acted.info.failed or acted.pcrs):
                return f"the TPM of {node} answers"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        """It leaves failure mode at a power cycle only, so a host that is on is booted again."""

        async def mend(node: NodeName) -> None:
            await lab.tpm(node, TpmAct.UNFAIL)
            state = (await lab.status(node)).state
            if state is NodeRunState.OFF:
                return
            info = (await lab.tpm(node, TpmAct.INFO)).info
            if info is None or info.failed:
                orderly = state is NodeRunState.RUNNING
                await lab.power_off(node, "stop" if orderly else "power_loss")
                await lab.power_on(node)

        await all_of(self.nodes, mend)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each answers; one without power cannot show that it does."""
        for node in self.nodes:
            info = (await lab.tpm(node, TpmAct.INFO)).info
            if info is None:
                return f"{node} is off, so its TPM cannot show that it answers"
            if info.failed:
                return f"the TPM of {node} is in failure mode"
        return ""
