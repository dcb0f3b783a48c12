"""F8 where keys are a Trust Authority's: P's primary key is destroyed at its key servers."""

from __future__ import annotations

from typing import ClassVar

from chaos.faults.kms_key_state import KeyAct, KmsKeyState
from chaos.matrix.faults.base import Held, StagedFault
from chaos.matrix.scene import BACKUP, SERVERS_OF_P, Scene, Void
from chaos.oracle.terms import Fault
from protocol.messages.kms import Locate


class PrimaryKeyDestroyed(StagedFault):
    """Every key of P is wrapped by that one key, and by no other one of its key servers."""

    fault: ClassVar[Fault] = Fault.F8
    restores_keys: ClassVar[bool] = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._held: Held | None = None

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
        self._held = Held(self.scene, destroyed)
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
