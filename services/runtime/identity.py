"""The signing identity of a service: a key and its certificate, in one file of its own disk.

It is created at the first start and never replaced: others know the service by this certificate.
The key is in clear in that file, as with a software identity without an HSM or a TPM.
"""

from __future__ import annotations

import errno
from typing import Final

import msgspec

from protocol.crypto.tokens import SECRET_SIZE, SERIAL_SIZE, Signer, is_self_signed, new_certificate
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from services.runtime.durable import replace_durably
from services.runtime.ports import Clock, Disk, Rng

FILE: Final = "identity"


class _StoredIdentity(msgspec.Struct, frozen=True, array_like=True):
    secret: bytes
    certificate: bytes


_decoder = msgspec.msgpack.Decoder(_StoredIdentity)
_encode = msgspec.msgpack.Encoder().encode


async def load_signer(disk: Disk, rng: Rng, clock: Clock, name: str, file: str = FILE) -> Signer:
    """The identity in ``file``, created and durable on return when there was none.

    ``OSError`` when the disk fails, or the file is damaged: nobody would trust a new identity.
    """
    try:
        raw = await disk.read(file)
    except FileNotFoundError:
        return await new_signer(disk, rng, clock, name, file)
    try:
        kept = _decoder.decode(raw)
        if is_self_signed(kept.certificate):
            return Signer(KeyMaterial(kept.secret), kept.certificate)
    except (msgspec.DecodeError, ValueError, InvalidArgument):
        pass
    raise OSError(errno.EIO, f"the identity in {file} was damaged") from None


async def new_signer(disk: Disk, rng: Rng, clock: Clock, name: str, file: str = FILE) -> Signer:
    """A new identity in place of the one in ``file``, durable on return."""
    secret = KeyMaterial(rng.token(SECRET_SIZE))
    certificate = new_certificate(name, secret, rng.token(SERIAL_SIZE), clock.now())
    await replace_durably(disk, file, _encode(_StoredIdentity(secret.reveal(), certificate)))
    return Signer(secret, certificate)
