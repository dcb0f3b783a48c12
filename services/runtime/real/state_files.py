"""Files of a lab's state folder beside the disks of nodes: the number of a node's lives (two files,
one of which may be damaged), the permanent state of a TPM, and the secret of the certifier of
TPMs.
"""

from __future__ import annotations

import errno
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

from protocol.errors import InvalidState
from protocol.secret import KeyMaterial
from services.runtime.real.files import replace_file
from services.runtime.tpm.device import NvStore
from services.runtime.tpm.maker import SECRET_SIZE, TpmMaker

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


_DAMAGED: Final = b"\0"


class FileNv(NvStore):
    """An image in a file with mode 0600, replaced as a whole and synced.

    ``made``: the image must exist. A missing or empty file is then a damaged image, not a TPM to be
    created.
    """

    def __init__(self, path: Path, *, made: bool = False) -> None:
        self._path, self._made = path, made

    def load(self) -> bytes:
        try:
            image = self._path.read_bytes()
        except FileNotFoundError:
            image = b""
        return _DAMAGED if self._made and not image else image

    def store(self, image: bytes) -> None:
        self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
        replace_file(self._path, image, durable=True)


_FILE: Final = "maker.key"


def tpm_maker(folder: Path) -> TpmMaker:
    """The certifier with the secret in ``folder``, which is created if needed. Blocks.

    If several processes create one at a time, the first one counts: a complete file is linked to
    its name only if nothing has that name.
    """
    path = folder / _FILE
    if not path.exists():
        fresh = folder / f".{_FILE}.{os.getpid()}.new"
        replace_file(fresh, os.urandom(SECRET_SIZE), durable=True)
        try:
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            os.unlink(fresh)
    return TpmMaker(KeyMaterial(path.read_bytes()))
