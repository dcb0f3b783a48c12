"""E3: a registered VM is powered on, on a host that has not booted since it got the key."""

from __future__ import annotations

from typing import ClassVar

from chaos.matrix.events.base import LockingPlay, Wanted
from chaos.matrix.evidence import Judged
from chaos.matrix.letters import of_power_on
from chaos.matrix.terms import Actor, Kind
from chaos.oracle.terms import Event
from protocol.terms import NodeName, VmName


class PowersOn(LockingPlay):
    """A warm host and a VM that is off."""

    event: ClassVar[Event] = Event.E3
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A,)
    vms: ClassVar[tuple[Wanted, ...]] = (Wanted("off", Actor.A, Kind.OFF),)
    latent: ClassVar[Actor | None] = Actor.A
    graced: ClassVar[bool] = True
    when_over: ClassVar[str] = "unlocked, power-on ok"

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("off"), self.host(Actor.A)

    async def play(self, begins_at: float) -> Judged:
        vm, host = self.subject
        await self.scene.until(begins_at)
        asked = await self.power_on(vm, host)
        seen = await self.looks.vm(vm, host)
        later = await self.hold(seen, vm, host, needed=asked.key_required)
        return of_power_on(asked, seen, later, self.keys("off"), host=host)
