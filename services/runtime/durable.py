"""Files of the Disk port that survive a crash: replaced so that a crash or a power loss leaves the
old or the new file, and guarded by a counter in a TPM's NV memory that detects an older copy.
"""

from __future__ import annotations

from protocol.tpm.errors import TpmError, TpmErrorKind
from services.runtime.ports import Disk, Tpm


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


async def read_counter(tpm: Tpm, index: int) -> int | None:
    """The counter at NV ``index``; None when there is none. Raises ``TpmError``."""
    try:
        return await tpm.counter(index)
    except TpmError as error:
        if error.kind is TpmErrorKind.HANDLE:
            return None
        raise


async def next_count(tpm: Tpm, index: int) -> int:
    """The number for the next stored object; defines the counter when there is none. Raises
    ``TpmError``."""
    now = await read_counter(tpm, index)
    return (await tpm.counter(index, bump=True) if now is None else now) + 1
