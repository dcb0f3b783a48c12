"""What a guest does with its vTPM in one command: the firmware's boot, sealing, answers, work.

Each function is one command: it gets the TPM, works, and returns values. They block and touch
nothing else. The sealed blob is in an NV index of the vTPM itself.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from protocol.guest_tpm import (
    CHALLENGE_PCR,
    QUOTED,
    SEALED_TO,
    TpmAnswer,
    nonce_event,
    nonce_for_quote,
    proof_of,
)
from protocol.secret import KeyMaterial
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.policy import policy_pcr_digest
from protocol.tpm.structures import (
    EkKind,
    EventType,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    SealedBlob,
)
from services.runtime.virtual_tpm import VirtualTpmCommands

BLOB_INDEX: Final = 0x01800101
COUNTER_INDEX: Final = 0x01800102
_OWN: Final = PcrSelection((CHALLENGE_PCR,))

BOOT: Final = (
    MeasuredEvent(0, EventType.S_CRTM_VERSION, b"VMware Virtual Platform EFI"),
    MeasuredEvent(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot=1"),
    MeasuredEvent(4, EventType.EFI_BOOT_SERVICES_APPLICATION, b"guest boot loader"),
)
"""What a VM's firmware measures at power-on, the same each time."""


def endorsement_key(tpm: VirtualTpmCommands) -> bytes:
    """The public area of its endorsement key; the TPM gets power meanwhile."""
    tpm.power_on()
    area, _ = tpm.ek(EkKind.ECC_P256)
    tpm.power_off(orderly=True)
    return area.raw


def power_on(tpm: VirtualTpmCommands, secret: bytes) -> bytes:
    """The VM's firmware measures its boot, and the guest unseals; returns the SHA-256 of the
    secret.

    A guest that has sealed nothing yet seals ``secret``.
    """
    tpm.power_on()
    tpm.extend_log(BOOT)
    tpm.ensure_srk()
    if read_counter(tpm) == 0:
        _seal(tpm, secret)
        return digest_of(secret)
    return digest_of_secret(tpm)


def read_counter(tpm: VirtualTpmCommands) -> int:
    """The number of counted commands; 0 for a new TPM."""
    try:
        return tpm.counter(COUNTER_INDEX)
    except TpmError as error:
        if error.kind is not TpmErrorKind.HANDLE:
            raise
        return 0


def seal(tpm: VirtualTpmCommands, secret: bytes) -> tuple[PublicArea, int]:
    """Seal ``secret`` in place of an earlier one; returns the attestation key, and the counter."""
    counter = _seal(tpm, secret)
    area, _ = tpm.ak()
    return area, counter


def _seal(tpm: VirtualTpmCommands, secret: bytes) -> int:
    blob = tpm.seal(secret, policy_pcr_digest(SEALED_TO, tpm.pcrs(SEALED_TO)))
    tpm.nv_write(BLOB_INDEX, msgspec.msgpack.encode(blob))
    return tpm.counter(COUNTER_INDEX, bump=True)


def _unseal_secret(tpm: VirtualTpmCommands) -> bytes:
    blob = msgspec.msgpack.decode(tpm.nv_read(BLOB_INDEX), type=SealedBlob)
    return tpm.unseal(blob, SEALED_TO)


def digest_of_secret(tpm: VirtualTpmCommands) -> bytes:
    """SHA-256 of the sealed secret, which a guest may remember."""
    return digest_of(_unseal_secret(tpm))


def digest_of(secret: bytes) -> bytes:
    """SHA-256 of a secret."""
    return hashlib.sha256(secret).digest()


def challenge(tpm: VirtualTpmCommands, nonce: bytes) -> TpmAnswer:
    """Unseal in a new session, count, measure the nonce, quote."""
    secret = KeyMaterial(_unseal_secret(tpm))
    counter = tpm.counter(COUNTER_INDEX, bump=True)
    before = tpm.pcrs(_OWN)[CHALLENGE_PCR]
    tpm.extend_log([nonce_event(nonce)])
    quote = tpm.quote(QUOTED, nonce_for_quote(nonce, counter))
    return TpmAnswer(quote, before, counter, proof_of(secret, quote.attest))


def count(tpm: VirtualTpmCommands) -> int:
    """Increment the counter."""
    return tpm.counter(COUNTER_INDEX, bump=True)


def measure_and_quote(tpm: VirtualTpmCommands, step: int) -> bytes:
    """Measure the step of the guest's work, and quote it."""
    tpm.extend_log([MeasuredEvent(CHALLENGE_PCR, EventType.IPL, b"work %d" % step)])
    return tpm.quote(QUOTED, step.to_bytes(8, "big")).attest
