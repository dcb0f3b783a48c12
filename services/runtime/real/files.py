"""Replacing plain files of the machine, outside of any node's disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(
    path: Path, data: bytes, *, unfinished: Path | None = None, mode: int = 0o600, durable: bool
) -> None:
    """Put ``data`` in the place of ``path``: a reader, or who comes after a kill, finds the old
    file or the new one, whole, and never with more permissions than ``mode``. Blocks.

    ``unfinished`` is where the new file grows, on the same file system; by default beside
    ``path`` under a name of this process. ``durable``: the file and its folder are synced, so
    that a power loss of the machine keeps the promise too. Raises ``OSError``.
    """
    fresh = unfinished or path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(descriptor)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):  # what is left of it would keep room that nobody has
            os.unlink(fresh)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable. Blocks; raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
