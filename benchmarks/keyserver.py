"""What a key server with many keys costs: until it serves, and until it has found one of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.staging import SEED, folder
from protocol.attributes import Attribute, ObjectName
from protocol.terms import NodeName, RootKind
from services.kms.access.authorization import KeyServerCaller
from services.kms.commit.group_commit import Commits
from services.kms.custody.opening import open_store
from services.kms.objects.request_types import (
    ActivateObject,
    CoreRequest,
    Create,
    Get,
    LocateObjects,
)
from services.kms.operations.core import KeyServerCore
from services.kms.sealing.roots.base import RootMeans
from services.kms.settings.config import KmsRole
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from services.runtime.real.disk import LabStore
from services.runtime.store import Array

KMS = NodeName("kms")
OWNER = KeyServerCaller("bench", KmsRole.OWNER, "default")
BATCH = 250
LOOKS = 200


class KeyServerStart(Benchmark):
    """A key server's store is filled over its core: of each key its name, an attribute of its own,
    and three rows of the trail. Then a new life opens it, and checks every row and the whole trail.
    """

    name: ClassVar[str] = "key-server-start"
    measures: ClassVar[str] = "a key server's store of 100,000 keys opened, every row checked"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 2.0)
    also: ClassVar[dict[str, Bar]] = {
        "by_name_ms": Bar(Sense.AT_MOST, 1.0),
        "by_attribute_ms": Bar(Sense.AT_MOST, 1.0),
    }
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        count = 500 if self.quick else 100_000
        with folder() as where:
            life = _Life(where, 1)
            core = await life.core()
            await _fill(core, count, report)
            await life.end()
            life = _Life(where, 2)
            begun, cpu = time.perf_counter(), time.process_time()
            core = await life.core()
            opened = time.perf_counter() - begun
            details = {
                "cpu_s": time.process_time() - cpu,
                "by_name_ms": await _measure_locate(core, count, _name),
                "by_attribute_ms": await _measure_locate(core, count, _attribute),
            }
            await life.end()
        return Figures(opened, details)


class _Life:
    """A life of the store in ``where``, without a node around it."""

    def __init__(self, where: Path, boot: int) -> None:
        self._life = Incarnation(KMS, boot)
        self._store = LabStore(where / "disk", _no_array)
        self._works: set[asyncio.Task[None]] = set()

    async def core(self) -> KeyServerCore:
        """A core that serves."""
        rng = LabRng(SEED, self._life)
        clock = PacedClock(self._life, rng, epoch=time.monotonic(), wall=time.time())
        means = RootMeans(self._store.disk(self._life), rng)
        opened = await open_store(means, RootKind.KEYFILE, clock.now())
        database, vault = opened.database, opened.vault
        commits = Commits(database, vault, self._background)
        core = KeyServerCore(KMS, database, vault, clock, rng, commits, queue_changes=None)
        core.caught_up.set()
        return core

    async def end(self) -> None:
        """As a stop, after which another life may begin."""
        self._life.end(WayDown.STOP)
        await self._store.end(self._life, WayDown.STOP)
        await asyncio.to_thread(self._store.close)

    def _background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=label)
        self._works.add(task)
        task.add_done_callback(self._works.discard)


def _no_array(name: str) -> Array:
    raise KeyError(name)


def _name(number: int) -> Attribute:
    return Attribute(name="Name", value=ObjectName(value=f"key-{number}"))


def _attribute(number: int) -> Attribute:
    return Attribute(name="x-Name", value=f"vm-{number}")


async def _fill(core: KeyServerCore, count: int, report: Report) -> None:
    for first in range(0, count, BATCH):
        requests: list[CoreRequest[Any]] = []
        for number in range(first, first + BATCH):
            requests += [
                Create(attributes=(_name(number), _attribute(number))),
                ActivateObject(),
                Get(),
            ]
        await core.batch(OWNER, requests)
        if first % 10_000 == 0:
            report(f"{first} of {count} keys")


async def _measure_locate(core: KeyServerCore, count: int, of: Any) -> float:
    """Milliseconds of one Locate, the median of many."""
    each: list[float] = []
    for look in range(LOOKS):
        begun = time.perf_counter()
        located = await core.execute(OWNER, LocateObjects(attributes=(of(look * count // LOOKS),)))
        each.append(time.perf_counter() - begun)
        if located.total != 1:
            raise CannotRun(f"{located.total} keys were found, not 1")
    return statistics.median(each) * 1000
