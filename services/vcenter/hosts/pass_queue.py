"""Which hosts need a pass of step B8, in order of request; remediation takes from here.

Sessions, tasks and the reconciliation request passes without knowing who carries them out. Several
requests before a pass begins are one; a request during a pass leads to another pass.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from protocol.terms import NodeName


@dataclass(frozen=True)
class PassOrder:
    """A pass to make. ``look``: request the host's view first, because the known one is too old.

    ``removing``: also remove keys that should not be there; any other pass only adds keys.
    """

    host: NodeName
    look: bool
    removing: bool = False


class PassQueue:
    """The hosts that wait, those that have a pass now, and how the last pass of each ended."""

    def __init__(self) -> None:
        self._waiting: dict[NodeName, PassOrder] = {}
        self._running: dict[NodeName, tuple[asyncio.Event, asyncio.Event]] = {}
        self._unfinished: set[NodeName] = set()
        # Set when a pass of the host ended complete.
        self._whole: dict[NodeName, asyncio.Event] = {}
        self._over: dict[NodeName, asyncio.Event] = {}  # set at the end of the pass that waits
        self._change = asyncio.Event()

    def want(
        self, host: NodeName, *, looked: bool = False, removing: bool = False
    ) -> asyncio.Event:
        """Request a pass; the returned event is set when that pass has ended, complete or not.

        ``looked``: the host's view has just arrived and need not be requested.
        """
        before = self._waiting.get(host)
        look = not looked or (before is not None and before.look)
        removing = removing or (before is not None and before.removing)
        self._waiting[host] = PassOrder(host, look, removing)
        self._change.set()
        return self._over.setdefault(host, asyncio.Event())

    async def take(self) -> PassOrder:
        """The next host that waits and has no pass now; call ``end_pass`` for it."""
        while True:
            for host, order in self._waiting.items():
                if host not in self._running:
                    del self._waiting[host]
                    over = self._over.pop(host)
                    self._running[host] = self._whole.setdefault(host, asyncio.Event()), over
                    return order
            self._change.clear()
            await self._change.wait()

    def begin_pass(self, host: NodeName) -> None:
        """A pass begins, requested here or not: it makes up for an incomplete one."""
        self._unfinished.discard(host)

    def cut_short(self, host: NodeName) -> None:
        """Something did not reach the host: request a pass when the host next answers."""
        self._unfinished.add(host)

    def unfinished(self, host: NodeName) -> bool:
        """Whether something did not reach the host, and no pass has begun since."""
        return host in self._unfinished

    def end_pass(self, host: NodeName, *, whole: bool) -> None:
        """The pass of the host has ended."""
        all_whole, over = self._running.pop(host)
        if whole and host not in self._unfinished:
            all_whole.set()
        over.set()
        if host in self._waiting:
            self._change.set()

    async def whole(self, host: NodeName) -> None:
        """Return when a complete pass of that host has ended; at once if one has."""
        await self._whole.setdefault(host, asyncio.Event()).wait()

    def forget(self, host: NodeName) -> None:
        """The host left the inventory."""
        self._waiting.pop(host, None)
        if (over := self._over.pop(host, None)) is not None:
            over.set()
        self._unfinished.discard(host)
        self._whole.pop(host, None)
