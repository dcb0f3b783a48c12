"""What outlives a node's lives: its storage, and the array it shares with its cluster.

A ``Store`` provides the ``Disk`` port of one life and is notified how that life ended; an ``Array``
does the same for the datastore. Both drivers (``real.disk``, ``sim.disk``) follow these rules:

- A file has two contents, *written* and *synced*; ``sync`` copies the first to the second.
- A folder has two lists of names, *written* and *synced*; ``sync_folder`` copies the first to
  the second. A new folder is a name in its parent, durable after ``sync_folder`` of the parent.
- A crash keeps what was written. A power loss keeps, of the names that are reachable from the
  root by synced names, the synced contents: a name whose content was never synced is empty.
- A database keeps what it committed. A power loss also undoes the commits since the service set
  ``PRAGMA synchronous`` below FULL, up to the next commit made with FULL.
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
"""Longest name in bytes, as file systems allow it, and longest quoted path of a folder."""

FILE_LIMIT: Final = 2**63 - 1
"""Largest file in bytes that calls of an operating system can address."""


class Array(Protocol):
    """A cluster's shared array, which outlives all hosts. A VM's lock has at most one holder."""

    def open(self, life: Incarnation) -> Datastore:
        """The Datastore port of ``life``; the same object at each call."""
        ...

    async def end(self, life: Incarnation) -> None:
        """``life`` has ended: wait for its write in flight, then release its locks."""
        ...

    def images(self) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of every stored file, in order of path."""
        ...


Arrays = Callable[[str], Array]
"""Finds a shared array by name; ``KeyError`` when there is none."""


def find_array(arrays: Arrays, name: str) -> Array:
    """The array ``name`` for the Disk port: ``FileNotFoundError`` when there is none."""
    try:
        return arrays(check_plain_name(name))
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "there is no such datastore", name) from None


class Store(Protocol):
    """One node's storage. It has at most one life at a time.

    The lab sets ``full`` (ENOSPC) and ``fail`` (EIO) at any time. ``refused`` counts the calls that
    they refused, so that a fault can show that it had an effect.
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
        """After ``life`` ended: roll databases back, close them, and release datastore locks.

        After a power loss only the synced image is left. Also for a life whose process was killed.
        After the return nothing of that life uses the store.
        """
        ...

    async def save(self, label: str) -> None:
        """Keep a copy of everything under ``label``, in place of an older one.

        The node must be off (``RuntimeError``); so for all other calls about copies.
        """
        ...

    async def restore(self, label: str) -> None:
        """Put the copy back, both images as they were; ``KeyError`` if there is none."""
        ...

    async def restore_databases(self, label: str) -> None:
        """As ``restore``, of databases only: all other files stay as they are."""
        ...

    async def drop(self, label: str) -> None:
        """Delete the copy; no change if there is none."""
        ...

    async def wipe(self) -> None:
        """Leave an empty disk, both images of it; copies stay. The node must be off."""
        ...

    async def check_room(self, *, to_copy: bool) -> None:
        """Check that there is room for the next life, and for a copy of everything (``to_copy``).
        The node may be on. ``OSError`` when there is no room."""
        ...

    def images(self) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of everything stored, in a fixed order: ``written/...``, ``synced/...``,
        ``databases/...``. Copies made by ``save`` are not part of it."""
        ...


class Switches:
    """The two fault switches of a store; they refuse calls."""

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
    names = tuple(check_plain_name(part) for part in path.split("/"))
    folder = "/".join(names[:-1]).encode()
    # Few paths are long enough to be counted byte by byte.
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
def check_plain_name(name: str) -> str:
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
    check_plain_name(f"{name}.unfinished")
    return check_plain_name(name)


LONGEST_QUOTED: Final = len("%2F")


def _length_when_quoted(byte: int) -> int:
    """How many characters a byte needs in a quoted path (``real.image_folders``)."""
    as_it_is = chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_.-~")
    return 1 if as_it_is else LONGEST_QUOTED


def _too_long(path: str) -> OSError:
    return OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)


def place_blocks(
    vm: str, file: str, blocks: Mapping[int, bytes], end: int
) -> list[tuple[int, bytes]]:
    """Offset and content of each block, in order, in a file that has ``end`` bytes.

    ``ValueError`` for a block beyond the end of the file as the earlier blocks extend it, for an
    invalid index or size (``block_start``), and for sizes that differ.
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
