"""The id of a wrapped key: everything that is stored of it (KEY-07)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, ProviderId
from protocol.wrapped_keys import key_at_server, parse_wrapped, unwrap_key, wrap_key

P, Q = ProviderId("kms-provider"), ProviderId("second")
WRAPPING, OTHER = KeyMaterial(b"w" * 32), KeyMaterial(b"o" * 32)
SECRET, NONCE = KeyMaterial(b"s" * 32), b"n" * 12


@pytest.mark.parametrize("wrapping_key", ["key-1", "a:b:c", "wrapped:x:y", "id with spaces"])
def test_it_leads_to_its_wrapping_key_and_opens_under_it(wrapping_key: str) -> None:
    key_id = wrap_key(KeyId(wrapping_key), WRAPPING, P, SECRET, NONCE)
    found = parse_wrapped(key_id)
    assert found is not None and found.wrapping_key == wrapping_key == key_at_server(key_id)
    assert unwrap_key(found, WRAPPING, P) == SECRET
    assert b"s" * 32 not in found.box


@pytest.mark.parametrize(("material", "provider"), [(OTHER, P), (WRAPPING, Q)])
def test_it_opens_under_no_other_key_and_for_no_other_provider(
    material: KeyMaterial, provider: ProviderId
) -> None:
    found = parse_wrapped(wrap_key(KeyId("k"), WRAPPING, P, SECRET, NONCE))
    assert found is not None
    with pytest.raises(CryptographicFailure):
        unwrap_key(found, material, provider)


def test_it_is_bound_to_the_id_of_its_wrapping_key() -> None:
    """The same value under two ids at a key server does not make one key of both."""
    key_id = wrap_key(KeyId("k"), WRAPPING, P, SECRET, NONCE)
    moved = parse_wrapped(KeyId(key_id.replace("wrapped:k:", "wrapped:l:")))
    assert moved is not None
    with pytest.raises(CryptographicFailure):
        unwrap_key(moved, WRAPPING, P)


@given(st.text(max_size=120))
def test_any_other_text_is_an_id_at_the_key_server(text: str) -> None:
    for key_id in (KeyId(text), KeyId(f"wrapped:{text}"), KeyId(f"wrapped:k:{text}")):
        assert parse_wrapped(key_id) is None
        assert key_at_server(key_id) == key_id


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_an_altered_id_is_another_id_or_does_not_open(place: int, sign: str) -> None:
    key_id = wrap_key(KeyId("key-1"), WRAPPING, P, SECRET, NONCE)
    place %= len(key_id)
    altered = KeyId(key_id[:place] + sign + key_id[place + 1 :])
    found = parse_wrapped(altered)
    if altered == key_id or found is None:
        return
    with pytest.raises(CryptographicFailure):
        unwrap_key(found, WRAPPING, P)
