"""The interface of a root: it makes a key of 32 bytes, and finds it again from its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from protocol.secret import KeyMaterial
from services.runtime.ports import Disk, Rng, Tpm

ROOT_SIZE: Final = 32  # bytes of a root's key


class RootLocked(Exception):
    """The root does not give its key; the text has the reason and the remedy."""


@dataclass(frozen=True)
class RootMeans:
    """What a root may use. ``passphrase``: the operator's, None when none was given."""

    disk: Disk
    rng: Rng
    tpm: Tpm | None = None
    passphrase: KeyMaterial | None = None


class MadeRoot(NamedTuple):
    """A root's key, and the parameters that are kept beside the key ring to find it again; not
    secret."""

    key: KeyMaterial
    params: bytes


class Root(Protocol):
    """One kind of root."""

    async def make(self, means: RootMeans) -> MadeRoot:
        """Make a new root, durable on return; ``RootLocked``, or ``OSError``.

        A life may end before anything is sealed by it, and the next one makes it again. Data by
        which a ring on the disk may be sealed is never damaged.
        """
        ...

    async def open(self, means: RootMeans, params: bytes) -> KeyMaterial:
        """The key that ``make`` has made with these parameters; ``RootLocked`` when it is not
        available, ``CryptographicFailure`` when its material was damaged."""
        ...

    async def drop(self, means: RootMeans) -> None:
        """Remove what the root has on the disk, because another root seals the ring; no change when
        it is gone. ``OSError``."""
        ...
