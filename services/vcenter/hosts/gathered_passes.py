"""Passes over the other hosts of a cluster after a change of one VM, gathered.

A VM that comes or goes concerns its own host now and every other host of the cluster soon (STD-12,
STD-17, HEM-02). A pass for each VM and host would make n passes of n VMs over every host; so the
first of such changes begins a wait of ``key_gather_s``, and what comes meanwhile has the same pass.
Nothing is promised: a host that is connected anew, and each reconciliation, has a pass anyway.
"""

from __future__ import annotations

import asyncio

from protocol.terms import NodeName
from services.runtime.ports import Clock
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.knobs import VcenterNode


class GatheredPasses:
    """Asks the queue for the passes that were asked for here, some time later."""

    def __init__(self, node: VcenterNode, clock: Clock, passes: PassQueue) -> None:
        self._node, self._clock, self._passes = node, clock, passes
        self._asked: dict[NodeName, bool] = {}  # whether keys leave too
        self._begun = asyncio.Event()

    def start(self) -> None:
        """Hand on what is asked for, from now on."""
        self._node.background("passes", self._serve())

    def want(self, host: NodeName, *, removing: bool = False) -> None:
        """As ``PassQueue.want``, when the wait that runs, or begins now, is over."""
        self._asked[host] = removing or self._asked.get(host, False)
        self._begun.set()

    def forget(self, host: NodeName) -> None:
        """The host left the inventory."""
        self._asked.pop(host, None)

    async def _serve(self) -> None:
        while True:
            await self._begun.wait()
            await self._clock.sleep(self._node.knobs.key_gather_s)
            self._begun.clear()
            asked, self._asked = self._asked, {}
            for host, removing in asked.items():
                self._passes.want(host, removing=removing)
