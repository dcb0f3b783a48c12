"""E11: a host is added to the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from chaos.lab import REFUSALS
from chaos.matrix import clock, native
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import Added, Answered, JudgedLetter, RequestOutcome
from chaos.matrix.faults.base import OFF_S, StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_addition, unclear
from chaos.matrix.looks import OK, REFUSED, Moving, plain
from chaos.matrix.scene import P, Q, StagingScene, Void, build_encrypted_vm, cluster_of
from chaos.matrix.stored import ENABLE, write_dump
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.events import EventTypeId
from protocol.messages.agent import NodeRunState
from protocol.messages.host import Esxcli, GetCryptoKeyStatus, HostSummary, QueryHost
from protocol.messages.vcenter import AddHost, PowerOnVm
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, NodeName, VmName

_TOLD: Final = {
    EventTypeId.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR: "ReqEnable.KMSClusterError",
    EventTypeId.KMS_SEND_KEY_ERROR_KEY_MISSING: "SendKeyError.KeyMissingOnKMS",
}


class HostAddedPlay(EventPlay):
    """A host that vCenter never knew; under F8 the cluster has a key that is hit and one not.

    VMs that run on the warm host are moved to it: that one must go on there, and is refused where
    the new host has not its key.
    """

    event: ClassVar[TableEvent] = TableEvent.E11
    cast: ClassVar[tuple[Actor, ...]] = (Actor.A, Actor.N)
    vms: ClassVar[tuple[WantedVm, ...]] = (
        WantedVm("run", Actor.A, VmKind.RUN),
        WantedVm("other", Actor.A, VmKind.RUN, judged=False),
        WantedVm("clear", Actor.A, VmKind.CLEAR, judged=False),
    )

    def __init__(self, scene: StagingScene, fault: StagedFault) -> None:
        super().__init__(scene, fault)
        self._new = NodeName("")
        self._before: dict[str, bool | int | str] = {}
        self._in_clear = False  # it said that it was safe, and wrote a dump that it did not encrypt

    @classmethod
    def waits_for_b(cls, block: Block, fault: TableFault) -> bool:
        """A fault of hosts that would stop the new one is on another."""
        return fault in OF_HOSTS and fault is not TableFault.F5B and block is not Block.S00

    @property
    def subject(self) -> tuple[VmName, NodeName]:
        return self.vm("run"), self._new

    def course(self) -> EventCourse:
        keys = self._list_wanted_keys()
        return msgspec.structs.replace(super().course(), keys=keys, known=False)

    async def play(self, begins_at: float) -> JudgedLetter:
        await self.scene.until(begins_at)
        self._new = await self.scene.bench.new_host(cluster_of(self.event))
        await self._install()
        await self._boot_new()
        asked = await self._add()
        await self.scene.give(clock.TASK_S)
        self.ended_at = self.scene.lab.monotonic()
        seen = await self._look()
        later = seen
        if not seen.whole:
            await self.scene.lab.sleep(clock.SETTLED_S)
            later = await self._look()
        if self.scene.native:
            self.parts |= {"host_in_inventory": seen.listed, "host_crypto_state": seen.mode.value}
            if self.fault.fault is TableFault.F7:
                self.parts["new_vm_naming_p"] = await self._new_vm_naming_p()
        else:
            self.parts = _parts(seen)
        judged = of_addition(asked, seen, later)
        if seen.listed:
            judged = await self._with_moves(judged)
        self._before = dict(self.parts)
        return judged

    async def _with_moves(self, judged: JudgedLetter) -> JudgedLetter:
        """The letter, unless VMs that are moved to the new host say something else."""
        moves = self._moves(judged)
        seen = {part: await self.move_to_new(what) for part, (what, _) in moves.items()}
        if judged.letter == Letter.PARTLY:
            self.parts |= seen
        wrong = [f"{part}: {seen[part]}" for part, (_, due) in moves.items() if seen[part] != due]
        return unclear(f"{judged.why}; {'; '.join(wrong)}") if wrong else judged

    def _moves(self, judged: JudgedLetter) -> dict[str, tuple[str, str]]:
        """What the table calls each move, the VM of it, and what must come of it."""
        if judged.letter == Letter.OK:
            return {"move_to_new_host": ("run", OK)}
        if judged.letter != Letter.PARTLY:
            return {}
        if self.fault.fault is TableFault.F8:
            if self.scene.native:
                return {"move_old_vm": ("run", REFUSED)}
            return {"move_other_vm": ("other", OK), "move_hit_vm": ("run", REFUSED)}
        moves = {"move_to_new_host": ("run", REFUSED)}
        return moves if self.scene.native else moves | {"unencrypted_move": ("clear", OK)}

    async def move_to_new(self, what: str) -> str:
        """A VM of the warm host shall go on on the new one: ``ok``, ``refused``, or what is
        neither."""
        vm, source = self.vm(what), self.host(Actor.A)
        if vm in self.scene.clear:
            started = await self.looks.ask_vcenter(PowerOnVm(vm=vm))
            wrong = await self.scene.guests.plant(vm, source) if started.done else started.text
            if wrong:
                return f"it does not start: {wrong}"
        return await Moving(self.looks).move_and_describe(vm, source, self._new)

    async def _boot_new(self) -> None:
        """It was installed, and then off; a fault of hosts is met by the boot after that."""
        scene, lab = self.scene, self.scene.lab
        own = self.fault.of_a_host and not self.waits_for_b(scene.block, scene.fault)
        if own:
            await self.fault.survey(self._new)
        await lab.power_off(self._new, "stop")
        await lab.sleep(OFF_S)
        if own:
            self.power_on_at = await self.fault.up(self._new)
        else:
            await lab.power_on(self._new)

    async def _install(self) -> None:
        status = await self.scene.lab.power_on(self._new)
        if status.state is not NodeRunState.RUNNING:
            raise Void(f"{self._new} does not start: {status.screen}")
        if self.scene.persistent:
            done = await self.scene.lab.ask(self._new, Esxcli(arguments=ENABLE))
            if done.exit_code:
                raise Void(f"{self._new}: key persistence: {done.output.strip()}")

    async def _add(self) -> Answered:
        message = AddHost(host=self._new, cluster=cluster_of(self.event))
        return await self.ask(self.scene.vcenter, message)

    async def _look(self) -> Added:
        """The new host: in the inventory, its mode, its host key, keys of the cluster's VMs."""
        lab, wanted = self.scene.lab, self._list_wanted_keys()
        info = await self.looks.host_in_vcenter(self._new)
        events = await self.looks.events(host=self._new)
        try:
            own = (await lab.ask(self._new, QueryHost())).summary
            host_key = own.crypto_key_id
            keys = () if host_key is None else (host_key,)
            has_host_key = any(
                one.present
                for one in (await lab.ask(self._new, GetCryptoKeyStatus(keys=keys))).keys
            )
            claimed, shown = await self._has(own, wanted)
        except REFUSALS as error:
            raise Void(f"{self._new} does not answer: {error}") from None
        if own.crypto_state is HostCryptoState.SAFE and self._new not in self.scene.dumped:
            self._in_clear = (await write_dump(self.scene, self._new)).key is None
        seen = Added(
            listed=info is not None,
            connection=None if info is None else info.connection,
            vcenter_crypto=None if info is None else info.crypto_state,
            crypto=own.crypto_state,
            host_key=bool(keys) and has_host_key,
            present=tuple(key for key in wanted if key in shown),
            claimed=claimed,
            wanted=wanted,
            hit=() if self.scene.native else self.keys("run"),
            dump=not self._in_clear and await self.looks.dump(self._new),
            events=tuple(dict.fromkeys(one.event for one in events)),
        )
        self.trail.write("probe", self._new, "added", **plain(seen))
        return seen

    def _list_wanted_keys(self) -> tuple[CryptoKeyId, ...]:
        """What it is to have: the keys of its cluster's VMs, or the KDK of P of before the fault,
        which these are derived from."""
        if self.scene.native:
            return (CryptoKeyId(KeyId(self.scene.kdks[P].key_id), P),)
        return (*self.keys("run"), *self.keys("other"))

    async def _has(
        self, own: HostSummary, wanted: tuple[CryptoKeyId, ...]
    ) -> tuple[tuple[CryptoKeyId, ...], frozenset[CryptoKeyId]]:
        """Which of these it says that it has, and of which it shows that it has the value."""
        if not self.scene.native:
            here = (await self.scene.lab.ask(self._new, GetCryptoKeyStatus(keys=wanted))).keys
            shown = await self.looks.same_keys(self._new, self.host(Actor.A), wanted)
            return tuple(one.key for one in here if one.present), shown
        (kdk,) = wanted
        refs = {ref.key_id for ref in own.providers if ref.provider_id in own.kdks}
        found = await native.kdk_at(self.scene, self._new, P)
        self.parts["kdk_p"] = found
        self.parts["kdk_q"] = await native.kdk_at(self.scene, self._new, Q)
        said = wanted if kdk.key_id in refs else ()
        return said, frozenset(wanted if found == native.PRESENT else ())

    async def _new_vm_naming_p(self) -> str:
        """A new VM on the host under P, where that cannot be: ``refused``, with nothing left."""
        vm = self.vm("new")
        message = build_encrypted_vm(self.event, vm, self._new)
        asked = await self.looks.ask_vcenter(message, within_s=clock.CREATE_S)
        seen = await self.looks.vm(vm, self._new)
        left = seen.own is not None or seen.vcenter is not None
        return (
            "refused"
            if asked.outcome is RequestOutcome.REFUSED and not left
            else asked.outcome.value
        )

    async def aftermath(self) -> str:
        """It is as an added host is; where it was refused, adding it works now."""
        if self.judged is not None and self.judged.letter == Letter.NO:
            asked = await self._add()
            if not asked.done:
                return f"{self._new} cannot be added: {asked.error}: {asked.text}"
        until = self.scene.lab.monotonic() + clock.SETTLED_S
        seen = await self._look()
        while not seen.whole and self.scene.lab.monotonic() < until:
            await self.scene.lab.sleep(clock.AGAIN_S)
            seen = await self._look()
        if not seen.whole:
            return (
                f"{self._new} is {seen.crypto} with {len(seen.present)} of {len(seen.wanted)} keys"
            )
        if self.judged is not None and self.judged.letter != Letter.OK:
            if (moved := await self.move_to_new("run")) != OK:
                return f"{self.vm('run')}, moved to {self._new}: {moved}"
        self.parts = {**self._before, **_afterwards(self.scene, self.parts)}
        return ""


def _afterwards(scene: StagingScene, shown: Mapping[str, bool | int | str]) -> dict[str, str]:
    """What the table calls it that nothing is lacking any more."""
    if not scene.native:
        moved = ", move ok" if scene.fault is TableFault.F1 else ""
        return {"after_fault_ends": f"safe, all keys{moved}"}
    if scene.fault is TableFault.F8:
        return {"after_right_import": "safe, move ok"}
    return {"after_import": f"kdk_p {shown['kdk_p']}, safe, move ok"}


def _parts(seen: Added) -> dict[str, bool | int | str]:
    """What the table calls these things."""
    told = [_TOLD[event] for event in seen.events if event in _TOLD]
    only_hit = set(seen.wanted) - set(seen.present) == set(seen.hit)
    return {
        "host_in_inventory": seen.listed,
        "host_crypto_state": seen.mode.value,
        "host_key": "present" if seen.host_key else "absent",
        "vm_keys": "all but the hit one" if only_hit else len(seen.present),
        **({"event": told[0]} if told else {}),
    }
