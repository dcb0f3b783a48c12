"""F7: the provider is deleted from vCenter; it was the default, so none is left."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.provider_delete import ProviderDelete
from chaos.matrix.faults.base import Held, StagedFault
from chaos.matrix.scene import P, Q, Scene
from chaos.observe.listing import all_providers
from chaos.oracle.terms import Fault


class ProviderDeleted(StagedFault):
    """P leaves vCenter; its keys stay at its key servers, and Q stays too."""

    fault: ClassVar[Fault] = Fault.F7

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._deleted = Held(scene, ProviderDelete(id="F7", provider=P, vcenter=scene.vcenter))

    async def begin(self) -> None:
        await self._deleted.survey()
        await self._deleted.begin()
        self.write("fault", self.scene.vcenter, "deleted", provider=P)

    async def bites(self) -> str:
        """vCenter lists no P and no default, and lists Q."""
        if wrong := await self._deleted.bites():
            return wrong
        listed = await all_providers(self.scene.lab, self.scene.vcenter)
        if [one.provider for one in listed] != [Q] or any(one.default for one in listed):
            return f"vCenter lists {[one.provider for one in listed]}"
        return ""

    async def end(self) -> None:
        """Added again under the same name, made the default; host encryption mode re-enabled."""
        await self._deleted.heal()
        self.write("heal", self.scene.vcenter, "added again", provider=P)

    async def healed(self) -> str:
        return await self._deleted.healed()
