"""The permanent state of a TPM in a file of the lab's state folder."""

from __future__ import annotations

from pathlib import Path

from services.runtime.real.files import replace_file
from services.runtime.tpm.nv import NvStore


class FileNv(NvStore):
    """An image in a file with mode 0600, replaced as a whole and synced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def store(self, image: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, image, durable=True)
