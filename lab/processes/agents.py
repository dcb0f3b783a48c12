"""Agents as the lab starts them: forked with everything loaded, there when they say so."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec

from lab.brokers.agent_config import AgentConfig
from lab.processes.agent import READY
from lab.schema.errors import KeysteadError
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Event
from protocol.terms import NodeName
from services.runtime.forking.children import ChildProcess, Children
from services.runtime.forking.connection import ForkFailed, ForkServerSocket
from services.runtime.forking.copied_server import CopiedServer

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
