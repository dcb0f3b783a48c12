"""Packing of TPM 2.0 structures: big-endian integers and sized buffers (TPM2B).

``TpmReader`` refuses to read past the end and can insist on having read everything, so that
nothing that somebody appended is ever taken for part of a structure.
"""

from __future__ import annotations

from collections.abc import Sequence

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
