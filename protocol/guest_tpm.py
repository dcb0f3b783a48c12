"""What a guest does with its virtual TPM, agreed between guests and those that verify them.

The verifier gives the guest a marker. The guest makes a secret from it, seals the secret, and
forgets both. Later the verifier asks with a fresh nonce: the guest unseals the secret in a new
session, increments its counter, measures the nonce, and has the TPM sign its PCRs. From one answer
a verifier that has secret, attestation key and last counter knows that it is that TPM (the key),
not an older state of it (the counter), that it opens what it sealed (the proof), and that it did so
now (the nonce).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from protocol.secret import KeyMaterial
from protocol.tpm.event_log import event_digest, extend_pcr
from protocol.tpm.structures import (
    PCR_SECURE_BOOT,
    EventType,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
)

SECRET_SIZE: Final = 32
"""Bytes of the sealed secret."""
CHALLENGE_PCR: Final = 23
"""The PCR of applications, in which a guest measures the nonces of challenges."""
QUOTED: Final = PcrSelection((0, 4, 7, CHALLENGE_PCR))
"""The PCRs that a guest quotes: firmware, loader, Secure Boot, nonces."""
SEALED_TO: Final = PCR_SECURE_BOOT
"""The PCRs of the policy under which a guest seals."""


class TpmAnswer(msgspec.Struct, frozen=True):
    """A guest's answer. ``before``: the value of ``CHALLENGE_PCR`` right before the nonce was
    measured. ``counter``: how many commands this vTPM has counted, including this one."""

    quote: Quote
    before: bytes
    counter: int
    proof: bytes


def secret_of(marker: bytes) -> KeyMaterial:
    """The secret that a guest makes from ``marker``; it is never sent, and stored only sealed."""
    return KeyMaterial(hashlib.sha256(b"keystead vtpm secret|" + marker).digest())


def nonce_event(nonce: bytes) -> MeasuredEvent:
    """The event that a guest measures for the nonce of a challenge."""
    return MeasuredEvent(CHALLENGE_PCR, EventType.IPL, b"challenge " + nonce.hex().encode())


def nonce_for_quote(nonce: bytes, counter: int) -> bytes:
    """The nonce of the quote: from the verifier's nonce and the counter's value."""
    return hashlib.sha256(b"keystead vtpm|" + nonce + counter.to_bytes(8, "big")).digest()


def proof_of(secret: KeyMaterial, attest: bytes) -> bytes:
    """Proves that the signer of ``attest`` had the secret in clear at that time, without revealing
    it."""
    return hmac.digest(secret.reveal(), b"keystead vtpm proof|" + attest, "sha256")


def flaw_of(
    answer: TpmAnswer, *, ak: PublicArea, secret: KeyMaterial, nonce: bytes, last: int
) -> str:
    """What is wrong with an answer; empty when it is from the TPM with ``ak``.

    ``last``: the highest acknowledged value of the counter; a TPM that was not rolled back is above
    it.
    """
    from protocol.tpm.quote import QuoteRefused, verify_quote  # who only names messages needs none

    try:
        found = verify_quote(ak, answer.quote, nonce_for_quote(nonce, answer.counter), QUOTED)
    except QuoteRefused as refused:
        return f"its quote: {refused}"
    if answer.counter <= last:
        return f"its counter says {answer.counter}, and it has said {last} before"
    measured = extend_pcr(answer.before, event_digest(nonce_event(nonce)))
    if found.pcrs[CHALLENGE_PCR] != measured:
        return "it has not measured the nonce"
    if not hmac.compare_digest(answer.proof, proof_of(secret, answer.quote.attest)):
        return "what it unsealed is another secret"
    return ""
