"""The options that the boot loader passes to the kernel, in a file of their own.

The file is in clear: whoever has the boot device can change it. That is why a boot measures the
options that it was given (step B1), and why one of them can be required (POL-04).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from services.esxi.configuration.archive import FOLDER
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk

BOOT_OPTIONS: Final = f"{FOLDER}/boot.cfg"
_options = msgspec.msgpack.Decoder(dict[str, str])


async def load_options(disk: Disk) -> dict[str, str]:
    """The options kept on this disk; none when there is no such file, or a damaged one."""
    try:
        return _options.decode(await disk.read(BOOT_OPTIONS))
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


async def save_options(disk: Disk, options: Mapping[str, str]) -> None:
    """Keep these for the next boots, durably; ``OSError`` when the disk refuses."""
    await replace_durably(disk, BOOT_OPTIONS, msgspec.msgpack.encode(dict(sorted(options.items()))))
