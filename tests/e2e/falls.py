"""The end of a node's life at any moment of what is done meanwhile, in a simulated lab."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from lab.simulation.sim_lab import SimLab
from protocol.subjects import parse_link
from protocol.terms import NodeName
from services.runtime.sim.gate import StorageCall

ARRAY = "datastore-cluster-a"


class Falls:
    """Ends the life of ``node`` at the ``nth`` moment from now on: before and after each call of
    its storage, and when a message of it, or for it, was let in.

    ``array``: it is the one host that uses the datastore, whose calls count too."""

    def __init__(
        self, lab: SimLab, node: NodeName, way: str, nth: int, *, array: bool = False
    ) -> None:
        self._array = array
        self.happened = False
        self.moments = 0
        self._lab, self._node, self._way, self._nth = lab, node, way, nth

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        link = parse_link(subject)
        if link is not None and self._node in (link.src, link.dst):
            self._count()

    async def before(self, call: StorageCall) -> None:
        await self._passed()

    def within(self, call: StorageCall) -> None:
        """Of a commit: nothing."""

    async def after(self, call: StorageCall) -> None:
        await self._passed()

    async def charge(self, label: str) -> None:
        await self._passed()
        await self._lab.world.charge(label)

    async def _passed(self) -> None:
        if self._count():
            await asyncio.Event().wait()

    def _count(self) -> bool:
        self.moments += 1
        if self.moments != self._nth:
            return False
        self.happened = True
        self._lab.world.spawn(None, "fall", self._fall())
        return True

    async def _fall(self) -> None:
        await self._lab.power_off(self._node, self._way)

    @contextmanager
    def watching(self) -> Iterator[None]:
        world, tap = self._lab.world, self._lab.broker.tap
        store, array = world.stores[self._node], world.arrays[ARRAY]
        self._lab.broker.tap, store.gate = self.hear, self
        if self._array:
            array.charge = self.charge
        try:
            yield
        finally:
            self._lab.broker.tap, store.gate = tap, None
            array.charge = world.charge
