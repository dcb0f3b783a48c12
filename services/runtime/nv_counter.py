"""A counter in a TPM's NV memory that detects an older copy of something stored elsewhere.

The next number is written into the stored object. The counter is incremented when the object is
durable. After a crash between the two, the object is one ahead of the counter.
"""

from __future__ import annotations

from protocol.tpm.errors import TpmError, TpmErrorKind
from services.runtime.ports import Tpm


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
