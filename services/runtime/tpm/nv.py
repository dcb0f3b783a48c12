"""Where a TPM's permanent state lives: outside the host's disk, in the lab's hands.

An image is a short head (backend, digest of the endorsement key) and the backend's own state.
A damaged state is not refused here: the TPM itself finds it at power-on and fails (0x101).
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from protocol.messages.agent import TpmBackend

_MAGIC: Final = b"KSTPM1"
_TAGS: Final = {TpmBackend.LIBTPMS: b"L", TpmBackend.MODEL: b"M"}
_DIGEST: Final = 32
_HEAD: Final = len(_MAGIC) + 1 + _DIGEST


class NvStore(Protocol):
    """Keeps one image. ``store`` returns when it is durable; ``OSError`` makes the TPM fail."""

    def load(self) -> bytes:
        """The image last stored; empty when there is none (a TPM is then manufactured)."""
        ...

    def store(self, image: bytes) -> None:
        """Keep ``image`` in place of the last one; durable on return."""
        ...


class MemoryNv(NvStore):
    """An image in memory: for the simulation and tests."""

    def __init__(self, image: bytes = b"") -> None:
        self._image = image

    def load(self) -> bytes:
        return self._image

    def store(self, image: bytes) -> None:
        self._image = image


class ForeignImage(ValueError):
    """The image was made by another backend, or is no TPM image at all."""


class NvImage(msgspec.Struct, frozen=True):
    """``ek`` is the SHA-256 (raw, 32 bytes) of the ECC endorsement key's public area."""

    ek: bytes
    state: bytes

    def pack(self, backend: TpmBackend) -> bytes:
        """The image as one string of bytes that names its backend; ``unpack`` reads it."""
        return _MAGIC + _TAGS[backend] + self.ek + self.state


def unpack(image: bytes, backend: TpmBackend) -> NvImage:
    """What a packed image holds; ``ForeignImage`` when it is not one of this backend's."""
    if image[: len(_MAGIC)] != _MAGIC or len(image) < _HEAD:
        raise ForeignImage("this is no image of a TPM's NV")
    if image[len(_MAGIC) : len(_MAGIC) + 1] != _TAGS[backend]:
        raise ForeignImage(f"this NV image was not made by backend {backend.value}")
    return NvImage(image[_HEAD - _DIGEST : _HEAD], image[_HEAD:])
