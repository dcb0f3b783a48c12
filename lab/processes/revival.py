"""What ends by itself is started again: brokers and the fork server of a lab of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from lab.schema.errors import KeysteadError

PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # real seconds before a part is tried again
_LOOK_EVERY_S: Final = 0.1  # real seconds between looks at the parts


def _never() -> bool:
    return False


class Part(NamedTuple):
    """One part of a lab: whether it is well, and what starts it; ``spared``: whether the lab goes
    on without it when it cannot be had again."""

    name: str
    well: Callable[[], bool]
    start: Callable[[], Awaitable[None]]
    spared: Callable[[], bool] = _never


class Revival:
    """Starts parts again; ``warn`` and ``on_lost`` are those of the lab, and ``notice`` hears of
    what has ended and may be had again."""

    def __init__(
        self,
        warn: Callable[[str], None],
        on_lost: Callable[[KeysteadError], None],
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._warn, self._on_lost, self._notice = warn, on_lost, notice or warn

    async def watch(self, parts: Sequence[Part]) -> None:
        """Start again each of ``parts`` that ended, none waiting for another; returns when one
        cannot be had again."""
        looks = [asyncio.ensure_future(self._look_after(part)) for part in parts]
        try:
            done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
            for look in done:
                look.result()
        finally:
            for look in looks:
                look.cancel()

    async def _look_after(self, part: Part) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not part.well():
                self._notice(f"the {part.name} has ended; it is started again")
            if not await self.had_again(part):
                return

    async def had_again(self, part: Part) -> bool:
        """Whether it is well, started if it was not; after some tries the lab is lost, or goes on
        without it and tries on."""
        pauses, told = iter((0.0, *PAUSES_S)), ""
        while not part.well():
            pause_s = next(pauses, None)
            if pause_s is None and not part.spared():
                text = f"the {part.name} cannot be had again: {told}"
                self._on_lost(KeysteadError("KS-LAB-007", text))
                return False
            await asyncio.sleep(PAUSES_S[-1] if pause_s is None else pause_s)
            if part.well():
                break
            try:
                await part.start()
            except (KeysteadError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    itself = told.startswith(f"the {part.name} ")
                    self._warn(told if itself else f"the {part.name} does not start: {told}")
        return True
