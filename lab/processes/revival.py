"""What ends by itself is started again: brokers and the fork server of a lab of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from lab.errors import KeysteadError

PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # real seconds before a part is tried again
_LOOK_EVERY_S: Final = 0.1  # real seconds between looks at the parts


class Part(NamedTuple):
    """One part of a lab: whether it is well, and what starts it."""

    name: str
    well: Callable[[], bool]
    start: Callable[[], Awaitable[None]]


class Revival:
    """Starts parts again; ``warn`` and ``on_lost`` are those of the lab."""

    def __init__(
        self, warn: Callable[[str], None], on_lost: Callable[[KeysteadError], None]
    ) -> None:
        self._warn, self._on_lost = warn, on_lost

    async def watch(self, parts: Sequence[Part]) -> None:
        """Start again each of ``parts`` that ended; returns when one cannot be had again."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for part in parts:
                if not part.well():
                    self._warn(f"the {part.name} has ended; it is started again")
                if not await self.had_again(part):
                    return

    async def had_again(self, part: Part) -> bool:
        """Whether it is well, started if it was not; after some tries the lab is lost."""
        why = ""
        for pause_s in (0.0, *PAUSES_S):
            if part.well():
                return True
            await asyncio.sleep(pause_s)
            try:
                await part.start()
            except (KeysteadError, OSError) as error:
                why = str(error)
                self._warn(f"the {part.name} does not start: {why}")
        if not part.well():
            self._on_lost(
                KeysteadError("KS-LAB-007", f"the {part.name} cannot be had again: {why}")
            )
        return part.well()
