"""Files that people name, and the secrets in them: the first line of a file is the secret.

A command line reads the files of its own user, and waits for nobody: see ``read_file``. A lab reads
by itself only what its Lab file names, in a thread with a deadline (``lab.core``).
"""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path
from typing import Final

from lab.schema.errors import KeysteadError
from lab.state.in_thread import in_thread
from services.runtime.real.files import read_regular_file

LARGEST: Final = 1 << 20  # bytes of a file that is read
READ_LIMIT_S: Final = 5.0
"""Real seconds that a lab waits for a file that its Lab file names, or a command for its own."""


def secret_in(path: str) -> str:
    """The first line of a file; KS-USE-003 when it cannot be read, is no text, or is empty."""
    return first_line(path, read_file(path))


def first_line(path: str, data: bytes) -> str:
    """The first line of ``data``, the content of ``path``; KS-USE-003 as for ``secret_in``."""
    try:
        secret = data.decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise KeysteadError("KS-USE-003", f"{path}: it is no UTF-8 text") from None
    if not secret:
        raise KeysteadError("KS-USE-003", f"{path}: its first line, the password, is empty")
    return secret


def read_file(path: str) -> bytes:
    """A file that somebody named; KS-USE-003 when it cannot be read, or has too many bytes.

    It is a regular file, or a pipe (as of ``<(command)`` in a shell) that its writer closes within
    ``READ_LIMIT_S``.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return _drain_pipe(path)
    except TimeoutError:
        text = f"{path}: nobody has written into this pipe and closed it within {READ_LIMIT_S:g} s"
        raise KeysteadError("KS-USE-003", text) from None
    except OSError as error:
        raise unusable(path, error) from None
    except ValueError as error:
        raise KeysteadError("KS-USE-003", f"{path}: {error}") from None
    return read_regular(path)


def read_regular(path: str) -> bytes:
    """As ``read_file``, and a pipe is refused at once."""
    try:
        return read_regular_file(Path(path), LARGEST)
    except OSError as error:
        raise unusable(path, error) from None
    except ValueError as error:
        raise KeysteadError("KS-USE-003", f"{path}: {error}") from None


async def read_soon(path: str) -> bytes:
    """As ``read_regular``, for a process that must not stand still: KS-USE-003 also when the file
    has not been read within ``READ_LIMIT_S``."""
    try:
        return await in_thread(lambda: read_regular(path), READ_LIMIT_S)
    except TimeoutError:
        text = f"{path}: it has not answered for {READ_LIMIT_S:g} s"
        raise KeysteadError("KS-USE-003", text) from None


def _drain_pipe(path: str) -> bytes:
    until, data = time.monotonic() + READ_LIMIT_S, b""
    # A pipe that nobody has opened for writing yet reads as one that has ended.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0) as pipe:
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        while waiting.poll(max(until - time.monotonic(), 0) * 1000):
            part = pipe.read(LARGEST)
            if not part:
                return data
            data += part
            if len(data) > LARGEST:
                raise ValueError("it is larger than 1 MiB")
    raise TimeoutError


def unusable(path: str, error: OSError) -> KeysteadError:
    """What people are told of a file that they named."""
    return KeysteadError("KS-USE-003", f"{path}: {error.strerror or error}")
