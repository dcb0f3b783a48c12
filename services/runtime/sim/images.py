"""The two images of a simulated disk, *written* and *synced*, as inodes and folders.

The rules are those of ``services.runtime.store``; errors are those of a POSIX file system.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.runtime.store import components, file_components


@dataclass(eq=False)
class Inode:
    """A file's content: as written, and as the last ``sync`` left it.

    The next sync does not carry the first ``clean`` bytes. ``reaching`` is what a sync brings to
    the device, when that differs from what was written.
    """

    written: bytes = b""
    synced: bytes = b""
    clean: int = 0
    reaching: bytes | None = None


@dataclass(eq=False)
class Folder:
    """A folder's names: as they are, and as the last ``sync_folder`` left them."""

    written: dict[str, Inode | Folder] = field(default_factory=dict)
    synced: dict[str, Inode | Folder] = field(default_factory=dict)


class Images:
    """A whole disk. All methods are synchronous and take effect at once."""

    def __init__(self) -> None:
        self._root = Folder()

    def _folder(self, names: tuple[str, ...], *, make: bool = False) -> Folder:
        here = self._root
        for name in names:
            found = here.written.get(name)
            if found is None and make:
                found = here.written[name] = Folder()
            match found:
                case None:
                    raise _error(errno.ENOENT, "/".join(names))
                case Inode():
                    raise _error(errno.ENOTDIR, "/".join(names))
                case Folder():
                    here = found
        return here

    def _file(self, path: str) -> Inode:
        *above, name = file_components(path)
        match self._folder(tuple(above)).written.get(name):
            case None:
                raise _error(errno.ENOENT, path)
            case Folder():
                raise _error(errno.EISDIR, path)
            case Inode() as inode:
                return inode

    def _create_file(self, path: str) -> Inode:
        *above, name = file_components(path)
        self._folder(tuple(above), make=True).written.setdefault(name, Inode())
        return self._file(path)

    def read(self, path: str) -> bytes:
        """The written content of the file."""
        return self._file(path).written

    def write(self, path: str, data: bytes) -> None:
        """Create or truncate the file, and its folders."""
        inode = self._create_file(path)
        inode.written, inode.clean, inode.reaching = bytes(data), 0, None

    def append(self, path: str, data: bytes) -> None:
        """Write at the end of the file, created if needed."""
        inode = self._create_file(path)
        inode.written += data
        if inode.reaching is not None:
            inode.reaching += data

    def sync(self, path: str) -> None:
        """Carry the content of the file to the synced image."""
        inode = self._file(path)
        inode.synced = inode.written if inode.reaching is None else inode.reaching
        inode.clean = len(inode.written)

    def lose_unsynced(self, path: str) -> None:
        """A sync of the file has failed: what was written since the last sync never reaches the
        device.

        It can still be read, and the next sync succeeds, because the kernel counts it as written
        back (as Linux does). The device has a hole in its place until it is written again.
        """
        inode = self._file(path)
        kept = (inode.written if inode.reaching is None else inode.reaching)[: inode.clean]
        inode.reaching = kept + bytes(len(inode.written) - len(kept))
        inode.clean = len(inode.written)

    def replace(self, source: str, target: str) -> None:
        """Rename atomically."""
        inode = self._file(source)
        *above, name = file_components(target)
        folder = self._folder(tuple(above))
        if isinstance(folder.written.get(name), Folder):
            raise _error(errno.EISDIR, target)
        *source_above, source_name = file_components(source)
        del self._folder(tuple(source_above)).written[source_name]
        folder.written[name] = inode

    def remove(self, path: str) -> None:
        """Remove the file; ``FileNotFoundError`` when it is not there."""
        self._file(path)
        *above, name = file_components(path)
        del self._folder(tuple(above)).written[name]

    def sync_folder(self, folder: str) -> None:
        """Carry the names in ``folder`` to the synced image."""
        here = self._folder(components(folder))
        here.synced = dict(here.written)

    def names(self, folder: str) -> tuple[str, ...]:
        """The sorted names in ``folder``; empty when it is not there."""
        try:
            return tuple(sorted(self._folder(components(folder)).written))
        except FileNotFoundError:
            return ()

    def after_power_loss(self) -> Images:
        """The disk that boots after a power loss: the synced image, which is now the written one
        too."""
        after = Images()
        after._root = _survivors(self._root)
        return after

    def walk(self, *, synced: bool) -> Iterator[tuple[str, bytes]]:
        """(path, content) of one image, in order of path."""
        yield from _walk(self._root, "", synced)


def _survivors(folder: Folder) -> Folder:
    """``folder`` with synced names and contents; two names of one file become two files."""
    after = Folder()
    for name, entry in folder.synced.items():
        match entry:
            case Folder():
                after.written[name] = _survivors(entry)
            case Inode():
                after.written[name] = Inode(entry.synced, entry.synced, len(entry.synced))
    after.synced = dict(after.written)
    return after


def _walk(folder: Folder, above: str, synced: bool) -> Iterator[tuple[str, bytes]]:
    names = folder.synced if synced else folder.written
    for name in sorted(names):
        match names[name]:
            case Folder() as below:
                yield from _walk(below, f"{above}{name}/", synced)
            case Inode() as inode:
                yield f"{above}{name}", inode.synced if synced else inode.written


def _error(code: int, path: str) -> OSError:
    """An ``OSError``; Python picks its subclass from the code."""
    return OSError(code, os.strerror(code), path)
