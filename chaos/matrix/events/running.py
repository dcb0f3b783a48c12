"""Events of a VM that runs.

E1: nothing happens, or under F5b a Trust Authority withdraws the image of its host. E7, E8: it
moves to another host by vMotion. E10: it is recrypted shallowly.
"""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import msgspec

from chaos.faults.firmware import HostBootMeasure
from chaos.faults.nodes import restart
from chaos.matrix import clock, provider_setup, setup
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import Answered, JudgedLetter, VmSeen, Wrapped
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_both, of_recrypt, of_running, unclear
from chaos.matrix.looks import Moving
from chaos.matrix.scene import P, Q, StagingScene, Void, build_encrypted_vm
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.vcenter.vms import PowerOffVm, PowerOnVm, RecryptVm
from protocol.terms import VmName
from protocol.trust import TrustAttestationStatus as Status


class RunsOn(EventPlay):
    """Its guest is asked every half minute, for a quarter of an hour; where no service attests
    its host, past the life of tokens."""

    event: ClassVar[TableEvent] = TableEvent.E1
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A,)
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("run", Actor.A, VmKind.RUN),)
    latent: ClassVar[Actor | None] = Actor.A

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


BUILD = "own-build"


class RunsOnWithdrawn(RunsOn):
    """The host has not booted since it was attested, and measures what it measured. It has a build
    of its own, so that nobody else is refused; it is made to attest, and its VM runs on past the
    life of the token that it had (ATT-06)."""

    _version = ""

    @property
    def _judged_anew(self) -> bool:
        return self.fault.fault is TableFault.F5B

    async def ready(self) -> bool:
        """It boots a build of its own, which is imported, and its VM runs again."""
        if not self._judged_anew:
            return False
        scene, (vm, host) = self.scene, self.subject
        own = DrivenFault(scene, HostBootMeasure(id="build", nodes=(host,), build=BUILD))
        await own.begin()
        await restart(scene.lab, host)
        self._version = await provider_setup.import_image(scene, host)
        await setup.hosts_settle(scene, (host,), clock.SETTLED_S)
        seen = await self.looks.vm(vm, host)
        if seen.own is None or not seen.own.on:
            await self.looks.ask_vcenter(PowerOnVm(vm=vm))
        if wrong := await self.until_it_works(vm, host):
            raise Void(f"with a build of its own: {wrong}")
        return True

    async def play(self, begins_at: float) -> JudgedLetter:
        if not self._judged_anew:
            return await super().play(begins_at)
        scene, host = self.scene, self.host(Actor.A)
        await scene.until(begins_at)
        await provider_setup.withdraw_image(scene, self._version)
        status = await provider_setup.attest(scene, host)
        made = await self._makes_a_vm()
        judged = await super().play(scene.since())
        if status is not Status.NOT_ATTESTED:
            return unclear(f"{host} is {status.value}, with an image that was withdrawn")
        return unclear(made) if made else judged

    async def _makes_a_vm(self) -> str:
        """Empty when the host is given no key any more: its token, which would be good for most of
        an hour, is void."""
        vm, host = self.vm("new"), self.host(Actor.A)
        message = build_encrypted_vm(self.event, vm, host)
        asked = await self.looks.ask_vcenter(message, within_s=clock.CREATE_S)
        return f"{host} was refused, and had a new key made" if asked.done else ""

    async def administer(self) -> str:
        """The image is trusted again, and so is the host."""
        if not self._judged_anew:
            return ""
        await provider_setup.import_image(self.scene, self.host(Actor.A))
        status = await provider_setup.attest(self.scene, self.host(Actor.A))
        return "" if status is Status.ATTESTED else f"{self.host(Actor.A)} is {status.value}"


class Moves(EventPlay, ABC):
    """``target``: where the VM shall go on. Its guest must be the same run there, and must not have
    stood still for longer than a switch-over takes."""

    target: ClassVar[Actor]
    vms: ClassVar[tuple[WantedVm, ...]] = (WantedVm("run", Actor.A, VmKind.RUN),)

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
