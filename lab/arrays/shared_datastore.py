"""A shared datastore as one machine sees it, below the folder that is mounted there, and what it
needs of that folder, tried by doing it there.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room
from protocol.printable import quote_if_needed
from services.runtime.real import files
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
        held = files.take_lock(path)
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
        descriptor = files.take_lock(path)
    except files.Locked:
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


SIGN_BYTES: Final = 16
SEEN_WITHIN_S: Final = 5.0  # what one machine writes may reach another late
_LOOK_EVERY_S: Final = 0.1
_OWNER: Final = "lab.json"
_SIGNS: Final = "signs"
_PARTS: Final = (_SIGNS, TRIALS, "vms", "locks", "incoming")


class _Owner(msgspec.Struct, frozen=True):
    """``id`` was drawn for this datastore of this lab."""

    lab: str
    id: str


class SharedDatastore:
    """The datastore ``name`` in ``folder``, for the machine ``machine``. All of it blocks."""

    def __init__(self, folder: Path, name: str, machine: str) -> None:
        self.path, self._mounted = folder / name, folder
        self._name, self._machine = name, machine
        self._sign: tuple[Path, int] | None = None
        self._shown: _Owner | None = None

    def show(self, lab: str, array_id: str, fresh: bool) -> str:
        """Try the folder and leave a sign there, whose name is returned; ``fresh``: no machine has
        been there yet. KS-ARRAY-001 to KS-ARRAY-006 when it does not fit."""
        self.close()
        owner = _Owner(lab, array_id)
        with convert_write_errors(self.path):
            self._whole(fresh)
            empty = self._empty(owner, fresh)
            name = f"{array_id}.{self._machine}"
            clear(self.path, name)
            trial(self.path, name)
            if empty:
                self._own(owner, name)
            self._shown = owner
            return self._leave_sign()

    def _whole(self, fresh: bool) -> None:
        """See that the folder is there, made if it is ``fresh``, and all of it in one place."""
        if not self._mounted.is_dir():
            raise KeysteadError("KS-ARRAY-004", f"there is no folder {self._mounted}")
        if self.path.is_symlink():
            raise KeysteadError("KS-ARRAY-004", f"{self.path} is a symbolic link")
        if fresh:
            self.path.mkdir(0o700, exist_ok=True)
        elif not self.path.is_dir():
            raise self._another("is not there")
        device = self.path.stat().st_dev
        for part in _PARTS:
            with suppress(FileNotFoundError):
                found = (self.path / part).lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_dev != device:
                    raise self._another(f"leads elsewhere at {self.path / part}")

    def _empty(self, owner: _Owner, fresh: bool) -> bool:
        """Whether nothing lies there yet; what does is the lab's."""
        there = {one.name for one in self.path.iterdir()} - {TRIALS, _SIGNS}
        if _OWNER in there and not self._blank():
            if self._owner() != owner:
                raise self._not_ours()
            return False
        if there - {_OWNER}:
            text = f"{self.path} has something in it that no lab's datastore is"
            raise KeysteadError("KS-ARRAY-006", text)
        if not fresh:
            raise self._another("is empty")
        return True

    def _own(self, owner: _Owner, name: str) -> None:
        """Write whose it is, unless another lab has done so meanwhile."""
        fresh = self.path / TRIALS / f"{name}.{os.urandom(8).hex()}"
        with self._alone():
            if self._blank():
                data = msgspec.json.encode(owner)
                replace_file(self.path / _OWNER, data, unfinished=fresh, durable=True)
        if self._owner() != owner:
            raise self._not_ours()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Those that come at once take turns, by a lock of the file that will say whose it is."""
        until = time.monotonic() + SEEN_WITHIN_S
        while True:
            try:
                descriptor = files.take_lock(self.path / _OWNER)
                break
            except files.Locked:
                if time.monotonic() > until:
                    text = f"{self.path} is being taken by another lab"
                    raise KeysteadError("KS-ARRAY-006", text) from None
                time.sleep(_LOOK_EVERY_S / 10)
        try:
            yield
        finally:
            os.close(descriptor)

    def _blank(self) -> bool:
        """Whether the file is there for its lock alone, as also after a kill."""
        return (self.path / _OWNER).stat().st_size == 0

    def _owner(self) -> _Owner | None:
        data = (self.path / _OWNER).read_bytes()
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(data, type=_Owner)
        return None

    def _not_ours(self) -> KeysteadError:
        owner = self._owner()
        whose = (
            f"the lab {quote_if_needed(owner.lab)}"
            if owner
            else "a lab that it does not name any more"
        )
        return KeysteadError("KS-ARRAY-006", f"{self.path} has the datastore of {whose}, another")

    def _another(self, what: str) -> KeysteadError:
        text = f"{self.path} {what}, and the lab has its datastore {self._name} already"
        return KeysteadError("KS-ARRAY-001", text)

    def _leave_sign(self) -> str:
        signs = self.path / _SIGNS
        signs.mkdir(0o700, exist_ok=True)
        for old in signs.glob(f"{self._machine}.*"):
            with suppress(files.Locked):
                descriptor = files.take_lock(old)
                old.unlink(missing_ok=True)
                os.close(descriptor)
        sign = f"{self._machine}.{os.urandom(SIGN_BYTES).hex()}"
        self._sign = signs / sign, files.take_lock(signs / sign)
        return sign

    def look(self, sign: str) -> None:
        """See that another machine's sign is there, and held. KS-ARRAY-001, KS-ARRAY-002."""
        path, until = self.path / _SIGNS / sign, time.monotonic() + SEEN_WITHIN_S
        with convert_write_errors(self.path):
            while not path.exists():
                if time.monotonic() > until:
                    machine = sign.partition(".")[0].removeprefix("_")
                    text = f"{self.path} is not the folder that machine {machine} has there"
                    raise KeysteadError("KS-ARRAY-001", text)
                time.sleep(_LOOK_EVERY_S)
        try:
            os.close(files.take_lock(path))
        except files.Locked:
            return
        except OSError as error:
            text = f"in {self.path} locks are refused: {error.strerror or error}"
            raise KeysteadError("KS-ARRAY-002", text) from None
        text = f"in {self.path} a lock that another machine holds is not seen"
        raise KeysteadError("KS-ARRAY-002", text)

    def remove(self) -> None:
        """The lab is no more, nor is its datastore. What was not tried stays, and what is another
        lab's by now: something else may be mounted there."""
        if self._sign is None:
            return
        with suppress(OSError):
            if self._sees_its_sign() or self._owner() == self._shown:
                shutil.rmtree(self.path, ignore_errors=True)  # other machines do the same
        self.close()

    def _sees_its_sign(self) -> bool:
        """Whether the folder is still the one that was shown."""
        if self._sign is None:
            return False
        path, descriptor = self._sign
        try:
            return os.path.samestat(path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Take the sign back; no change without one."""
        sign, self._sign = self._sign, None
        if sign is not None:
            with suppress(OSError):
                sign[0].unlink(missing_ok=True)
            os.close(sign[1])


def link(own: Path, folders: Mapping[str, Path]) -> None:
    """Let the folder ``own`` of a machine's datastores have those in ``folders``, by their names.
    KS-ARRAY-001 where one lies in ``own`` itself, or anywhere in this machine's state folder,
    where commands remove what they do not know; KS-LAB-005 when nothing can be written."""
    try:
        home = own.parents[2].resolve()
        for name, folder in folders.items():
            if folder.resolve().is_relative_to(home):
                text = (
                    f"the folder {folder} of the datastore {name} lies in the state folder {home}"
                )
                raise KeysteadError("KS-ARRAY-001", text, "name a folder outside of it")
        if own.is_symlink():
            own.unlink()  # of a version that had all of them in one folder
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, folder in folders.items():
            at = own / name
            if at.is_symlink():
                at.unlink()
            elif at.exists():
                text = f"the datastore {name} lies in {at}, which no other machine sees"
                raise KeysteadError("KS-ARRAY-001", text, f"remove {at}, if nobody needs it")
            at.symlink_to(folder.absolute() / name)
    except OSError as error:
        raise no_room(error) from None
