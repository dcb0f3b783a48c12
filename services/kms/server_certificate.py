"""What a key server of a lab shows KMIP clients: a certificate that it has signed itself.

Its key and certificate are one file of its own disk, made at the first start with that door.
"""

from __future__ import annotations

from typing import Final

from services.runtime import own_certificate
from services.runtime.own_certificate import OwnCertificate
from services.runtime.ports import Clock, Disk, Rng

FILE: Final = "kmip-identity"


async def load(disk: Disk, rng: Rng, clock: Clock, name: str, days: int) -> OwnCertificate:
    """The one in the file; made, good for ``days`` and durable on return, when there was none.

    ``OSError`` when the disk refuses, or the file is damaged.
    """
    kept = await own_certificate.load(disk, FILE)
    return kept or await renewed(disk, rng, clock, name, days)


async def renewed(
    disk: Disk, rng: Rng, clock: Clock, name: str, days: int, good_for_s: float | None = None
) -> OwnCertificate:
    """Another key with another certificate in the place of the earlier ones, durable on return.

    ``InvalidArgument`` for a time that no certificate is good for.
    """
    own = own_certificate.made(rng, clock, name, days, good_for_s=good_for_s)
    await own_certificate.keep(disk, FILE, own)
    return own
