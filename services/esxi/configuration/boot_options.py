"""The options that the boot loader passes to the kernel, in a file of their own.

The file is in clear: everyone with access to the boot device can change it. A boot therefore
measures its options (step B1), and one of them can be required (POL-04).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from services.esxi.configuration.archive import FOLDER
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk

BOOT_OPTIONS: Final = f"{FOLDER}/boot.cfg"
_CHECK: Final = 4  # bytes of a CRC-32
_options = msgspec.msgpack.Decoder(dict[str, str])


async def load_options(disk: Disk) -> dict[str, str] | None:
    """The options kept on this disk; empty when there is no file, None when it is damaged."""
    try:
        data = await disk.read(BOOT_OPTIONS)
    except FileNotFoundError:
        return {}
    check, body = data[:_CHECK], data[_CHECK:]
    return _options.decode(body) if check == _checksum(body) else None


async def save_options(disk: Disk, options: Mapping[str, str]) -> None:
    """Keep the options for the next boots, durably; ``OSError`` when the disk fails."""
    body = msgspec.msgpack.encode(dict(sorted(options.items())))
    await replace_durably(disk, BOOT_OPTIONS, _checksum(body) + body)


def _checksum(body: bytes) -> bytes:
    """A checksum against accidents only: an attacker can change it together with the file."""
    return zlib.crc32(body).to_bytes(_CHECK, "big")
