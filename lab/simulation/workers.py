"""Where the processes come from in which simulations run, and a simulated lab as its clients see
it.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar, get_type_hints

import msgspec

from lab.schema.commands import Command
from lab.schema.wire import CommandDone, RunCommand, decode_answer, encode_command
from lab.serve.files import carry_files
from protocol.crypto.transfer import OneTimeKey
from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.child import threads
from services.runtime.forking.own_forks import Forks, OwnForks

PRELOAD = ("lab.play.preload:simulations",)


@functools.cache
def simulations() -> ForkServer:
    """This process's fork server with everything of a simulated lab loaded and warm."""
    server = ForkServer(PRELOAD)
    atexit.register(server.close)
    return server


@contextmanager
def workers() -> Iterator[Forks]:
    """For a caller that blocks until its worker is done: this process itself, which has loaded
    what a worker needs, unless it has threads that a fork would tear."""
    if threads() > 1:
        yield simulations()
        return
    with closing(OwnForks()) as forks:
        yield forks


A = TypeVar("A")
T = TypeVar("T")
Beside = Callable[..., Awaitable[T]]


class SimulationCalls(Protocol):
    """Where calls of a simulated lab go (``lab.simulation.worker``): its worker, or the process
    that has it."""

    async def call(self, name: str, payload: bytes) -> bytes:
        """The result of one call."""
        ...

    async def close(self) -> None:
        """Make no more calls."""
        ...


class Simulated:
    """A lab in virtual time, in a worker."""

    def __init__(self, conversation: SimulationCalls) -> None:
        self._conversation = conversation

    async def call(self, name: str, payload: bytes) -> bytes:
        """One call as it is, for another process."""
        return await self._conversation.call(name, payload)

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        message = RunCommand(command=encode_command(command), vcenter=vcenter, user=user)
        async with carry_files(command) as files:
            mine = OneTimeKey()
            if files:
                public = await self._conversation.call("files", b"")
                message = msgspec.structs.replace(
                    message, files=files.seal(public), recipient=mine.public
                )
            raw = await self._conversation.call("command", msgspec.msgpack.encode(message))
            done = msgspec.msgpack.decode(raw, type=CommandDone)
            await files.fill(files.open_boxes(mine, done.files))
            return decode_answer(command, done.answer)

    async def look(self, command: Command[A]) -> A:
        """The answer to ``GetNodes``, ``GetLinks`` or ``GetClock``, which the lab itself knows: its
        world takes no step for it, however often one looks."""
        message = msgspec.msgpack.encode(RunCommand(command=encode_command(command)))
        raw = await self._conversation.call("look", message)
        return decode_answer(command, msgspec.msgpack.decode(raw, type=CommandDone).answer)

    async def sleep(self, seconds: float) -> None:
        await self._conversation.call("sleep", msgspec.msgpack.encode(float(seconds)))

    async def beside(self, work: Beside[T], *values: Any) -> T:
        message = msgspec.msgpack.encode((f"{work.__module__}:{work.__qualname__}", values))
        raw = await self._conversation.call("beside", message)
        answer: T = msgspec.msgpack.decode(raw, type=get_type_hints(work)["return"])
        return answer

    async def trace(self) -> str:
        """The hash of everything that happened in this world."""
        raw = await self._conversation.call("trace", b"")
        return msgspec.msgpack.decode(raw, type=str)

    async def close(self) -> None:
        await self._conversation.close()
