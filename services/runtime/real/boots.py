"""The number of a node's lives, kept twice beside its disk: one file may be damaged.

A number that went back would repeat a life: others would take the node for one that is long
dead, and not hear it. So each file holds a check of its number, and the higher one counts.

A node whose machine has no room left boots all the same: the number goes into the room that the
one before it has.
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
    """How many lives the node of this folder has begun; a new one's files are made. Blocks.

    ``InvalidState`` when neither file tells.
    """
    numbers = [_number(home / name) for name in _FILES]
    known = [number for number in numbers if number is not None]
    if known:
        return max(known)
    if (home / "disk").exists() or any((home / name).exists() for name in _FILES):
        raise InvalidState(f"{home} has no readable boot counter: both files of it are damaged")
    write_boots(home, 0)  # before there is a disk: from then on a number must be found
    return 0


def write_boots(home: Path, boot: int) -> None:
    """Keep the number of the life that begins; before anything of it is done. Blocks.

    A folder in the place of one file is a damage like others: the number is in the other one.
    Raises ``OSError`` when it could be kept nowhere.
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
    """Put it where the line before it stands. A kill in the middle damages this file alone: the
    other one has its number already, or still the one before, whose life is the last that began."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, line, 0)
        os.ftruncate(descriptor, len(line))
    finally:
        os.close(descriptor)


def _number(path: Path) -> int | None:
    try:
        digits, _, check = path.read_bytes().strip().partition(b" ")
    except (FileNotFoundError, IsADirectoryError):
        return None
    if not digits.isdigit() or b"%08x" % zlib.crc32(digits) != check:
        return None
    return int(digits)
