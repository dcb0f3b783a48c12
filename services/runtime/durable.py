"""Replacing a file of the Disk port so that a crash or a power loss leaves the old or the new file.

The new content is written beside the file, synced, and renamed over it; a sync of the folder makes
the rename durable. All state in files of its own (configuration archive, master key, boot options)
is written this way.
"""

from __future__ import annotations

from services.runtime.ports import Disk


async def replace_durably(
    disk: Disk, path: str, data: bytes, *, folder_is_new: bool = False
) -> None:
    """Replace the content of ``path`` by ``data``; complete and durable on return.

    ``folder_is_new``: the folder of ``path`` may not have been synced into its parent, the root of
    the disk; it is synced too. Raises ``OSError`` when the disk fails: then ``path`` has the old
    content, or the new one that is not durable yet. Two calls for one path must not overlap: both
    would write ``<path>.new``. A call cut short by the end of the life leaves that file
    (``drop_unfinished``).
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
    """Remove what an unfinished replacement has left beside ``path``.

    Durable when the folder is synced. Raises ``OSError`` when the disk fails.
    """
    unfinished = _temporary_path(path)
    folder, _, name = unfinished.rpartition("/")
    if name in await disk.list(folder):
        await disk.remove(unfinished)


def _temporary_path(path: str) -> str:
    return f"{path}.new"
