"""E7, E8: a running VM moves to another host, by vMotion."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from chaos.matrix import clock
from chaos.matrix.events.base import EventPlay, Wanted
from chaos.matrix.evidence import Answered, Judged, Moved, VmSeen
from chaos.matrix.letters import of_both, of_move
from chaos.matrix.looks import plain
from chaos.matrix.terms import OF_HOSTS, Actor, Kind
from chaos.oracle.terms import Block, Event, Fault, Letter
from protocol.messages.vcenter import MigrateVm
from protocol.terms import NodeName, VmName


class Moves(EventPlay, ABC):
    """``target``: where the VM shall go on. Its guest must be the same run there, and must not have
    stood still for longer than a switch-over takes."""

    target: ClassVar[Actor]
    vms: ClassVar[tuple[Wanted, ...]] = (Wanted("run", Actor.A, Kind.RUN),)

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("run"), self.host(self.target)

    async def move(self, vm: VmName, *, patient: bool = False) -> Judged:
        """The task of vCenter; then the letter. ``patient``: the target has just booted, so it is
        asked again while vCenter is not connected to it, as long as the event lasts."""
        source, target = self.host(Actor.A), self.host(self.target)
        before = await self.looks.vm(vm, source)
        run = self.scene.guests.run_of(vm)
        until = self.scene.lab.monotonic() + clock.MOVE_S
        asked = await self._ask(vm)
        while patient and asked.error in ("HostUnreachable", "TimedOut"):
            if self.scene.lab.monotonic() > until:
                break
            await self.scene.lab.sleep(clock.AGAIN_S)
            asked = await self._ask(vm)
        here = await self.looks.vm(vm, source)
        there = await self.looks.vm(vm, target)
        moved = Moved(
            asked=asked,
            here=here,
            there=there,
            same_run=before.works.right is True and self.scene.guests.run_of(vm) == run,
            gap_s=self._gap_s(vm, source),
        )
        self.trail.write("probe", target, "moved", **plain(moved))
        limit_s = clock.SWITCH_OVER_S + self.scene.patience
        return of_move(moved, source=source, target=target, limit_s=limit_s)

    async def _ask(self, vm: VmName) -> Answered:
        message = MigrateVm(vm=vm, host=self.host(self.target))
        return await self.ask(self.scene.vcenter, message, within_s=clock.MOVE_S)

    def _gap_s(self, vm: VmName, source: NodeName) -> float | None:
        """From the first part of its memory on the wire to the target's word that it goes on."""
        said = [
            one
            for one in self.scene.heard.of(source, self.asked_at)
            if one.name in ("SendMemory", "SwitchOver", "SwitchedOver")
        ]
        began = min((one.t for one in said if one.name == "SendMemory"), default=None)
        ended = max((one.t for one in said if one.kind == "reply"), default=None)
        return None if began is None or ended is None else ended - began

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
        asked = await self._ask(vm)
        if not asked.done:
            return f"{vm} does not move: {asked.error}: {asked.text}"
        seen: VmSeen = await self.looks.vm(vm, self.host(self.target))
        return "" if seen.works.right else f"{vm} does not work: {seen.works.detail}"


class MovesWithKey(Moves):
    """To a host that has the key. Under a fault of hosts, another one has booted before."""

    event: ClassVar[Event] = Event.E7
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A, Actor.C)
    target: ClassVar[Actor] = Actor.C
    graced: ClassVar[bool] = True
    when_over: ClassVar[str] = "move ok"
    vms: ClassVar[tuple[Wanted, ...]] = (
        Wanted("run", Actor.A, Kind.RUN, used_on=Actor.C),
        Wanted("cold", Actor.A, Kind.RUN, judged=False, cold=True),
    )

    @classmethod
    def waits_for_b(cls, block: Block, fault: Fault) -> bool:
        return fault in OF_HOSTS

    async def play(self, begins_at: float) -> Judged:
        await self.scene.until(begins_at)
        if not (self.scene.native and self.fault.fault is Fault.F8):
            return await self.move(self.vm("run"))
        used = await self.move(self.vm("run"))
        cold = await self.move(self.vm("cold"))
        self.parts |= {"kek_cached": used.letter, "kek_cold": cold.letter}
        return of_both(used, cold)


class MovesWithoutKey(Moves):
    """To a host without the key. Under a fault of hosts, that is the one that has just booted."""

    event: ClassVar[Event] = Event.E8
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A, Actor.D)
    target: ClassVar[Actor] = Actor.D
    without_key: ClassVar[Actor | None] = Actor.D

    async def play(self, begins_at: float) -> Judged:
        await self.scene.until(begins_at)
        if not self.fault.of_a_host:
            return await self.move(self.vm("run"))
        target = self.host(Actor.D)
        await self.fault.down(target, self.scene.boot.way)
        self.power_on_at = await self.fault.up(target)
        return await self.move(self.vm("run"), patient=True)
