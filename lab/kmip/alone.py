"""A key server in this process, over the real drivers of its ports, without a lab around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from lab.kmip.standalone import standalone
from protocol.errors import NotSent
from protocol.messages.base import Event, Request
from protocol.terms import NodeName
from services.kms.service import KmsService
from services.kms.settings.config import KmsConfig
from services.kms.settings.knobs import KmsKnobs
from services.runtime.incarnation import WayDown
from services.runtime.ports import Bus, Ports
from services.runtime.real.disk import LabStore
from services.runtime.service import PowerInputs
from services.runtime.store import Array
from services.runtime.turns import TurnQueues

FINISH_S: Final = 2.0
"""Messages that are in work when a server is ended have that long to be answered."""

NAME: Final = NodeName("kms")

Record = Callable[[str, dict[str, Any]], None]


class NoBus(Bus):
    """There is nobody else: nothing is sent."""

    @property
    def me(self) -> NodeName:
        return NAME

    async def request(self, to: NodeName, message: Request[Any], *, within_s: float) -> Any:
        raise NotSent(f"this key server is alone; there is no {to}")

    def publish(self, event: Event) -> None:
        """Nobody hears it."""

    def count(self, name: str, by: int = 1) -> None:
        """Nobody asks for the counters of this server."""


class AloneNode:
    """The node of such a server. ``failed`` has the first error that ended one of its tasks."""

    def __init__(self, boot: int, options: dict[str, str], record: Record) -> None:
        self.name, self.boot, self.site = NAME, boot, "main"
        self.knobs = KmsKnobs()
        self.power = PowerInputs(boot_options=options)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._record = record
        self._works: set[asyncio.Task[None]] = set()
        self._turns = TurnQueues()

    def background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        """See ``ServiceNode``."""
        task = asyncio.get_running_loop().create_task(work, name=label)
        self._works.add(task)
        task.add_done_callback(self._finish_work)

    def spawn(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        """A task whose failure ends nothing but itself, as that of one connection."""
        self.background(label, self._run_and_record(label, work))

    async def _run_and_record(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.record("node.internal_error", level="error", request=label, text=repr(error))

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """See ``ServiceNode``."""
        return self._turns.take(key)

    def end_turn(self) -> None:
        """See ``ServiceNode``: no message is handed to a handler here, so none has a turn to
        end."""

    def record(self, kind: str, *, level: str = "info", **fields: Any) -> None:
        """See ``ServiceNode``."""
        self._record(kind, {"level": level, **fields})

    async def end(self) -> None:
        """End its tasks."""
        for task in self._works:
            task.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)

    def _finish_work(self, task: asyncio.Task[None]) -> None:
        self._works.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)


class Alone:
    """One life of a key server that keeps its disk in ``folder``; ``start``, then ``stop``."""

    def __init__(
        self,
        folder: Path,
        config: KmsConfig,
        *,
        record: Record = lambda kind, fields: None,
        options: dict[str, str] | None = None,
    ) -> None:
        self._life, rng, self.clock, self.streams = standalone(NAME, folder)
        self._store = LabStore(folder, _no_array)
        self.node = AloneNode(1, options or {}, record)
        self.streams.spawn = self.node.spawn
        disk = self._store.disk(self._life)
        ports = Ports(NoBus(), self.clock, rng, disk, streams=self.streams)
        self.service = KmsService(self.node, ports, config)

    async def start(self) -> None:
        """As ``KmsService.start``."""
        await self.service.start()

    async def stop(self) -> None:
        """The orderly end: messages in work are answered, if that takes no longer than
        ``FINISH_S``. The folder may be opened again."""
        await self.streams.finish(FINISH_S)
        await self.service.stop()
        self.streams.close()
        await self.close()

    async def close(self) -> None:
        """End it without a word, as a start that failed does."""
        self.streams.abort()
        await self.node.end()
        self._life.end(WayDown.STOP)
        await self._store.end(self._life, WayDown.STOP)
        await asyncio.to_thread(self._store.close)


def _no_array(name: str) -> Array:
    raise KeyError(name)
