"""What every backend refuses before it calls its TPM: sizes and numbers that no TPM accepts."""

from __future__ import annotations

from typing import Final

from protocol.tpm.credential import decode_point
from protocol.tpm.errors import tpm_error
from protocol.tpm.public import PublicError, parse_public
from protocol.tpm.structures import DIGEST_SIZE, EkKind, PublicArea, SealedBlob
from protocol.tpm.wire import ALG_KEYEDHASH, Truncated

RC_SIZE_1: Final = 0x1D5
RC_SIZE_2: Final = 0x2D5
SECRET_LIMIT: Final = 128
NONCE_LIMIT: Final = 64
NV_LIMIT: Final = 2048
NV_INDICES: Final = range(0x01800000, 0x01C00000)
"""The owner's NV indices."""
_PRIVATE_SIZES: Final = range(50, 513)
_ID_OBJECT_SIZES: Final = range(35, 133)
_RSA_SEED: Final = 256


def check_blob(blob: SealedBlob) -> bytes:
    """The policy digest of a blob; ``TpmError`` SIZE for a blob that cannot be sent to a TPM."""
    if len(blob.private) not in _PRIVATE_SIZES:
        raise tpm_error(RC_SIZE_1)
    try:
        public = parse_public(PublicArea(blob.public))
    except PublicError:
        raise tpm_error(RC_SIZE_2) from None
    if public.type != ALG_KEYEDHASH:
        raise tpm_error(RC_SIZE_2)
    return public.policy


def check_credential(id_object: bytes, encrypted_seed: bytes) -> EkKind:
    """The kind of endorsement key that a credential was made for; ``TpmError`` SIZE for none."""
    if len(id_object) not in _ID_OBJECT_SIZES:
        raise tpm_error(RC_SIZE_1)
    if len(encrypted_seed) == _RSA_SEED:
        return EkKind.RSA_2048
    try:
        decode_point(encrypted_seed)
    except Truncated:
        raise tpm_error(RC_SIZE_2) from None
    return EkKind.ECC_P256


def check_seal(secret: bytes, policy: bytes) -> None:
    """``ValueError`` for a secret or policy that no TPM would seal, or could unseal."""
    if not 0 < len(secret) <= SECRET_LIMIT:
        raise ValueError(f"a TPM seals 1..{SECRET_LIMIT} bytes, not {len(secret)}")
    if len(policy) != DIGEST_SIZE:
        raise ValueError(f"a policy digest has {DIGEST_SIZE} bytes, not {len(policy)}")


def check_nonce(nonce: bytes) -> None:
    """``ValueError`` for a nonce that is longer than a quote takes."""
    if len(nonce) > NONCE_LIMIT:
        raise ValueError(f"a nonce has at most {NONCE_LIMIT} bytes, not {len(nonce)}")


def check_index(index: int, size: int = 1) -> None:
    """``ValueError`` for an NV index or size that is not the owner's to define."""
    if index not in NV_INDICES:
        raise ValueError(f"NV index {index:#x} is not in the owner's range")
    if not 0 < size <= NV_LIMIT:
        raise ValueError(f"an NV index holds 1..{NV_LIMIT} bytes, not {size}")
