"""The two images of a node's disk as folders of real files.

- ``written/``  the files as they are, under their paths
- ``contents/`` the same names, with the content that the last ``sync`` left
- ``synced/``   per folder (``+`` and its quoted path) the names that the last ``sync_folder``
  left: a hard link into ``contents/`` per file, an empty folder per folder

A rename without ``sync_folder`` leaves ``synced/`` as it was, while a later ``sync`` of the
same file reaches it through the link. Each step is chosen so that a process that is killed
between two system calls leaves a state that a killed kernel could have left; ``recover`` puts
the three folders in step again.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import msgspec

from services.runtime.store import components, file_components

IMAGES = ("written", "contents")
"""The folders with every file's bytes: as they are, and as the last ``sync`` left them."""
TREES = (*IMAGES, "synced")
ENDS = 8
"""How many files stay open for appending."""

_PIECE = 1 << 20
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


class ImageFolders:
    """A whole disk. All methods block; the caller runs one at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._written, self._contents, self._synced = (root / name for name in TREES)
        self._intent, self._lost = root / "intent", root / "lost"
        self._ends: dict[str, DurableEnd] = {}  # files whose two images have the same content

    # ---- the port's calls -------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """The written content of the file."""
        with open(self._open_file(path, os.O_RDONLY), "rb") as file:
            return file.read()

    def write(self, path: str, data: bytes, flags: int = os.O_TRUNC) -> None:
        """Create or truncate the file, and its folders; ``flags`` are those of ``open``."""
        names = file_components(path)
        self.close(path)
        for tree in (self._written, self._contents):
            self._check(tree, names)
            # The root is not created here: a lost disk must not come back as an empty one.
            folder = tree
            try:
                for name in names[:-1]:
                    folder = folder / name
                    folder.mkdir(0o700, exist_ok=True)
            except FileExistsError:
                raise _error(errno.ENOTDIR, path) from None
        descriptor = self._open_file(path, os.O_WRONLY | os.O_CREAT | flags)
        with open(descriptor, "wb") as file:
            self._contents.joinpath(*names).touch(0o600)
            file.write(data)

    def append(self, path: str, data: bytes) -> None:
        """Write at the end of the file, created if needed."""
        self.close(path)
        try:
            descriptor = self._open_file(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            self.write(path, data, os.O_APPEND)
            return
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def append_synced(self, path: str, data: bytes) -> None:
        """``append`` and ``sync``. A file in the root folder to which nothing else was done since
        the last call stays open, and only the new bytes are copied: each system call may have to
        wait for another thread."""
        end = self._ends.pop(path, None)  # after a failure the two images differ
        if end is None or not end.is_of(f"{self._written}/{path}"):
            if end is not None:
                end.close()
            self.append(path, data)
            self.sync(path)
            if "/" not in path and len(self._ends) < ENDS:
                self._ends[path] = DurableEnd(f"{self._written}/{path}", f"{self._contents}/{path}")
            return
        try:
            end.append(data)
        except BaseException:
            end.close()
            raise
        self._ends[path] = end

    def close(self, path: str | None = None) -> None:
        """Close the files that are open, or this one."""
        for name in [path] if path is not None else list(self._ends):
            end = self._ends.pop(name, None)
            if end is not None:
                end.close()

    def sync(self, path: str) -> None:
        """Copy the content of the file to the synced image."""
        descriptor = self._open_file(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
            data = _read_all(descriptor)
        finally:
            os.close(descriptor)
        # In place, never truncated first: after a kill in between, the durable content is still
        # there.
        shadow = os.open(f"{self._contents}/{path}", os.O_WRONLY | _NO_LINK)
        try:
            write_all(shadow, data)
            if os.fstat(shadow).st_size != len(data):
                os.ftruncate(shadow, len(data))
        finally:
            os.close(shadow)

    def replace(self, source: str, target: str) -> None:
        """Rename atomically; ``recover`` finishes or undoes a rename that a kill interrupted."""
        before, after = file_components(source), file_components(target)
        self.close(source)
        self.close(target)
        self._check(self._written, before)
        self._check(self._written, after)
        if stat.S_ISDIR(os.lstat(self._written.joinpath(*before)).st_mode):
            raise _error(errno.EISDIR, source)
        if self._written.joinpath(*after).is_dir():
            raise _error(errno.EISDIR, target)
        self._intent.write_bytes(msgspec.json.encode((before, after)))
        try:
            os.rename(self._written.joinpath(*before), self._written.joinpath(*after))
        except OSError:
            self._intent.unlink()
            raise
        os.rename(self._contents.joinpath(*before), self._contents.joinpath(*after))
        self._intent.unlink()

    def remove(self, path: str) -> None:
        """Remove the file; ``FileNotFoundError`` when it is not there."""
        names = file_components(path)
        self.close(path)
        self._check(self._written, names)
        self._written.joinpath(*names).unlink()
        self._contents.joinpath(*names).unlink()

    def sync_folder(self, folder: str) -> None:
        """Copy the names in ``folder`` to the synced image."""
        names = components(folder)
        self._check(self._written, names)
        written = self._written.joinpath(*names)
        descriptor = os.open(written, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable = self._names(names)
        durable.mkdir(0o700, exist_ok=True)
        present = {entry.name: entry.is_dir(follow_symlinks=False) for entry in os.scandir(written)}
        for entry in list(os.scandir(durable)):
            if present.get(entry.name) is not entry.is_dir():
                _discard(Path(entry.path))
        for name in sorted(present):
            if present[name]:
                (durable / name).mkdir(0o700, exist_ok=True)
            else:
                self._link(self._contents.joinpath(*names, name), durable / name)

    def names(self, folder: str) -> tuple[str, ...]:
        """The sorted names in ``folder``; empty when it is not there."""
        names = components(folder)
        self._check(self._written, names)
        try:
            return tuple(sorted(os.listdir(self._written.joinpath(*names))))
        except FileNotFoundError:
            return ()

    # ---- between two lives ------------------------------------------------------------------

    def recover(self) -> None:
        """Create the folders if needed, and finish what a killed process began."""
        self.close()
        if self._lost.exists():
            self.lose_power()
        self.root.mkdir(0o700, parents=True, exist_ok=True)
        for tree in (self._written, self._contents, self._synced):
            tree.mkdir(0o700, exist_ok=True)
        self._names(()).mkdir(0o700, exist_ok=True)
        if self._intent.exists():
            self._finish_replace(self._intent.read_bytes())
            self._intent.unlink(missing_ok=True)
        for path, directory in _walk_below(self._contents):
            twin = self._written / path
            if not directory and not twin.is_file():
                (self._contents / path).unlink()
        for path, directory in _walk_below(self._written):
            twin = self._contents / path
            if directory:
                twin.mkdir(0o700, exist_ok=True)
            else:
                twin.touch(0o600)

    def exists(self) -> bool:
        """Whether this is the folder of a disk: a lost disk must not be taken for a new one."""
        return self._synced.is_dir() and (self._written.is_dir() or self._lost.is_dir())

    def _finish_replace(self, intent: bytes) -> None:
        try:
            before, after = msgspec.json.decode(intent, type=tuple[list[str], list[str]])
        except msgspec.DecodeError:
            return  # the intent was cut while it was written: nothing was renamed yet
        shadow = self._contents.joinpath(*before)
        if not self._written.joinpath(*before).exists() and shadow.exists():
            os.rename(shadow, self._contents.joinpath(*after))

    def lose_power(self) -> None:
        """Keep only the synced image, which becomes the written image too.

        This also works on a full device: it frees room before it creates anything. After an
        interruption by a kill or an ``OSError`` it continues with the next call, or with
        ``recover``.
        """
        self.close()
        if not self._lost.exists():  # this name marks that the power was lost
            os.rename(self._written, self._lost)
        for tree in (self._written, self._contents):
            shutil.rmtree(tree, ignore_errors=True)
        for rest in list(self._lost.iterdir()):
            if rest.is_dir() and not rest.is_symlink():
                shutil.rmtree(rest)
            else:
                rest.unlink()
        self._intent.unlink(missing_ok=True)
        self._written.mkdir(0o700)
        self._contents.mkdir(0o700)
        reached = [self._names(()).name]
        for path, entry in self._reachable(()):
            written, contents = self._written / path, self._contents / path
            if entry.is_dir():
                written.mkdir(0o700)
                contents.mkdir(0o700)
                reached.append(self._names(Path(path).parts).name)
                continue
            shutil.copy(entry, written)
            if entry.stat().st_nlink == 1:
                os.link(entry, contents)
            else:  # two synced names of one file become two files
                shutil.copy(entry, contents)
                self._link(contents, entry)
        for folder in list(self._synced.iterdir()):
            if folder.name not in reached:
                shutil.rmtree(folder)
        os.rmdir(self._lost)

    def walk(self, *, synced: bool) -> Iterator[tuple[str, bytes]]:
        """(path, content) of one image, in order of path."""
        if synced:
            found = [(path, file) for path, file in self._reachable(()) if file.is_file()]
        else:
            found = [
                (path, self._written / path)
                for path, below in _walk_below(self._written)
                if not below
            ]
        for path, file in sorted(found):
            yield path, file.read_bytes()

    # ---- below ------------------------------------------------------------------------------

    def _open_file(self, path: str, flags: int) -> int:
        self._check(self._written, file_components(path))
        descriptor = os.open(f"{self._written}/{path}", flags | _NO_LINK, 0o600)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _error(errno.EISDIR, path)
        return descriptor

    def _check(self, tree: Path, names: tuple[str, ...]) -> None:
        """``ValueError`` if a part of the path is a symbolic link, which could point outside."""
        here = str(tree)
        for name in names:
            here = f"{here}/{name}"
            if os.path.islink(here):
                raise ValueError(f"{'/'.join(names)}: {name} is a symbolic link")

    def _names(self, folder: tuple[str, ...]) -> Path:
        """The folder with the synced names of ``folder``."""
        return self._synced / ("+" + quote("/".join(folder), safe=""))

    def _link(self, source: Path, target: Path) -> None:
        if target.exists() and os.path.samefile(source, target):
            return
        fresh = self.root / "linking"
        fresh.unlink(missing_ok=True)
        os.link(source, fresh)
        os.replace(fresh, target)

    def _reachable(self, folder: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
        """(path, entry in ``synced/``) of everything reachable from the root along synced names; a
        folder comes before the files in it."""
        names = self._names(folder)
        if not names.is_dir():
            return
        for entry in sorted(names.iterdir()):
            path = (*folder, entry.name)
            yield "/".join(path), entry
            if entry.is_dir():
                yield from self._reachable(path)


def _read_all(descriptor: int) -> bytes:
    """The whole content of the file."""
    data = os.read(descriptor, _PIECE)
    if len(data) < _PIECE:
        return data
    parts = [data]
    while parts[-1]:
        parts.append(os.read(descriptor, _PIECE))
    return b"".join(parts)


def _walk_below(top: Path) -> list[tuple[str, bool]]:
    """(path, is a folder) of everything below ``top``; a folder comes before what is in it."""
    found = []
    for path in sorted(top.rglob("*")):
        found.append((path.relative_to(top).as_posix(), path.is_dir()))
    return found


def _discard(entry: Path) -> None:
    if entry.is_dir():
        entry.rmdir()
    else:
        entry.unlink()


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


# ---- appending -----------------------------------------------------------------------------------
# A file open for appending, in both images of a disk.

_BEHIND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class DurableEnd:
    """The file ``written``, whose content was just synced, and ``contents`` with the same content.
    All methods block."""

    def __init__(self, written: str, contents: str) -> None:
        with ExitStack() as stack:
            self._written = os.open(written, _BEHIND)
            stack.callback(os.close, self._written)
            self._contents = os.open(contents, _BEHIND)
            stack.callback(os.close, self._contents)
            self._status = os.fstat(self._written)
            self._size = self._status.st_size
            self._stack = stack.pop_all()

    def is_of(self, path: str) -> bool:
        """Whether ``path`` is still this file, with the size that it had after the last call."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return (
            stat.S_ISREG(found.st_mode)
            and (found.st_dev, found.st_ino) == (self._status.st_dev, self._status.st_ino)
            and found.st_size == self._size
        )

    def append(self, data: bytes) -> None:
        """Append ``data``; durable on return."""
        write_all(self._written, data)
        os.fdatasync(self._written)
        write_all(self._contents, data)
        self._size += len(data)

    def close(self) -> None:
        """Close both files."""
        self._stack.close()


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything; a device may accept a part at a time."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
