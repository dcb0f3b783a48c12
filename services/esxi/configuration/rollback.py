"""A counter in the TPM that tells an older archive from the last one (``archive_counter``).

Each save writes the counter's next value into its piece of the archive (the header of a new file,
or the sealed part of an appended piece). When that is durable it raises the counter, then it is
answered. A crash between the two leaves an archive that is one ahead; the next boot raises the
counter. An archive without its last piece is an older one.

| last piece says | TPM says | at boot |
|---|---|---|
| n or n + 1 | n | it is the last one |
| less than n | n | an older archive was put back |
| more than n + 1 | n | the TPM's own state was put back |
| 0 | no counter | none was counted yet |
| more than 0 | no counter | the counter was removed |
"""

from __future__ import annotations

from typing import Final

from services.runtime.nv_counter import read_counter
from services.runtime.ports import Tpm

INDEX: Final = 0x01800100
"""The NV index of the counter."""


async def raise_to(tpm: Tpm, count: int) -> None:
    """Raise the counter by one, unless it has that value already. Raises ``TpmError``."""
    if await read_counter(tpm, INDEX) != count:
        await tpm.counter(INDEX, bump=True)


def find_rollback(archive: int, tpm: int | None) -> str:
    """Why this archive is not the last one; empty when it is. Pure; see the table above."""
    if tpm is None:
        return "" if archive == 0 else f"the TPM has no counter, and the archive has {archive}"
    if archive < tpm:
        return f"an older archive was put back: it is number {archive}, the TPM counts {tpm}"
    if archive > tpm + 1:
        return f"the TPM's state was put back: it counts {tpm}, the archive is number {archive}"
    return ""
