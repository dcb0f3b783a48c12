"""What a key server of a lab shows KMIP clients: a certificate that it has signed itself.

Its key and certificate are one file of its own disk, made at the first start with that door.
"""

from __future__ import annotations

from typing import Final

from protocol.crypto.certificates import validity
from services.runtime import own_certificate
from services.runtime.own_certificate import OwnCertificate
from services.runtime.ports import Clock, Disk, Rng
from services.runtime.service import ServiceNode

FILE: Final = "kmip-identity"


class EndWatch:
    """Writes down, once for each certificate, that it is shown and has expired (STD-07).

    It is asked at each handshake and has no alarm: while nobody comes, nobody is refused.
    """

    def __init__(self, node: ServiceNode, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._certificate = b""
        self._end = 0.0
        self._told = False

    def shows(self, certificate: bytes) -> None:
        """This one (DER) is shown now; ``InvalidArgument`` when it is none."""
        if certificate != self._certificate:
            self._end = validity(certificate)[1]
            self._certificate, self._told = certificate, False
        if not self._told and self._clock.now() > self._end:
            self._told = True
            self._node.record(
                "kms.certificate_expired", level="warning", end=self._end, text=EXPIRED
            )


EXPIRED: Final = "the certificate that this key server shows has expired: clients refuse it"


async def load(disk: Disk, rng: Rng, clock: Clock, name: str, days: int) -> OwnCertificate:
    """The one in the file; made, good for ``days`` and durable on return, when there was none.

    ``OSError`` when the disk refuses, or the file is damaged.
    """
    kept = await own_certificate.load_own_certificate(disk, FILE)
    return kept or await renew(disk, rng, clock, name, days)


async def renew(
    disk: Disk, rng: Rng, clock: Clock, name: str, days: int, good_for_s: float | None = None
) -> OwnCertificate:
    """Another key with another certificate in the place of the earlier ones, durable on return.

    ``InvalidArgument`` for a time that no certificate is good for.
    """
    own = own_certificate.create_own_certificate(rng, clock, name, days, good_for_s=good_for_s)
    await own_certificate.store_own_certificate(disk, FILE, own)
    return own
