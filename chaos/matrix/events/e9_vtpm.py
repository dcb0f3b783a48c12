"""The second half of E9: a virtual TPM is added to a VM in clear, whose home is encrypted then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chaos.lab import REFUSALS
from chaos.matrix import clock
from chaos.matrix.evidence import Answered, ClearContent, JudgedLetter
from chaos.matrix.judging.letters import of_vtpm, unclear
from chaos.matrix.looks import Looks, plain
from protocol.messages.host import QueryVmConfig
from protocol.messages.vcenter import AddVtpm, DestroyVm, PowerOffVm, PowerOnVm
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
