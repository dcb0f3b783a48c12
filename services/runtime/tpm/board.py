"""What every backend shares: its turn, its power, its NV image, and most of the lab's commands.

A backend says how power comes and goes, and how each TPM operation is done.
"""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar, Final

from protocol.messages.agent import TpmBackend
from protocol.tpm.credential import decode_point
from protocol.tpm.errors import TpmError, TpmErrorKind, gone, tpm_error
from protocol.tpm.public import PublicError, parse_public
from protocol.tpm.structures import DIGEST_SIZE, EkKind, PublicArea, SealedBlob
from protocol.tpm.wire import ALG_KEYEDHASH, Truncated
from services.runtime.tpm.device import DelayRule
from services.runtime.tpm.nv import NvImage, NvStore, unpack

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
_UNKNOWN_EK: Final = bytes(DIGEST_SIZE)


class Board(ABC):
    """Base of the devices; see ``TpmDevice`` for the meaning of the public methods."""

    kind: ClassVar[TpmBackend]

    def __init__(self, nv: NvStore) -> None:
        self._nv = nv
        self._turn = threading.RLock()
        self._rule: DelayRule | None = None
        self._nv_fails = False
        self._powered = False
        image = nv.load()
        self._image = unpack(image, self.kind) if image else NvImage(_UNKNOWN_EK, b"")

    # To be said by the backend ---------------------------------------------------------------

    @abstractmethod
    def power_on(self) -> None: ...

    @abstractmethod
    def _shutdown(self) -> None:
        """TPM2_Shutdown(CLEAR)."""

    @abstractmethod
    def _lose_power(self) -> None:
        """Forget everything but NV."""

    @abstractmethod
    def _first_setup(self) -> bytes:
        """On a new TPM with power: what the maker sets up; digest of the ECC EK."""

    @abstractmethod
    def _clear(self) -> None: ...

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

    def turn(self) -> AbstractContextManager[object]:
        return self._turn

    def power_off(self, orderly: bool) -> None:
        with self._turn:
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
        with self._turn:
            if self._powered:
                self._powered = False
                self._lose_power()

    @contextmanager
    def _with_power(self) -> Iterator[None]:
        """Power for the time of one command of the lab, if there is none."""
        with self._turn:
            if self._powered:
                yield
                return
            try:
                self.power_on()
                yield
            finally:
                self.power_off(orderly=True)

    def _need_power(self) -> None:
        if not self._powered:
            raise gone("powered off")

    # The NV image ------------------------------------------------------------------------------

    def _manufacture(self) -> None:
        """Make a new TPM, unless the image holds one already."""
        if self._image.state:
            return
        with self._with_power():
            self._image = NvImage(self._first_setup(), self._image.state)
        self._nv.store(self._image.pack(self.kind))

    def _load_state(self) -> bytes:
        return self._image.state

    def _store_state(self, state: bytes) -> None:
        """Keep the backend's state, durably. ``OSError`` when NV fails."""
        if self._nv_fails:
            raise OSError(errno.EIO, "the lab lets NV writes fail")
        fresh = NvImage(self._image.ek, state)
        self._nv.store(fresh.pack(self.kind))
        self._image = fresh

    def snapshot(self) -> bytes:
        with self._turn:
            return self._image.pack(self.kind)

    def restore(self, image: bytes) -> None:
        with self._turn:
            parts = unpack(image, self.kind)
            self.cut_power()
            self._nv.store(image)
            self._image = parts

    def ek_digest(self) -> str:
        with self._turn:
            return self._image.ek.hex()

    # Commands of the lab -----------------------------------------------------------------------

    def swap(self) -> None:
        with self._turn:
            self.cut_power()
            self._nv_fails = False
            self._image = NvImage(_UNKNOWN_EK, b"")
            self._manufacture()

    def clear(self) -> None:
        with self._with_power():
            self._clear()

    def lockout(self) -> None:
        with self._with_power():
            self._lockout()

    def fail_nv(self, on: bool) -> None:
        with self._turn:
            self._nv_fails = on
            if not (on and self._powered):
                return
            try:
                self._write_something()
            except TpmError as error:
                if error.kind is not TpmErrorKind.FAILURE:
                    raise

    def delay(self, rule: DelayRule | None) -> None:
        self._rule = rule

    def delay_of(self, label: str) -> float:
        return 0.0 if self._rule is None else self._rule(label)

    def close(self) -> None:
        self.cut_power()


def check_blob(blob: SealedBlob) -> bytes:
    """The policy digest of a blob; ``TpmError`` SIZE when it could not even be sent to a TPM."""
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
    """The sort of endorsement key it was made for; ``TpmError`` SIZE when it is of none."""
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
    """``ValueError`` for what no TPM would seal, or could never open again."""
    if not 0 < len(secret) <= SECRET_LIMIT:
        raise ValueError(f"a TPM seals 1..{SECRET_LIMIT} bytes, not {len(secret)}")
    if len(policy) != DIGEST_SIZE:
        raise ValueError(f"a policy digest has {DIGEST_SIZE} bytes, not {len(policy)}")


def check_nonce(nonce: bytes) -> None:
    if len(nonce) > NONCE_LIMIT:
        raise ValueError(f"a nonce has at most {NONCE_LIMIT} bytes, not {len(nonce)}")


def check_index(index: int, size: int = 1) -> None:
    """``ValueError`` for an NV index or size that is not the owner's to define."""
    if index not in NV_INDICES:
        raise ValueError(f"NV index {index:#x} is not in the owner's range")
    if not 0 < size <= NV_LIMIT:
        raise ValueError(f"an NV index holds 1..{NV_LIMIT} bytes, not {size}")
