"""The text of a file that somebody names: a regular file, of a size that a person writes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chaos.yaml_file import SIZE_LIMIT


def text_of(path: Path) -> str:
    """The text of a regular file; ``OSError`` or ``ValueError`` says why it cannot be read.

    Never more than one byte over the limit is read, so that no device or log fills the memory.
    """
    # Without O_NONBLOCK, to open a named pipe would wait for somebody to write.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise ValueError("it is larger than 1 MiB")
    return data.decode("utf-8")
