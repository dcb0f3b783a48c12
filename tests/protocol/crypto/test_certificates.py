"""Certificates of TLS: what is in them, who signs, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    common_name,
    issue_certificate,
    key_digest,
    load,
    new_key,
    public_key,
    self_signed,
    validity,
)
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial

SERIAL = bytes(range(SERIAL_SIZE))
START, END = 1_700_000_000.7, 1_800_000_000.2


def key_of(letter: str) -> KeyMaterial:
    return new_key(KeyMaterial(letter.encode() * SEED_SIZE))


def test_a_key_is_of_p256_and_follows_from_its_seed() -> None:
    first = key_of("a")
    private = load_der_private_key(first.reveal(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.curve.name == "secp256r1"
    assert first == key_of("a") and first != key_of("b")
    for seed in (bytes(SEED_SIZE), b"\xff" * SEED_SIZE):
        assert public_key(new_key(KeyMaterial(seed)))
    with pytest.raises(ValueError, match="48 bytes"):
        new_key(KeyMaterial(bytes(32)))


def test_a_certificate_signs_itself() -> None:
    made = self_signed("kms", key_of("a"), SERIAL, START, END)
    assert made == self_signed("kms", key_of("a"), SERIAL, START, END)
    found = load(made)
    found.verify_directly_issued_by(found)
    assert found.serial_number == int.from_bytes(b"\x01" + SERIAL[1:], "big")
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert common_name(made) == "kms"
    assert validity(made) == (1_700_000_000.0, 1_800_000_000.0)


def test_an_authority_issues() -> None:
    root_key, key = key_of("r"), key_of("a")
    root = self_signed("root", root_key, SERIAL, START, END, authority=True)
    made = issue_certificate(
        "kms", public_key(key), SERIAL, START, END, issuer=root, issuer_key=root_key
    )
    load(made).verify_directly_issued_by(load(root))
    assert load(root).extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises((ValueError, InvalidSignature)):
        load(root).verify_directly_issued_by(load(made))
    with pytest.raises(InvalidArgument, match="not the issuer's key"):
        issue_certificate("kms", public_key(key), SERIAL, START, END, issuer=root, issuer_key=key)


def test_a_renewed_certificate_has_the_same_key_digest() -> None:
    first = self_signed("kms", key_of("a"), SERIAL, START, END)
    renewed = self_signed("other", key_of("a"), bytes(SERIAL_SIZE), START, END + 9)
    assert key_digest(first) == key_digest(renewed)
    assert key_digest(first) == hashlib.sha256(public_key(key_of("a"))).digest()
    assert key_digest(first) != key_digest(self_signed("kms", key_of("b"), SERIAL, START, END))


def test_a_certificate_without_a_common_name_has_none() -> None:
    private = load_der_private_key(key_of("a").reveal(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    nameless = load(self_signed("kms", key_of("a"), SERIAL, START, END))
    builder = x509.CertificateBuilder(
        x509.Name([]),
        x509.Name([]),
        private.public_key(),
        7,
        nameless.not_valid_before_utc,
        nameless.not_valid_after_utc,
    )
    from cryptography.hazmat.primitives.hashes import SHA256

    assert common_name(builder.sign(private, SHA256()).public_bytes(Encoding.DER)) == ""


def test_what_makes_no_certificate_is_refused() -> None:
    key = key_of("a")
    for name in ("", "x" * 65):
        with pytest.raises(InvalidArgument, match="1 to 64 characters"):
            self_signed(name, key, SERIAL, START, END)
    with pytest.raises(InvalidArgument, match="not after its start"):
        self_signed("kms", key, SERIAL, START, START)
    with pytest.raises(InvalidArgument, match="private key: not a private key"):
        self_signed("kms", KeyMaterial(b"no key"), SERIAL, START, END)
    with pytest.raises(InvalidArgument, match="certificate: not a certificate"):
        load(b"no certificate")
    other = ed25519.Ed25519PrivateKey.generate()
    der = other.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidArgument, match="not an elliptic-curve key"):
        self_signed("kms", KeyMaterial(der), SERIAL, START, END)
    root = self_signed("root", key, SERIAL, START, END, authority=True)
    spki = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for public, why in (
        (spki, "not an elliptic-curve key"),
        (b"none", "public key: not a public key"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            issue_certificate("kms", public, SERIAL, START, END, issuer=root, issuer_key=key)
