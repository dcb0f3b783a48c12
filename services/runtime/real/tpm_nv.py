"""The permanent state of a TPM in a file of the lab's state folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.runtime.real.files import replace_file
from services.runtime.tpm.nv import NvStore

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
