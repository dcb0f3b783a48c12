"""The number of a node's lives, in two files beside its disk, one of which may be damaged.

A number that went back would repeat a life: others would take the node for one that ended long ago,
and ignore it. Each file holds a check sum of its number, and the higher number counts. A node boots
even when its machine has no room left: the number overwrites the one before it.
"""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path
from typing import Final

from protocol.errors import InvalidState
from services.runtime.real.files import replace_file

_FILES: Final = ("boots", "boots.twin")
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


def read_boots(home: Path) -> int:
    """How many lives the node of this folder has begun; creates the files of a new node. Blocks.

    ``InvalidState`` when neither file is readable.
    """
    numbers = [_read_number(home / name) for name in _FILES]
    known = [number for number in numbers if number is not None]
    if known:
        return max(known)
    if (home / "disk").exists() or any((home / name).exists() for name in _FILES):
        raise InvalidState(f"{home} has no readable boot counter: both files of it are damaged")
    write_boots(home, 0)  # before there is a disk: from then on a number must be found
    return 0


def write_boots(home: Path, boot: int) -> None:
    """Store the number of the life that begins, before anything else of that life. Blocks.

    A folder in place of one file counts as damage: the number is in the other file. Raises
    ``OSError`` when it cannot be stored in either.
    """
    digits = str(boot).encode()
    line = b"%b %08x\n" % (digits, zlib.crc32(digits))
    damaged: list[IsADirectoryError] = []
    for name in _FILES:
        try:
            replace_file(home / name, line, durable=False)
        except IsADirectoryError as error:
            damaged.append(error)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            _overwrite(home / name, line)
    if len(damaged) == len(_FILES):
        raise damaged[0]


def _overwrite(path: Path, line: bytes) -> None:
    """Overwrite the line in place. A kill in between damages only this file: the other one has this
    number already, or still that of the life before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, line, 0)
        os.ftruncate(descriptor, len(line))
    finally:
        os.close(descriptor)


def _read_number(path: Path) -> int | None:
    try:
        digits, _, check = path.read_bytes().strip().partition(b" ")
    except (FileNotFoundError, IsADirectoryError):
        return None
    if not digits.isdigit() or b"%08x" % zlib.crc32(digits) != check:
        return None
    return int(digits)
