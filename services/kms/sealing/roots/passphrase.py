"""The root ``passphrase``: derived from what an operator types at each start (RFC 7914, scrypt).

The disk has the salt and the costs, and alone opens nothing. A guess costs as much as a start of
the server: about 80 ms and 32 MiB. Without the passphrase the server halts and its keys cannot be
opened; the remedy is a backup with another root.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from services.kms.sealing.roots.base import ROOT_SIZE, MadeRoot, RootLocked, RootMeans

PASSPHRASE_OPTION: Final = "kmsPassphrase"
"""The boot option with which an operator enters it."""

LEAST: Final = 12
"""Least characters of a passphrase, when one is set."""

MOST: Final = 1024
"""Bytes of a passphrase at most."""

SALT_SIZE: Final = 16
COST, BLOCK, PARALLEL = 1 << 15, 8, 1  # N, r, p
_MEMORY: Final = 128 * COST * BLOCK * 2  # bytes that scrypt may use
CURE: Final = (
    f"Power it on with --boot-option {PASSPHRASE_OPTION}=- and give the passphrase, or name a file "
    "that has it in the lab file (passphrase_file)"
)


class _Params(msgspec.Struct, frozen=True, array_like=True):
    salt: bytes
    cost: int
    block: int
    parallel: int


_params = msgspec.msgpack.Decoder(_Params)


class Passphrase:
    """See ``Root``."""

    async def make(self, means: RootMeans) -> MadeRoot:
        """See ``Root``."""
        given = _require_passphrase(means)
        if (flaw := flaw_of(given)) is not None:
            raise RootLocked(f"that passphrase is none to begin with: {flaw}. {CURE}")
        params = _Params(means.rng.token(SALT_SIZE), COST, BLOCK, PARALLEL)
        return MadeRoot(_derive_root(given, params), msgspec.msgpack.encode(params))

    async def open(self, means: RootMeans, params: bytes) -> KeyMaterial:
        """See ``Root``; a wrong passphrase gives a key that opens no ring."""
        try:
            found = _params.decode(params)
        except (msgspec.DecodeError, ValueError):
            found = None
        if found is None or (found.cost, found.block, found.parallel) != (COST, BLOCK, PARALLEL):
            raise CryptographicFailure("the header of the key ring was altered")
        return _derive_root(_require_passphrase(means), found)

    async def drop(self, means: RootMeans) -> None:
        """Nothing: its parameters on the disk are replaced with the ring."""


def flaw_of(passphrase: KeyMaterial) -> str | None:
    """Why a passphrase may not be set; None when it may."""
    raw = passphrase.reveal()
    if len(raw) > MOST:
        return f"it has more than {MOST} bytes"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "it is no UTF-8 text"
    return f"it has fewer than {LEAST} characters" if len(text) < LEAST else None


def _require_passphrase(means: RootMeans) -> KeyMaterial:
    if means.passphrase is None or not len(means.passphrase):
        raise RootLocked(f"its keys open with a passphrase, and none was given. {CURE}")
    return means.passphrase


def _derive_root(passphrase: KeyMaterial, params: _Params) -> KeyMaterial:
    return KeyMaterial(
        hashlib.scrypt(
            passphrase.reveal(),
            salt=params.salt,
            n=params.cost,
            r=params.block,
            p=params.parallel,
            maxmem=_MEMORY,
            dklen=ROOT_SIZE,
        )
    )
