"""What every backend of a TPM shares: its lock, its power, its NV image, most of the lab's
commands, and the refusal of sizes and numbers that no TPM accepts.
"""

from __future__ import annotations

import errno
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar, Final

from protocol.messages.agent import TpmBackend
from protocol.tpm.credential import decode_point
from protocol.tpm.errors import RC_FAILURE, TpmError, TpmErrorKind, tpm_error, tpm_gone
from protocol.tpm.public import PublicError, parse_public
from protocol.tpm.structures import (
    ALG_KEYEDHASH,
    DIGEST_SIZE,
    EkKind,
    PublicArea,
    SealedBlob,
    Truncated,
)
from services.runtime.tpm.device import (
    AnswerDelay,
    NoImage,
    NvImage,
    NvStore,
    TpmDevice,
    unpack_image,
)

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


_UNKNOWN_EK: Final = bytes(DIGEST_SIZE)
_NO_STATE: Final = b"\0"


def _unpack_image(image: bytes, kind: TpmBackend) -> NvImage:
    if not image:
        return NvImage(_UNKNOWN_EK, b"")
    try:
        return unpack_image(image, kind)
    except NoImage:
        return NvImage(_UNKNOWN_EK, b"", whole=False)


class BaseDevice(TpmDevice):
    """Base of the devices; see ``TpmDevice`` for the meaning of the public methods."""

    kind: ClassVar[TpmBackend]

    def __init__(self, nv: NvStore) -> None:
        self._nv = nv
        self._lock = threading.RLock()
        self._rule: AnswerDelay | None = None
        self._nv_fails = False
        self._powered = False
        self._image = _unpack_image(nv.load(), self.kind)

    # Implemented by a backend ------------------------------------------------------------------

    @abstractmethod
    def power_on(self) -> None: ...

    @abstractmethod
    def _shutdown(self) -> None:
        """TPM2_Shutdown(CLEAR)."""

    @abstractmethod
    def _lose_power(self) -> None:
        """Forget everything but NV."""

    @abstractmethod
    def _freeze(self) -> bytes:
        """Everything that is not in NV, of a TPM with power."""

    @abstractmethod
    def _thaw(self, memory: bytes) -> None:
        """Give a TPM power, and continue from the result of ``_freeze``, with NV as it was."""

    @abstractmethod
    def _first_setup(self) -> bytes:
        """Set up a new TPM with power, as its maker does; returns the digest of the ECC EK."""

    @abstractmethod
    def _clear(self) -> None: ...

    @abstractmethod
    def _occupy(self) -> None: ...

    @abstractmethod
    def _lockout(self) -> None: ...

    @abstractmethod
    def _write_something(self) -> None:
        """Any command that writes NV."""

    # Power -------------------------------------------------------------------------------------

    @property
    def backend(self) -> TpmBackend:
        return self.kind

    @property
    def powered(self) -> bool:
        return self._powered

    def exclusive(self) -> AbstractContextManager[object]:
        return self._lock

    def power_off(self, orderly: bool) -> None:
        with self._lock:
            if not self._powered:
                return
            try:
                if orderly:
                    self._shutdown()
            except TpmError as error:
                if error.kind is not TpmErrorKind.FAILURE:
                    raise
            finally:
                self.cut_power()

    def cut_power(self) -> None:
        with self._lock:
            if self._powered:
                self._powered = False
                self._lose_power()

    @contextmanager
    def _with_power(self) -> Iterator[None]:
        """Power on for one command of the lab, if the TPM is off."""
        with self._lock:
            if self._powered:
                yield
                return
            try:
                self.power_on()
                yield
            finally:
                self.power_off(orderly=True)

    def _check_power(self) -> None:
        if not self._powered:
            raise tpm_gone("powered off")

    # The NV image ------------------------------------------------------------------------------

    def _manufacture(self) -> None:
        """Create a new TPM, unless the image has a finished TPM, or once had one."""
        if self._image.ek != _UNKNOWN_EK or not self._image.whole:
            return
        self._image = NvImage(_UNKNOWN_EK, b"")
        with self._with_power():
            ek = self._first_setup()
        self._image = NvImage(ek, self._image.state)
        self._nv.store(self._image.pack(self.kind))

    def _load_state(self) -> bytes:
        """The backend's state; empty for a new TPM. A damaged TPM has a state that no backend
        accepts."""
        return self._image.state if self._image.whole else _NO_STATE

    def _build_start_error(self) -> TpmError:
        """0x101 of a power-on that found no state."""
        error = tpm_error(RC_FAILURE)
        if not self._image.whole:
            error.add_note("its NV is damaged or gone; only another TPM helps")
        return error

    def _store_state(self, state: bytes) -> None:
        """Store the backend's state durably. ``OSError`` when NV fails.

        The state of a TPM that is being made is kept in memory: were it interrupted, another one
        would be made."""
        if self._nv_fails:
            raise OSError(errno.EIO, "the lab lets NV writes fail")
        fresh = NvImage(self._image.ek, state)
        if fresh.ek != _UNKNOWN_EK:
            self._nv.store(fresh.pack(self.kind))
        self._image = fresh

    def snapshot(self) -> bytes:
        with self._lock:
            return self._image.pack(self.kind)

    def restore(self, image: bytes) -> None:
        with self._lock:
            content = unpack_image(image, self.kind)
            self.cut_power()
            self._nv.store(image)
            self._image = content

    def resume(self, image: bytes, memory: bytes) -> None:
        with self._lock:
            self.restore(image)
            if memory:
                self._thaw(memory)

    def suspend(self) -> tuple[bytes, bytes]:
        with self._lock:
            memory = self._freeze() if self._powered else b""
            image = self.snapshot()
            self.cut_power()
            return image, memory

    def ek_digest(self) -> str:
        with self._lock:
            return self._image.ek.hex()

    # Commands of the lab -----------------------------------------------------------------------

    def swap(self) -> None:
        with self._lock:
            self.cut_power()
            self._nv_fails = False
            self._image = NvImage(_UNKNOWN_EK, b"")
            self._manufacture()

    def clear(self) -> None:
        with self._with_power():
            self._clear()

    def occupy(self) -> None:
        with self._with_power():
            self._occupy()

    def lockout(self) -> None:
        with self._with_power():
            self._lockout()

    def fail_nv(self, on: bool) -> None:
        with self._lock:
            self._nv_fails = on
            if not (on and self._powered):
                return
            try:
                self._write_something()
            except TpmError as error:
                if error.kind is not TpmErrorKind.FAILURE:
                    raise

    def delay(self, rule: AnswerDelay | None) -> None:
        self._rule = rule

    def delay_s(self, label: str) -> float:
        return 0.0 if self._rule is None else self._rule(label)

    def close(self) -> None:
        self.cut_power()
