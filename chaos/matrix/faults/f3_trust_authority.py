"""F3: every service of the Trust Authority is down."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.power import SitePowerLoss
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import StagingScene
from chaos.oracle.terms import TableFault


class TrustAuthorityAway(StagedFault):
    """The Attestation Service and the Key Provider Service of each of its hosts lose their power;
    both vCenters and the key servers go on."""

    fault: ClassVar[TableFault] = TableFault.F3

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._services = (*scene.attesters, *scene.key_services)
        off = SitePowerLoss(id="F3", nodes=self._services, sites=("trust-authority",))
        self._down = DrivenFault(scene, off)

    async def begin(self) -> None:
        await self._down.survey()
        await self._down.begin()
        self.write("fault", self.scene.vcenter, "down", services=list(self._services))

    async def bites(self) -> str:
        """They are off, and vCenter still reaches each key server."""
        if wrong := await self._down.bites():
            return wrong
        for server in self.scene.servers:
            if not (await self.scene.lab.canary(self.scene.vcenter, server)).answered:
                return f"{server} does not answer either"
        return ""

    async def end(self) -> None:
        await self._down.heal()
        self.write("heal", self.scene.vcenter, "up", services=list(self._services))

    async def verify_heal(self) -> str:
        return await self._down.verify_heal()
