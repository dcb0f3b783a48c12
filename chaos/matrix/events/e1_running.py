"""E1: nothing happens; a VM runs on."""

from __future__ import annotations

from typing import ClassVar

from chaos.matrix import clock
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import JudgedLetter, VmSeen
from chaos.matrix.judging.letters import of_running
from chaos.matrix.terms import Actor, VmKind
from chaos.oracle.terms import TableEvent, TableFault
from protocol.terms import NodeName, VmName


class RunsOn(EventPlay):
    """Its guest is asked every half minute, for a quarter of an hour; where no service attests
    its host, past the life of tokens."""

    event: ClassVar[TableEvent] = TableEvent.E1
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A,)
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("run", Actor.A, VmKind.RUN),)
    latent: ClassVar[Actor | None] = Actor.A

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("run"), self.host(Actor.A)

    async def play(self, begins_at: float) -> JudgedLetter:
        vm, host = self.subject
        looks: list[VmSeen] = []
        self.asked_at = self.scene.t0
        for step in range(int(self._window / clock.RUN_STEP_S) + 1):
            await self.scene.until(begins_at + step * clock.RUN_STEP_S)
            looks.append(await self.looks.vm(vm, host))
        self.ended_at = self.scene.lab.monotonic()
        return of_running(looks, host)

    @property
    def _window(self) -> float:
        """Longer where nobody attests a host: its tokens expire meanwhile, and the VM runs on."""
        unattested = (
            self.fault.fault in (TableFault.F3, TableFault.F4, TableFault.F5B)
            and self.scene.trusted
        )
        return clock.TOKEN_S + clock.PAST_TOKEN_S if unattested else clock.RUN_S

    async def aftermath(self) -> str:
        return await self.until_it_works(*self.subject)
