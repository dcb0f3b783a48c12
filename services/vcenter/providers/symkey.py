"""The key of one vCenter, under which it stores secrets in the inventory.

It is derived from the file ``symkey.dat`` on vCenter's disk. Access to the disk, or to a backup of
its files, gives both (NKP-08); the database alone is not enough.
"""

from __future__ import annotations

from typing import Final

from protocol.crypto.derive import derive_key
from protocol.crypto.wrap import KEK_SIZE, NONCE_SIZE, Wrapping
from protocol.errors import CryptographicFailure, SaveFailed
from protocol.secret import KeyMaterial
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk, Rng

SYMKEY: Final = "symkey.dat"


class Symkey:
    """Wraps secrets and opens them. Call ``start`` first."""

    def __init__(self, disk: Disk, rng: Rng) -> None:
        self._disk, self._rng = disk, rng
        self._key: KeyMaterial | None = None
        # The content of the file, until this life has made it durable.
        self._owed: bytes | None = None

    async def start(self) -> None:
        """Read the file; it is created when the first secret is wrapped."""
        try:
            raw = await self._disk.read(SYMKEY)
        except FileNotFoundError:
            return
        if len(raw) == KEK_SIZE:
            self._key, self._owed = _from_material(raw), raw

    async def wrap(self, secret: KeyMaterial, aad: bytes) -> bytes:
        """``secret`` wrapped for storage, bound to ``aad``.

        ``SaveFailed`` when the disk refuses this vCenter's key.
        """
        cipher = Wrapping(await self._durable_key())
        return cipher.wrap(secret, aad, self._rng.token(NONCE_SIZE))

    def unwrap(self, wrapped: bytes, aad: bytes) -> KeyMaterial:
        """The secret; ``CryptographicFailure`` when it does not open any more."""
        if self._key is None:
            raise CryptographicFailure(f"{SYMKEY} is gone")
        return Wrapping(self._key).unwrap(wrapped, aad)

    async def _durable_key(self) -> KeyMaterial:
        """The key, durable before any row that needs it.

        A file that an earlier life has written may not be synced.
        """
        if self._key is None or self._owed is not None:
            material = self._owed or self._rng.token(KEK_SIZE)
            try:
                await replace_durably(self._disk, SYMKEY, material)
            except OSError as error:
                raise SaveFailed(f"{SYMKEY}: {error.strerror or error}") from None
            self._key, self._owed = _from_material(material), None
        return self._key


def _from_material(material: bytes) -> KeyMaterial:
    return derive_key(KeyMaterial(material), salt=b"", info=b"keystead symkey of vCenter")
