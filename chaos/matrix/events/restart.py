"""E5, E6: a host loses its power, and high availability starts its VM on another one.

Until the lab has HA, the harness does what HA does there: it registers the VM whose files lie on
the datastore at the other host and powers it on, at that host, and tries again when it is refused.
"""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from chaos.matrix import clock
from chaos.matrix.events.base import LockingPlay, Wanted
from chaos.matrix.evidence import Answered, Judged, VmSeen
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.letters import of_restart
from chaos.matrix.scene import Scene
from chaos.matrix.terms import Actor, Kind
from chaos.oracle.terms import Event
from protocol.messages.host import HostPowerOnVm, HostRegisterVm
from protocol.terms import NodeName, VmName


class Restarts(LockingPlay, ABC):
    """``target``: where the VM shall be started. ``window``: seconds after the failure, in which it
    runs there when nothing is in its way."""

    vms: ClassVar[tuple[Wanted, ...]] = (Wanted("run", Actor.SOURCE, Kind.RUN),)
    target: ClassVar[Actor]
    window: ClassVar[float]

    def __init__(self, scene: Scene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._lost_at = 0.0

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("run"), self.host(self.target)

    async def lose_source(self) -> None:
        """Its power is cut; it does not come back in the window."""
        source = self.host(Actor.SOURCE)
        self.trail.write("fault", source, "power loss")
        self._lost_at = self.scene.lab.monotonic()
        await self.scene.lab.power_off(source, "power_loss")

    async def tries(self, *, first_s: float = clock.HA_FIRST_S, of: VmName | None = None) -> Judged:
        """As often as HA tries, from ``first_s`` seconds from now on; then the letter. ``of``: a VM
        that is not the judged one."""
        vm, target = of or self.subject[0], self.host(self.target)
        await self.scene.lab.sleep(first_s)
        asked: list[Answered] = []
        began = self.scene.lab.monotonic()
        for number in range(clock.HA_TRIES):
            if number:
                await self.scene.lab.sleep(clock.HA_AGAIN_S)
            asked.append(await self.try_once(vm))
            if asked[-1].done:
                break
        self.asked_at = began
        seen = await self.looks.vm(vm, target)
        if asked[-1].done:
            seen = await self._settled(seen, vm)
        return of_restart(
            asked,
            seen,
            self.scene.keys[vm],
            host=target,
            took=self.ended_at - self._lost_at,
            window=self.window + self.scene.patience,
        )

    async def _settled(self, seen: VmSeen, vm: VmName) -> VmSeen:
        """vCenter hears of it by itself; it is looked at again when it has had time to."""
        if not seen.vcenter_up:
            return seen
        await self.scene.give(clock.TASK_S)
        return await self.looks.vm(vm, self.host(self.target))

    async def try_once(self, vm: VmName) -> Answered:
        """Register the VM at the target, if it is not there yet, and power it on."""
        target = self.host(self.target)
        asked = await self.looks.ask(target, HostRegisterVm(vm=vm), within_s=clock.TASK_S)
        if not asked.done:
            return asked
        return await self.ask(target, HostPowerOnVm(vm=vm))

    async def comes_back(self) -> str:
        """Unlocked by itself; HA's next try; then the VM works there."""
        vm, target = self.comes
        if wrong := await self.still_locked():
            return wrong
        asked = await self.try_once(vm)
        seen = await self.looks.vm(vm, target)
        if not asked.done:
            return f"{vm} does not start on {target}: {asked.error}: {asked.text}"
        return "" if seen.works.right else f"{vm} does not work: {seen.works.detail}"


class RestartsWithKey(Restarts):
    """On a host that has the key. Under a fault of hosts, the source is the one that boots."""

    event: ClassVar[Event] = Event.E5
    cast: ClassVar[tuple[Actor, ...]] = (Actor.SOURCE, Actor.C)
    target: ClassVar[Actor] = Actor.C
    window: ClassVar[float] = clock.HA_SOON_S
    graced: ClassVar[bool] = True
    when_over: ClassVar[str] = "unlocked, running"
    vms: ClassVar[tuple[Wanted, ...]] = (
        Wanted("run", Actor.SOURCE, Kind.RUN, used_on=Actor.C),
        Wanted("cold", Actor.SOURCE, Kind.RUN, judged=False, cold=True),
    )

    async def play(self, begins_at: float) -> Judged:
        await self.scene.until(begins_at)
        if not self.fault.of_a_host:
            await self.lose_source()
            judged = await self.tries()
            if not self.has_other_kdk:
                return judged
            cold = await self.tries(first_s=0.0, of=self.vm("cold"))
            return self.both(judged, cold)
        source = self.host(Actor.SOURCE)
        await self.fault.survey(source)
        await self.lose_source()
        judged = await self.tries()
        await self.fault.up(source)
        return judged


class RestartsWithoutKey(Restarts):
    """On a host without the key. Under a fault of hosts, that is the one that has just booted."""

    event: ClassVar[Event] = Event.E6
    cast: ClassVar[tuple[Actor, ...]] = (Actor.SOURCE, Actor.D)
    target: ClassVar[Actor] = Actor.D
    window: ClassVar[float] = clock.HA_ALL_S
    without_key: ClassVar[Actor | None] = Actor.D

    async def play(self, begins_at: float) -> Judged:
        await self.scene.until(begins_at)
        if not self.fault.of_a_host:
            await self.lose_source()
            return await self.tries()
        target = self.host(Actor.D)
        await self.fault.down(target, self.scene.boot.way)
        await self.lose_source()
        self.power_on_at = await self.fault.up(target)
        return await self.tries(first_s=0.0)  # at once when it is up, before vCenter connects
