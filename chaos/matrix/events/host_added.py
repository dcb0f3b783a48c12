"""E11: a host is added to the cluster.

Where hosts get their keys at a Trust Authority, what is added must also be made known there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from chaos.lab import REFUSALS
from chaos.matrix import clock, provider_setup
from chaos.matrix.events.base import EventPlay, WantedVm
from chaos.matrix.evidence import Added, Answered, JudgedLetter, RequestOutcome
from chaos.matrix.faults.base import OFF_S, StagedFault
from chaos.matrix.judging.account import EventCourse
from chaos.matrix.judging.letters import of_addition, unclear
from chaos.matrix.judging.witness import MAKE, UNWRAP, find_answers, got
from chaos.matrix.looks import OK, REFUSED, Moving, plain
from chaos.matrix.scene import P, Q, StagingScene, Void, build_encrypted_vm, cluster_of
from chaos.matrix.stored import ENABLE, write_dump
from chaos.matrix.terms import OF_HOSTS, Actor, VmKind
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from protocol.events import EventTypeId
from protocol.messages.agent import NodeRunState
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.messages.host.session import Esxcli, HostSummary, QueryHost
from protocol.messages.vcenter.inventory import AddHost
from protocol.messages.vcenter.vms import PowerOnVm
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, NodeName, VmName
from protocol.trust import TrustAttestationStatus as Status

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

    async def _look_until_whole(self) -> Added:
        """The last look, when it is looked at again while things settle."""
        until = self.scene.lab.monotonic() + clock.SETTLED_S
        seen = await self._look()
        while not seen.whole and self.scene.lab.monotonic() < until:
            await self.scene.lab.sleep(clock.AGAIN_S)
            seen = await self._look()
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
        found = await provider_setup.kdk_at(self.scene, self._new, P)
        self.parts["kdk_p"] = found
        self.parts["kdk_q"] = await provider_setup.kdk_at(self.scene, self._new, Q)
        said = wanted if kdk.key_id in refs else ()
        return said, frozenset(wanted if found == provider_setup.PRESENT else ())

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
        seen = await self._look_until_whole()
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


_UNKNOWN: Final = frozenset({TableFault.F0, TableFault.F5A, TableFault.F6})
"""Faults that do nothing to the new host: all that it lacks is that it is known."""
_TRUST_EVENTS: Final = (
    (EventTypeId.KMS_TA_CLUSTER_NOT_AVAILABLE, "TrustAuthority.ClusterNotAvailable"),
    (EventTypeId.TA_HOST_NOT_CONFIGURED, "TrustAuthority.HostNotConfigured"),
)
"""What vCenter tells, the worse one first."""
_OVER: Final = {
    TableFault.F1: "after_fault_ends",
    TableFault.F3: "after_fault_ends",
    TableFault.F7: "after_adding_by_name",
    TableFault.F8: "after_key_restored",
}


class TrustedHostAdded(HostAddedPlay):
    """See the module. No host has keys that it did not ask for: safe is all that it must be."""

    @property
    def _known(self) -> bool:
        return self.fault.fault not in _UNKNOWN

    async def ready(self) -> bool:
        """It is installed, and its endorsement key registered."""
        self._new = await self.scene.bench.new_host(cluster_of(self.event))
        await self._install()
        if self._known:
            await provider_setup.register(self.scene, self._new)
        return True

    async def play(self, begins_at: float) -> JudgedLetter:
        scene, lab = self.scene, self.scene.lab
        await scene.until(begins_at)
        await self._boot_new()
        asked = await self._add()
        if asked.done and self._known:
            await self._configure()
        await scene.give(clock.TASK_S)
        seen = await self._look()
        moved = await self.move_to_new("run") if seen.listed else ""
        self.ended_at = lab.monotonic()
        await lab.sleep(clock.SETTLED_S)
        later = await self._look()
        self.parts |= await self._collect_observations(later) | {"move_to_new_host": moved}
        self._before = dict(self.parts)
        judged = of_addition(asked, seen, later)
        if judged.letter == Letter.PARTLY and moved not in (REFUSED, OK):
            return unclear(f"{judged.why}; a VM that is to move there: {moved}")
        return judged

    async def _configure(self) -> None:
        """The cluster is remediated, and its new host asked to attest: so it may need nothing."""
        await provider_setup.remediate(self.scene, cluster_of(self.event))
        status = await provider_setup.attest(self.scene, self._new)
        self.trail.write("note", self._new, "remediated", attestation=status.value)

    def _list_wanted_keys(self) -> tuple[CryptoKeyId, ...]:
        """Nobody brings it keys (KPS-02)."""
        return ()

    async def _has(
        self, own: HostSummary, wanted: tuple[CryptoKeyId, ...]
    ) -> tuple[tuple[CryptoKeyId, ...], frozenset[CryptoKeyId]]:
        """How many keys of its cluster's VMs it has."""
        keys = (*self.keys("run"), *self.keys("other"))
        there = (await self.scene.lab.ask(self._new, GetCryptoKeyStatus(keys=keys))).keys
        self.parts["vm_keys"] = sum(1 for key in there if key.present or key.stored)
        return (), frozenset()

    async def _collect_observations(self, seen: Added) -> dict[str, bool | int | str]:
        """What the table calls these things; the attestation by vCenter and by the host alike."""
        if not seen.listed:
            return {"host_in_inventory": False}
        events = {one.event for one in await self.looks.events()}
        told = [text for event, text in _TRUST_EVENTS if event in events]
        said = list(self.scene.heard.of(self._new, self.scene.t0, self.ended_at))
        given = got(said, self._new, self.ended_at)
        asked = [two for name in (UNWRAP, MAKE) for two in find_answers(said, self._new, name)]
        applied = await provider_setup.fetch_applied(self.scene, self._new)
        listed = () if applied.configuration is None else applied.configuration.providers
        return {
            "host_in_inventory": True,
            **({"event": told[0]} if told else {}),
            "attestation": await self._attestation(),
            "host_crypto_state": seen.mode.value,
            "unwrap_at_kps": f"{len(given)} keys" if given else "none",
            "kps_answer": "error, no plaintext" if asked and not given else f"{len(given)} keys",
            "provider_on_host": "present" if P in listed else "absent",
        }

    async def _attestation(self) -> str:
        own = provider_setup.status_of(
            (await provider_setup.fetch_applied(self.scene, self._new)).reports
        )
        found = await provider_setup.find_trusted_host(self.scene, self._new)
        there = Status.UNKNOWN if found is None else provider_setup.status_of(found.reports)
        if own is not there:
            return f"{own.value}, and vCenter shows {there.value}"
        unknown = self.fault.fault in _UNKNOWN and own is not Status.ATTESTED
        return "notAttested or unknown" if unknown else own.value

    # ---- with the fault still there, and when it is over --------------------------------------

    async def administer(self) -> str:
        """Its build is imported, where that was all that it lacked; the VM moves there and back."""
        if self.fault.fault is not TableFault.F5B or self.judged is None:
            return ""
        await provider_setup.import_image(self.scene, self._new)
        if wrong := await self._comes_to_be_trusted():
            return wrong
        back = await Moving(self.looks).move_and_judge(
            self.vm("run"), self._new, self.host(Actor.A)
        )
        if back.letter != Letter.OK:
            return f"{self.vm('run')} does not move back: {back.why}"
        self._before["after_image_import"] = "attested, safe, move ok"
        return ""

    async def aftermath(self) -> str:
        """Whatever it lacks is done, and it is as a host that was there all the time."""
        fault = self.fault.fault
        if fault in _UNKNOWN:
            wrong = await self._enroll_host()
        elif fault is TableFault.F5B:  # what it lacked was done before it got its own build back
            wrong = await self._comes_to_be_safe()
        else:
            if self.judged is not None and self.judged.letter == Letter.NO:
                asked = await self._add()
                if not asked.done:
                    return f"{self._new} cannot be added: {asked.error}: {asked.text}"
                await self._configure()
            wrong = await self._comes_to_be_trusted()
            if not wrong and fault in _OVER:
                self._before[_OVER[fault]] = "safe, move ok"
        self.parts = dict(self._before)
        return wrong

    async def _enroll_host(self) -> str:
        """Nothing but all three makes it trusted: its endorsement key, its image (that of the
        others, which is there) and a configuration."""
        await provider_setup.register(self.scene, self._new)
        if wrong := await self._still_refused("with its endorsement key only"):
            return wrong
        self._before["after_registering_ek_only"] = "still refused"
        await provider_setup.forget(self.scene, self._new)
        await self._configure()
        if wrong := await self._still_refused("configured, without its endorsement key"):
            return wrong
        await provider_setup.register(self.scene, self._new)
        if wrong := await self._comes_to_be_trusted():
            return wrong
        self._before["after_ek_image_and_remediation"] = "attested, safe, move ok"
        return ""

    async def _still_refused(self, how: str) -> str:
        await self.scene.lab.sleep(clock.SETTLED_S)
        seen, status = await self._look(), await self._attestation()
        if seen.whole or status == Status.ATTESTED:
            return f"{self._new} is {seen.mode.value} and {status} {how}"
        moved = await self.move_to_new("run")
        return "" if moved == REFUSED else f"a VM that moves to {self._new} {how}: {moved}"

    async def _comes_to_be_safe(self) -> str:
        seen = await self._look_until_whole()
        return "" if seen.whole else f"{self._new} is {seen.mode.value}"

    async def _comes_to_be_trusted(self) -> str:
        """Empty when it is safe by itself while things settle, attested, and a VM moves to it."""
        if wrong := await self._comes_to_be_safe():
            return wrong
        if (status := await self._attestation()) != Status.ATTESTED:
            return f"{self._new} is safe and {status}"
        moved = await self.move_to_new("run")
        return "" if moved == OK else f"a VM that moves to {self._new}: {moved}"
