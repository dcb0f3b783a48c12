"""What outlives a node's lives: its storage, and the array it shares with its cluster.

A ``Store`` hands out the ``Disk`` port of one life and is told how that life ended; an
``Array`` does the same for the datastore. Both drivers (``lab.disk``, ``sim.disk``) keep these
rules:

- A file has two contents, *written* and *synced*; ``sync`` copies the first to the second.
- A folder has two lists of names, *written* and *synced*; ``sync_folder`` copies the first to
  the second. A new folder is a name in its parent, durable after ``sync_folder`` of the parent.
- A crash keeps what was written. A power loss keeps, of the names that are reachable from the
  root by synced names, the synced contents: a name whose content was never synced is empty.
- A database keeps what it committed. A power loss also takes back the commits since the service
  turned ``PRAGMA synchronous`` below FULL, up to the next commit made with FULL.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, Protocol

from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Datastore, Disk

NAME_LIMIT: Final = 255
"""Bytes of a name, as file systems have it, and of a folder's path in its quoted form."""

FILE_LIMIT: Final = 2**63 - 1
"""Bytes of a file, as the calls of an operating system can name them."""


class Array(Protocol):
    """A cluster's shared array; outlives all hosts. One VM's lock has at most one holder."""

    def open(self, life: Incarnation) -> Datastore:
        """The Datastore port of ``life``; the same object at each call."""
        ...

    async def end(self, life: Incarnation) -> None:
        """``life`` is over: wait for its write in flight, then free its locks."""
        ...

    def images(self) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of every file at rest, in order of path."""
        ...


Arrays = Callable[[str], Array]
"""Finds a shared array by name; ``KeyError`` when there is none."""


def find_array(arrays: Arrays, name: str) -> Array:
    """The array ``name`` for the Disk port: ``FileNotFoundError`` when there is none."""
    try:
        return arrays(plain(name))
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "there is no such datastore", name) from None


class Store(Protocol):
    """One node's storage. It has at most one life at a time.

    ``full`` (ENOSPC) and ``fail`` (EIO) are set by the lab at any time; ``refused`` counts the
    calls that one of them refused, so that a fault can show that it bites.
    """

    full: bool
    fail: bool
    refused: int

    def disk(self, life: Incarnation) -> Disk:
        """The Disk port of ``life``; the same object at each call of one life.

        Raises ``RuntimeError`` while an earlier life was not handed to ``end``.
        """
        ...

    async def end(self, life: Incarnation, way: WayDown) -> None:
        """After ``life`` ended: databases rolled back and kept, datastore locks freed.

        After a power loss only the synced image is there. It may also be called for a life of
        a process that was killed. On return nothing of that life touches the store any more.
        """
        ...

    async def save(self, label: str) -> None:
        """Keep a copy of everything under ``label``, replacing an older one.

        The node must be off (``RuntimeError``). So for what is done with the copy later.
        """
        ...

    async def restore(self, label: str) -> None:
        """Put the copy back, both images as they were; ``KeyError`` if there is none."""
        ...

    async def restore_databases(self, label: str) -> None:
        """As ``restore``, of databases only: all other files stay as they are."""
        ...

    async def drop(self, label: str) -> None:
        """Forget the copy; no change if there is none."""
        ...

    async def wipe(self) -> None:
        """Leave an empty disk, both images of it; copies stay. The node must be off."""
        ...

    async def room(self, *, to_copy: bool) -> None:
        """Check that there is room for the next life to begin, and for a copy of everything
        (``to_copy``); the node may be on. ``OSError`` when there is not."""
        ...

    def images(self) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of everything at rest, in a fixed order: ``written/...``,
        ``synced/...``, ``databases/...``. Copies kept by ``save`` are not part of it."""
        ...


class Switches:
    """The two fault switches of a store, and what they refuse."""

    def __init__(self) -> None:
        self.full = False
        self.fail = False
        self.refused = 0

    def admit(self, what: str, *, grows: bool = False) -> None:
        """Raise ``OSError`` if a switch is on: EIO for every call, ENOSPC for one that grows."""
        if self.fail:
            code = errno.EIO
        elif self.full and grows:
            code = errno.ENOSPC
        else:
            return
        self.refused += 1
        raise OSError(code, os.strerror(code), what)


def components(path: str) -> tuple[str, ...]:
    """The names of a relative path, from the top; ``()`` for the root folder ``""``.

    Raises ``ValueError`` for a path that is absolute, or has an empty part, ``.`` or ``..``, and
    ``OSError`` (``ENAMETOOLONG``) for a name or a folder's path that is too long.
    """
    if path == "":
        return ()
    names = tuple(plain(part) for part in path.split("/"))
    folder = "/".join(names[:-1]).encode()
    # Few are long enough to be counted byte by byte.
    if (
        len(folder) * LONGEST_QUOTED >= NAME_LIMIT
        and sum(map(_length_when_quoted, folder)) >= NAME_LIMIT
    ):
        raise _too_long(path)
    return names


def file_components(path: str) -> tuple[str, ...]:
    """As ``components``, for a file, which must have a name."""
    names = components(path)
    if not names:
        raise ValueError("a file needs a name")
    return names


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """``name`` if it is one plain name (no separator, not ``.`` or ``..``); ``ValueError``.

    ``OSError`` (``ENAMETOOLONG``) for one of more than ``NAME_LIMIT`` bytes.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a plain name")
    if len(name.encode()) > NAME_LIMIT:
        raise _too_long(name)
    return name


def database_name(name: str) -> str:
    """As ``plain``, for a database: its files have longer names."""
    plain(f"{name}.unfinished")
    return plain(name)


LONGEST_QUOTED: Final = len("%2F")


def _length_when_quoted(byte: int) -> int:
    """How many characters a byte has where a whole path is one name: see ``real.trees``."""
    as_it_is = chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_.-~")
    return 1 if as_it_is else LONGEST_QUOTED


def _too_long(path: str) -> OSError:
    return OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)


def place_blocks(
    vm: str, file: str, blocks: Mapping[int, bytes], end: int
) -> list[tuple[int, bytes]]:
    """Offset and content of each block, in order, in a file that has ``end`` bytes.

    ``ValueError`` for a block beyond the end that the ones before it have made, for one that is
    none (``block_start``), and for sizes that differ.
    """
    found: list[tuple[int, bytes]] = []
    for index, data in blocks.items():
        start = block_start(index, len(data))
        if found and len(data) != len(found[0][1]):
            raise ValueError(
                f"{vm}/{file}: block {index} is not a block of {len(found[0][1])} bytes"
            )
        if start > end:
            raise ValueError(f"{vm}/{file}: block {index} is beyond the end")
        end = max(end, start + len(data))
        found.append((start, data))
    return found


def block_start(index: int, size: int) -> int:
    """The offset of block ``index`` in a file of blocks of ``size`` bytes; ``ValueError``."""
    if index < 0 or size <= 0 or (index + 1) * size > FILE_LIMIT:
        raise ValueError(f"no block {index} of {size} bytes")
    return index * size
