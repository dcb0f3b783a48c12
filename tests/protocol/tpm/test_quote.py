"""A verifier believes nothing that is not signed, fresh, and over the PCRs it asked for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from protocol.tpm.public import (
    AK_ATTRIBUTES,
    Attributes,
    ak_public,
    ek_public,
    point_of,
    public_name,
    qualified_name,
)
from protocol.tpm.quote import (
    QuoteBody,
    QuoteFlaw,
    QuoteRefused,
    ecdsa_signature,
    encode_attest,
    parse_attest,
    pcr_digest,
    verify_quote,
)
from protocol.tpm.structures import PcrSelection, PublicArea, Quote, pcr_select, tpm2b, u16, u32

SELECTION = PcrSelection((0, 7))
VALUES = {0: b"\x01" * 32, 7: b"\x02" * 32}
NONCE = b"fresh"
KEY = ec.derive_private_key(12345, ec.SECP256R1())
AK = ak_public(point_of(KEY.public_key()))


SAFE = 4 + 2 + 2 + 34 + 2 + len(NONCE) + 8 + 4 + 4  # where the safe flag of the attest lies


def body_of(ak: PublicArea = AK) -> QuoteBody:
    return QuoteBody(
        signer=qualified_name(public_name(ak)),
        nonce=NONCE,
        clock=77,
        reset_count=3,
        restart_count=1,
        safe=True,
        firmware=9,
        selection=pcr_select(SELECTION.pcrs),
        digest=pcr_digest(SELECTION, VALUES),
    )


def signed(attest: bytes) -> Quote:
    r, s = decode_dss_signature(KEY.sign(attest, ec.ECDSA(hashes.SHA256())))
    values = tuple(VALUES[pcr] for pcr in SELECTION.pcrs)
    return Quote(attest, ecdsa_signature(r, s), SELECTION, values)


def flaw_of(quote: Quote, ak: PublicArea = AK, selection: PcrSelection = SELECTION) -> QuoteFlaw:
    with pytest.raises(QuoteRefused) as caught:
        verify_quote(ak, quote, NONCE, selection)
    return caught.value.flaw


def test_good_quote_tells_state() -> None:
    told = verify_quote(AK, signed(encode_attest(body_of())), NONCE, SELECTION)
    assert told.pcrs == VALUES
    assert (told.clock, told.reset_count, told.restart_count) == (77, 3, 1)
    assert (told.safe, told.firmware) == (True, 9)


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"signer": qualified_name(public_name(ek_public()))}, QuoteFlaw.KEY),
        ({"signer": qualified_name(public_name(AK), 0x40000001)}, QuoteFlaw.KEY),
        ({"nonce": b"stale"}, QuoteFlaw.NONCE),
        ({"selection": pcr_select((0, 6))}, QuoteFlaw.SELECTION),
        ({"selection": pcr_select((0, 7))[:6] + u16(4) + b"\x03\x81"}, QuoteFlaw.SELECTION),
        ({"digest": bytes(32)}, QuoteFlaw.VALUES),
    ],
)
def test_signed_but_not_what_was_asked(change: dict[str, bytes], flaw: QuoteFlaw) -> None:
    body = msgspec.structs.replace(body_of(), **change)
    assert flaw_of(signed(encode_attest(body))) is flaw


@pytest.mark.parametrize(
    "spoil",
    [
        lambda attest: attest + b"\0",
        lambda attest: attest[:-1],
        lambda attest: u32(0xFF544348) + attest[4:],
        lambda attest: attest[:4] + u16(0x8017) + attest[6:],
        lambda attest: b"",
        lambda attest: attest[:SAFE] + b"\x02" + attest[SAFE + 1 :],
    ],
)
def test_signed_but_no_quote(spoil: Callable[[bytes], bytes]) -> None:
    assert flaw_of(signed(spoil(encode_attest(body_of())))) is QuoteFlaw.MALFORMED


def test_values_sent_along_must_be_the_signed_ones() -> None:
    quote = signed(encode_attest(body_of()))
    for values in ((VALUES[7], VALUES[0]), (VALUES[0],), (VALUES[0], b"short"), ()):
        assert flaw_of(msgspec.structs.replace(quote, pcr_values=values)) is QuoteFlaw.VALUES
    other = PcrSelection((0, 6))
    assert flaw_of(msgspec.structs.replace(quote, selection=other)) is QuoteFlaw.SELECTION
    assert flaw_of(quote, selection=other) is QuoteFlaw.SELECTION


def test_signature_of_another_sort_is_refused() -> None:
    quote = signed(encode_attest(body_of()))
    for signature, flaw in (
        (b"", QuoteFlaw.MALFORMED),
        (quote.signature[:-1], QuoteFlaw.MALFORMED),
        (quote.signature + b"\0", QuoteFlaw.MALFORMED),
        (u16(0x0018) + u16(0x0004) + quote.signature[4:], QuoteFlaw.SIGNATURE),
        (u16(0x001A) + quote.signature[2:], QuoteFlaw.SIGNATURE),
        (u16(0x0014) + quote.signature[2:], QuoteFlaw.SIGNATURE),
        (ecdsa_signature(1, 1), QuoteFlaw.SIGNATURE),
        (ecdsa_signature(0, 0), QuoteFlaw.SIGNATURE),
    ):
        assert flaw_of(msgspec.structs.replace(quote, signature=signature)) is flaw


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_flipped_bit_of_the_attest_survives(position: int, flip: int) -> None:
    attest = encode_attest(body_of())
    quote = signed(attest)
    spoiled = bytearray(attest)
    spoiled[position % len(attest)] ^= flip
    bad = msgspec.structs.replace(quote, attest=bytes(spoiled))
    assert flaw_of(bad) is QuoteFlaw.SIGNATURE


def _with_attributes(attributes: int) -> PublicArea:
    return PublicArea(AK.raw[:4] + u32(attributes) + AK.raw[8:])


@pytest.mark.parametrize(
    "attributes",
    [
        AK_ATTRIBUTES & ~Attributes.RESTRICTED,
        AK_ATTRIBUTES & ~Attributes.FIXED_TPM,
        AK_ATTRIBUTES & ~Attributes.SIGN,
        AK_ATTRIBUTES | Attributes.DECRYPT,
    ],
)
def test_key_that_could_sign_a_forgery_is_refused(attributes: int) -> None:
    ak = _with_attributes(attributes)
    assert flaw_of(signed(encode_attest(body_of(ak))), ak) is QuoteFlaw.KEY
    assert verify_quote(AK, signed(encode_attest(body_of())), NONCE, SELECTION).pcrs == VALUES


def test_garbage_for_a_key() -> None:
    quote = signed(encode_attest(body_of()))
    off_curve = PublicArea(AK.raw[:-1] + bytes([AK.raw[-1] ^ 1]))
    for ak in (PublicArea(b""), PublicArea(AK.raw + b"\0"), ek_public(), off_curve):
        assert flaw_of(quote, ak) is QuoteFlaw.KEY


def test_rsa_key_signs_too() -> None:
    key = rsa.generate_private_key(65537, 2048)
    modulus = key.public_key().public_numbers().n.to_bytes(256, "big")
    head = u16(0x0001) + u16(0x000B) + u32(AK_ATTRIBUTES) + tpm2b(b"")
    scheme = u16(0x0010) + u16(0x0014) + u16(0x000B)
    ak = PublicArea(head + scheme + u16(2048) + u32(0) + tpm2b(modulus))
    attest = encode_attest(body_of(ak))
    raw = key.sign(attest, padding.PKCS1v15(), hashes.SHA256())
    signature = u16(0x0014) + u16(0x000B) + tpm2b(raw)
    quote = Quote(attest, signature, SELECTION, tuple(VALUES.values()))
    assert verify_quote(ak, quote, NONCE, SELECTION).pcrs == VALUES
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    bad = msgspec.structs.replace(quote, signature=flipped)
    assert flaw_of(bad, ak) is QuoteFlaw.SIGNATURE
    ecdsa = msgspec.structs.replace(quote, signature=ecdsa_signature(5, 5))
    assert flaw_of(ecdsa, ak) is QuoteFlaw.SIGNATURE


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        assert encode_attest(parse_attest(data)) == data
    except QuoteRefused:
        pass
