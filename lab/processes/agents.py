"""Agents as the lab starts them: forked with everything loaded, there when they say so.

What ends by itself is started again: brokers and the fork server.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from lab.brokers.configuration import AgentConfig
from lab.processes.agent import READY
from lab.schema.errors import KeysteadError
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Event
from protocol.terms import NodeName
from services.runtime.forking.children import ChildProcess, Children
from services.runtime.forking.connection import ForkFailed, ForkServerSocket
from services.runtime.forking.own_forks import CopiedServer

ROOT: Final = Path(__file__).resolve().parents[2]
_START_LIMIT_S: Final = 30.0  # real seconds, for the fork server and for each agent
_TARGET: Final = "lab.processes.agent:main"
_COPY: Final = "lab.processes.preload:set_up_copy"
# An agent's threads wait for disks and TPMs, so one heap does for all; and what is large goes
# back at once (glibc's threshold would rise with use, and holes stay in the heap).
_MEMORY: Final = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}


def preload(*, real_tpms: bool) -> list[str]:
    """What a process has to have loaded from which agents are forked."""
    first = ["lab.processes.preload:real_tpms"] if real_tpms else []
    return [*first, "lab.processes.preload:agents"]


def memory() -> dict[str, str]:
    """What its environment has to have on top for their memory's sake."""
    return {name: value for name, value in _MEMORY.items() if name not in os.environ}


def log_of(folder: Path) -> Path:
    """Where a lab's fork server, and agents that have no file of their own yet, write."""
    return folder / "logs" / "fork.err"


def build_copied_server() -> CopiedServer:
    """A fork server that is a copy of this process, which has ``preload`` loaded, ``memory`` in its
    environment, a single thread, and no identity of anybody in its memory: all children would have
    it in theirs. ``begin`` it."""
    return CopiedServer("keystead-fork", _COPY)


def begin(server: CopiedServer, folder: Path) -> None:
    """Let it serve the lab in ``folder``; KS-INT-001 when it has ended."""
    log = log_of(folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        server.load(str(log).encode())
    except ForkFailed as error:
        raise KeysteadError("KS-INT-001", f"the fork server did not start ({error})") from None


class ForkedProcess(Protocol):
    """A process that was forked, here or on another machine; see ``ChildProcess``."""

    gone: asyncio.Event
    stopped: bool

    def kill(self) -> None: ...

    def signal(self, number: signal.Signals) -> None: ...


class Elsewhere(Protocol):
    """Another machine, which forks processes as ``Agents`` does here."""

    name: str
    joined: asyncio.Event

    async def spawn(self, label: str, config: AgentConfig) -> ForkedProcess: ...


@dataclass
class AgentProcess:
    """One agent: its name on the control broker, its process, its nodes.

    ``held`` are those nodes that stand still while others of the process go on. ``machine``: where
    it stands; None: here.
    """

    name: str
    nodes: list[NodeName]
    child: ForkedProcess | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    killed: bool = False  # it was asked for
    held: set[NodeName] = field(default_factory=set)
    machine: Elsewhere | None = None

    @property
    def reached(self) -> bool:
        """Whether it could be started now."""
        return self.machine is None or self.machine.joined.is_set()

    @property
    def listens(self) -> bool:
        """Whether it is there, and does not stand still."""
        return self.up.is_set() and self.child is not None and not self.child.stopped


class Agents(Children):
    """The agent processes of one lab; every failure is KS-INT-001 and names the log.

    ``server``: who forks them at first (``copied_server``). When there is none, or it has ended,
    they have one of their own.
    """

    def __init__(self, log: Path, *, real_tpms: bool) -> None:
        super().__init__(preload(real_tpms=real_tpms), log, env=memory(), folder=ROOT)
        self.server: ForkServerSocket | None = None

    def _connect(self) -> ForkServerSocket:
        given, self.server = self.server, None
        return super()._connect() if given is None else given

    async def start(self, within_s: float = _START_LIMIT_S) -> None:
        try:
            await super().start(within_s)
        except ForkFailed as error:
            raise self._failure(f"the fork server did not start ({_first_line(error)})") from None

    async def spawn(
        self, name: str, config: AgentConfig, within_s: float = _START_LIMIT_S
    ) -> ChildProcess:
        """A new agent, seen as ``name``; returns when it serves, ``within_s`` real seconds.

        KS-INT-001 when it does not; nothing is left of it then.
        """
        child: ChildProcess | None = None
        try:
            async with asyncio.timeout(within_s):
                child = await self.fork(name, _TARGET, msgspec.msgpack.encode(config))
                if await child.read(len(READY)) == READY:
                    return child
            why = "it ended, or said something else than that it serves"
        except TimeoutError:
            why = f"it was not ready within {within_s:g} s"
        except (OSError, ForkFailed) as error:
            why = _first_line(error)
        if child is not None:
            child.kill()
        raise self._failure(f"process {name} did not start ({why})")

    def _failure(self, what: str) -> KeysteadError:
        return KeysteadError("KS-INT-001", f"{what}; see {self.log}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def own_records(
    of: Mapping[NodeName, AgentProcess], callback: Callable[[str, Event], None]
) -> Callable[[str, Event], None]:
    """``callback`` without what an agent says of another one's node (``of``): a machine has the
    identities of its own nodes, and makes no evidence of others."""

    def hear(sender: str, event: Event) -> None:
        if isinstance(event, NodeRecord):
            process = of.get(event.node)
            if process is None or process.name != sender:
                return
        callback(sender, event)

    return hear


PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # real seconds before a part is tried again
_LOOK_EVERY_S: Final = 0.1  # real seconds between looks at the parts


def _never() -> bool:
    return False


class Part(NamedTuple):
    """One part of a lab: whether it is well, and what starts it; ``spared``: whether the lab goes
    on without it when it cannot be had again."""

    name: str
    well: Callable[[], bool]
    start: Callable[[], Awaitable[None]]
    spared: Callable[[], bool] = _never


class Revival:
    """Starts parts again. ``warn`` and ``on_lost`` are those of the lab; ``notice`` gets a sentence
    for each part that has ended and may start again."""

    def __init__(
        self,
        warn: Callable[[str], None],
        on_lost: Callable[[KeysteadError], None],
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._warn, self._on_lost, self._notice = warn, on_lost, notice or warn

    async def watch(self, parts: Sequence[Part]) -> None:
        """Start again each of ``parts`` that ended, none waiting for another; returns when one
        cannot be had again."""
        looks = [asyncio.ensure_future(self._look_after(part)) for part in parts]
        try:
            done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
            for look in done:
                look.result()
        finally:
            for look in looks:
                look.cancel()

    async def _look_after(self, part: Part) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not part.well():
                self._notice(f"the {part.name} has ended; it is started again")
            if not await self.had_again(part):
                return

    async def had_again(self, part: Part) -> bool:
        """Whether it is well, started if it was not; after some tries the lab is lost, or goes on
        without it and tries on."""
        pauses, told = iter((0.0, *PAUSES_S)), ""
        while not part.well():
            pause_s = next(pauses, None)
            if pause_s is None and not part.spared():
                text = f"the {part.name} cannot be had again: {told}"
                self._on_lost(KeysteadError("KS-LAB-007", text))
                return False
            await asyncio.sleep(PAUSES_S[-1] if pause_s is None else pause_s)
            if part.well():
                break
            try:
                await part.start()
            except (KeysteadError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    itself = told.startswith(f"the {part.name} ")
                    self._warn(told if itself else f"the {part.name} does not start: {told}")
        return True
