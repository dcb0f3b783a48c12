"""The one error of everything that concerns a TPM, and what return codes mean (TPM 2.0 part 2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class TpmErrorKind(StrEnum):
    """What a caller can decide on; the return code says the details."""

    POLICY = "policy"
    """The policy does not hold: other PCR values than at sealing, or no policy shown."""
    INTEGRITY = "integrity"
    """The blob or credential is not of this TPM (cleared, swapped) or was altered."""
    HANDLE = "handle"
    """The object is not in the TPM: no storage root key (cleared or swapped TPM)."""
    LOCKOUT = "lockout"
    """Dictionary attack protection refuses authorizations."""
    FAILURE = "failure"
    """The TPM is in failure mode; only a power cycle may help."""
    RETRY = "retry"
    """Nothing wrong: do the operation again from the start."""
    GONE = "gone"
    """No TPM answers: powered off, killed or removed."""
    OTHER = "other"


RC_INITIALIZE: Final = 0x100
RC_FAILURE: Final = 0x101
RC_NV_RANGE: Final = 0x146
RC_NV_SPACE: Final = 0x14B
RC_LOCALITY: Final = 0x907
"""A PCR of a dynamic launch (17..22) is not the boot's to extend."""
RC_LOCKOUT: Final = 0x921
RC_IO_ERROR: Final = 0xA000A
RC_ATTRIBUTES_H1: Final = 0x182
"""TPM_RC_ATTRIBUTES of handle 1: it is no key that others can be under."""
RC_HANDLE_1: Final = 0x18B
"""TPM_RC_HANDLE of handle 1: the storage root key is not there."""
RC_POLICY_FAIL_S1: Final = 0x99D
"""TPM_RC_POLICY_FAIL of session 1: PCR values differ from the sealed ones."""
RC_INTEGRITY_1: Final = 0x1DF
"""TPM_RC_INTEGRITY of parameter 1: a blob or credential that is not ours, or altered."""

_FORMAT_1: Final = 0x080
_PARAMETER: Final = 0x040
_LAYER: Final = 0xFFFF0000

_NAMES_1: Final[dict[int, str]] = {
    0x81: "TPM_RC_ASYMMETRIC",
    0x82: "TPM_RC_ATTRIBUTES",
    0x83: "TPM_RC_HASH",
    0x84: "TPM_RC_VALUE",
    0x85: "TPM_RC_HIERARCHY",
    0x87: "TPM_RC_KEY_SIZE",
    0x8A: "TPM_RC_TYPE",
    0x8B: "TPM_RC_HANDLE",
    0x8E: "TPM_RC_AUTH_FAIL",
    0x8F: "TPM_RC_NONCE",
    0x90: "TPM_RC_PP",
    0x92: "TPM_RC_SCHEME",
    0x95: "TPM_RC_SIZE",
    0x96: "TPM_RC_SYMMETRIC",
    0x97: "TPM_RC_TAG",
    0x98: "TPM_RC_SELECTOR",
    0x9A: "TPM_RC_INSUFFICIENT",
    0x9B: "TPM_RC_SIGNATURE",
    0x9C: "TPM_RC_KEY",
    0x9D: "TPM_RC_POLICY_FAIL",
    0x9F: "TPM_RC_INTEGRITY",
    0xA0: "TPM_RC_TICKET",
    0xA1: "TPM_RC_RESERVED_BITS",
    0xA2: "TPM_RC_BAD_AUTH",
    0xA3: "TPM_RC_EXPIRED",
    0xA4: "TPM_RC_POLICY_CC",
    0xA5: "TPM_RC_BINDING",
    0xA7: "TPM_RC_ECC_POINT",
}
_NAMES_0: Final[dict[int, str]] = {
    0x100: "TPM_RC_INITIALIZE",
    0x101: "TPM_RC_FAILURE",
    0x103: "TPM_RC_SEQUENCE",
    0x120: "TPM_RC_DISABLED",
    0x121: "TPM_RC_EXCLUSIVE",
    0x124: "TPM_RC_AUTH_TYPE",
    0x125: "TPM_RC_AUTH_MISSING",
    0x126: "TPM_RC_POLICY",
    0x127: "TPM_RC_PCR",
    0x128: "TPM_RC_PCR_CHANGED",
    0x12E: "TPM_RC_TOO_MANY_CONTEXTS",
    0x12F: "TPM_RC_AUTH_UNAVAILABLE",
    0x130: "TPM_RC_REBOOT",
    0x142: "TPM_RC_COMMAND_SIZE",
    0x143: "TPM_RC_COMMAND_CODE",
    0x146: "TPM_RC_NV_RANGE",
    0x147: "TPM_RC_NV_SIZE",
    0x148: "TPM_RC_NV_LOCKED",
    0x149: "TPM_RC_NV_AUTHORIZATION",
    0x14A: "TPM_RC_NV_UNINITIALIZED",
    0x14B: "TPM_RC_NV_SPACE",
    0x14C: "TPM_RC_NV_DEFINED",
    0x902: "TPM_RC_OBJECT_MEMORY",
    0x903: "TPM_RC_SESSION_MEMORY",
    0x907: "TPM_RC_LOCALITY",
    0x908: "TPM_RC_YIELDED",
    0x909: "TPM_RC_CANCELED",
    0x90A: "TPM_RC_TESTING",
    0x910: "TPM_RC_REFERENCE_H0",
    0x911: "TPM_RC_REFERENCE_H1",
    0x912: "TPM_RC_REFERENCE_H2",
    0x920: "TPM_RC_NV_RATE",
    0x921: "TPM_RC_LOCKOUT",
    0x922: "TPM_RC_RETRY",
    0x923: "TPM_RC_NV_UNAVAILABLE",
}
_KINDS: Final[dict[int, TpmErrorKind]] = {
    0x9D: TpmErrorKind.POLICY,
    0x126: TpmErrorKind.POLICY,
    0x12F: TpmErrorKind.POLICY,
    0x9F: TpmErrorKind.INTEGRITY,
    0x8B: TpmErrorKind.HANDLE,
    0x910: TpmErrorKind.HANDLE,
    0x911: TpmErrorKind.HANDLE,
    0x912: TpmErrorKind.HANDLE,
    0x921: TpmErrorKind.LOCKOUT,
    0x101: TpmErrorKind.FAILURE,
    0x128: TpmErrorKind.RETRY,
    0x908: TpmErrorKind.RETRY,
    0x909: TpmErrorKind.RETRY,
    0x90A: TpmErrorKind.RETRY,
    0x920: TpmErrorKind.RETRY,
    0x922: TpmErrorKind.RETRY,
    0x923: TpmErrorKind.RETRY,
}


class TpmError(Exception):
    """A TPM (or the road to it) refused.

    ``rc`` is the TPM 2.0 return code as received, or a TSS layer code (above 0xFFFF); ``name``
    its name with the position it blames, such as ``TPM_RC_INTEGRITY (parameter 1)``.
    """

    def __init__(self, rc: int, name: str, kind: TpmErrorKind) -> None:
        super().__init__(f"{name} [{rc:#x}]")
        self.rc: Final = rc
        self.name: Final = name
        self.kind: Final = kind

    def __reduce__(self) -> tuple[type[TpmError], tuple[int, str, TpmErrorKind]]:
        return (TpmError, (self.rc, self.name, self.kind))


def tpm_error(rc: int) -> TpmError:
    """The error for a return code, with its name and kind looked up."""
    if rc & _LAYER:
        return TpmError(rc, f"TSS2_RC layer {rc >> 16:#x}", TpmErrorKind.GONE)
    if not rc & _FORMAT_1:
        kind = _KINDS.get(rc, TpmErrorKind.OTHER)
        return TpmError(rc, _NAMES_0.get(rc, "TPM_RC"), kind)
    base = rc & 0xBF
    number = rc >> 8 & 0xF
    if rc & _PARAMETER:
        place = f"parameter {number}"
    elif number & 8:
        place = f"session {number & 7}"
    else:
        place = f"handle {number}"
    name = f"{_NAMES_1.get(base, 'TPM_RC')} ({place})"
    return TpmError(rc, name, _KINDS.get(base, TpmErrorKind.OTHER))


def tpm_gone(why: str) -> TpmError:
    """The error of a TPM that does not answer; ``why`` in a few words, such as ``powered off``."""
    return TpmError(RC_IO_ERROR, f"TPM is gone: {why}", TpmErrorKind.GONE)
