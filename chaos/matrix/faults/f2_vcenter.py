"""F2: vCenter is down."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.links import LinkCutFault
from chaos.faults.processes import VcenterDown
from chaos.matrix.faults.base import DrivenFault, ReturningVcenter
from chaos.matrix.faults.pushes import PushesCut
from chaos.matrix.scene import StagingScene
from chaos.matrix.terms import Variant
from chaos.oracle.terms import TableFault


class VcenterAway(ReturningVcenter):
    """vCenter's process is stopped hard, or all of its links are cut; key servers and hosts go on.

    Its end opens the links to hosts before those to key servers, as it starts vCenter before.
    """

    fault: ClassVar[TableFault] = TableFault.F2
    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL, Variant.LINKS_CUT)

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._cut = scene.variant is Variant.LINKS_CUT
        alone = LinkCutFault(id="F2", a=(scene.vcenter,), b=scene.hosts())
        down = VcenterDown(id="F2", nodes=(scene.vcenter,), clients=scene.hosts()[:2])
        servers = LinkCutFault(id="F2-servers", a=(scene.vcenter,), b=scene.servers)
        self._down = DrivenFault(scene, alone if self._cut else down)
        self._servers = DrivenFault(scene, servers)
        self._shut = DrivenFault(scene, PushesCut.of_all(scene)) if scene.native else self._servers

    async def begin(self) -> None:
        await self._down.survey()
        await self._down.begin()
        if self._cut:
            await self._servers.survey()
            await self._servers.begin()
        self.scene.vcenter_cut = self._cut
        self.write("fault", self.scene.vcenter, "cut" if self._cut else "down")

    async def bites(self) -> str:
        return await self._down.bites() or (await self._servers.bites() if self._cut else "")

    async def return_shut(self) -> None:
        if self._shut is not self._servers or not self._cut:
            await self._shut.survey()
            await self._shut.begin()
        await self._back()
        self.write("heal", self.scene.vcenter, "up, with its way to the keys shut")

    async def open(self) -> None:
        await self._shut.heal()
        if self._shut is not self._servers and self._cut:
            await self._servers.heal()
        self.write("heal", self.scene.vcenter, "open")

    async def _back(self) -> None:
        await self._down.heal()
        self.scene.vcenter_cut = False

    async def end(self) -> None:
        await self._back()
        if self._cut:
            await self._servers.heal()
        self.write("heal", self.scene.vcenter, "up")

    async def verify_heal(self) -> str:
        both = await self._down.verify_heal() or await self._servers.verify_heal()
        return both or await self._shut.verify_heal()
