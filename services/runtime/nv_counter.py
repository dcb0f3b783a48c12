"""A counter in a TPM's NV memory that numbers what is kept elsewhere: it never goes back.

The next number is written into the thing that is kept, and the counter rises when that is durable.
A crash between the two leaves a thing that is one ahead of the counter.
"""

from __future__ import annotations

from protocol.tpm.errors import TpmError, TpmErrorKind
from services.runtime.ports import Tpm


async def read_counter(tpm: Tpm, index: int) -> int | None:
    """What the counter at NV ``index`` says; None when there is none. ``TpmError``."""
    try:
        return await tpm.counter(index)
    except TpmError as error:
        if error.kind is TpmErrorKind.HANDLE:
            return None
        raise


async def next_count(tpm: Tpm, index: int) -> int:
    """The number for the next thing; the counter is made when there is none. ``TpmError``."""
    now = await read_counter(tpm, index)
    return (await tpm.counter(index, bump=True) if now is None else now) + 1
