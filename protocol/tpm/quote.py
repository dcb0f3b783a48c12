"""Checking a quote in pure Python: whose it is, how fresh, over which PCRs, and what it states; and
the digest of a PCR policy, computed without a TPM.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from protocol.tpm.public import (
    PublicError,
    check_attestation_key,
    public_key,
    public_name,
    qualified_name,
)
from protocol.tpm.structures import (
    ALG_ECDSA,
    ALG_RSASSA,
    ALG_SHA256,
    DIGEST_SIZE,
    PcrSelection,
    PublicArea,
    Quote,
    TpmName,
    TpmReader,
    Truncated,
    pcr_select,
    tpm2b,
    u16,
    u32,
    u64,
)

CC_POLICY_PCR: Final = 0x0000017F


def pcr_digest(selection: PcrSelection, values: Mapping[int, bytes]) -> bytes:
    """SHA-256 over the selected PCR values in ascending order; ``KeyError`` if one is missing."""
    return hashlib.sha256(b"".join(values[pcr] for pcr in selection.pcrs)).digest()


def policy_pcr_digest(selection: PcrSelection, values: Mapping[int, bytes]) -> bytes:
    """The policy digest that TPM2_PolicyPCR (TPM 2.0 part 3) would give, in 32 bytes.

    ``values`` has 32 bytes for each PCR index. Seal under it what shall open only while the PCRs
    have these values (POL-01). ``KeyError`` when a selected PCR has no value.
    """
    start = bytes(DIGEST_SIZE) + u32(CC_POLICY_PCR) + pcr_select(selection.pcrs)
    return hashlib.sha256(start + pcr_digest(selection, values)).digest()


MAGIC: Final = 0xFF544347
ST_ATTEST_QUOTE: Final = 0x8018


class QuoteFlaw(StrEnum):
    """Why a quote is refused."""

    MALFORMED = "malformed"
    KEY = "key"  # the key is no attestation key in the endorsement hierarchy
    SIGNATURE = "signature"
    NONCE = "nonce"
    SELECTION = "selection"
    VALUES = "values"  # the PCR values sent along are not those that were signed


class QuoteRefused(Exception):
    """A quote that proves nothing; ``flaw`` says why."""

    def __init__(self, flaw: QuoteFlaw, text: str) -> None:
        super().__init__(f"{flaw.value}: {text}")
        self.flaw: Final = flaw


class Attested(msgspec.Struct, frozen=True):
    """What a good quote tells.

    ``pcrs`` is index -> 32 bytes. ``clock`` is ms of powered time; ``safe`` is False after a power
    cycle without TPM2_Shutdown. The counts are of power cycles and resumes.
    """

    pcrs: dict[int, bytes]
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware: int


class QuoteBody(msgspec.Struct, frozen=True):
    """TPMS_ATTEST of a quote (TPM 2.0 part 2), field by field; ``clock`` in ms of powered time."""

    signer: TpmName
    nonce: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware: int
    selection: bytes
    digest: bytes


def encode_attest(body: QuoteBody) -> bytes:
    """``body`` as the TPM marshals and signs it."""
    return b"".join(
        (
            u32(MAGIC),
            u16(ST_ATTEST_QUOTE),
            tpm2b(body.signer),
            tpm2b(body.nonce),
            u64(body.clock),
            u32(body.reset_count),
            u32(body.restart_count),
            bytes([body.safe]),
            u64(body.firmware),
            body.selection,
            tpm2b(body.digest),
        )
    )


def parse_attest(attest: bytes) -> QuoteBody:
    """The fields of ``attest``; ``QuoteRefused`` when it is not exactly one quote."""
    reader = TpmReader(attest)
    try:
        if (reader.u32(), reader.u16()) != (MAGIC, ST_ATTEST_QUOTE):
            raise QuoteRefused(QuoteFlaw.MALFORMED, "not made by a TPM as a quote")
        signer, nonce = TpmName(reader.tpm2b()), reader.tpm2b()
        clock, resets, restarts = reader.u64(), reader.u32(), reader.u32()
        safe, firmware = reader.u8(), reader.u64()
        selection = reader.take(10)
        digest = reader.tpm2b()
        reader.end()
    except Truncated as error:
        raise QuoteRefused(QuoteFlaw.MALFORMED, str(error)) from None
    if safe > 1:
        raise QuoteRefused(QuoteFlaw.MALFORMED, "the safe flag is neither yes nor no")
    return QuoteBody(
        signer, nonce, clock, resets, restarts, bool(safe), firmware, selection, digest
    )


def verify_quote(ak: PublicArea, quote: Quote, nonce: bytes, selection: PcrSelection) -> Attested:
    """Check ``quote`` against the key it must be signed with, our nonce and our selection.

    Raises ``QuoteRefused``. That ``ak`` belongs to a TPM one trusts is proved beforehand, by
    making a credential for its endorsement key. The signature is checked before anything that
    it covers is believed.
    """
    try:
        check_attestation_key(ak)
        _check_signature(ak, quote)
    except PublicError as error:
        raise QuoteRefused(QuoteFlaw.KEY, str(error)) from None
    body = parse_attest(quote.attest)
    if body.signer != qualified_name(public_name(ak)):
        raise QuoteRefused(QuoteFlaw.KEY, "the signer is no primary endorsement key of that name")
    if not hmac.compare_digest(body.nonce, nonce):
        raise QuoteRefused(QuoteFlaw.NONCE, "made for another nonce")
    if body.selection != pcr_select(selection.pcrs) or quote.selection != selection:
        raise QuoteRefused(QuoteFlaw.SELECTION, "other PCRs than asked for")
    values = _values(quote)
    if body.digest != pcr_digest(selection, values):
        raise QuoteRefused(QuoteFlaw.VALUES, "PCR values do not give the signed digest")
    return Attested(
        values, body.clock, body.reset_count, body.restart_count, body.safe, body.firmware
    )


def _values(quote: Quote) -> dict[int, bytes]:
    if len(quote.pcr_values) != len(quote.selection.pcrs):
        raise QuoteRefused(QuoteFlaw.VALUES, "not one value per PCR")
    if any(len(value) != DIGEST_SIZE for value in quote.pcr_values):
        raise QuoteRefused(QuoteFlaw.VALUES, "a PCR value is not 32 bytes long")
    return dict(zip(quote.selection.pcrs, quote.pcr_values, strict=True))


def _check_signature(ak: PublicArea, quote: Quote) -> None:
    """ECDSA P-256 or RSASSA 2048, SHA-256; every other algorithm is refused."""
    key = public_key(ak)
    reader = TpmReader(quote.signature)
    try:
        algorithm, digest = reader.u16(), reader.u16()
        if digest != ALG_SHA256:
            raise QuoteRefused(QuoteFlaw.SIGNATURE, f"hash {digest:#x} is not accepted")
        if isinstance(key, ec.EllipticCurvePublicKey):
            if algorithm != ALG_ECDSA:
                raise QuoteRefused(QuoteFlaw.SIGNATURE, f"scheme {algorithm:#x} is not accepted")
            r, s = (int.from_bytes(reader.tpm2b(), "big") for _ in range(2))
            reader.end()
            key.verify(encode_dss_signature(r, s), quote.attest, ec.ECDSA(hashes.SHA256()))
        else:
            if algorithm != ALG_RSASSA:
                raise QuoteRefused(QuoteFlaw.SIGNATURE, f"scheme {algorithm:#x} is not accepted")
            signature = reader.tpm2b()
            reader.end()
            key.verify(signature, quote.attest, padding.PKCS1v15(), hashes.SHA256())
    except Truncated as error:
        raise QuoteRefused(QuoteFlaw.MALFORMED, f"signature: {error}") from None
    except InvalidSignature:
        raise QuoteRefused(QuoteFlaw.SIGNATURE, "not signed by that key") from None


def ecdsa_signature(r: int, s: int) -> bytes:
    """TPMT_SIGNATURE of an ECDSA P-256 signature with SHA-256, both halves padded to 32 bytes."""
    halves = tpm2b(r.to_bytes(32, "big")) + tpm2b(s.to_bytes(32, "big"))
    return u16(ALG_ECDSA) + u16(ALG_SHA256) + halves
