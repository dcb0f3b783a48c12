"""``vcenter.down``: vCenter stops hard (F2); at its end it is started again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.faults.base import Fault, Notes, Params, Targets, running
from chaos.faults.links import ping
from chaos.faults.power import NodesParams, PowerFault
from chaos.lab import Directory, LabUnderTest
from protocol.terms import NodeName, Role


class VcenterDownParams(NodesParams):
    """Which vCenter; when it is left out, every one of the lab."""

    on: str | list[str] | dict[str, str | int] = "role:vcenter"


class VcenterDown(PowerFault, frozen=True, kw_only=True):
    """A crash of every vCenter selected; ``clients`` are two others that call it in vain."""

    kind: ClassVar[str] = "vcenter.down"
    example: ClassVar[str] = ""
    inside: ClassVar[tuple[str, ...]] = ("host.power_loss", "host.reboot")
    params: ClassVar[type[Params]] = VcenterDownParams
    role: ClassVar[Role | None] = Role.VCENTER
    way: ClassVar[str] = "crash"
    verb: ClassVar[str] = "crash of"
    clients: tuple[NodeName, ...] = ()

    @classmethod
    def of(cls, id: str, params: VcenterDownParams, targets: Targets) -> Fault:
        clients = targets.of_role(Role.ESXI)[:2]
        return cls(id=id, clients=clients, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return {}

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        problem = await super().bites(lab, notes)
        if problem:
            return problem
        askers = [node for node in self.clients if await running(lab, node)]
        edges = [(asker, node) for asker in askers for node in self.nodes]
        for (asker, node), result in (await ping(lab, edges, within_s=1.0, count=1)).items():
            if result.answered:
                return f"{node} answers {asker}"
        return ""
