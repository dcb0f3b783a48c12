"""Determinism broken: garbage wakes the loop up when it is collected."""

from __future__ import annotations

import asyncio
from typing import Any

from services.runtime.bus import BusPort
from tests.mutations.bugs.planting import plant


class _Garbage:
    """Part of a cycle: only the garbage collector ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.itself = self
        self.loop = loop

    def __del__(self) -> None:
        self.loop.call_soon(lambda: None)


def _littering(original: Any) -> Any:
    async def request(self: BusPort, *given: Any, **options: Any) -> Any:
        _Garbage(asyncio.get_running_loop())
        return await original(self, *given, **options)

    return request


plant(BusPort, "request", _littering)
