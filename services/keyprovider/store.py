"""The configuration of a Key Provider Service in one file: after a crash the old or the new."""

from __future__ import annotations

import errno
import zlib
from typing import Final

import msgspec

from protocol.errors import SaveFailed
from protocol.messages.keyprovider import KeyProviderConfiguration
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk

FILE: Final = "configuration"
_CHECK: Final = 4  # bytes of a CRC-32

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(KeyProviderConfiguration)


async def load(disk: Disk) -> KeyProviderConfiguration | None:
    """The stored configuration; None before the first. ``OSError`` when it is damaged."""
    try:
        raw = await disk.read(FILE)
    except FileNotFoundError:
        return None
    check, body = raw[:_CHECK], raw[_CHECK:]
    try:
        if zlib.crc32(body).to_bytes(_CHECK, "big") == check:
            return _decoder.decode(body)
    except (msgspec.DecodeError, ValueError):
        pass
    raise OSError(errno.EIO, "its configuration was damaged")


async def save(disk: Disk, configuration: KeyProviderConfiguration) -> None:
    """Durable on return; ``SaveFailed`` when the disk fails."""
    body = _encode(configuration)
    try:
        await replace_durably(disk, FILE, zlib.crc32(body).to_bytes(_CHECK, "big") + body)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveFailed(f"the Key Provider Service could not save: {reason}") from None
