"""Make a credential that only one TPM can activate (TPM 2.0 part 1, annexes B and C).

A verifier makes it for an endorsement key and the name of an attestation key; only the TPM
that holds both gives the secret back. ``open_credential`` is the TPM's half after the seed is
known; the TPM model uses it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from protocol.tpm.public import EccPoint, PublicError, point_of, public_key
from protocol.tpm.structures import (
    PublicArea,
    TpmCredential,
    TpmName,
    TpmReader,
    Truncated,
    tpm2b,
    u32,
)

_LABEL: Final = b"IDENTITY\0"
SECRET_LIMIT: Final = 32


class CredentialForeign(ValueError):
    """The credential was made for another key or name, or was altered."""


def kdf_a(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa (TPM 2.0 part 1, key derivation) with SHA-256: one block of HMAC in counter mode.

    ``bits`` of the result, 256 at most.
    """
    data = u32(1) + label + b"\0" + context + u32(bits)
    return hmac.digest(key, data, "sha256")[: bits // 8]


def kdf_e(shared: bytes, party_u: bytes, party_v: bytes) -> bytes:
    """KDFe (TPM 2.0 part 1, key derivation) with SHA-256 and the label IDENTITY: a 32-byte seed.

    ``shared`` is the x coordinate of the ECDH point; the parties are given by theirs.
    """
    return hashlib.sha256(u32(1) + shared + _LABEL + party_u + party_v).digest()


def make_credential(ek: PublicArea, secret: bytes, ak_name: TpmName) -> TpmCredential:
    """``secret`` (1..32 bytes) for the TPM that holds ``ek`` and a key named ``ak_name``.

    ``PublicError`` when ``ek`` is no key, or one that encrypts nothing; ``ValueError`` when the
    secret is empty or too long.
    """
    if not 1 <= len(secret) <= SECRET_LIMIT:
        raise ValueError(f"a credential holds 1..{SECRET_LIMIT} bytes, not {len(secret)}")
    key = public_key(ek)
    if isinstance(key, ec.EllipticCurvePublicKey):
        seed, encrypted = _ecc_seed(key)
    else:
        seed, encrypted = _rsa_seed(key)
    identity = _cfb(_storage_key(seed, ak_name)).encryptor().update(tpm2b(secret))
    return TpmCredential(tpm2b(_integrity(seed, identity, ak_name)) + identity, encrypted)


def open_credential(seed: bytes, id_object: bytes, name: TpmName) -> bytes:
    """The secret, given the seed and the name of the key to activate.

    ``CredentialForeign`` when the integrity check fails.
    """
    reader = TpmReader(id_object)
    try:
        mac, identity = reader.tpm2b(), reader.rest()
    except Truncated as error:
        raise CredentialForeign(str(error)) from None
    if not hmac.compare_digest(mac, _integrity(seed, identity, name)):
        raise CredentialForeign("integrity check failed")
    clear = TpmReader(_cfb(_storage_key(seed, name)).decryptor().update(identity))
    return clear.tpm2b()


def ecc_seed_of(shared: bytes, ephemeral: EccPoint, ek: EccPoint) -> bytes:
    """The seed from the shared x coordinate and the two parties' points."""
    return kdf_e(shared, ephemeral.x, ek.x)


def encode_point(point: EccPoint) -> bytes:
    """``point`` as a TPMS_ECC_POINT (TPM 2.0 part 2)."""
    return tpm2b(point.x) + tpm2b(point.y)


def decode_point(data: bytes) -> EccPoint:
    """A TPMS_ECC_POINT; ``Truncated`` when it is not exactly one."""
    reader = TpmReader(data)
    point = EccPoint(reader.tpm2b(), reader.tpm2b())
    reader.end()
    return point


def oaep() -> padding.OAEP:
    """The padding of an RSA seed: OAEP with SHA-256 and the label IDENTITY."""
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), _LABEL)


def _ecc_seed(key: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    point = point_of(ephemeral.public_key())
    seed = ecc_seed_of(ephemeral.exchange(ec.ECDH(), key), point, point_of(key))
    return seed, encode_point(point)


def _rsa_seed(key: rsa.RSAPublicKey) -> tuple[bytes, bytes]:
    seed = AESGCM.generate_key(256)  # 32 random bytes, from where all keys come
    try:
        return seed, key.encrypt(seed, oaep())
    except ValueError:  # an even modulus, say
        raise PublicError("public area: its modulus is none of a key") from None


def _storage_key(seed: bytes, name: TpmName) -> bytes:
    return kdf_a(seed, b"STORAGE", name, 128)


def _integrity(seed: bytes, identity: bytes, name: TpmName) -> bytes:
    key = kdf_a(seed, b"INTEGRITY", b"", 256)
    return hmac.digest(key, identity + name, "sha256")


def _cfb(key: bytes) -> Cipher[CFB]:
    return Cipher(AES(key), CFB(bytes(16)))
