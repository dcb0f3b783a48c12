"""The server's own key, and everything that is derived from it.

The master key is 32 random bytes in the file ``master.key`` on the server's own disk, never in
the database. That is what a software key server without an HSM or a TPM does, and it protects
what such a one protects: a copied or leaked database alone opens nothing, and one that was
edited is noticed. Who has the whole disk has every key. Losing the file loses every key too;
the server then refuses to start rather than make another.
"""

from __future__ import annotations

import hmac
from typing import Final

from protocol.crypto.wrap import Wrapping
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk, Rng

MASTER_FILE: Final = "master.key"
MASTER_SIZE: Final = 32


async def read_master(disk: Disk) -> KeyMaterial | None:
    """The master key; None if there is no such file, ``CryptographicFailure`` if it is cut."""
    try:
        raw = await disk.read(MASTER_FILE)
    except FileNotFoundError:
        return None
    if len(raw) != MASTER_SIZE:
        raise CryptographicFailure(f"{MASTER_FILE} has {len(raw)} bytes, not {MASTER_SIZE}")
    return KeyMaterial(raw)


async def make_master(disk: Disk, rng: Rng) -> KeyMaterial:
    """A new master key, durable on return; whole or not there after a crash."""
    master = KeyMaterial(rng.token(MASTER_SIZE))
    await replace_durably(disk, MASTER_FILE, master.reveal())
    return master


class Vault:
    """What the master key is used for: wrapping material, and tags over rows and trail.

    Each use has a key of its own, derived with HMAC-SHA256 as the pseudo-random function.
    """

    def __init__(self, master: KeyMaterial) -> None:
        self._wrapping = Wrapping(_derived(master, b"keystead kms 1: wrap material"))
        self._tagging = _derived(master, b"keystead kms 1: tag rows")
        self._latest: dict[bytes, tuple[bytes, bytes]] = {}  # by kind: what was tagged last, tag

    def close(self, material: KeyMaterial, aad: bytes, nonce: bytes) -> bytes:
        """``material`` wrapped under ``nonce`` (12 bytes, never used before), bound to ``aad``."""
        return self._wrapping.wrap(material, aad, nonce)

    def open(self, wrapped: bytes, aad: bytes) -> KeyMaterial:
        """``CryptographicFailure`` if it was wrapped elsewhere, for another key, or altered."""
        return self._wrapping.unwrap(wrapped, aad)

    def tag(self, kind: bytes, row: bytes) -> bytes:
        """HMAC-SHA256 over a canonical row; ``kind`` keeps tables apart."""
        tag = hmac.digest(self._tagging.reveal(), kind + b"|" + row, "sha256")
        self._latest[kind] = row, tag
        return tag

    def verify(self, kind: bytes, row: bytes, tag: bytes, what: str) -> None:
        """``CryptographicFailure`` naming ``what`` unless ``tag`` is that of ``row``."""
        if self._latest.get(kind) == (row, tag):  # as the head of the trail, at each operation
            return
        if not hmac.compare_digest(self.tag(kind, row), tag):
            raise CryptographicFailure(f"{what} was altered, or the master key is another one")


def _derived(master: KeyMaterial, label: bytes) -> KeyMaterial:
    return KeyMaterial(hmac.digest(master.reveal(), label, "sha256"))
