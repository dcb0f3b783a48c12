"""Storage under test: one body runs against the lab's driver and the simulation's.

A body is an async function that gets a ``Bench``; ``both`` makes a test of it per driver.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Datastore, Disk
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import LabStore
from services.runtime.sim.datastore import SimArray
from services.runtime.sim.disk import SimStore
from services.runtime.sim.loop import SimLoop
from services.runtime.store import Array, Store

CALL_S = 0.000_5  # virtual seconds that each call of the simulated storage takes


class Bench(ABC):
    """One store and one array, and lives for the nodes that use them."""

    store: Store
    array: Array

    def __init__(self) -> None:
        self._boots: dict[str, int] = {}

    def life(self, node: str = "esxi-001") -> Incarnation:
        """The next life of ``node``."""
        boot = self._boots[node] = self._boots.get(node, 0) + 1
        return Incarnation(NodeName(node), boot)

    def boot(self) -> tuple[Incarnation, Disk]:
        """A new life of the node whose store this is, and its disk."""
        life = self.life()
        return life, self.store.disk(life)

    async def after(self, life: Incarnation, way: WayDown) -> tuple[Incarnation, Disk]:
        """``life`` ends; the next one, and its disk."""
        life.end(way)
        await self.store.end(life, way)
        return self.boot()

    async def host(self, node: str) -> tuple[Incarnation, Datastore]:
        """A new life of another host of the cluster, and its datastore."""
        life = self.life(node)
        return life, self.array.open(life)

    @abstractmethod
    def busy(self) -> AbstractContextManager[None]:
        """While inside, calls of the store wait: none has its effect yet."""

    @abstractmethod
    def run(self, body: Coroutine[Any, Any, None]) -> None:
        """Run ``body`` to its end under this driver's kind of loop, and close everything."""


class LabBench(Bench):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        array = self.array = LabArray(folder / "array")
        self._store = LabStore(folder / "disk", {"cluster": array}.__getitem__)
        self.store, self._array = self._store, array

    @contextmanager
    def busy(self) -> Iterator[None]:
        free = threading.Event()
        self._store.pool.submit(free.wait)
        try:
            yield
        finally:
            free.set()

    def run(self, body: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run(body)
        finally:
            self._store.close()
            self._array.close()


class SimBench(Bench):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self._loop = SimLoop(seed)
        array = self.array = SimArray(_charge)
        self._store = SimStore({"cluster": array}.__getitem__, _charge)
        self.store = self._store

    def busy(self) -> AbstractContextManager[None]:
        return nullcontext()  # time passes only when the body waits for some

    def run(self, body: Coroutine[Any, Any, None]) -> None:
        try:
            self._loop.run(body, seconds=3600.0)
            assert self._loop.escapes == []
            assert self._loop.unhandled == []
        finally:
            self._store.close()
            self._loop.close()


async def _charge(label: str) -> None:
    assert label.split()[0].split(".")[0] in ("disk", "db", "datastore"), label
    await asyncio.sleep(CALL_S)


Body = Callable[[Bench], Coroutine[Any, Any, None]]


def both(body: Body) -> Callable[..., None]:
    """A test of ``body`` per driver; the simulation plays it under several orders."""

    @pytest.mark.parametrize("mode", ["lab", pytest.param("sim", marks=pytest.mark.sim)])
    def test(mode: str, tmp_path: Path) -> None:
        if mode == "lab":
            bench: Bench = LabBench(tmp_path)
            bench.run(body(bench))
            return
        for seed in range(5):
            bench = SimBench(seed)
            bench.run(body(bench))

    test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
    test.__module__ = body.__module__
    return test
