"""F2: vCenter is down."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.link_cut import LinkCut
from chaos.faults.vcenter_down import VcenterDown
from chaos.matrix.faults.base import Held, ReturningVcenter
from chaos.matrix.scene import SERVERS_OF_P, SERVERS_OF_Q, Scene
from chaos.oracle.terms import Fault


class VcenterAway(ReturningVcenter):
    """vCenter's process is stopped hard; key servers and hosts go on."""

    fault: ClassVar[Fault] = Fault.F2

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        down = VcenterDown(id="F2", nodes=(scene.vcenter,), clients=scene.hosts()[:2])
        shut = LinkCut(id="F2-shut", a=(scene.vcenter,), b=SERVERS_OF_P + SERVERS_OF_Q)
        self._down, self._shut = Held(scene, down), Held(scene, shut)

    async def begin(self) -> None:
        await self._down.survey()
        await self._down.begin()
        self.write("fault", self.scene.vcenter, "down")

    async def bites(self) -> str:
        return await self._down.bites()

    async def return_shut(self) -> None:
        await self._shut.survey()
        await self._shut.begin()
        await self._down.heal()
        self.write("heal", self.scene.vcenter, "up, without its key servers")

    async def open(self) -> None:
        await self._shut.heal()
        self.write("heal", self.scene.vcenter, "open")

    async def end(self) -> None:
        await self._down.heal()
        self.write("heal", self.scene.vcenter, "up")

    async def healed(self) -> str:
        return await self._down.healed() or await self._shut.healed()
