"""E7, E8: a running VM moves to another host, by vMotion."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import JudgedLetter, VmSeen
from chaos.matrix.judging.letters import of_both
from chaos.matrix.looks import Moving
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.terms import NodeName, VmName


class Moves(EventPlay, ABC):
    """``target``: where the VM shall go on. Its guest must be the same run there, and must not have
    stood still for longer than a switch-over takes."""

    target: ClassVar[Actor]
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("run", Actor.A, VmKind.RUN),)

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("run"), self.host(self.target)

    async def move(self, vm: VmName, *, patient: bool = False) -> JudgedLetter:
        """See ``Moving.move_and_judge``."""
        moving = Moving(self.looks)
        source, target = self.host(Actor.A), self.host(self.target)
        judged = await moving.move_and_judge(vm, source, target, patient=patient)
        self.asked_at, self.ended_at = moving.asked_at, moving.ended_at
        return judged

    async def aftermath(self) -> str:
        """What moved works there; what was refused is done now, with nobody's help."""
        vm, target = self.subject
        judged = self.judged
        if judged is not None and judged.letter == Letter.OK:
            return await self.until_it_works(vm, target)
        if judged is not None and judged.letter == Letter.PARTLY:
            wrong = await self._goes_now(self.vm("cold"))
            self.parts |= {} if wrong else {"after_right_import": "ok"}
            return wrong
        wrong = await self._goes_now(vm)
        if self.graced and not wrong:
            self.parts["after_fault_ends"] = self.when_over
        return wrong

    async def _goes_now(self, vm: VmName) -> str:
        asked = await Moving(self.looks).until_answered(vm, self.host(self.target))
        if not asked.done:
            return f"{vm} does not move: {asked.error}: {asked.text}"
        seen: VmSeen = await self.looks.vm(vm, self.host(self.target))
        return "" if seen.works.right else f"{vm} does not work: {seen.works.detail}"


class MovesWithKey(Moves):
    """To a host that has the key. Under a fault of hosts, another one has booted before."""

    event: ClassVar[TableEvent] = TableEvent.E7
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A, Actor.C)
    target: ClassVar[Actor] = Actor.C
    graced: ClassVar[bool] = True
    when_over: ClassVar[str] = "move ok"
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("run", Actor.A, VmKind.RUN, used_on=Actor.C),
        WantedVm("cold", Actor.A, VmKind.RUN, judged=False, cold=True),
    )

    @classmethod
    def waits_for_b(cls, block: Block, fault: TableFault) -> bool:
        return fault in OF_HOSTS

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        if not (self.scene.native and self.fault.fault is TableFault.F8):
            return await self.move(self.vm("run"))
        used = await self.move(self.vm("run"))
        cold = await self.move(self.vm("cold"))
        self.parts |= {"kek_cached": used.letter, "kek_cold": cold.letter}
        return of_both(used, cold)


class MovesWithoutKey(Moves):
    """To a host without the key. Under a fault of hosts, that is the one that has just booted."""

    event: ClassVar[TableEvent] = TableEvent.E8
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A, Actor.D)
    target: ClassVar[Actor] = Actor.D
    without_key: ClassVar[Actor | None] = Actor.D

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        if not self.fault.of_a_host:
            return await self.move(self.vm("run"))
        target = self.host(Actor.D)
        await self.fault.down(target, self.scene.boot.way)
        self.power_on_at = await self.fault.up(target)
        return await self.move(self.vm("run"), patient=True)
