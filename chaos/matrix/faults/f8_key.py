"""F8: the key of the judged VM is destroyed at its key servers, and nobody else is told."""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.faults.kms_key_state import KeyAct, KmsKeyState
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import BACKUP, SERVERS_OF_P, StagingScene
from chaos.matrix.terms import Variant
from chaos.oracle.terms import TableFault

_ACTS: Final = {
    Variant.USUAL: KeyAct.DESTROY,
    Variant.DEACTIVATED: KeyAct.DEACTIVATE,
    Variant.COMPROMISED: KeyAct.COMPROMISE,
}


class KeyDestroyed(StagedFault):
    """The KEK of each judged VM is destroyed, or deactivated, or compromised; every other key stays
    as it is. Where the judged VM is yet to be made, that of the VM which is there; where the event
    is about an encrypted vSAN, the KEK of that, and not its host key.
    """

    fault: ClassVar[TableFault] = TableFault.F8
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant.USUAL,
        Variant.DEACTIVATED,
        Variant.COMPROMISED,
    )
    restores_keys: ClassVar[bool] = True

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self.know()

    def know(self) -> None:
        """Which keys are to be destroyed: those that the judged VMs have now."""
        scene = self.scene
        self._vms = sorted(scene.judged or scene.keys)
        keys = tuple(key.key_id for vm in self._vms for key in scene.keys[vm])
        if scene.on_vsan is not None:
            keys = (scene.on_vsan.kek.key_id,)
        self._destroyed = DrivenFault(
            scene,
            KmsKeyState(
                id="F8",
                state=_ACTS[scene.variant],
                keys=keys,
                backup=BACKUP,
                servers=SERVERS_OF_P,
                vcenters=(scene.vcenter,),
            ),
        )

    async def begin(self) -> None:
        await self._destroyed.survey()
        await self._destroyed.begin()
        self.write("fault", SERVERS_OF_P[0], self.scene.variant or "destroyed", vms=self._vms)

    async def bites(self) -> str:
        return await self._destroyed.bites()

    async def end(self) -> None:
        """The backup that was made before the fault is put back."""
        await self._destroyed.heal()
        self.write("heal", SERVERS_OF_P[0], "restored")

    async def verify_heal(self) -> str:
        return await self._destroyed.verify_heal()
