"""E3: a registered VM is powered on, on a host that has not booted since it got the key."""

from __future__ import annotations

from typing import ClassVar

from chaos.matrix import clock
from chaos.matrix.events.base import LockingPlay, WantedVm
from chaos.matrix.evidence import JudgedLetter
from chaos.matrix.judging.letters import of_power_on
from chaos.matrix.terms import Actor, VmKind
from chaos.oracle.terms import Letter, TableEvent
from protocol.messages.vcenter import PowerOffVm
from protocol.terms import NodeName, VmName


class PowersOn(LockingPlay):
    """A warm host and a VM that is off; where keys are derived and the KDK is another one, also a
    VM whose key the host has not used."""

    event: ClassVar[TableEvent] = TableEvent.E3
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A,)
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("off", Actor.A, VmKind.OFF),
        WantedVm("cold", Actor.A, VmKind.OFF, judged=False, cold=True),
    )
    latent: ClassVar[Actor | None] = Actor.A
    graced: ClassVar[bool] = True
    when_over: ClassVar[str] = "unlocked, power-on ok"
    when_cold_again: ClassVar[str] = "cold ok"

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("off"), self.host(Actor.A)

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        began = self.scene.lab.monotonic()
        judged = await self._start_and_judge(*self.subject)
        if not self.has_other_kdk:
            return judged
        cold = await self._start_and_judge(self.vm("cold"), self.host(Actor.A))
        if judged.letter == Letter.OK:
            judged = await self._again()
        self.asked_at = began
        return self.both(judged, cold)

    async def _again(self) -> JudgedLetter:
        """Off and on, when keys of a provider that was deleted would have left."""
        vm, host = self.subject
        await self.scene.until(clock.EVICTED_S)
        await self.looks.ask_vcenter(PowerOffVm(vm=vm))
        return await self._start_and_judge(vm, host)

    async def _start_and_judge(self, vm: VmName, host: NodeName) -> JudgedLetter:
        asked = await self.power_on(vm, host)
        seen = await self.in_window(asked, vm, host)
        later = await self.hold(seen, vm, host, needed=asked.key_required)
        return of_power_on(asked, seen, later, self.scene.keys[vm], host=host)
