"""Labs are built a few at a time: a build keeps a core busy, a play waits for most of its time.

Built all at once, labs would wait for each other until the limits of their starts are over.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

PAUSE_S: Final = 0.1
"""Real seconds between two looks for a free turn."""


@asynccontextmanager
async def turn(folder: Path, at_once: int) -> AsyncIterator[None]:
    """Wait until fewer than ``at_once`` processes are in such a block with this folder. A process
    that is killed in its turn has it no longer."""
    while (lock := _free(folder, at_once)) is None:
        await asyncio.sleep(PAUSE_S)
    try:
        yield
    finally:
        os.close(lock)


def _free(folder: Path, at_once: int) -> int | None:
    """The descriptor that holds a free turn; None when all are taken."""
    for number in range(at_once):
        lock = os.open(folder / f"turn-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock
    return None
