"""A key server in this process, over the real drivers of its ports, without a lab around it; what
seals its keys is a passphrase in a file or a key file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.kmip.standalone import standalone
from lab.schema.errors import KeysteadError
from lab.topology.secret_files import secret_in
from protocol.errors import NotSent, ProductError
from protocol.messages.base import Event, Request
from protocol.secret import KeyMaterial
from protocol.terms import NodeName, RootKind
from services.kms.access.authorization import caller_at
from services.kms.sealing.roots.passphrase import CURE, PASSPHRASE_OPTION, flaw_of
from services.kms.service import KmsService
from services.kms.settings.config import KmsConfig
from services.kms.settings.knobs import KmsKnobs
from services.runtime.incarnation import WayDown
from services.runtime.ports import Bus, Ports
from services.runtime.real.disk import LabStore
from services.runtime.request_queues import TurnQueues
from services.runtime.service import Halted, PowerInputs
from services.runtime.store import Array

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


OPTION: Final = "--passphrase-file"
OLD_OPTION: Final = "--old-passphrase-file"


def passphrase_options(file: Path | None) -> dict[str, str]:
    """What is typed at the start of a server whose passphrase is the first line of ``file``.

    KS-USE-003 for a file that cannot be read, or a passphrase that none may be.
    """
    if file is None:
        return {}
    words = secret_in(str(file))
    if (flaw := flaw_of(KeyMaterial(words.encode()))) is not None:
        raise KeysteadError("KS-USE-003", f"{file}: the passphrase in its first line: {flaw}")
    return {PASSPHRASE_OPTION: words}


def screen_error(screen: str, option: str = OPTION) -> KeysteadError:
    """What people are told of a screen of such a server. Its passphrase comes in another way than
    to one of a lab, and one that lacks is a word of theirs and no state of its disk."""
    if CURE in screen:
        return KeysteadError(
            "KS-USE-003", screen.replace(CURE, f"Name a file that has it: {option} FILE")
        )
    return KeysteadError("KS-KMIP-003", screen)


@asynccontextmanager
async def running(server: Alone, option: str = OPTION) -> AsyncIterator[None]:
    """Started, and ended in order; when it halts at its start, as ``halted`` tells it."""
    try:
        await server.start()
    except Halted as end:
        await server.close()
        raise screen_error(end.screen, option) from None
    except OSError:
        await server.close()
        raise
    try:
        yield
    finally:
        await server.stop()


async def keep(server: Alone, *, passphrase: str | None, rotate: bool) -> None:
    """Have a passphrase seal the keys if one was given, and another KEK wrap them if asked for.

    KS-KMIP-001 when the disk refuses: the keys are sealed as they were, or as they shall be.
    """
    service = server.service
    local = caller_at(service.config, server.node.name, local=True)
    now = await service.custody.status()
    try:
        if passphrase is not None and now.root is not RootKind.PASSPHRASE:
            words = KeyMaterial(passphrase.encode())
            await service.custody.change_root(local, RootKind.PASSPHRASE, words)
        if rotate:
            await service.custody.rotate(local, now.kek)
    except ProductError as error:
        raise KeysteadError("KS-KMIP-001", str(error)) from None
