"""What every backend shares: its lock, its power, its NV image, and most of the lab's commands.

A backend implements power and each TPM operation.
"""

from __future__ import annotations

import errno
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar, Final

from protocol.messages.agent import TpmBackend
from protocol.tpm.errors import RC_FAILURE, TpmError, TpmErrorKind, tpm_error, tpm_gone
from protocol.tpm.structures import DIGEST_SIZE
from services.runtime.tpm.device import AnswerDelay, TpmDevice
from services.runtime.tpm.nv import NoImage, NvImage, NvStore, unpack_image

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
