"""The objects of one life whose components may not all have the last write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class UnsyncedObjects:
    """The names of these objects, in order of the first note, each with the number of its latest
    one."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._notes = 0
        self._some = asyncio.Event()

    def note(self, names: Iterable[str]) -> None:
        """Note objects that have to be checked."""
        self._notes += 1
        self._names.update(dict.fromkeys(names, self._notes))
        if self._names:
            self._some.set()

    async def wait(self) -> dict[str, int]:
        """All noted objects with their latest notes; waits until there is one."""
        await self._some.wait()
        return dict(self._names)

    def __bool__(self) -> bool:
        return bool(self._names)

    def mark_settled(self, name: str, note: int) -> None:
        """All components of this object have had the same write since that note; no change if it
        was noted again."""
        if self._names.get(name) == note:
            del self._names[name]
        if not self._names:
            self._some.clear()
