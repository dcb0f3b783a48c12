"""Quotes and credentials of both backends, against the verifier in pure Python."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from protocol.tpm.credential import make_credential
from protocol.tpm.errors import TpmErrorKind
from protocol.tpm.public import check_attestation_key, public_name
from protocol.tpm.quote import QuoteFlaw, QuoteRefused, verify_quote
from protocol.tpm.structures import (
    PCR_QUOTED,
    EkKind,
    PcrSelection,
    Quote,
)
from services.runtime.tpm.device import TpmDevice
from tests.services.runtime.tpm.boots import (
    Maker,
    boot,
    refused,
)

# ---- attestation --------------------------------------------------------------------------------


def test_quote_verifies_and_every_lie_is_refused(tpm: TpmDevice) -> None:
    boot(tpm)
    ak, name = tpm.ak()
    assert public_name(ak) == name
    quote = tpm.quote(PCR_QUOTED, b"nonce-1")
    told = verify_quote(ak, quote, b"nonce-1", PCR_QUOTED)
    info = tpm.info()
    assert told.pcrs == tpm.pcrs(PCR_QUOTED)
    assert (told.reset_count, told.restart_count) == (info.reset_count, info.restart_count)
    values = (*quote.pcr_values[:-1], bytes(32))
    flipped = quote.signature[:-1] + bytes([quote.signature[-1] ^ 1])
    few = PcrSelection((0, 7))
    for bad, nonce, selection, flaw in (
        (quote, b"nonce-2", PCR_QUOTED, QuoteFlaw.NONCE),
        (quote, b"nonce-1", few, QuoteFlaw.SELECTION),
        (replace_(quote, pcr_values=values), b"nonce-1", PCR_QUOTED, QuoteFlaw.VALUES),
        (replace_(quote, pcr_values=values[:-1]), b"nonce-1", PCR_QUOTED, QuoteFlaw.VALUES),
        (replace_(quote, signature=flipped), b"nonce-1", PCR_QUOTED, QuoteFlaw.SIGNATURE),
        (replace_(quote, attest=quote.attest[:-1] + b"\0"), b"nonce-1", PCR_QUOTED, "signature"),
    ):
        with pytest.raises(QuoteRefused) as caught:
            verify_quote(ak, bad, nonce, selection)
        assert caught.value.flaw == flaw


def test_quote_of_another_tpm_is_refused(make: Maker) -> None:
    one, other = make(), make()
    boot(one)
    boot(other)
    with pytest.raises(QuoteRefused) as caught:
        verify_quote(one.ak()[0], other.quote(PCR_QUOTED, b"n"), b"n", PCR_QUOTED)
    assert caught.value.flaw is QuoteFlaw.SIGNATURE


def test_quote_tells_an_unclean_cycle(tpm: TpmDevice) -> None:
    boot(tpm)
    ak, _ = tpm.ak()
    before = verify_quote(ak, tpm.quote(PCR_QUOTED, b""), b"", PCR_QUOTED)
    tpm.cut_power()
    boot(tpm)
    after = verify_quote(ak, tpm.quote(PCR_QUOTED, b""), b"", PCR_QUOTED)
    assert (before.safe, after.safe) == (True, False)
    assert after.reset_count == before.reset_count + 1
    with pytest.raises(ValueError):
        tpm.quote(PCR_QUOTED, bytes(65))


def replace_(quote: Quote, **changes: object) -> Quote:
    return msgspec.structs.replace(quote, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(EkKind))
def test_credential_is_for_one_tpm_and_one_key(make: Maker, kind: EkKind) -> None:
    tpm, other = make(), make()
    tpm.power_on()
    other.power_on()
    ek, certificate = tpm.ek(kind)
    ak, name = tpm.ak()
    check_attestation_key(ak)
    assert certificate is None
    made = make_credential(ek, b"token", name)
    assert tpm.activate(made.id_object, made.encrypted_seed) == b"token"
    integrity = (0x1DF, TpmErrorKind.INTEGRITY)
    assert refused(lambda: other.activate(made.id_object, made.encrypted_seed)) == integrity
    for_other_key = make_credential(ek, b"token", other.ak()[1])
    call = (for_other_key.id_object, for_other_key.encrypted_seed)
    assert refused(lambda: tpm.activate(*call)) == integrity
    assert tpm.activate(made.id_object, made.encrypted_seed) == b"token"


def test_junk_for_a_credential(tpm: TpmDevice) -> None:
    tpm.power_on()
    made = make_credential(tpm.ek(EkKind.ECC_P256)[0], b"token", tpm.ak()[1])
    off_curve = made.encrypted_seed[:-1] + bytes([made.encrypted_seed[-1] ^ 1])
    for id_object, seed, rc in (
        (b"", made.encrypted_seed, 0x1D5),
        (bytes(133), made.encrypted_seed, 0x1D5),
        (made.id_object, b"", 0x2D5),
        (made.id_object, made.encrypted_seed[:-1], 0x2D5),
        (made.id_object, made.encrypted_seed + b"\0", 0x2D5),
        (made.id_object, off_curve, 0x2E7),
        (made.id_object[:-1] + b"\0\0", made.encrypted_seed, 0x1DF),
    ):
        assert refused(lambda: tpm.activate(id_object, seed))[0] == rc  # noqa: B023
    assert not tpm.info().failed


def test_ek_digest_is_that_of_the_key_and_needs_no_power(tpm: TpmDevice) -> None:
    unpowered = tpm.ek_digest()
    tpm.power_on()
    area, _ = tpm.ek(EkKind.ECC_P256)
    assert unpowered == tpm.ek_digest() == hashlib.sha256(area.raw).hexdigest()
