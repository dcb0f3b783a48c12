"""AES-256-GCM wrapping: opens only with the same key, bytes and associated data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.wrap import OVERHEAD, unwrap, wrap
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

KEK = KeyMaterial(bytes(range(32)))
OTHER = KeyMaterial(bytes(range(1, 33)))
NONCE = bytes(12)
AAD = b"key|1"


@given(
    secret=st.binary(max_size=96),
    aad=st.binary(max_size=64),
    nonce=st.binary(min_size=12, max_size=12),
)
def test_round_trip(secret: bytes, aad: bytes, nonce: bytes) -> None:
    wrapped = wrap(KEK, KeyMaterial(secret), aad, nonce)
    assert len(wrapped) == len(secret) + OVERHEAD
    assert wrapped.startswith(nonce)
    assert unwrap(KEK, wrapped, aad).reveal() == secret


def test_known_answer() -> None:
    """Test case 14 of McGrew and Viega's GCM specification: zero key, nonce and block."""
    wrapped = wrap(KeyMaterial(bytes(32)), KeyMaterial(bytes(16)), b"", bytes(12))
    assert wrapped.hex() == (
        "000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    )


@given(place=st.integers(0, 32 + OVERHEAD - 1), bit=st.integers(0, 7))
def test_any_altered_bit_is_noticed(place: int, bit: int) -> None:
    wrapped = bytearray(wrap(KEK, OTHER, AAD, NONCE))
    wrapped[place] ^= 1 << bit
    with pytest.raises(CryptographicFailure):
        unwrap(KEK, bytes(wrapped), AAD)


@pytest.mark.parametrize("length", range(32 + OVERHEAD))
def test_cut_short(length: int) -> None:
    with pytest.raises(CryptographicFailure):
        unwrap(KEK, wrap(KEK, OTHER, AAD, NONCE)[:length], AAD)


def test_other_key_and_other_place() -> None:
    wrapped = wrap(KEK, OTHER, AAD, NONCE)
    with pytest.raises(CryptographicFailure):
        unwrap(OTHER, wrapped, AAD)
    with pytest.raises(CryptographicFailure):
        unwrap(KEK, wrapped, b"key|2")


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_only_256_bit_wrapping_keys(size: int) -> None:
    weak = KeyMaterial(bytes(size))
    with pytest.raises(CryptographicFailure):
        wrap(weak, OTHER, AAD, NONCE)
    with pytest.raises(CryptographicFailure):
        unwrap(weak, wrap(KEK, OTHER, AAD, NONCE), AAD)


@pytest.mark.parametrize("size", [0, 11, 13])
def test_nonce_size(size: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        wrap(KEK, OTHER, AAD, bytes(size))


def test_no_key_bytes_in_the_error() -> None:
    wrapped = wrap(KEK, OTHER, AAD, NONCE)
    with pytest.raises(CryptographicFailure) as caught:
        unwrap(OTHER, wrapped, AAD)
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert KEK.reveal().hex() not in shown
    assert OTHER.reveal().hex() not in shown
