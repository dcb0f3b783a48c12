"""E2: a host reboots: is it safe?"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from chaos.matrix import clock
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import HostSeen, JudgedLetter
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_host
from chaos.matrix.scene import StagingScene
from chaos.matrix.terms import Actor, VmKind
from chaos.oracle.terms import TableEvent, TableFault
from protocol.terms import HostCryptoState, NodeName, VmName


class Reboots(EventPlay):
    """What the host is a minute after its boot, and still when things had time to settle."""

    event: ClassVar[TableEvent] = TableEvent.E2
    cast: ClassVar[tuple[Actor, ...]] = (Actor.B,)
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("off", Actor.B, VmKind.OFF),
        WantedVm("clear", Actor.B, VmKind.CLEAR, judged=False),
    )
    boots: ClassVar[bool] = True
    dumps: ClassVar[Actor | None] = Actor.B

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._proved: float | None = None

    def course(self) -> EventCourse:
        return msgspec.structs.replace(super().course(), proved=self._proved)

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        """Without VM: it is about the host key, which VMs do not name."""
        return VmName(""), self.host(Actor.B)

    async def play(self, begins_at: float) -> JudgedLetter:
        host, clear = self.host(Actor.B), self.vm("clear")
        await self.scene.until(begins_at)
        began = self.power_on_at = self.asked_at = await self.fault.reboot(host)
        self.scene.b_is_up.set()
        at_once = await self.looks.host(host, since=began)
        if at_once.crypto is HostCryptoState.SAFE and at_once.dump:
            self._proved = self.scene.lab.monotonic() - self.scene.patience
        up_at = self.scene.since()
        soon = await self._soon(began)
        await self.scene.until(up_at + clock.TASK_S + self.scene.patience)
        now = await self.looks.host(host, since=began)
        if not now.answers and self.scene.patience:
            # vCenter misses three heartbeats, and each takes real time.
            await self.scene.lab.sleep(2 * self.scene.patience)
            now = await self.looks.host(host, since=began)
        self.ended_at = self.scene.lab.monotonic()
        works, runs = await self.clear_vm(host, clear, answers=now.answers)
        await self.scene.until(up_at + clock.TASK_S + clock.SETTLED_S + self.scene.patience)
        later = await self.looks.host(host, since=began)
        self.trail.write("note", host, "clear", vm=clear, runs=runs, works=works.right)
        return of_host(now, later, works, clear_runs=runs, soon=soon)

    async def _soon(self, began: float) -> HostSeen | None:
        """Under F7 the host is looked at just after its boot too: whatever a deleted provider takes
        from it, it does not take then."""
        if self.fault.fault is not TableFault.F7:
            return None
        await self.scene.give(clock.AT_ONCE_S)
        return await self.looks.host(self.host(Actor.B), since=began)

    async def aftermath(self) -> str:
        seen = await self.looks.host(self.host(Actor.B), since=self.scene.lab.monotonic())
        if seen.crypto is not HostCryptoState.SAFE:
            state = "does not answer" if seen.crypto is None else f"is {seen.crypto.value}"
            return f"{self.host(Actor.B)} {state}"
        return "" if seen.dump else f"{self.host(Actor.B)} cannot decrypt its dump"
