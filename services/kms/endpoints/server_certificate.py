"""The self-signed certificate that a lab's key server shows KMIP clients.

Key and certificate are one file on its own disk, created at the first start with a KMIP endpoint.
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
    """Records, once for each certificate, that an expired one is shown (STD-07).

    It is called at each handshake and has no alarm: without clients nothing is refused.
    """

    def __init__(self, node: ServiceNode, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._certificate = b""
        self._end = 0.0
        self._reported = False

    def shows(self, certificate: bytes) -> None:
        """This certificate (DER) is shown now; ``InvalidArgument`` when it is invalid."""
        if certificate != self._certificate:
            self._end = validity(certificate)[1]
            self._certificate, self._reported = certificate, False
        if not self._reported and self._clock.now() > self._end:
            self._reported = True
            self._node.record(
                "kms.certificate_expired", level="warning", end=self._end, text=EXPIRED
            )


EXPIRED: Final = "the certificate that this key server shows has expired: clients refuse it"


async def load(disk: Disk, rng: Rng, clock: Clock, name: str, days: int) -> OwnCertificate:
    """The certificate in the file; if there is none, a new one that is valid for ``days``, durable
    on return.

    ``OSError`` when the disk fails, or the file is damaged.
    """
    kept = await own_certificate.load_own_certificate(disk, FILE)
    return kept or await renew(disk, rng, clock, name, days)


async def renew(
    disk: Disk, rng: Rng, clock: Clock, name: str, days: int, good_for_s: float | None = None
) -> OwnCertificate:
    """A new key with a new certificate, in place of the earlier ones; durable on return.

    ``InvalidArgument`` for an impossible time.
    """
    own = own_certificate.create_own_certificate(rng, clock, name, days, good_for_s=good_for_s)
    await own_certificate.store_own_certificate(disk, FILE, own)
    return own
