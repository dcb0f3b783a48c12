"""Folders that nobody shall find again: labs that are being removed, labs of one run.

They lie in ``scratch/`` of the state folder. A lab that is removed is moved there first, in one
step, so that what is left after a kill is never half a lab under its name. A lab of one run is
made there, and holds the lock of its folder for as long as its process lives. ``collect`` removes
what nobody holds: the next command of any kind calls it.

Keep it light: every command imports it, and most remove nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.schema.errors import KeysteadError

LOCK = "lock"
_TRIES = 5


def state_home() -> Path:
    """Where everything of this user lies; made when it is first needed. KS-LAB-005 when there is
    no such place: of a user without a home, below a current folder that is gone, or of a file."""
    own, xdg = os.environ.get("KEYSTEAD_STATE_HOME"), os.environ.get("XDG_STATE_HOME")
    try:
        home = Path(own).expanduser().absolute() if own else _default(xdg)
        if (file := _in_its_place(home)) is None:
            return home
        why = f"{home}: {file} is no folder"
    except RuntimeError:
        why = f"there is no home folder for {own}" if own else "HOME is not set, nor known"
    except OSError:
        why = f"{own} is below the current folder, which is gone"
    raise KeysteadError("KS-LAB-005", why, "name a folder with KEYSTEAD_STATE_HOME, from / on")


def _default(xdg: str | None) -> Path:
    return (Path(xdg) if xdg else Path.home() / ".local" / "state") / "keystead"


def _in_its_place(folder: Path) -> Path | None:
    """What is there that is no folder, in place of this one or of one above it."""
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), None)
    return None if there is None or there.is_dir() else there


def no_room(error: OSError) -> KeysteadError:
    """What a person reads when the state folder cannot be written: KS-LAB-005, or KS-LAB-008
    when a folder is where a file should be."""
    where = error.filename2 or error.filename or "state folder"
    text = f"{where}: {error.strerror or error}"
    if error.errno == errno.EISDIR:
        return KeysteadError("KS-LAB-008", text, f"move {where} away, then start again")
    return KeysteadError("KS-LAB-005", text)


def hold(folder: Path) -> int | None:
    """The lock of ``folder``, as a descriptor that holds it until it is closed; None when another
    process has it, or has removed the folder meanwhile. Raises ``OSError``."""
    path = folder / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None  # the folder was removed under us
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(fd).st_ino:
            return fd
    except OSError:
        pass  # held by another, or removed after we opened it
    os.close(fd)
    return None


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder of this process, called after ``name``, that is gone after the block; KS-LAB-005
    when it cannot be made. After a kill, ``collect`` removes it."""
    collect()
    folder, lock = _make_folder(name)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _make_folder(name: str) -> tuple[Path, int]:
    import tempfile

    for _ in range(_TRIES):
        try:
            _root().mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_root()))
            lock = hold(folder)
        except OSError as error:
            raise no_room(error) from None
        if lock is not None:  # else somebody collected it before it was held
            return folder, lock
    raise KeysteadError("KS-LAB-005", f"{_root()}: folders in it do not stay")


def move_away(folder: Path) -> Path:
    """Take ``folder`` from its place in one step; where it is now, for who removes it.

    KS-LAB-005 when that is refused: it is all still there then.
    """
    try:
        _root().mkdir(parents=True, exist_ok=True, mode=0o700)
        target = _root() / f"{folder.name}-{os.urandom(4).hex()}"
        folder.rename(target)
    except OSError as error:
        raise no_room(error) from None
    return target


def collect() -> None:
    """Remove what a killed process has left; nothing that a living one holds. Never raises."""
    try:
        left = [Path(entry.path) for entry in os.scandir(_root()) if entry.is_dir()]
    except (OSError, KeysteadError):
        return
    for folder in left:
        with suppress(OSError):
            lock = hold(folder)
            if lock is not None:
                _remove(folder)
                os.close(lock)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    return state_home() / "scratch"
