"""Files that a command names, for as long as the command lasts: passwords and private keys."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_secret(path: Path, content: str | bytes) -> Path:
    """Write a file that only its owner can read; a text gets an end of line."""
    data = content.encode() + b"\n" if isinstance(content, str) else content
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
    return path


@contextlib.contextmanager
def secret_file(content: str | bytes) -> Iterator[str]:
    """The path of a file with this content, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="keystead-vsphere-") as folder:
        yield str(write_secret(Path(folder, "secret"), content))
