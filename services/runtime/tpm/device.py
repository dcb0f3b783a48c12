"""The TPM as a device of the lab: it outlives the lives of its host, and the lab commands it.

Its permanent state is kept outside of the host's disk, under the lab's control.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from protocol.messages.agent import TpmBackend
from protocol.tpm.structures import (
    EkKind,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
    SealedBlob,
    TpmInfo,
    TpmName,
)

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


AnswerDelay = Callable[[str], float]
"""Name of a port method -> lab seconds by which the answer comes later."""


class TpmDevice(Protocol):
    """A TPM 2.0. Refusals are ``TpmError`` with the TPM's own return code.

    On a TPM without power all calls but ``power_on`` and the lab's commands raise ``gone``.
    """

    @property
    def backend(self) -> TpmBackend:
        """The backend that implements this TPM."""
        ...

    @property
    def powered(self) -> bool:
        """Whether it has power."""
        ...

    def exclusive(self) -> AbstractContextManager[object]:
        """Hold the TPM over several calls (re-entrant). Every call of a host's life checks, while
        it holds the TPM, whether the life goes on. So a caller that ends the life, and cuts the
        power while it holds the TPM, can be sure that no call of that life runs later."""
        ...

    # The host's half: called by the Tpm port.

    def power_on(self) -> None:
        """Power on, with TPM2_Startup(CLEAR). 0x100 when the TPM has power: cut it first, or the
        PCRs would stay. 0x101 when its NV is damaged or cannot be written; it then has power, and
        failed."""
        ...

    def power_off(self, orderly: bool) -> None:
        """Power off, after TPM2_Shutdown(CLEAR) if ``orderly``. No change when it is off. A TPM
        that refuses Shutdown just loses power: its next start counts as unsafe (``safe``)."""
        ...

    def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        """Extend every event (but NO_ACTION) and return the TCG2 log of exactly these.
        0x907 at an event for a PCR of a dynamic launch (17..22); those before it are in."""
        ...

    def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        """The SHA-256 values of the PCRs in ``selection``, by number."""
        ...

    def ensure_srk(self) -> TpmName:
        """Create and persist the storage root key if it is not there; its name."""
        ...

    def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        """Seal 1..128 bytes under a policy digest (32 bytes). 0x18B without a root key."""
        ...

    def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        """The secret in ``blob``. 0x18B without a root key, 0x1DF when the blob is of another root
        key or altered, 0x99D when the PCRs differ from the policy, 0x1D5 or 0x2D5 when its private
        or public part is malformed."""
        ...

    def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        """The endorsement key of this kind. The certificate is None: the port adds the maker's."""
        ...

    def ak(self) -> tuple[PublicArea, TpmName]:
        """The attestation key, a primary of the endorsement hierarchy: same after a clear."""
        ...

    def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        """The secret of a credential made for this endorsement key and attestation key; 0x1DF when
        it was made for others, 0x1D5 or 0x2D5 when it is malformed."""
        ...

    def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        """Signed PCR values; ``nonce`` has at most 64 bytes."""
        ...

    def counter(self, index: int, bump: bool = False) -> int:
        """The value of an NV counter. ``bump`` increments it first, and defines it if needed. 0x18B
        when it is not defined; 0x282 to increment an index that is no counter."""
        ...

    def nv_read(self, index: int) -> bytes:
        """The whole content of an NV index. 0x18B when it is not defined, 0x14A when it was never
        written."""
        ...

    def nv_write(self, index: int, data: bytes) -> None:
        """Define the index (0x01800000..0x01BFFFFF) with exactly this content, 1..2,048 bytes.
        0x14B when NV is full, 0x82 when the index is a counter. An index of another size is
        undefined and defined anew: if power is lost in between, it does not exist."""
        ...

    def info(self) -> TpmInfo:
        """Counters and lockout state; in failure mode only ``failed``."""
        ...

    # The lab's half: no service has it. Works with and without power.

    def ek_digest(self) -> str:
        """SHA-256 (hex) of the ECC endorsement key's public area, which identifies the TPM."""
        ...

    def srk_name(self) -> TpmName | None:
        """The name of the present storage root key; None when there is none. Another root key
        cannot unseal what was sealed under this one."""
        ...

    def snapshot(self) -> bytes:
        """The NV image as it is now."""
        ...

    def restore(self, image: bytes) -> None:
        """Cut the power and put an NV image back; the TPM does not notice that it is old.
        ``ForeignImage`` for an image of another backend."""
        ...

    def resume(self, image: bytes, memory: bytes) -> None:
        """Cut the power and continue as another TPM, from the NV image and memory that ``suspend``
        returned, here or elsewhere. Without ``memory`` the TPM has no power. ``ForeignImage`` for
        an image of another backend."""
        ...

    def suspend(self) -> tuple[bytes, bytes]:
        """Cut the power and return the NV image and the memory (empty without power), for
        ``resume``."""
        ...

    def swap(self) -> None:
        """Cut the power and replace the TPM by a newly made one."""
        ...

    def clear(self) -> None:
        """TPM2_Clear, as the firmware set-up runs it. A TPM without power gets power for it. Root
        key, owner's NV and counters are removed; endorsement keys stay."""
        ...

    def occupy(self) -> None:
        """Put a key of an earlier installation in the place of the storage root key. It seals
        nothing, and only ``clear`` removes it."""
        ...

    def lockout(self) -> None:
        """Fail authorizations until dictionary attack protection refuses more."""
        ...

    def fail_nv(self, on: bool) -> None:
        """Let NV writes fail. A TPM with power is made to write, so that it enters failure mode at
        once; it leaves failure mode at the next power-on after ``fail_nv(False)``."""
        ...

    def cut_power(self) -> None:
        """Power off without Shutdown; no change when it is off."""
        ...

    def delay(self, rule: AnswerDelay | None) -> None:
        """Delay answers; the port waits (``delay_s``), in lab time."""
        ...

    def delay_s(self, label: str) -> float:
        """By how many lab seconds the answer of the port method ``label`` is delayed."""
        ...

    def close(self) -> None:
        """Cut the power and release everything; the NV image stays in its store."""
        ...
