"""The load of an experiment on real processes, changed while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.playing.coming import Coming, Unchangeable
from lab.runs.load_control import Changed, load_control
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError


@asynccontextmanager
async def changeable(folder: RunFolder, coming: Coming) -> AsyncIterator[None]:
    """Let people change the load of a run while it comes; no change for one without."""
    if coming.load is None:
        yield
        return
    begin = coming.load.from_s

    async def change(rate: str) -> Changed:
        try:
            at, was = coming.change(rate)
        except ValueError as error:
            raise KeysteadError("KS-USE-003", str(error)) from None
        except Unchangeable as error:
            raise KeysteadError("KS-LOAD-007", str(error)) from None
        return Changed(at=round(at - begin, 3), was=was)

    async with load_control(folder, change):
        coming.open = True
        try:
            yield
        finally:
            coming.open = False
