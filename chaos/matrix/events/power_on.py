"""Events of a VM that starts.

E3: it is powered on, on a host that has not booted since it got the key. E4: the same, on a host
that has booted under the fault. E5, E6: its host loses power, and high availability starts it on
another one.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Final

from chaos.matrix import clock
from chaos.matrix.events.base import LockingPlay, WantedVm
from chaos.matrix.evidence import Answered, JudgedLetter, RequestOutcome, VmSeen
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.judging.letters import of_power_on, of_restart, unclear
from chaos.matrix.provider_setup import verify_strangers_refused
from chaos.matrix.scene import StagingScene
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.observe.boots import LINE as POWERED
from chaos.oracle.terms import Letter, TableEvent, TableFault
from protocol.messages.agent import NodeRecord
from protocol.messages.host.vms import HostPowerOnVm, HostRegisterVm
from protocol.messages.vcenter.vms import PowerOffVm
from protocol.terms import CryptoKeyId, KeyId, NodeName, PowerState, ProviderId, VmName


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


AFTER_BOOT_S: Final = 30.0


class PowersOnAfterReboot(LockingPlay):
    """The host's own VM, half a minute after its boot. No service of a Trust Authority opens its
    key for who is not attested: a host that is not would not even ask."""

    event: ClassVar[TableEvent] = TableEvent.E4
    cast: ClassVar[tuple[Actor, ...]] = (Actor.B,)
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("off", Actor.B, VmKind.OFF),)
    boots: ClassVar[bool] = True

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


REFUSED: Final = "vm.refused"
"""Of the log lines that hosts write of a VM that they were to start, and did not."""


class Restarts(LockingPlay, ABC):
    """``target``: where the VM shall be started. ``window``: seconds after the failure, in which it
    runs there when nothing is in its way."""

    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("run", Actor.SOURCE, VmKind.RUN),)
    target: ClassVar[Actor]
    window: ClassVar[float]

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._lost_at = 0.0

    @classmethod
    def by_ha(cls, fault: TableFault) -> bool:
        return True

    async def lose_source(self) -> None:
        """Its power is cut; it does not come back in the window."""
        source = self.host(Actor.SOURCE)
        self.trail.write("fault", source, "power loss")
        self._lost_at = self.scene.lab.monotonic()
        await self.scene.lab.power_off(source, "power_loss")

    async def tries_of_ha(self, of: VmName | None = None) -> JudgedLetter:
        """HA's tries on the target until one was done or the last was refused; then the letter.
        ``of``: a VM that is not the judged one."""
        vm = of or self.subject[0]
        self.asked_at = self._lost_at
        until = self._lost_at + clock.HA_ALL_S + self.scene.patience
        asked, ended = self._list_tries(vm)
        while not (asked and asked[-1].done) and len(asked) < clock.HA_TRIES:
            if self.scene.lab.monotonic() > until:
                break
            await self.scene.lab.sleep(clock.HA_LOOK_S)
            asked, ended = self._list_tries(vm)
        self.ended_at = ended
        told = ["done" if one.done else one.error for one in asked]
        self.trail.write("note", self.host(self.target), "ha", vm=str(vm), tries=told)
        return await self._letter(vm, asked)

    def _list_tries(self, vm: VmName) -> tuple[list[Answered], float]:
        """How each try on the target went, in order, as its log has it; and when the last ended."""
        target = self.host(self.target)
        lines = [
            line
            for line in self.scene.bench.records()
            if line.kind in (REFUSED, POWERED)
            and line.at >= self._lost_at
            and line.node == target
            and line.fields["vm"] == vm
            and _starts(line)
        ]
        lines.sort(key=lambda line: line.at)
        ended = lines[-1].at if lines else self.scene.lab.monotonic()
        return [_parse_answer(line) for line in lines], ended

    async def tries_by_hand(self) -> JudgedLetter:
        """As often as HA tries, from now on; then the letter."""
        vm = self.subject[0]
        asked: list[Answered] = []
        began = self.scene.lab.monotonic()
        for number in range(clock.HA_TRIES):
            if number:
                await self.scene.lab.sleep(clock.HA_AGAIN_S)
            asked.append(await self.try_once(vm))
            if asked[-1].done:
                break
        self.asked_at = began
        return await self._letter(vm, asked)

    async def _letter(self, vm: VmName, asked: Sequence[Answered]) -> JudgedLetter:
        target = self.host(self.target)
        seen = await self.looks.vm(vm, target)
        if asked and asked[-1].done:
            seen = await self._look_again(seen, vm)
        return of_restart(
            asked,
            seen,
            self.scene.keys[vm],
            host=target,
            took=self.ended_at - self._lost_at,
            window=self.window + self.scene.patience,
        )

    async def _look_again(self, seen: VmSeen, vm: VmName) -> VmSeen:
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

    event: ClassVar[TableEvent] = TableEvent.E5
    cast: ClassVar[tuple[Actor, ...]] = (Actor.SOURCE, Actor.C)
    target: ClassVar[Actor] = Actor.C
    window: ClassVar[float] = clock.HA_SOON_S
    graced: ClassVar[bool] = True
    when_over: ClassVar[str] = "unlocked, running"
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("run", Actor.SOURCE, VmKind.RUN, used_on=Actor.C),
        WantedVm("cold", Actor.SOURCE, VmKind.RUN, judged=False, cold=True),
    )

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        if not self.fault.of_a_host:
            await self.lose_source()
            judged = await self.tries_of_ha()
            if not self.has_other_kdk:
                return judged
            cold = await self.tries_of_ha(self.vm("cold"))
            return self.both(judged, cold)
        source = self.host(Actor.SOURCE)
        await self.fault.survey(source)
        await self.lose_source()
        judged = await self.tries_of_ha()
        await self.fault.up(source)
        return judged


class RestartsWithoutKey(Restarts):
    """On a host without the key. Under a fault of hosts, that is the one that has just booted."""

    event: ClassVar[TableEvent] = TableEvent.E6
    cast: ClassVar[tuple[Actor, ...]] = (Actor.SOURCE, Actor.D)
    target: ClassVar[Actor] = Actor.D
    window: ClassVar[float] = clock.HA_ALL_S
    without_key: ClassVar[Actor | None] = Actor.D

    @classmethod
    def by_ha(cls, fault: TableFault) -> bool:
        return fault not in OF_HOSTS

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        if not self.fault.of_a_host:
            await self.lose_source()
            return await self.tries_of_ha()
        target = self.host(Actor.D)
        await self.fault.down(target, self.scene.boot.way)
        await self.lose_source()
        self.power_on_at = await self.fault.up(target)
        return await self.tries_by_hand()  # at once when it is up, before vCenter connects


def _starts(line: NodeRecord) -> bool:
    """Whether a line is about a start: a refused power-on, or a guest that runs."""
    said = line.fields
    return said.get("command") == "powerOn" or said.get("power") == PowerState.ON.value


def _parse_answer(line: NodeRecord) -> Answered:
    if line.kind == POWERED:
        return Answered(outcome=RequestOutcome.DONE)
    said = line.fields
    return Answered(
        outcome=RequestOutcome.REFUSED,
        error=str(said["error"]),
        text=str(said["reason"]),
        keys=tuple(map(_key, said["missing"])),
    )


def _key(told: str) -> CryptoKeyId:
    """A key as logs name it: no provider's name has a slash."""
    provider, _, key = told.partition("/")
    return CryptoKeyId(KeyId(key), ProviderId(provider))
