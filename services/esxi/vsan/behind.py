"""Objects whose components are not known to have all seen the last write; of one life."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Behind:
    """Their names, in order of the first note."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._some = asyncio.Event()

    def note(self, names: Iterable[str]) -> None:
        """Somebody has to look at these."""
        self._names.update(dict.fromkeys(names))
        if self._names:
            self._some.set()

    async def names(self) -> tuple[str, ...]:
        """All of them; waits until there is one."""
        await self._some.wait()
        return tuple(self._names)

    def __bool__(self) -> bool:
        return bool(self._names)

    def mark_settled(self, name: str) -> None:
        """All components of this one have seen the same write."""
        self._names.pop(name, None)
        if not self._names:
            self._some.clear()
