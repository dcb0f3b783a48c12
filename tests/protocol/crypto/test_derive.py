"""Derivation: the published HKDF vector, and separation of purposes."""

from protocol.crypto.derive import derive_key
from protocol.secret import KeyMaterial


def test_rfc_5869_case_1() -> None:
    made = derive_key(
        KeyMaterial(b"\x0b" * 22),
        salt=bytes(range(13)),
        info=bytes(range(0xF0, 0xFA)),
        size=42,
    )
    assert made.reveal().hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_another_salt_or_purpose_gives_another_key() -> None:
    secret = KeyMaterial(b"s" * 32)
    base = derive_key(secret, salt=b"a", info=b"x")
    assert base == derive_key(secret, salt=b"a", info=b"x")
    assert base != derive_key(secret, salt=b"b", info=b"x")
    assert base != derive_key(secret, salt=b"a", info=b"y")


def test_a_key_has_the_size_of_an_aes_256_key_unless_another_is_asked_for() -> None:
    secret = KeyMaterial(b"s" * 32)
    made = derive_key(secret, salt=b"a", info=b"x")
    assert len(made) == 32
    assert made == derive_key(secret, salt=b"a", info=b"x", size=32)
