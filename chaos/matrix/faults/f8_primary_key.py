"""F8 where keys are a Trust Authority's: P's primary key is destroyed at its key servers."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.kms_key_state import KeyAct, KmsKeyState
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import BACKUP, SERVERS_OF_P, StagingScene, Void
from chaos.oracle.terms import TableFault
from protocol.messages.kms import Locate


class PrimaryKeyDestroyed(StagedFault):
    """Every key of P is wrapped by that one key, and by no other one of its key servers."""

    fault: ClassVar[TableFault] = TableFault.F8
    restores_keys: ClassVar[bool] = True

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._held: DrivenFault | None = None

    async def begin(self) -> None:
        server = SERVERS_OF_P[0]
        keys = (await self.scene.lab.ask(server, Locate())).key_ids
        if len(keys) != 1:
            raise Void(f"{server} has {len(keys)} keys beside a primary key")
        destroyed = KmsKeyState(
            id="F8",
            state=KeyAct.DESTROY,
            keys=keys,
            backup=BACKUP,
            servers=SERVERS_OF_P,
            vcenters=(self.scene.vcenter,),
        )
        self._held = DrivenFault(self.scene, destroyed)
        await self._held.survey()
        await self._held.begin()
        self.write("fault", server, "primary key destroyed")

    async def bites(self) -> str:
        return "nothing was destroyed" if self._held is None else await self._held.bites()

    async def end(self) -> None:
        """The backup that was made before the fault is put back."""
        if self._held is not None:
            await self._held.heal()
            self.write("heal", SERVERS_OF_P[0], "restored")

    async def verify_heal(self) -> str:
        return "" if self._held is None else await self._held.verify_heal()
