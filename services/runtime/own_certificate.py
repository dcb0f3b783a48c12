"""A certificate that a node has signed itself for KMIP, with the private key that it is of.

Where it lies is its owner's matter: a key server and a Key Provider Service keep it in a file of
their own disk, with the key in clear, as a software identity without an HSM or a TPM is; a host has
it in its encrypted configuration. A damaged file is not made anew: it would be somebody whom nobody
trusts.
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

DAY_S: Final = 86_400.0
EARLIER_S: Final = DAY_S
"""A client's is good since so long before, when nobody says for how long: clocks of servers differ,
and a lab's may be a fast one."""


class OwnCertificate(msgspec.Struct, frozen=True, array_like=True):
    """A certificate (DER) and the private key (PKCS#8 DER) that it is of."""

    certificate: bytes
    secret: bytes

    @property
    def key(self) -> KeyMaterial:
        """The private key."""
        return KeyMaterial(self.secret)

    def __repr__(self) -> str:
        return f"OwnCertificate({certificates.common_name(self.certificate)})"


_decoder = msgspec.msgpack.Decoder(OwnCertificate)
_encode = msgspec.msgpack.Encoder().encode


def create_own_certificate(
    rng: Rng,
    clock: Clock,
    name: str,
    days: int,
    *,
    good_for_s: float | None = None,
    earlier_s: float = 0.0,
) -> OwnCertificate:
    """Another key with a certificate for it.

    It is good for ``days``, and since ``earlier_s`` before now, unless ``good_for_s`` says for how
    long from now on. ``InvalidArgument`` for a time that no certificate is good for.
    """
    lifetime_s = certificates.lifetime(good_for_s, days * DAY_S)
    key = certificates.new_key(KeyMaterial(rng.token(certificates.SEED_SIZE)))
    serial, at = rng.token(certificates.SERIAL_SIZE), clock.now()
    start = at - earlier_s if good_for_s is None else at
    signed = certificates.self_signed(name, key, serial, start, at + lifetime_s)
    return OwnCertificate(signed, key.reveal())


async def load(disk: Disk, file: str) -> OwnCertificate | None:
    """The one in the file; None when there is no file.

    ``OSError`` when the disk refuses, or the file is damaged.
    """
    try:
        raw = await disk.read(file)
    except FileNotFoundError:
        return None
    try:
        kept = _decoder.decode(raw)
        proved = hashlib.sha256(certificates.public_key(kept.key)).digest()
        whole = proved == certificates.key_digest(kept.certificate)
    except (msgspec.DecodeError, InvalidArgument):
        whole = False
    if not whole:
        raise OSError(errno.EIO, f"the identity in {file} was damaged")
    return kept


async def keep(disk: Disk, file: str, own: OwnCertificate) -> None:
    """Put it into the file, over the one before; durable on return. ``OSError``."""
    await replace_durably(disk, file, _encode(own))
