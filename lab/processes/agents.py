"""Agents as the lab starts them: forked with everything loaded, there when they say so."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from lab.errors import KeysteadError
from lab.processes.agent import READY, AgentConfig
from protocol.terms import NodeName
from services.runtime.forking.children import ChildProcess, Children
from services.runtime.forking.connection import ForkFailed

ROOT: Final = Path(__file__).resolve().parents[2]
_START_LIMIT_S: Final = 30.0  # real seconds, for the fork server and for each agent
_TARGET: Final = "lab.processes.agent:main"
# An agent's threads wait for disks and TPMs, so one heap does for all; and what is large goes
# back at once (glibc's threshold would rise with use, and holes stay in the heap).
_MEMORY: Final = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}


@dataclass
class AgentProcess:
    """One agent: its name on the control broker, its process, its nodes.

    ``held`` are those nodes that stand still while others of the process go on.
    """

    name: str
    nodes: list[NodeName]
    child: ChildProcess | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    killed: bool = False  # it was asked for
    held: set[NodeName] = field(default_factory=set)

    @property
    def listens(self) -> bool:
        """Whether it is there, and does not stand still."""
        return self.up.is_set() and self.child is not None and not self.child.stopped


class Agents(Children):
    """The agent processes of one lab; every failure is KS-INT-001 and names the log."""

    def __init__(self, log: Path, *, real_tpms: bool) -> None:
        preload = ["lab.processes.preload:agents"]
        if real_tpms:
            preload.insert(0, "lab.processes.preload:real_tpms")
        env = {name: value for name, value in _MEMORY.items() if name not in os.environ}
        super().__init__(preload, log, env=env, folder=ROOT)

    async def start(self, within_s: float = _START_LIMIT_S) -> None:
        try:
            await super().start(within_s)
        except ForkFailed as error:
            raise self._failed(f"the fork server did not start ({_first_line(error)})") from None

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
        raise self._failed(f"process {name} did not start ({why})")

    def _failed(self, what: str) -> KeysteadError:
        return KeysteadError("KS-INT-001", f"{what}; see {self.log}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
