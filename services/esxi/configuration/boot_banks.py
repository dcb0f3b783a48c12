"""The other boot bank of a host: the release before an upgrade, with its configuration at that
time.

The first boot of another release keeps the archive and the options of the earlier release
unchanged, each under its key. A rollback restores them. The newer ones are lost: keys added since
are missing, and removed ones are back (UPG-02).
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Final

import msgspec

from services.esxi.configuration.archive import FILE
from services.esxi.configuration.boot_options import BOOT_OPTIONS
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk

FOLDER: Final = "altbootbank"
BANK: Final = f"{FOLDER}/state.tgz"
_CHECK: Final = 4  # bytes of a CRC-32


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
    await disk.sync_folder(FOLDER)
    return True


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECK, "big")
