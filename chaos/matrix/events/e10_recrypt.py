"""E10: a VM that runs is recrypted shallowly: a new key of its provider, its DEKs wrapped anew.

Under F7 the new key is of Q, and so it is where hosts derive keys of another KDK.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from chaos.matrix import clock
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import Answered, JudgedLetter, VmSeen, Wrapped
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_both, of_recrypt
from chaos.matrix.scene import P, Q, StagingScene
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.messages.host import RemoveKeys
from protocol.messages.vcenter import PowerOffVm, PowerOnVm, RecryptVm
from protocol.terms import NodeName, VmName


class Recrypts(EventPlay):
    """The task of vCenter. Done: the key and what it wraps are others, the old key is not needed
    any more, and the VM works, also after a power cycle. Refused: both are as they were.

    Where the KDK is another one, also of a VM whose key the host has not used: ``cold``.
    """

    event: ClassVar[TableEvent] = TableEvent.E10
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A,)
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("run", Actor.A, VmKind.RUN),
        WantedVm("cold", Actor.A, VmKind.OFF, judged=False, cold=True),
    )

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._tries = 0

    @classmethod
    def waits_for_b(cls, block: Block, fault: TableFault) -> bool:
        return fault in OF_HOSTS

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("run"), self.host(Actor.A)

    def course(self) -> EventCourse:
        return msgspec.structs.replace(super().course(), makes_key=True)

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        used = await self._recrypt_and_judge(self.vm("run"))
        if not (self.scene.native and self.fault.fault is TableFault.F8):
            return used
        began = self.asked_at
        cold = await self._recrypt_and_judge(self.vm("cold"))
        self.asked_at = began
        refused = "refused" if cold.letter in (Letter.NO, Letter.LOCKED) else cold.letter
        self.parts |= {"kek_cached": used.letter, "kek_cold": refused}
        return of_both(used, cold)

    async def _recrypt_and_judge(self, vm: VmName) -> JudgedLetter:
        host, bench = self.host(Actor.A), self.scene.bench
        before = await bench.read_wrapped(self.event, vm)
        asked = await self._recrypt(vm)
        if not asked.done:
            await self.scene.give(clock.TASK_S)
        after = await bench.read_wrapped(self.event, vm)
        seen = await self.looks.vm(vm, host)
        cycled = await self._power_cycle(vm, before) if asked.done else None
        self._write(before, after)
        running = vm == self.vm("run")
        return of_recrypt(asked, before, after, seen, cycled, host=host, running=running)

    async def _recrypt(self, vm: VmName) -> Answered:
        self._tries += 1
        task = RecryptVm(
            operation_id=f"matrix/{vm}/recrypt/{self._tries}",
            vm=vm,
            provider=Q if self._to_q else P,
        )
        return await self.ask(self.scene.vcenter, task, within_s=clock.CREATE_S)

    @property
    def _to_q(self) -> bool:
        """P cannot make a key that is of use: gone, deriving others, or without its primary key."""
        fault = self.fault.fault
        return fault is TableFault.F7 or (fault is TableFault.F8 and self.scene.keyed_by_use)

    async def _power_cycle(self, vm: VmName, before: Wrapped) -> VmSeen:
        """Off and on again on a host that has lost the old keys: they are not needed any more."""
        host = self.host(Actor.A)
        await self.looks.ask(host, RemoveKeys(keys=before.keys))
        await self.looks.ask_vcenter(PowerOffVm(vm=vm))
        await self.looks.ask_vcenter(PowerOnVm(vm=vm))
        return await self.looks.vm(vm, host)

    def _write(self, before: Wrapped, after: Wrapped) -> None:
        self.trail.write(
            "probe",
            self.host(Actor.A),
            "wrapped",
            before=[str(key) for key in before.keys],
            after=[str(key) for key in after.keys],
            changed=before.deks != after.deks,
        )

    async def clear_away(self) -> None:
        """The new key is younger than the copy that is put back: the VM leaves it for one of Q."""
        if self.judged is not None and self.judged.letter == Letter.OK:
            task = RecryptVm(
                operation_id=f"matrix/{self.vm('run')}/away", vm=self.vm("run"), provider=Q
            )
            await self.looks.ask_vcenter(task, within_s=clock.CREATE_S)

    async def aftermath(self) -> str:
        """The identical request is done now, if it was refused; and the VM works."""
        judged = self.judged
        if judged is not None and judged.letter == Letter.NO:
            again = await self._recrypt(self.vm("run"))
            if not again.done:
                return f"{self.vm('run')} cannot be recrypted: {again.error}: {again.text}"
        if judged is not None and judged.letter == Letter.PARTLY:
            again = await self._recrypt(self.vm("cold"))
            if not again.done:
                return f"{self.vm('cold')} cannot be recrypted: {again.error}: {again.text}"
            self.parts["after_right_import"] = "recrypt ok"
        return await self.until_it_works(*self.subject)
