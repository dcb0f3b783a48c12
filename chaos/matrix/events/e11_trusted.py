"""E11 where hosts get their keys at a Trust Authority: what is added must also be made known.

| fault | the host before the event | in the event |
|---|---|---|
| none, or one of the boots of another host | nobody knows its endorsement key | only added |
| another build of its own | its endorsement key is registered | added, remediated |
| any other | the same | added, remediated |

After the fault the rest is done, step by step: each that is left out must leave the host refused.
"""

from __future__ import annotations

from typing import Final

from chaos.matrix import clock, trust
from chaos.matrix.events.e11_host_added import HostAddedPlay
from chaos.matrix.evidence import Added, JudgedLetter
from chaos.matrix.judging.letters import of_addition, unclear
from chaos.matrix.judging.witness import MAKE, UNWRAP, find_answers, got
from chaos.matrix.looks import OK, REFUSED, Moving
from chaos.matrix.scene import P, cluster_of
from chaos.matrix.terms import Actor
from chaos.oracle.terms import Letter, TableFault
from protocol.events import EventTypeId
from protocol.messages.host import GetCryptoKeyStatus, HostSummary
from protocol.terms import CryptoKeyId
from protocol.trust import TrustAttestationStatus as Status

_UNKNOWN: Final = frozenset({TableFault.F0, TableFault.F5A, TableFault.F6})
"""Faults that do nothing to the new host: all that it lacks is that it is known."""
_TOLD: Final = (
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
            await trust.register(self.scene, self._new)
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
        await trust.remediate(self.scene, cluster_of(self.event))
        status = await trust.attest(self.scene, self._new)
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
        told = [text for event, text in _TOLD if event in events]
        said = list(self.scene.heard.of(self._new, self.scene.t0, self.ended_at))
        given = got(said, self._new, self.ended_at)
        asked = [two for name in (UNWRAP, MAKE) for two in find_answers(said, self._new, name)]
        applied = await trust.fetch_applied(self.scene, self._new)
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
        own = trust.status_of((await trust.fetch_applied(self.scene, self._new)).reports)
        found = await trust.find_trusted_host(self.scene, self._new)
        there = Status.UNKNOWN if found is None else trust.status_of(found.reports)
        if own is not there:
            return f"{own.value}, and vCenter shows {there.value}"
        unknown = self.fault.fault in _UNKNOWN and own is not Status.ATTESTED
        return "notAttested or unknown" if unknown else own.value

    # ---- with the fault still there, and when it is over --------------------------------------

    async def administer(self) -> str:
        """Its build is imported, where that was all that it lacked; the VM moves there and back."""
        if self.fault.fault is not TableFault.F5B or self.judged is None:
            return ""
        await trust.import_image(self.scene, self._new)
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
        await trust.register(self.scene, self._new)
        if wrong := await self._still_refused("with its endorsement key only"):
            return wrong
        self._before["after_registering_ek_only"] = "still refused"
        await trust.forget(self.scene, self._new)
        await self._configure()
        if wrong := await self._still_refused("configured, without its endorsement key"):
            return wrong
        await trust.register(self.scene, self._new)
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
        lab = self.scene.lab
        until = lab.monotonic() + clock.SETTLED_S
        seen = await self._look()
        while not seen.whole and lab.monotonic() < until:
            await lab.sleep(clock.AGAIN_S)
            seen = await self._look()
        return "" if seen.whole else f"{self._new} is {seen.mode.value}"

    async def _comes_to_be_trusted(self) -> str:
        """Empty when it is safe by itself while things settle, attested, and a VM moves to it."""
        if wrong := await self._comes_to_be_safe():
            return wrong
        if (status := await self._attestation()) != Status.ATTESTED:
            return f"{self._new} is safe and {status}"
        moved = await self.move_to_new("run")
        return "" if moved == OK else f"a VM that moves to {self._new}: {moved}"
