"""What a guest does with its virtual TPM, agreed between guests and whoever questions them.

The questioner gives the guest a marker, of which it makes a secret, seals that, and forgets both.
Asked later with a fresh nonce, a guest that has that very vTPM unseals the secret in a new session,
steps its counter up, measures the nonce, and has the TPM sign what PCRs it has. Who keeps secret,
attestation key and last counter knows from one answer: it is that TPM (the key), not an older state
of it (the counter), it opens what it sealed (the proof), and it did so now (the nonce).
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
"""Bytes of what is sealed."""
CHALLENGE_PCR: Final = 23
"""The PCR of applications, in which a guest measures the nonces that it is asked with."""
QUOTED: Final = PcrSelection((0, 4, 7, CHALLENGE_PCR))
"""What a guest quotes: firmware, loader, Secure Boot, nonces."""
SEALED_TO: Final = PCR_SECURE_BOOT
"""The PCRs of the policy under which a guest seals."""


class TpmAnswer(msgspec.Struct, frozen=True):
    """A guest's answer. ``before``: the value of ``CHALLENGE_PCR`` right before the nonce was
    measured; ``counter``: how many commands this vTPM has counted, this one too."""

    quote: Quote
    before: bytes
    counter: int
    proof: bytes


def secret_of(marker: bytes) -> KeyMaterial:
    """What a guest seals when it is given ``marker``: it is nowhere said, and lies sealed only."""
    return KeyMaterial(hashlib.sha256(b"keystead vtpm secret|" + marker).digest())


def nonce_event(nonce: bytes) -> MeasuredEvent:
    """What a guest measures of a nonce that it is asked with."""
    return MeasuredEvent(CHALLENGE_PCR, EventType.IPL, b"challenge " + nonce.hex().encode())


def nonce_for_quote(nonce: bytes, counter: int) -> bytes:
    """What the TPM signs along: the questioner's nonce, and the counter's value."""
    return hashlib.sha256(b"keystead vtpm|" + nonce + counter.to_bytes(8, "big")).digest()


def proof_of(secret: KeyMaterial, attest: bytes) -> bytes:
    """Shows that who signed ``attest`` had the secret in clear then; it says nothing of it."""
    return hmac.digest(secret.reveal(), b"keystead vtpm proof|" + attest, "sha256")


def flaw_of(
    answer: TpmAnswer, *, ak: PublicArea, secret: KeyMaterial, nonce: bytes, last: int
) -> str:
    """What is wrong with an answer; empty when it is that of the TPM with ``ak``.

    ``last``: the highest value of the counter that was acknowledged: a TPM that has not gone back
    is above it.
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
