"""Values that cross the Tpm port, frozen and without behaviour that needs a TPM, and the packing of
TPM 2.0 structures: big-endian integers and sized buffers (TPM2B). A reader refuses to read past
the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Final, NewType

import msgspec

ALG_RSA = 0x0001
ALG_AES = 0x0006
ALG_KEYEDHASH = 0x0008
ALG_SHA256 = 0x000B
ALG_NULL = 0x0010
ALG_RSASSA = 0x0014
ALG_ECDSA = 0x0018
ALG_ECC = 0x0023
ALG_CFB = 0x0043
CURVE_P256 = 0x0003


class Truncated(ValueError):
    """A structure ends too early, or bytes are left after its end."""


def u16(value: int) -> bytes:
    """``value`` in two bytes, big-endian; ``OverflowError`` when it does not fit."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """``value`` in four bytes, big-endian; ``OverflowError`` when it does not fit."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """``value`` in eight bytes, big-endian; ``OverflowError`` when it does not fit."""
    return value.to_bytes(8, "big")


def tpm2b(data: bytes) -> bytes:
    """``data`` as a TPM2B (TPM 2.0 part 2): its length in two bytes, then itself."""
    return u16(len(data)) + data


def pcr_select(pcrs: Sequence[int]) -> bytes:
    """TPML_PCR_SELECTION of one SHA-256 entry with these PCR indices (0..23)."""
    bits = sum(1 << pcr for pcr in pcrs)
    return u32(1) + u16(ALG_SHA256) + b"\x03" + bits.to_bytes(3, "little")


class TpmReader:
    """Reads a structure from the front; ``Truncated`` when it ends too early."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; ``Truncated`` when there are not as many."""
        end = self._at + size
        if end > len(self._data):
            raise Truncated(f"{size} bytes wanted at {self._at}, {len(self._data)} in all")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def u8(self) -> int:
        """The next byte as a number; ``Truncated`` at the end."""
        return self.take(1)[0]

    def u16(self) -> int:
        """The next two bytes as a number; ``Truncated`` at the end."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """The next four bytes as a number; ``Truncated`` at the end."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """The next eight bytes as a number; ``Truncated`` at the end."""
        return int.from_bytes(self.take(8), "big")

    def tpm2b(self) -> bytes:
        """The data of a TPM2B."""
        return self.take(self.u16())

    def rest(self) -> bytes:
        """All bytes that are left, maybe none."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Raise ``Truncated`` if something is left."""
        if self._at != len(self._data):
            raise Truncated(f"{len(self._data) - self._at} bytes are left over")


TpmName = NewType("TpmName", bytes)
"""Name of a TPM object: two bytes hash algorithm, then the digest of its public area (34 B)."""

PCR_COUNT: Final = 24
DIGEST_SIZE: Final = 32
"""SHA-256, the only bank of the laboratory."""


class EkKind(StrEnum):
    """Endorsement key templates of the TCG EK profile; ECC is the fast one (RSA 20-150 ms)."""

    ECC_P256 = "ecc-p256"
    RSA_2048 = "rsa-2048"


class EventType(IntEnum):
    """Event types of the TCG PC client platform firmware profile that the laboratory uses."""

    NO_ACTION = 0x00000003
    SEPARATOR = 0x00000004
    S_CRTM_VERSION = 0x00000008
    IPL = 0x0000000D
    EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EFI_ACTION = 0x80000007
    EFI_VARIABLE_AUTHORITY = 0x800000E0


class PcrSelection(msgspec.Struct, frozen=True):
    """PCR indices 0..23 of the SHA-256 bank, ascending, without repetition."""

    pcrs: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.pcrs or list(self.pcrs) != sorted(set(self.pcrs)):
            raise ValueError(f"PCR indices must ascend without repetition: {self.pcrs}")
        if not (self.pcrs[0] >= 0 and self.pcrs[-1] < PCR_COUNT):
            raise ValueError(f"PCR indices lie in 0..{PCR_COUNT - 1}: {self.pcrs}")

    @classmethod
    def of(cls, pcrs: Iterable[int]) -> PcrSelection:
        """The selection of these indices, in whatever order they come."""
        return cls(tuple(sorted(set(pcrs))))


PCR_SECURE_BOOT: Final = PcrSelection((7,))
"""Default sealing selection: PCR 7, the state of Secure Boot."""
PCR_QUOTED: Final = PcrSelection((0, 1, 2, 3, 4, 5, 6, 7))
"""What an attestation quotes: the firmware and boot PCRs (eight fit in one PCR_Read)."""
PCR_ATTESTED: Final = PcrSelection((0, 1, 4, 7, 8, 9, 13))
"""What vCenter has quoted: firmware, loader, Secure Boot, and what the kernel's boot measures."""


class SealedBlob(msgspec.Struct, frozen=True):
    """A sealed object as kept on the host's disk: contents of TPM2B_PRIVATE and TPM2B_PUBLIC.

    The private part is encrypted and authenticated under the TPM's storage root key; without
    that very TPM, and the PCR values of the policy, it is only bytes.
    """

    private: bytes
    public: bytes


class PublicArea(msgspec.Struct, frozen=True):
    """A marshalled TPMT_PUBLIC (big-endian, without the size prefix of TPM2B_PUBLIC)."""

    raw: bytes


class Quote(msgspec.Struct, frozen=True):
    """Signed PCR state: TPMS_ATTEST, TPMT_SIGNATURE and the values the digest is over.

    ``pcr_values`` has one 32-byte digest per index of ``selection``, in that order.
    """

    attest: bytes
    signature: bytes
    selection: PcrSelection
    pcr_values: tuple[bytes, ...]


class TpmCredential(msgspec.Struct, frozen=True):
    """What make-credential yields: contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET."""

    id_object: bytes
    encrypted_seed: bytes


class MeasuredEvent(msgspec.Struct, frozen=True):
    """One measurement: PCR, type, event body, and the SHA-256 digest that is extended.

    An empty ``digest`` means the digest of the body itself. It is given where the thing
    measured is not the body: an image (``EFI_BOOT_SERVICES_APPLICATION``) or a command line.
    """

    pcr: int
    type: EventType
    body: bytes
    digest: bytes = b""

    def __post_init__(self) -> None:
        if not 0 <= self.pcr < PCR_COUNT:
            raise ValueError(f"PCR index outside 0..{PCR_COUNT - 1}: {self.pcr}")
        if self.digest and len(self.digest) != DIGEST_SIZE:
            raise ValueError(f"digest of {len(self.digest)} bytes, wanted {DIGEST_SIZE}")


class TpmInfo(msgspec.Struct, frozen=True):
    """State of a TPM as it tells itself.

    ``reset_count`` counts power cycles since the last clear, ``restart_count`` resumes since the
    last reset, ``clock`` is in ms of powered time. They are None in failure mode, when a TPM
    answers nothing but its failure. ``safe`` is False after a cycle without TPM2_Shutdown.
    ``lockout_counter`` of ``max_tries`` failed authorizations; ``lockout`` refuses more.
    """

    backend: str
    failed: bool
    reset_count: int | None = None
    restart_count: int | None = None
    clock: int | None = None
    safe: bool = False
    lockout_counter: int = 0
    max_tries: int = 0
    lockout: bool = False
