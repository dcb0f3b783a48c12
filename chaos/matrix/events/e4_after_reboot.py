"""E4: a registered VM is powered on, on a host that has booted under the fault."""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.matrix import clock
from chaos.matrix.events.base import LockingPlay, WantedVm
from chaos.matrix.evidence import JudgedLetter
from chaos.matrix.judging.letters import of_power_on, unclear
from chaos.matrix.strangers import verify_strangers_refused
from chaos.matrix.terms import Actor, VmKind
from chaos.oracle.terms import TableEvent, TableFault
from protocol.terms import NodeName, VmName

AFTER_BOOT_S: Final = 30.0


class PowersOnAfterReboot(LockingPlay):
    """The host's own VM, half a minute after its boot. No service of a Trust Authority opens its
    key for who is not attested: a host that is not would not even ask."""

    event: ClassVar[TableEvent] = TableEvent.E4
    cast: ClassVar[tuple[Actor, ...]] = (Actor.B,)
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("off", Actor.B, VmKind.OFF),)
    boots: ClassVar[bool] = True

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("off"), self.host(Actor.B)

    async def play(self, begins_at: float) -> JudgedLetter:
        vm, host = self.subject
        await self.scene.until(begins_at)
        self.power_on_at = await self.fault.reboot(host)
        at_once = self.fault.fault is TableFault.F7
        await self.scene.give(clock.AT_ONCE_S if at_once else AFTER_BOOT_S)
        asked = await self.power_on(vm, host)
        seen = await self.in_window(asked, vm, host)
        for key in self.keys("off") if self.scene.trusted else ():
            if given := await verify_strangers_refused(self.scene, key):
                return unclear(given)
        later = await self.hold(seen, vm, host, needed=asked.key_required)
        keys, shown = self.keys("off"), self.scene.locked_as
        return of_power_on(asked, seen, later, keys, host=host, locked_as=shown)
