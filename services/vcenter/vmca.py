"""VMCA, vCenter's certificate authority, as far as the laboratory needs it: for vTPMs (VTPM-04).

Its key and certificate are a file on vCenter's own disk, created with the first certificate. A
damaged file is not replaced: nobody would know the new CA.
"""

from __future__ import annotations

from typing import Final

from protocol.crypto.ek_certificate import endorse
from protocol.crypto.tokens import SERIAL_SIZE, Signer
from protocol.tpm.structures import PublicArea
from services.runtime.node_certificates import load_signer
from services.runtime.ports import Clock, Disk, Rng

FILE: Final = "vmca"


class Vmca:
    """See the module. ``name`` is its common name."""

    def __init__(self, disk: Disk, rng: Rng, clock: Clock, name: str) -> None:
        self._disk, self._rng, self._clock, self._name = disk, rng, clock, name
        self._signer: Signer | None = None

    async def certify(self, ek: PublicArea) -> bytes:
        """A certificate (DER) for that endorsement key.

        ``OSError`` when the disk fails or the CA's file is damaged, ``InvalidArgument`` for an
        invalid endorsement key.
        """
        signer = await self._load_signer()
        return endorse(signer, ek, self._rng.token(SERIAL_SIZE), self._clock.now())

    async def certificate(self) -> bytes:
        """Its own certificate (DER); empty before it exists, or when it cannot be read."""
        if self._signer is None:
            try:
                await self._disk.read(FILE)
                return (await self._load_signer()).certificate
            except OSError:
                return b""
        return self._signer.certificate

    async def _load_signer(self) -> Signer:
        if self._signer is None:
            self._signer = await load_signer(self._disk, self._rng, self._clock, self._name, FILE)
        return self._signer
