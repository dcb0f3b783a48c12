"""What the engine knows of each guest's virtual TPM, and the question that it answers with it.

A guest is given a secret to seal that only the engine keeps. Asked later, a right answer is an
unseal in a new session and a quote over a fresh nonce, by the key of the TPM that sealed it, with a
counter above every one that was acknowledged (``protocol.guest_tpm``).
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
    """What was sealed in a virtual TPM, by which key it answers, and its counter at least."""

    secret: KeyMaterial
    ak: PublicArea
    last: int


class GuestTpms:
    """The vTPMs of one run's guests; secrets and nonces come from a stream of the run's seed."""

    def __init__(self, lab: LabUnderTest, draws: Draws) -> None:
        self._lab, self._draws = lab, draws
        self._known: dict[VmName, GuestTpm] = {}

    def secrets(self) -> dict[VmName, bytes]:
        """What each guest has sealed: it lies nowhere in clear."""
        return {vm: known.secret.reveal() for vm, known in self._known.items()}

    def knows(self, vm: VmName) -> bool:
        """Whether a secret of ours was sealed in its vTPM."""
        return vm in self._known

    def forget(self, vm: VmName) -> None:
        """The VM's virtual TPM is gone."""
        self._known.pop(vm, None)

    def copy(self, vm: VmName) -> GuestTpm | None:
        """What is known of it now, for who goes back to it or has another one like it."""
        known = self._known.get(vm)
        return None if known is None else replace(known)

    def put(self, vm: VmName, known: GuestTpm | None) -> None:
        """The VM's virtual TPM is as it was when ``copy`` gave this."""
        if known is None:
            self.forget(vm)
        else:
            self._known[vm] = replace(known)

    async def seal(self, vm: VmName, host: NodeName) -> str:
        """Have the guest seal a new secret; empty when it has, else why not."""
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
        """Ask with a fresh nonce: empty when the answer is right, else what is wrong with it.

        A ``ProductError`` of the question is the caller's: nobody has answered.
        """
        known, nonce = self._known[vm], self._draws.token(16)
        asked = GuestTpmChallenge(vm=vm, nonce=nonce)
        answer = (await self._lab.ask(host, asked, within_s=WITHIN_S)).answer
        wrong = flaw_of(answer, ak=known.ak, secret=known.secret, nonce=nonce, last=known.last)
        if wrong:
            return f"{vm}: its virtual TPM: {wrong}"
        known.last = answer.counter
        return ""
