"""A fault that is none of the table's, in a lab of a row outside of the grid."""

from __future__ import annotations

from chaos.matrix.faults.base import DrivenFault
from chaos.matrix.faults.f0_none import NothingWrong
from chaos.matrix.scene import StagingScene


class Beside(NothingWrong):
    """A lab in which one fault of ``chaos.faults`` holds, and nothing of the table's."""

    def __init__(self, scene: StagingScene, held: DrivenFault) -> None:
        super().__init__(scene)
        self._held = held

    async def begin(self) -> None:
        await self._held.survey()
        await self._held.begin()
        self.write("fault", self.scene.vcenter, self._held.fault.kind)

    async def bites(self) -> str:
        return await self._held.bites()

    async def end(self) -> None:
        await self._held.heal()
        self.write("heal", self.scene.vcenter, self._held.fault.kind)

    async def verify_heal(self) -> str:
        return await self._held.verify_heal()
