"""Credentials, policies, names and public areas, computed without a TPM.

That a real TPM agrees is asserted by the contract of the devices.
"""

from __future__ import annotations

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from protocol.tpm.credential import (
    CredentialForeign,
    decode_point,
    ecc_seed_of,
    kdf_a,
    make_credential,
    oaep,
    open_credential,
)
from protocol.tpm.public import (
    EK_POLICY,
    EccPoint,
    PublicError,
    ak_public,
    check_attestation_key,
    ek_public,
    ek_rsa_public,
    keyedhash_public,
    parse_public,
    point_of,
    public_key,
    public_name,
    srk_public,
)
from protocol.tpm.quote import pcr_digest, policy_pcr_digest
from protocol.tpm.structures import PcrSelection, PublicArea, TpmName, Truncated

EK = ec.derive_private_key(987654321, ec.SECP256R1())
EK_PUBLIC = ek_public(point_of(EK.public_key()))
NAME = public_name(ak_public(point_of(EK.public_key())))


def ecc_seed(encrypted: bytes) -> bytes:
    point = decode_point(encrypted)
    x, y = (int.from_bytes(part, "big") for part in (point.x, point.y))
    ephemeral = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return ecc_seed_of(EK.exchange(ec.ECDH(), ephemeral), point, point_of(EK.public_key()))


def test_policy_digest_is_that_of_the_specification() -> None:
    selection = PcrSelection((0, 7, 8))
    values = {0: b"a" * 32, 7: b"b" * 32, 8: b"c" * 32}
    digest = hashlib.sha256(b"a" * 32 + b"b" * 32 + b"c" * 32).digest()
    assert pcr_digest(selection, values) == digest
    packed = struct.pack(">IIHB3s", 0x17F, 1, 0x000B, 3, b"\x81\x01\x00")
    assert (
        policy_pcr_digest(selection, values) == hashlib.sha256(bytes(32) + packed + digest).digest()
    )
    assert policy_pcr_digest(selection, {**values, 9: bytes(32)}) == policy_pcr_digest(
        selection, values
    )
    with pytest.raises(KeyError):
        policy_pcr_digest(selection, {0: b"a" * 32})


def test_ek_policy_is_policy_secret_of_the_endorsement_hierarchy() -> None:
    """Recomputed from the specification: PolicyUpdate(CC_PolicySecret, handle name, empty ref)."""
    first = hashlib.sha256(bytes(32) + struct.pack(">II", 0x151, 0x4000000B)).digest()
    assert hashlib.sha256(first).digest() == EK_POLICY


@pytest.mark.parametrize("secret", [b"x", b"0123456789abcdef", bytes(32)])
def test_ecc_credential_opens_for_its_name_only(secret: bytes) -> None:
    made = make_credential(EK_PUBLIC, secret, NAME)
    seed = ecc_seed(made.encrypted_seed)
    assert open_credential(seed, made.id_object, NAME) == secret
    assert len(made.encrypted_seed) == 68
    for call in (
        (seed, made.id_object, TpmName(NAME[:-1] + b"\0")),
        (bytes(32), made.id_object, NAME),
        (seed, made.id_object[:-1] + b"\0\0", NAME),
        (seed, b"", NAME),
        (seed, b"\0\x20abc", NAME),
    ):
        with pytest.raises(CredentialForeign):
            open_credential(*call)


def test_secret_is_not_in_the_credential() -> None:
    secret = b"0123456789abcdef"
    made = make_credential(EK_PUBLIC, secret, NAME)
    again = make_credential(EK_PUBLIC, secret, NAME)
    assert secret[:8] not in made.id_object + made.encrypted_seed
    assert made != again


def test_rsa_credential() -> None:
    key = rsa.generate_private_key(65537, 2048)
    area = ek_rsa_public(key.public_key().public_numbers().n.to_bytes(256, "big"))
    made = make_credential(area, b"token", NAME)
    seed = key.decrypt(made.encrypted_seed, oaep())
    assert len(seed) == 32
    assert open_credential(seed, made.id_object, NAME) == b"token"


def test_impossible_credentials() -> None:
    for secret in (b"", bytes(33)):
        with pytest.raises(ValueError):
            make_credential(EK_PUBLIC, secret, NAME)
    for area in (ek_public(), keyedhash_public(bytes(32)), PublicArea(b"junk")):
        with pytest.raises(PublicError):
            make_credential(area, b"x", NAME)


def test_kdf_a_cuts_to_the_bits_asked_for() -> None:
    long, short = (kdf_a(b"k" * 32, b"STORAGE", NAME, bits) for bits in (256, 128))
    assert (len(long), len(short)) == (32, 16)
    assert long[:16] != short  # the number of bits is part of what is hashed


@pytest.mark.parametrize(
    "area",
    [
        srk_public(),
        ek_public(),
        ak_public(),
        ek_rsa_public(),
        keyedhash_public(b"p" * 32, b"u" * 32),
    ],
)
def test_public_areas_are_parsed_whole_or_not_at_all(area: PublicArea) -> None:
    parse_public(area)
    for length in range(len(area.raw)):
        with pytest.raises(PublicError):
            parse_public(PublicArea(area.raw[:length]))
    with pytest.raises(PublicError):
        parse_public(PublicArea(area.raw + b"\0"))


def test_sealed_object_cannot_be_opened_by_an_empty_password() -> None:
    parsed = parse_public(keyedhash_public(b"p" * 32))
    assert parsed.policy == b"p" * 32
    assert not parsed.attributes & 1 << 6  # userWithAuth


def test_root_key_and_sealed_objects_are_exempt_from_lockout() -> None:
    for area in (srk_public(), keyedhash_public(bytes(32)), ak_public()):
        assert parse_public(area).attributes & 1 << 10  # noDA


def test_name_depends_on_every_byte() -> None:
    area = srk_public(point_of(EK.public_key()))
    assert public_name(area)[:2] == b"\x00\x0b"
    assert len(public_name(area)) == 34
    assert public_name(PublicArea(area.raw[:-1] + b"\0")) != public_name(area)


def test_keys_come_out_as_they_went_in() -> None:
    assert public_key(EK_PUBLIC) == EK.public_key()
    check_attestation_key(ak_public(point_of(EK.public_key())))
    for area in (EK_PUBLIC, srk_public(), keyedhash_public(bytes(32))):
        with pytest.raises(PublicError):
            check_attestation_key(area)
    with pytest.raises(Truncated):
        decode_point(b"\0\x01a\0\x01b!")
    assert decode_point(b"\0\x01a\0\x01b") == EccPoint(b"a", b"b")
