"""Where a TPM's permanent state is kept: outside the host's disk, under the lab's control.

An image is a short header (backend, digest of the endorsement key, check sum) and the backend's own
state. A damaged image is not refused here: its TPM fails at power-on (0x101), like one with a
worn-out NV, and must be replaced.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

import msgspec

from protocol.messages.agent import TpmBackend

_MAGIC: Final = b"KSTPM2"
_TAGS: Final = {TpmBackend.LIBTPMS: b"L", TpmBackend.MODEL: b"M"}
_DIGEST: Final = 32
_EK_AT: Final = len(_MAGIC) + 1
_CHECK_AT: Final = _EK_AT + _DIGEST
_HEAD: Final = _CHECK_AT + _DIGEST


class NvStore(Protocol):
    """Keeps one image. ``store`` returns when it is durable; ``OSError`` makes the TPM fail."""

    def load(self) -> bytes:
        """The image last stored; empty when there is none (a TPM is then manufactured)."""
        ...

    def store(self, image: bytes) -> None:
        """Store ``image`` in place of the last one; durable on return."""
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
    """The image was made by another backend, or is not an image of a TPM."""


class NoImage(ForeignImage):
    """The bytes are not an image of a TPM."""


class NvImage(msgspec.Struct, frozen=True):
    """``ek`` is the SHA-256 (raw, 32 bytes) of the ECC endorsement key's public area. ``whole`` is
    False for a damaged image."""

    ek: bytes
    state: bytes
    whole: bool = True

    def pack(self, backend: TpmBackend) -> bytes:
        """The image as bytes that name its backend; ``unpack`` reads them."""
        check = _checksum(backend, self.ek, self.state) if self.whole else bytes(_DIGEST)
        return _MAGIC + _TAGS[backend] + self.ek + check + self.state


def unpack_image(image: bytes, backend: TpmBackend) -> NvImage:
    """The content of a packed image, damaged or not. ``ForeignImage`` for an image of another
    backend, ``NoImage`` when it is none."""
    if image[: len(_MAGIC)] != _MAGIC or len(image) < _HEAD:
        raise NoImage("this is not an image of a TPM's NV")
    ek, check, state = image[_EK_AT:_CHECK_AT], image[_CHECK_AT:_HEAD], image[_HEAD:]
    for other in _TAGS:
        if other is not backend and check == _checksum(other, ek, state):
            raise ForeignImage(f"this NV image was not made by backend {backend.value}")
    tagged = image[len(_MAGIC) : _EK_AT] == _TAGS[backend]
    return NvImage(ek, state, whole=tagged and check == _checksum(backend, ek, state))


def _checksum(backend: TpmBackend, ek: bytes, state: bytes) -> bytes:
    return hashlib.sha256(_TAGS[backend] + ek + state).digest()
