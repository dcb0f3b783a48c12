"""What a key server of a lab shows KMIP clients: a certificate that it has signed itself.

Its key and certificate are one file of its own disk, made at the first start with that door, and
kept; the key is in clear in it, as a software identity without an HSM is. A damaged file is not
made anew: it would be a server that nobody trusts.
"""

from __future__ import annotations

import errno
import hashlib
from typing import Final

import msgspec

from protocol.crypto import certificates
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from services.runtime.durable import replace_durably
from services.runtime.ports import Clock, Disk, Rng

FILE: Final = "kmip-identity"
LIFETIME_S: Final = 3_650 * 86_400.0


class ServerCertificate(msgspec.Struct, frozen=True, array_like=True):
    """A certificate (DER) and the private key (PKCS#8 DER) that it is of."""

    certificate: bytes
    secret: bytes

    @property
    def key(self) -> KeyMaterial:
        """The private key."""
        return KeyMaterial(self.secret)

    def __repr__(self) -> str:
        return f"ServerCertificate({certificates.common_name(self.certificate)})"


_decoder = msgspec.msgpack.Decoder(ServerCertificate)
_encode = msgspec.msgpack.Encoder().encode


async def load(disk: Disk, rng: Rng, clock: Clock, name: str) -> ServerCertificate:
    """The one in the file; made, and durable on return, when there was none.

    ``OSError`` when the disk refuses, or the file is damaged.
    """
    try:
        raw = await disk.read(FILE)
    except FileNotFoundError:
        return await renewed(disk, rng, clock, name)
    try:
        kept = _decoder.decode(raw)
        proved = hashlib.sha256(certificates.public_key(kept.key)).digest()
        whole = proved == certificates.key_digest(kept.certificate)
    except (msgspec.DecodeError, InvalidArgument):
        whole = False
    if not whole:
        raise OSError(errno.EIO, f"the identity in {FILE} was damaged")
    return kept


async def renewed(
    disk: Disk, rng: Rng, clock: Clock, name: str, good_for_s: float | None = None
) -> ServerCertificate:
    """Another key with another certificate in the place of the earlier ones, durable on return.

    ``InvalidArgument`` for a time that no certificate is good for.
    """
    lifetime_s = certificates.lifetime(good_for_s, LIFETIME_S)
    key = certificates.new_key(KeyMaterial(rng.token(certificates.SEED_SIZE)))
    serial, at = rng.token(certificates.SERIAL_SIZE), clock.now()
    certificate = certificates.self_signed(name, key, serial, at, at + lifetime_s)
    made = ServerCertificate(certificate, key.reveal())
    await replace_durably(disk, FILE, _encode(made))
    return made
