"""F4: everything outside of the hosts is down at once."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.power import SitePowerLoss
from chaos.matrix.faults.base import DrivenFault, ReturningVcenter
from chaos.matrix.faults.pushes import PushesCut
from chaos.matrix.scene import TA_VCENTER, StagingScene
from chaos.oracle.terms import TableFault
from protocol.terms import NodeName


class OutsideAway(ReturningVcenter):
    """vCenter, every key server, and what there is of a Trust Authority lose their power; hosts,
    datastores and TPMs go on."""

    fault: ClassVar[TableFault] = TableFault.F4

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        services = (*scene.attesters, *scene.key_services)
        self._servers = (*scene.servers, *services, *[TA_VCENTER] * scene.trusted)
        self._shut = DrivenFault(scene, PushesCut.of_all(scene)) if scene.native else None
        nodes = (*self._servers, scene.vcenter)
        self._down = DrivenFault(scene, SitePowerLoss(id="F4", nodes=nodes, sites=("outside",)))

    async def begin(self) -> None:
        await self._down.survey()
        await self._down.begin()
        self.write("fault", self.scene.vcenter, "down", with_it=list(self._servers))

    async def bites(self) -> str:
        """They are off, and hosts still reach each other, where there are several."""
        if wrong := await self._down.bites():
            return wrong
        one, *others = self.scene.hosts()[:2]
        for other in others:
            if not (await self.scene.lab.canary(one, other)).answered:
                return f"{other} does not answer {one}"
        return ""

    async def return_shut(self) -> None:
        if self._shut is not None:
            await self._shut.survey()
            await self._shut.begin()
        await self._on((self.scene.vcenter,))

    async def open(self) -> None:
        await self._on(self._servers)
        if self._shut is not None:
            await self._shut.heal()

    async def end(self) -> None:
        """In the order that standard providers need: key servers, then vCenter."""
        await self._on(self._servers)
        await self._on((self.scene.vcenter,))

    async def _on(self, nodes: tuple[NodeName, ...]) -> None:
        for node in nodes:
            await self.scene.lab.power_on(node)
            self.write("heal", node, "up")

    async def verify_heal(self) -> str:
        shut = "" if self._shut is None else await self._shut.verify_heal()
        return shut or await self._down.verify_heal()
