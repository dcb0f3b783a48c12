"""Which hosts need a pass of step B8, in order of request; remediation takes from here.

After a change of one VM, passes over the other hosts of its cluster are gathered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from protocol.terms import NodeName
from services.runtime.ports import Clock
from services.vcenter.knobs import VcenterNode


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


@dataclass
class _Asked:
    """``due`` in lab seconds of the monotonic clock; ``removing``: the pass also removes keys."""

    due: float
    removing: bool = False


class GatheredPasses:
    """Forwards requests for passes to the queue after a wait."""

    def __init__(self, node: VcenterNode, clock: Clock, passes: PassQueue) -> None:
        self._node, self._clock, self._passes = node, clock, passes
        self._waiting: dict[NodeName, _Asked] = {}  # in order of ``due``
        self._begun = asyncio.Event()

    def start(self) -> None:
        """Forward requests from now on."""
        self._node.background("passes", self._serve())

    def want(self, host: NodeName, *, removing: bool = False) -> None:
        """As ``PassQueue.want``, after the wait of that host, which may begin now."""
        waiting = self._waiting.get(host)
        if waiting is None:
            due = self._clock.monotonic() + self._node.knobs.key_gather_s
            waiting = self._waiting[host] = _Asked(due)
            self._begun.set()
        waiting.removing |= removing

    def forget(self, host: NodeName) -> None:
        """The host left the inventory."""
        self._waiting.pop(host, None)

    async def _serve(self) -> None:
        while True:
            host = next(iter(self._waiting), None)
            if host is None:
                self._begun.clear()
                await self._begun.wait()
                continue
            wait_s = self._waiting[host].due - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            else:
                self._passes.want(host, removing=self._waiting.pop(host).removing)
