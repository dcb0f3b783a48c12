"""Passes over the other hosts of a cluster after a change of one VM, gathered.

A VM that is added or removed concerns its own host now and every other host of the cluster soon
(STD-12, STD-17, HEM-02). A pass for each VM and host would make n passes of n VMs over every host.
So the first request for a host begins a wait of ``key_gather_s``, and later requests share its
pass. Nothing is guaranteed: a reconnected host, and each reconciliation, has a pass anyway.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from protocol.terms import NodeName
from services.runtime.ports import Clock
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.knobs import VcenterNode


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
