"""The text of a file that somebody names: a regular file, of a size that a person writes."""

from __future__ import annotations

from pathlib import Path

from chaos.yaml_file import SIZE_LIMIT
from services.runtime.real.files import read_regular_file


def text_of(path: Path) -> str:
    """The text of a regular file; ``OSError`` or ``ValueError`` says why it cannot be read.

    Never more than one byte over the limit, which is 1 MiB, is read, so that no device or log fills
    the memory.
    """
    return read_regular_file(path, SIZE_LIMIT).decode("utf-8")
