"""Public areas (TPMT_PUBLIC): the templates of the laboratory's keys, parsing, names.

Every key of the laboratory is one of five: storage root key, endorsement key (ECC or RSA),
attestation key, and the sealed object. All are SHA-256 and, but for the RSA endorsement key,
on curve P-256. Sizes are bytes.
"""

from __future__ import annotations

import hashlib
from enum import IntFlag
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from protocol.tpm.structures import (
    ALG_AES,
    ALG_CFB,
    ALG_ECC,
    ALG_ECDSA,
    ALG_KEYEDHASH,
    ALG_NULL,
    ALG_RSA,
    ALG_RSASSA,
    ALG_SHA256,
    CURVE_P256,
    EkKind,
    PublicArea,
    TpmName,
    TpmReader,
    Truncated,
    tpm2b,
    u16,
    u32,
)

RH_ENDORSEMENT: Final = 0x4000000B
RSA_EXPONENT: Final = 65537
RSA_BITS: Final = 2048


class Attributes(IntFlag):
    """TPMA_OBJECT (TPM 2.0 part 2): the bits that are used here."""

    FIXED_TPM = 1 << 1
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


_BORN_HERE: Final = (
    Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.SENSITIVE_DATA_ORIGIN
)
SRK_ATTRIBUTES: Final = (
    _BORN_HERE
    | Attributes.USER_WITH_AUTH
    | Attributes.NO_DA  # without it a few unclean power cycles end in lockout
    | Attributes.RESTRICTED
    | Attributes.DECRYPT
)
EK_ATTRIBUTES: Final = (
    _BORN_HERE | Attributes.ADMIN_WITH_POLICY | Attributes.RESTRICTED | Attributes.DECRYPT
)
AK_ATTRIBUTES: Final = (
    _BORN_HERE
    | Attributes.USER_WITH_AUTH
    | Attributes.NO_DA
    | Attributes.RESTRICTED
    | Attributes.SIGN
)
SEALED_ATTRIBUTES: Final = Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.NO_DA
"""No userWithAuth: the policy is the only way to the secret."""

EK_POLICY: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
"""PolicySecret(endorsement hierarchy), the policy of the TCG's EK templates."""

_AES_128_CFB: Final = (ALG_AES, 128, ALG_CFB)
_STORAGE: Final = b"".join(u16(part) for part in _AES_128_CFB)
_NULL: Final = u16(ALG_NULL)


class PublicError(ValueError):
    """A public area that is malformed, or not what it must be."""


class EccPoint(msgspec.Struct, frozen=True):
    """A point of P-256: its coordinates in 32 bytes each, or empty in a template."""

    x: bytes
    y: bytes


class Public(msgspec.Struct, frozen=True):
    """A parsed public area. ``unique`` is a point, an RSA modulus, or a digest (sealed)."""

    type: int
    attributes: int
    policy: bytes
    scheme: int
    unique: EccPoint | bytes


def _head(type_: int, attributes: int, policy: bytes) -> bytes:
    return u16(type_) + u16(ALG_SHA256) + u32(attributes) + tpm2b(policy)


def _ecc(attributes: int, policy: bytes, symmetric: bytes, scheme: bytes, at: EccPoint) -> bytes:
    parameters = symmetric + scheme + u16(CURVE_P256) + _NULL
    return _head(ALG_ECC, attributes, policy) + parameters + tpm2b(at.x) + tpm2b(at.y)


_TEMPLATE_POINT: Final = EccPoint(bytes(32), bytes(32))


def srk_public(point: EccPoint = _TEMPLATE_POINT) -> PublicArea:
    """The storage root key; without a point, its template."""
    return PublicArea(_ecc(SRK_ATTRIBUTES, b"", _STORAGE, _NULL, point))


def ek_public(point: EccPoint = _TEMPLATE_POINT) -> PublicArea:
    """The ECC endorsement key (TCG template L-2); without a point, its template."""
    return PublicArea(_ecc(EK_ATTRIBUTES, EK_POLICY, _STORAGE, _NULL, point))


def ek_rsa_public(modulus: bytes = bytes(256)) -> PublicArea:
    """The RSA 2048 endorsement key (TCG template L-1); without a modulus, its template."""
    parameters = _STORAGE + _NULL + u16(2048) + u32(0)
    return PublicArea(_head(ALG_RSA, EK_ATTRIBUTES, EK_POLICY) + parameters + tpm2b(modulus))


def ek_template(kind: EkKind) -> PublicArea:
    """The template from which a TPM makes its endorsement key of this kind."""
    match kind:
        case EkKind.ECC_P256:
            return ek_public()
        case EkKind.RSA_2048:
            return ek_rsa_public()


def ak_public(point: EccPoint | None = None) -> PublicArea:
    """The attestation key: ECDSA P-256 with SHA-256; without a point, its template."""
    scheme = u16(ALG_ECDSA) + u16(ALG_SHA256)
    at = EccPoint(b"", b"") if point is None else point
    return PublicArea(_ecc(AK_ATTRIBUTES, b"", _NULL, scheme, at))


def keyedhash_public(policy: bytes, unique: bytes = b"") -> PublicArea:
    """A sealed object that opens under ``policy`` (32-byte policy digest) only."""
    head = _head(ALG_KEYEDHASH, SEALED_ATTRIBUTES, policy)
    return PublicArea(head + _NULL + tpm2b(unique))


def public_name(public: PublicArea) -> TpmName:
    """Its Name (TPM 2.0 part 1): hash algorithm, then SHA-256 of the public area; 34 bytes."""
    return TpmName(u16(ALG_SHA256) + hashlib.sha256(public.raw).digest())


def qualified_name(name: TpmName, hierarchy: int = RH_ENDORSEMENT) -> TpmName:
    """Qualified name of a primary key: it also tells in which hierarchy the key lies."""
    return TpmName(u16(ALG_SHA256) + hashlib.sha256(u32(hierarchy) + name).digest())


def parse_public(public: PublicArea) -> Public:
    """Parse it; ``PublicError`` for what is malformed or of a kind not used here."""
    reader = TpmReader(public.raw)
    try:
        parsed = _parse(reader)
        reader.end()
    except Truncated as error:
        raise PublicError(f"public area: {error}") from None
    return parsed


def _parse(reader: TpmReader) -> Public:
    type_ = reader.u16()
    if reader.u16() != ALG_SHA256:
        raise PublicError("name algorithm is not SHA-256")
    attributes = reader.u32()
    policy = reader.tpm2b()
    if type_ == ALG_KEYEDHASH:
        scheme = reader.u16()
        if scheme != ALG_NULL:
            raise PublicError("a sealed object has no scheme")
        return Public(type_, attributes, policy, scheme, reader.tpm2b())
    if type_ not in (ALG_ECC, ALG_RSA):
        raise PublicError(f"key type {type_:#x} is not supported")
    symmetric = reader.u16()
    if symmetric != ALG_NULL and (symmetric, reader.u16(), reader.u16()) != _AES_128_CFB:
        raise PublicError("only AES-128-CFB storage keys are supported")
    scheme = reader.u16()
    if scheme not in (ALG_NULL, ALG_ECDSA, ALG_RSASSA):
        raise PublicError(f"scheme {scheme:#x} is not supported")
    if scheme != ALG_NULL and reader.u16() != ALG_SHA256:
        raise PublicError("only SHA-256 signatures are supported")
    if type_ == ALG_RSA:
        if (reader.u16(), reader.u32()) not in ((RSA_BITS, 0), (RSA_BITS, RSA_EXPONENT)):
            raise PublicError("only RSA 2048 with exponent 65537 is supported")
        return Public(type_, attributes, policy, scheme, reader.tpm2b())
    if (reader.u16(), reader.u16()) != (CURVE_P256, ALG_NULL):
        raise PublicError("only curve P-256 without key derivation is supported")
    return Public(type_, attributes, policy, scheme, EccPoint(reader.tpm2b(), reader.tpm2b()))


def public_key(public: PublicArea) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The key as ``cryptography`` has it; ``PublicError`` when it is none (or not on the curve)."""
    parsed = parse_public(public)
    try:
        if isinstance(parsed.unique, EccPoint):
            x, y = (int.from_bytes(part, "big") for part in (parsed.unique.x, parsed.unique.y))
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        if parsed.type == ALG_RSA:
            modulus = int.from_bytes(parsed.unique, "big")
            if len(parsed.unique) * 8 != RSA_BITS or modulus.bit_length() != RSA_BITS:
                raise PublicError(f"public area: its modulus is not one of {RSA_BITS} bits")
            return rsa.RSAPublicNumbers(RSA_EXPONENT, modulus).public_key()
    except ValueError as error:
        raise PublicError(f"public area: {error}") from None
    raise PublicError("a sealed object is no key")


def point_of(key: ec.EllipticCurvePublicKey) -> EccPoint:
    """Coordinates of a key, each padded to 32 bytes."""
    numbers = key.public_numbers()
    return EccPoint(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))


def check_attestation_key(public: PublicArea) -> None:
    """``PublicError`` unless the key can only sign what its TPM made itself.

    fixedTPM: it never leaves the TPM. restricted, sign, not decrypt: it signs no foreign digest.
    """
    needed = Attributes.FIXED_TPM | Attributes.RESTRICTED | Attributes.SIGN
    attributes = parse_public(public).attributes
    if attributes & needed != needed or attributes & Attributes.DECRYPT:
        raise PublicError(f"attributes {attributes:#x} are not those of an attestation key")
