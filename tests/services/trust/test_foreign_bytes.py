"""Random, cut and changed bytes to everything that reads what others send: one kind of refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.tokens import (
    AttestationClaims,
    Signer,
    TokenRefused,
    VoucherClaims,
    check_certificate,
    new_certificate,
    verify_token,
)
from protocol.errors import InvalidArgument, InvalidState
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, NodeName, ProviderId
from protocol.tpm.structures import PublicArea
from protocol.trust import TpmIdentity
from services.attestation.documents import BegunAttestation, Contexts
from services.attestation.identities import authority_fault, chain_fault, ek_of
from services.esxi.providers.trusted.keys import ciphertext_of, key_id_of
from services.keyprovider.ciphertext import close, open_, take_apart
from services.runtime.tpm.maker import TpmMaker

SECRET = KeyMaterial(bytes(range(32)))
CERTIFICATE = new_certificate("name", SECRET, bytes(16), 1.0)
VOUCHER = Signer(SECRET, CERTIFICATE).voucher("issuer", NodeName("esxi-001"), 1.0)
PRIMARY, PROVIDER = KeyMaterial(b"p" * 32), ProviderId("provider")
CIPHERTEXT = close(PRIMARY, PROVIDER, KeyId("id"), SECRET, bytes(12))
CHAIN = TpmMaker(SECRET).chain
HOST = NodeName("esxi-001")


def changed(good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are not ``good``: any, a part of it, or it with one byte another."""
    flips = st.tuples(st.integers(0, len(good) - 1), st.integers(1, 255)).map(
        lambda place: good[: place[0]] + bytes([good[place[0]] ^ place[1]]) + good[place[0] + 1 :]
    )
    cuts = st.integers(0, len(good) - 1).map(lambda end: good[:end])
    return st.binary(max_size=300) | flips | cuts | st.just(good + b"x")


@given(changed(VOUCHER))
def test_a_document_that_was_changed_is_refused(token: bytes) -> None:
    with pytest.raises(TokenRefused):
        verify_token(token, [CERTIFICATE], VoucherClaims)


def test_a_document_of_another_kind_is_refused() -> None:
    assert verify_token(VOUCHER, [CERTIFICATE], VoucherClaims).sub == HOST
    with pytest.raises(TokenRefused):
        verify_token(VOUCHER, [CERTIFICATE], AttestationClaims)
    with pytest.raises(TokenRefused):
        verify_token(VOUCHER, [], VoucherClaims)


@given(changed(CERTIFICATE))
def test_a_certificate_is_one_or_an_invalid_argument(certificate: bytes) -> None:
    try:
        check_certificate(certificate)
    except InvalidArgument:
        return


@given(changed(CIPHERTEXT))
def test_a_ciphertext_that_was_changed_opens_to_nothing(ciphertext: bytes) -> None:
    with pytest.raises(InvalidArgument):
        open_(PRIMARY, PROVIDER, take_apart(ciphertext))


@given(st.binary(min_size=1, max_size=512))
def test_a_ciphertext_is_a_key_id_and_back(ciphertext: bytes) -> None:
    key_id = key_id_of(ciphertext)
    assert ciphertext_of(key_id) == ciphertext
    assert len(key_id) <= 4 * len(ciphertext) // 3 + 2


@given(st.text(max_size=40))
def test_any_key_id_is_a_ciphertext_or_none(key_id: str) -> None:
    found = ciphertext_of(KeyId(key_id))
    assert found is None or key_id_of(found) == key_id


def _context() -> tuple[Contexts, bytes]:
    contexts = Contexts(KeyMaterial(b"k" * 32))
    begun = BegunAttestation(
        b"number", PublicArea(b""), b"", PublicArea(b""), b"", b"n", b"s", 10.0
    )
    return contexts, contexts.seal_context(begun, HOST, 1, bytes(12))


@given(st.data())
def test_a_context_that_was_changed_is_none(data: Any) -> None:
    contexts, good = _context()
    with pytest.raises(InvalidState):
        contexts.open_context(data.draw(changed(good)), HOST, 1, 0.0)


def test_a_context_is_of_one_life_of_one_host_and_forgotten_after_its_time() -> None:
    contexts, good = _context()
    for host, boot, now in ((NodeName("other"), 1, 0.0), (HOST, 2, 0.0), (HOST, 1, 11.0)):
        with pytest.raises(InvalidState):
            contexts.open_context(good, host, boot, now)
    assert contexts.open_context(good, HOST, 1, 9.0).nonce == b"n"
    with pytest.raises(InvalidState, match="finished already"):
        contexts.open_context(good, HOST, 1, 9.0)


@given(st.binary(max_size=300))
def test_an_identity_is_one_or_an_invalid_argument(raw: bytes) -> None:
    for identity in (TpmIdentity(certificate=raw), TpmIdentity(public_area=PublicArea(raw))):
        with pytest.raises(InvalidArgument):
            ek_of(identity)


@given(changed(CHAIN[1]), changed(CHAIN[0]))
def test_a_chain_that_was_changed_is_none(issuing: bytes, root: bytes) -> None:
    assert authority_fault(CHAIN) == ""
    assert authority_fault((root, issuing)) and authority_fault((CHAIN[0], issuing))
    assert chain_fault(issuing, (), 1.6e9)
