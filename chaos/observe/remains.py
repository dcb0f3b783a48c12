"""What is on a host's disk after its stored keys were removed, read without the host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from chaos.history import History
from protocol.terms import NodeName

Opened = Callable[[NodeName], Awaitable[Mapping[str, Sequence[str] | None]]]
"""The persisted keys in each archive that lies anywhere on the host's disk, by path; None for one
that nobody could open."""

OP: Final = "remains"
"""Of the ``state`` records: ``when`` (``before`` a removal, when it was ``answered``, ``held`` for
a while, ``end`` of the run), how many ``files`` were opened, the ``keys`` that lie in them by path,
and the paths that were ``closed``."""


class Remains:
    """The hosts whose removal was acknowledged and that were not enabled since."""

    def __init__(self, history: History, opened: Opened) -> None:
        self._history, self._opened = history, opened
        self.bare: dict[NodeName, None] = {}

    async def look(self, host: NodeName, when: str) -> int:
        """Record what is on the host's disk; returns the number of keys."""
        found = await self._opened(host)
        keys = {path: list(ids) for path, ids in found.items() if ids}
        closed = [path for path, ids in found.items() if ids is None]
        files = len(found) - len(closed)
        self._history.add("state", host, op=OP, when=when, files=files, keys=keys, closed=closed)
        return len({key for ids in keys.values() for key in ids})

    async def end(self) -> None:
        """Look once more at hosts that were left without stored keys."""
        for host in self.bare:
            await self.look(host, "end")
