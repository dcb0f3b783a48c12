"""Keys and certificates of a node, in files of its own disk: the signing identity of a service, and
a self-signed certificate for KMIP.
"""

from __future__ import annotations

import errno
import hashlib
from typing import Final

import msgspec

from protocol.crypto import certificates
from protocol.crypto.tokens import SECRET_SIZE, SERIAL_SIZE, Signer, is_self_signed, new_certificate
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from services.runtime.durable import replace_durably
from services.runtime.ports import Clock, Disk, Rng

FILE: Final = "identity"


class _StoredIdentity(msgspec.Struct, frozen=True, array_like=True):
    secret: bytes
    certificate: bytes


_identity_decoder = msgspec.msgpack.Decoder(_StoredIdentity)
_encode_identity = msgspec.msgpack.Encoder().encode


async def load_signer(disk: Disk, rng: Rng, clock: Clock, name: str, file: str = FILE) -> Signer:
    """The identity in ``file``, created and durable on return when there was none.

    ``OSError`` when the disk fails, or the file is damaged: nobody would trust a new identity.
    """
    try:
        raw = await disk.read(file)
    except FileNotFoundError:
        return await new_signer(disk, rng, clock, name, file)
    try:
        kept = _identity_decoder.decode(raw)
        if is_self_signed(kept.certificate):
            return Signer(KeyMaterial(kept.secret), kept.certificate)
    except (msgspec.DecodeError, ValueError, InvalidArgument):
        pass
    raise OSError(errno.EIO, f"the identity in {file} was damaged") from None


async def new_signer(disk: Disk, rng: Rng, clock: Clock, name: str, file: str = FILE) -> Signer:
    """A new identity in place of the one in ``file``, durable on return."""
    secret = KeyMaterial(rng.token(SECRET_SIZE))
    certificate = new_certificate(name, secret, rng.token(SERIAL_SIZE), clock.now())
    await replace_durably(
        disk, file, _encode_identity(_StoredIdentity(secret.reveal(), certificate))
    )
    return Signer(secret, certificate)


DAY_S: Final = 86_400.0
EARLIER_S: Final = DAY_S
"""How long before now the validity of a client's certificate begins by default: clocks of servers
differ, and a lab's may be fast."""


class OwnCertificate(msgspec.Struct, frozen=True, array_like=True):
    """A certificate (DER) and its private key (PKCS#8 DER)."""

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
    """A new key with a certificate for it.

    The certificate is valid for ``days``, or for ``good_for_s`` from now when that is given; it
    begins ``earlier_s`` before now. ``InvalidArgument`` for an impossible time.
    """
    lifetime_s = certificates.lifetime(good_for_s, days * DAY_S)
    key = certificates.new_key(KeyMaterial(rng.token(certificates.SEED_SIZE)))
    serial, at = rng.token(certificates.SERIAL_SIZE), clock.now()
    start = at - earlier_s if good_for_s is None else at
    signed = certificates.self_signed(name, key, serial, start, at + lifetime_s)
    return OwnCertificate(signed, key.reveal())


async def load_own_certificate(disk: Disk, file: str) -> OwnCertificate | None:
    """The certificate in the file; None when there is no file.

    ``OSError`` when the disk fails, or the file is damaged.
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


async def store_own_certificate(disk: Disk, file: str, own: OwnCertificate) -> None:
    """Write the certificate to the file, in place of an earlier one; durable on return. Raises
    ``OSError``."""
    await replace_durably(disk, file, _encode(own))
