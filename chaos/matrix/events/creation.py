"""E9: a new encrypted VM is created, and a virtual TPM added to a VM in clear, whose home is
encrypted then; no provider is named.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

import msgspec

from chaos.lab import REFUSALS
from chaos.matrix import clock
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import Answered, ClearContent, JudgedLetter, Left, Works
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import (
    of_creation,
    of_creation_at_host,
    of_parts_of_one,
    of_vtpm,
    unclear,
)
from chaos.matrix.looks import Looks, plain
from chaos.matrix.scene import SERVERS_OF_P, P, StagingScene, build_encrypted_vm
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.observe.guests import BLOCKS
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.messages.host.vms import (
    HostCreateVm,
    HostDestroyVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    QueryVmConfig,
)
from protocol.messages.kms.keys import Locate
from protocol.messages.vcenter.inventory import HostChanged
from protocol.messages.vcenter.vms import AddVtpm, DestroyVm, PowerOffVm, PowerOnVm
from protocol.terms import NodeName, ProviderId, VmName

CountKeys = Callable[[], Awaitable[int | None]]


class VtpmAdded:
    """``vm``: in clear and off. ``provider`` names the provider at each try, None the default."""

    def __init__(self, looks: Looks, vm: VmName, provider: Callable[[], ProviderId | None]) -> None:
        self._looks, self._scene, self._vm, self._provider = looks, looks.scene, vm, provider
        self._tries = 0

    async def add_and_judge(
        self, host: NodeName, before: int | None, keys_of_p: CountKeys
    ) -> JudgedLetter:
        """The task; when it was done, the guest must work with its new TPM; when it was refused,
        the VM is as before. ``before``: how many keys P had (None: nobody can be asked)."""
        asked = await self._add()
        if asked.done:
            asked = await self._start(host)
        else:
            await self._scene.give(clock.TASK_S)
        seen = await self._looks.vm(self._vm, host)
        after = await keys_of_p()
        more = 0 if asked.done or before is None or after is None else after - before
        try:
            config = await self._scene.lab.ask(host, QueryVmConfig(vm=self._vm))
        except REFUSALS as error:
            return unclear(f"the files of {self._vm} cannot be looked at: {error}")
        kept = ClearContent(
            vtpm=config.vtpm,
            home_encrypted=config.home_encrypted,
            disks_encrypted=config.disks_encrypted,
            keys=more,
        )
        self._looks.trail.write("probe", host, "vtpm", **plain(kept))
        return of_vtpm(asked, seen, kept, host=host)

    async def _add(self) -> Answered:
        self._tries += 1
        message = AddVtpm(
            operation_id=f"matrix/{self._vm}/{self._tries}",
            vm=self._vm,
            provider=self._provider(),
        )
        return await self._looks.ask_vcenter(message, within_s=clock.CREATE_S)

    async def _start(self, host: NodeName) -> Answered:
        message = PowerOnVm(vm=self._vm)
        started = await self._looks.ask_vcenter(message)
        if started.done:
            await self._scene.guests.plant(self._vm, host, vtpm=True)
        return started

    async def clear_away(self) -> None:
        """Its key is younger than the keys that are about to be put back: the VM goes with it."""
        for message in (PowerOffVm(vm=self._vm), DestroyVm(vm=self._vm)):
            await self._looks.ask_vcenter(message)

    async def aftermath(self, host: NodeName) -> str:
        """It works; what was refused is done now. Empty, or what is wrong."""
        seen = await self._looks.vm(self._vm, host)
        if seen.own is None:  # it was cleared away
            return ""
        if seen.own.crypto is None:
            added = await self._add()
            started = await self._start(host) if added.done else added
            if not started.done:
                return f"{self._vm} gets no virtual TPM: {started.error}: {started.text}"
            seen = await self._looks.vm(self._vm, host)
        return "" if seen.works.right else f"{self._vm} does not work: {seen.works.detail}"


ROUND_TRIP: Final = "round trip good, no message left the host"


class Creates(EventPlay):
    """Two tasks of vCenter; what is made must work, what is refused must leave nothing behind."""

    event: ClassVar[TableEvent] = TableEvent.E9
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A,)
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("old", Actor.A, VmKind.OFF, judged=False),
        WantedVm("clear", Actor.A, VmKind.CLEAR, judged=False),
    )

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._tries = 0
        self._vtpm = VtpmAdded(self.looks, self.vm("clear"), self._provider)

    @classmethod
    def waits_for_b(cls, block: Block, fault: TableFault) -> bool:
        return fault in OF_HOSTS

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        """The VM that is to be made, and where."""
        return self.vm("new"), self.host(Actor.A)

    def course(self) -> EventCourse:
        return msgspec.structs.replace(super().course(), makes_key=True)

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        before = await self._keys_of_p()
        asked = await self._create()
        judged = await self._judge_creation(asked, before)
        added = await self._vtpm.add_and_judge(
            self.host(Actor.A), await self._keys_of_p(), self._keys_of_p
        )
        judged = of_parts_of_one(judged, added)
        if not (self.scene.native and self.fault.vcenter_away):
            return judged
        works = await self._scratch()
        nothing = judged.letter == Letter.NO
        self.parts["through_vc"] = "no answer, nothing made" if nothing else judged.letter
        self.parts["on_host"] = ROUND_TRIP if works.right else works.detail
        return of_creation_at_host(judged, works)

    async def _judge_creation(self, asked: Answered, before: int | None) -> JudgedLetter:
        vm, host = self.subject
        if asked.done:
            started = await self._start()
            return of_creation(started, await self.looks.vm(vm, host), Left(), host=host)
        await self.scene.give(clock.TASK_S)
        seen = await self.looks.vm(vm, host)
        return of_creation(asked, seen, await self._find_leftovers(before), host=host)

    async def _scratch(self) -> Works:
        """The local administrator has the host encrypt an object under P, and read it back. It must
        say nothing to anybody meanwhile."""
        vm, host = self.vm("scratch"), self.host(Actor.A)
        began = self.scene.lab.monotonic()
        for message in (
            HostCreateVm(vm=vm, blocks=BLOCKS, provider=P),
            HostPowerOnVm(vm=vm),
        ):
            if not (asked := await self.looks.ask(host, message)).done:
                return Works(right=None, detail=f"{asked.error}: {asked.text}")
        if wrong := await self.scene.guests.plant(vm, host):
            return Works(right=None, detail=wrong)
        seen = await self.looks.vm(vm, host)
        ended = self.scene.lab.monotonic()
        names = [one.name for one in self.scene.heard.of(host, began, ended) if one.src == host]
        if said := [name for name in names if name != HostChanged.__name__]:
            return Works(right=False, detail=f"it has sent {', '.join(sorted(set(said)))}")
        if seen.own is None or seen.own.crypto is None:
            return Works(right=False, detail="it is not encrypted")
        await self.looks.ask(host, HostPowerOffVm(vm=vm))
        await self.looks.ask(host, HostDestroyVm(vm=vm))
        return seen.works

    async def _create(self) -> Answered:
        vm, host = self.subject
        self._tries += 1
        message = build_encrypted_vm(
            self.event, vm, host, attempt=self._tries, provider=self._provider()
        )
        return await self.ask(self.scene.vcenter, message, within_s=clock.CREATE_S)

    def _provider(self) -> ProviderId | None:
        """None: the default provider. Made anew (F8), P is not that any more."""
        is_anew = self.scene.native and self.fault.fault is TableFault.F8
        return P if is_anew else self.scene.provider_of_new

    async def _start(self) -> Answered:
        """Power it on, and have its guest fill its disk."""
        vm, host = self.subject
        started = await self.looks.ask_vcenter(PowerOnVm(vm=vm))
        if started.done:
            await self.scene.guests.plant(vm, host)
        return started

    async def _keys_of_p(self) -> int | None:
        """How many keys P has, by its administrator; None when no server of it can be asked, or
        it has none."""
        if self.scene.native:
            return None
        for server in SERVERS_OF_P:
            if found := await self.scene.find_answer(server, Locate(limit=1)):
                return found.total
        return None

    async def _find_leftovers(self, before: int | None) -> Left:
        """What a refused task has left: files on the datastore, and keys at P."""
        vm, host = self.subject
        found = await self.looks.ask(host, HostRegisterVm(vm=vm))
        after = await self._keys_of_p()
        more = 0 if before is None or after is None else after - before
        left = Left(files=found.error != "NotFound", keys=more)
        self.trail.write("probe", host, "left", files=left.files, keys=left.keys)
        return left

    async def clear_away(self) -> None:
        """The new VM's key is younger than the copy that is put back: the VM goes with it."""
        vm, host = self.subject
        seen = await self.looks.vm(vm, host)
        if seen.vcenter is not None:
            await self.looks.ask_vcenter(PowerOffVm(vm=vm))
            await self.looks.ask_vcenter(DestroyVm(vm=vm))
        await self._vtpm.clear_away()

    async def aftermath(self) -> str:
        """The identical request is done now, if it was refused; and what it made works."""
        vm, host = self.subject
        seen = await self.looks.vm(vm, host)
        if seen.own is None:
            again = await self._create()
            started = await self._start() if again.done else again
            if not started.done:
                return f"{vm} cannot be made: {started.error}: {started.text}"
            if "on_host" in self.parts:
                self.parts["after_fault_ends"] = "task ok"
        return await self.until_it_works(vm, host) or await self._vtpm.aftermath(host)
