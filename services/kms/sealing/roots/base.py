"""The interface of a root: it makes a key of 32 bytes, and finds it again from its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from protocol.secret import KeyMaterial
from services.runtime.ports import Disk, Rng, Tpm

ROOT_SIZE: Final = 32  # bytes of a root's key


class RootLocked(Exception):
    """The root does not give its key; the text says why, and what cures it."""


@dataclass(frozen=True)
class RootMeans:
    """What a root may use. ``passphrase``: what the operator gave, None when nothing was given."""

    disk: Disk
    rng: Rng
    tpm: Tpm | None = None
    passphrase: KeyMaterial | None = None


class MadeRoot(NamedTuple):
    """A root's key, and what must be kept beside the key ring to have it again; not a secret."""

    key: KeyMaterial
    params: bytes


class Root(Protocol):
    """One kind of root."""

    async def make(self, means: RootMeans) -> MadeRoot:
        """A root that was not there before, durable on return; ``RootLocked``, or ``OSError``.

        A life may end before anything is sealed by it, and the next one makes it again. Never is
        anything damaged that a ring on the disk may be sealed by.
        """
        ...

    async def open(self, means: RootMeans, params: bytes) -> KeyMaterial:
        """The key that ``make`` has made with these parameters; ``RootLocked`` when it is not to
        be had, and ``CryptographicFailure`` when what it is made of was damaged."""
        ...

    async def drop(self, means: RootMeans) -> None:
        """Remove what the root has on the disk, for the ring is sealed by another one; again is
        no change. ``OSError``."""
        ...
