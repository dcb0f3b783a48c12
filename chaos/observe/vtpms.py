"""The secrets that guests sealed in their virtual TPMs, and the challenges that prove them.

The guest seals a secret that only the engine keeps. A right answer later is an unseal in a new
session and a quote over a fresh nonce, by the key of the TPM that sealed it, with a counter above
every acknowledged one (``protocol.guest_tpm``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chaos.draws import Draws
from chaos.lab import REFUSALS, LabUnderTest
from protocol.guest_tpm import SECRET_SIZE, flaw_of, secret_of
from protocol.messages.host import GuestTpmChallenge, GuestTpmSeal
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, VmName
from protocol.tpm.structures import PublicArea

WITHIN_S = 30.0


@dataclass
class GuestTpm:
    """The secret sealed in a virtual TPM, the key that signs its answers, and the least value of
    its counter."""

    secret: KeyMaterial
    ak: PublicArea
    last: int


class GuestTpms:
    """The vTPMs of one run's guests; secrets and nonces come from a stream of the run's seed."""

    def __init__(self, lab: LabUnderTest, draws: Draws) -> None:
        self._lab, self._draws = lab, draws
        self._known: dict[VmName, GuestTpm] = {}

    def secrets(self) -> dict[VmName, bytes]:
        """The secret that each guest has sealed. It must be nowhere in clear."""
        return {vm: known.secret.reveal() for vm, known in self._known.items()}

    def knows(self, vm: VmName) -> bool:
        """Whether the engine's secret was sealed in its vTPM."""
        return vm in self._known

    def forget(self, vm: VmName) -> None:
        """The VM's virtual TPM is gone."""
        self._known.pop(vm, None)

    def copy(self, vm: VmName) -> GuestTpm | None:
        """A copy of the present knowledge, for a snapshot or a clone."""
        known = self._known.get(vm)
        return None if known is None else replace(known)

    def put(self, vm: VmName, known: GuestTpm | None) -> None:
        """Restore the knowledge that ``copy`` returned: the VM's virtual TPM is as it was then."""
        if known is None:
            self.forget(vm)
        else:
            self._known[vm] = replace(known)

    async def seal(self, vm: VmName, host: NodeName) -> str:
        """Have the guest seal a new secret. Empty on success, else why not."""
        marker = self._draws.token(SECRET_SIZE)
        try:
            sealed = await self._lab.ask(
                host, GuestTpmSeal(vm=vm, marker=marker), within_s=WITHIN_S
            )
        except REFUSALS as error:
            return f"{vm}: its virtual TPM: {type(error).__name__}: {error}"
        self._known[vm] = GuestTpm(secret_of(marker), PublicArea(sealed.ak), sealed.counter)
        return ""

    async def flaw(self, vm: VmName, host: NodeName) -> str:
        """Challenge with a fresh nonce: empty when the answer is right, else what is wrong with it.

        A ``ProductError`` of the request is raised to the caller.
        """
        known, nonce = self._known[vm], self._draws.token(16)
        asked = GuestTpmChallenge(vm=vm, nonce=nonce)
        answer = (await self._lab.ask(host, asked, within_s=WITHIN_S)).answer
        wrong = flaw_of(answer, ak=known.ak, secret=known.secret, nonce=nonce, last=known.last)
        if wrong:
            return f"{vm}: its virtual TPM: {wrong}"
        known.last = answer.counter
        return ""
