"""What the boot device has beside the archive: the options that the boot loader passes to the
kernel, in clear (POL-04), and the other boot bank, which has the release before an upgrade with
its configuration (UPG rules).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from services.esxi.configuration.archive import FILE, FOLDER
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


BANK_FOLDER: Final = "altbootbank"
BANK: Final = f"{BANK_FOLDER}/state.tgz"


class BankDamaged(Exception):
    """The other bank cannot be read."""


class _Bank(msgspec.Struct, frozen=True, array_like=True):
    """``release`` in clear, as in the image beside it; the other two fields are the earlier
    files."""

    release: str
    archive: bytes
    options: bytes


_decode = msgspec.msgpack.Decoder(_Bank).decode


async def store_bank(disk: Disk, release: str, archive: bytes) -> None:
    """Keep the files of that release in the other bank, durably. Raises ``OSError``."""
    try:
        options = await disk.read(BOOT_OPTIONS)
    except FileNotFoundError:
        options = b""
    body = msgspec.msgpack.encode(_Bank(release, archive, options))
    await replace_durably(disk, BANK, _checksum(body) + body, folder_is_new=True)


async def restore_bank(disk: Disk, release: str) -> bool:
    """Boot from the other bank, if it has that release; returns whether it does. The bank is empty
    afterwards.

    May be repeated after a crash in the middle. ``BankDamaged``: nothing has changed. Raises
    ``OSError``.
    """
    try:
        data = await disk.read(BANK)
    except FileNotFoundError:
        return False
    check, body = data[:_CHECK], data[_CHECK:]
    try:
        bank = _decode(body)
    except (msgspec.DecodeError, ValueError):
        raise BankDamaged from None
    if check != _checksum(body):
        raise BankDamaged
    if bank.release != release:
        return False
    if bank.options:
        await replace_durably(disk, BOOT_OPTIONS, bank.options)
    else:
        with suppress(FileNotFoundError):
            await disk.remove(BOOT_OPTIONS)
    await replace_durably(disk, FILE, bank.archive)
    await disk.remove(BANK)
    await disk.sync_folder(BANK_FOLDER)
    return True
