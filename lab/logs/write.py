"""Logs of nodes: JSON lines with a limit on size; one older file is kept."""

from __future__ import annotations

from pathlib import Path

import msgspec

LIMIT_BYTES = 4 << 20  # bytes of a file before it is put aside


class RecordLog:
    """Appends structs as JSON lines to ``path``; at ``limit`` the file becomes ``<path>.1``.

    A full disk must not stop a node for its log: a line that cannot be written is ``lost``.
    """

    def __init__(self, path: Path, limit: int = LIMIT_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._limit = path, limit
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self.lost = 0

    def write(self, record: msgspec.Struct) -> None:
        line = msgspec.json.encode(record) + b"\n"
        try:
            if self._size + len(line) > self._limit:
                self._path.replace(self._path.with_suffix(self._path.suffix + ".1"))
                full, self._file = self._file, self._path.open("ab", buffering=0)
                full.close()
                self._size = 0
            self._file.write(line)
            self._size += len(line)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        self._file.close()
