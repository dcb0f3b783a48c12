"""Replacing a file of the Disk port so that a crash or a power loss leaves the old or the new.

A file that must never be seen in part is written beside its place, synced, renamed over the old
one, and the rename is made durable by a sync of the folder. Everything that keeps state in a
file of its own (configuration archive, master key, boot options) goes through here.
"""

from __future__ import annotations

from services.runtime.ports import Disk


async def replace_durably(
    disk: Disk, path: str, data: bytes, *, folder_is_new: bool = False
) -> None:
    """Put ``data`` in the place of ``path``; whole and durable on return.

    ``folder_is_new``: the folder of ``path`` was perhaps never synced into its parent, which is
    the disk's root, and is so now. Raises ``OSError`` when the disk refuses; what was at
    ``path`` is there as before then, or is replaced and only not yet durable. Two calls for one
    path must not overlap: both would write the same unfinished file, ``<path>.new``. One that a
    life's end cut short leaves that file (``drop_unfinished``).
    """
    unfinished = _temporary_path(path)
    folder = path.rpartition("/")[0]
    await disk.write(unfinished, data)
    await disk.sync(unfinished)
    await disk.replace(unfinished, path)
    await disk.sync_folder(folder)
    if folder_is_new and folder:
        await disk.sync_folder()


async def drop_unfinished(disk: Disk, path: str) -> None:
    """Remove what a replacement that never came to its end has left beside ``path``.

    It is gone for good when the folder is synced. Raises ``OSError`` when the disk refuses.
    """
    unfinished = _temporary_path(path)
    folder, _, name = unfinished.rpartition("/")
    if name in await disk.list(folder):
        await disk.remove(unfinished)


def _temporary_path(path: str) -> str:
    return f"{path}.new"
