"""What a datastore needs of a folder, tried by doing it there: files as ``LabDatastore`` writes and
locks them (``services.runtime.real``), in a folder of the trial's own that is gone afterwards.

Whether a synced write outlives the power of whoever stores it can only be promised, not tried.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lab.schema.errors import KeysteadError
from services.runtime.real import locks
from services.runtime.real.files import replace_file, sync_folder

TRIALS: Final = "trials"
ROOM: Final = 1 << 20  # bytes that must find room
HELD, FREE, REFUSED = range(10, 13)  # how ``second_process`` ends
_ROOT: Final = Path(__file__).resolve().parents[2]
_CHILD_LIMIT_S: Final = 10.0
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_OLD, _NEW = b"old " * 4096, b"new " * 8192


def trial(folder: Path, name: str) -> None:
    """Try ``folder``, which is there, for who has that name. Blocks; KS-ARRAY-002 to
    KS-ARRAY-005 with what failed, KS-ARRAY-007 when a process is late."""
    with convert_write_errors(folder):
        at = folder / TRIALS / f"{name}.{os.urandom(8).hex()}"
        at.mkdir(0o700, parents=True)
    try:
        for part in (_room, _syncs, _replaces, _locks):
            with convert_write_errors(folder):
                part(at)
    finally:
        shutil.rmtree(at, ignore_errors=True)


def clear(folder: Path, name: str) -> None:
    """Remove what trials of that name have left, which were killed."""
    for left in (folder / TRIALS).glob(f"{name}.*"):
        with suppress(OSError):
            left.unlink() if left.is_file() else shutil.rmtree(left)


@contextmanager
def convert_write_errors(folder: Path) -> Iterator[None]:
    """What goes wrong inside is a folder that cannot be written, or is full."""
    try:
        yield
    except OSError as error:
        raise _unwritten(folder, error) from None


def _unwritten(folder: Path, error: OSError) -> KeysteadError:
    if error.errno in _FULL:
        return KeysteadError("KS-ARRAY-005", f"{folder} is full: {error.strerror}")
    text = f"{folder} cannot be written: {error.strerror or error}"
    return KeysteadError("KS-ARRAY-004", text)


def _room(at: Path) -> None:
    data = os.urandom(ROOM)
    path = at / "room"
    replace_file(path, data, durable=False)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _sync(at, "a file", lambda: os.fdatasync(descriptor))
        os.pwrite(descriptor, data[::-1], 0)  # as guests write blocks
        _sync(at, "a file", lambda: os.fdatasync(descriptor))
        if path.read_bytes() != data[::-1]:
            raise KeysteadError("KS-ARRAY-003", f"in {at.parents[1]} a written block is not read")
    finally:
        os.close(descriptor)
    path.unlink()


def _syncs(at: Path) -> None:
    path = at / "synced"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _OLD)
        _sync(at, "a file", lambda: os.fsync(descriptor))
    finally:
        os.close(descriptor)
    _sync(at, "a folder", lambda: sync_folder(at))


def _sync(at: Path, what: str, sync: Callable[[], None]) -> None:
    try:
        sync()
    except OSError as error:
        if error.errno in _FULL:
            raise
        text = f"in {at.parents[1]} {what} cannot be synced: {error.strerror or error}"
        raise KeysteadError("KS-ARRAY-003", text) from None


def _replaces(at: Path) -> None:
    """Who has the old file open reads it on, who opens it now reads the new one, whole."""
    path = at / "replaced"
    replace_file(path, _OLD, durable=True)
    with path.open("rb") as before:
        replace_file(path, _NEW, durable=True)
        if before.read() != _OLD or path.read_bytes() != _NEW:
            text = f"in {at.parents[1]} a file that is replaced is not whole"
            raise KeysteadError("KS-ARRAY-003", text)


def _locks(at: Path) -> None:
    """Between two descriptors of one process, for hosts share processes, and between processes."""
    path = at / "lock"
    try:
        held = locks.take_lock(path)
    except OSError as error:
        raise _no_locks(at, f"locks are refused: {error.strerror or error}") from None
    try:
        with_us = _taken(path)
        with_them = HELD if with_us else _second_process(path)
        if with_us or with_them == FREE:
            others = "the same process" if with_us else "another process"
            raise _no_locks(at, f"a lock is not seen by {others}")
        if with_them == REFUSED:
            raise _no_locks(at, "locks are refused to another process")
    finally:
        os.close(held)
    if _second_process(path) != FREE:
        raise _no_locks(at, "a lock is not given back")


def _taken(path: Path) -> bool:
    try:
        descriptor = locks.take_lock(path)
    except locks.Locked:
        return False
    except OSError as error:
        raise _no_locks(path.parent, f"locks are refused: {error.strerror or error}") from None
    os.close(descriptor)
    return True


def _second_process(path: Path) -> int:
    """A process that imports next to nothing: it is there in two hundredths of a second."""
    words = [sys.executable, "-E", "-S", "-m", "lab.arrays.second_process", str(path)]
    try:
        ran = subprocess.run(
            words, cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CHILD_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        text = f"a lock in {path.parents[2]} was not tried within {_CHILD_LIMIT_S:g} s"
        raise KeysteadError("KS-ARRAY-007", text) from None
    if ran.returncode not in (HELD, FREE, REFUSED):
        raise KeysteadError("KS-INT-001", f"a lock was not tried: {ran.stderr[-500:]!r}")
    return ran.returncode


def _no_locks(at: Path, text: str) -> KeysteadError:
    return KeysteadError("KS-ARRAY-002", f"in {at.parents[1]} {text}")
