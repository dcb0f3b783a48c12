"""Commands for a simulated lab that another process of this user serves (``keystead serve --sim``).

That process listens on a socket in the lab's folder. What is asked there and by clients of vSphere
is done in one order, so that a play of both replays from its seed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec

from lab.schema.errors import KeysteadError

NAME = "commands"
CALLS = frozenset({"command", "files", "sleep", "trace"})
"""Calls of a simulated lab's worker that another process may make (``lab.simulation.worker``)."""
FRAME_LIMIT = 64 << 20
_SIZE_BYTES = 4
Call = Callable[[str, bytes], Awaitable[bytes]]


class _Asked(msgspec.Struct, frozen=True):
    call: str
    payload: bytes


class _Answered(msgspec.Struct, frozen=True):
    """The result of a call, or the ``KeysteadError`` that it raised."""

    result: bytes = b""
    error_id: str = ""
    error: str = ""
    fix: str = ""
    fault: str = ""
    keys: tuple[str, ...] = ()


@asynccontextmanager
async def simulation_socket(folder: Path, call: Call) -> AsyncIterator[None]:
    """Answer other processes by ``call`` for the length of a block.

    KS-API-004 when another process serves a simulated lab in this folder.
    """
    if (other := await find_simulation(folder)) is not None:
        await other.close()
        raise KeysteadError("KS-API-004", f"another simulated lab is called {folder.name}")
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            talks.add(task)
            task.add_done_callback(talks.discard)
        try:
            with suppress(OSError, EOFError, ValueError, msgspec.DecodeError):
                while True:
                    asked = msgspec.msgpack.decode(await _receive(reader), type=_Asked)
                    _send(writer, await _answer(asked, call))
                    await writer.drain()
        finally:
            await _close(writer)

    with _socket_path(folder) as path:
        (folder / NAME).unlink(missing_ok=True)
        server = await asyncio.start_unix_server(talk, path)
    try:
        yield
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        (folder / NAME).unlink(missing_ok=True)


async def _answer(asked: _Asked, call: Call) -> _Answered:
    if asked.call not in CALLS:
        return _Answered(error_id="KS-USE-001", error=f"{asked.call} is not a call of this lab")
    try:
        return _Answered(await call(asked.call, asked.payload))
    except KeysteadError as error:
        return _Answered(b"", error.id, str(error), error.fix, error.fault, error.keys)


class SimulationClient:
    """A connection to the process that serves a simulated lab."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, name: str, payload: bytes) -> bytes:
        """The result of one call; KS-LAB-007 when the process ends meanwhile."""
        try:
            _send(self._writer, _Asked(name, payload))
            answer = msgspec.msgpack.decode(await _receive(self._reader), type=_Answered)
        except (OSError, EOFError):
            raise KeysteadError("KS-LAB-007", "the simulated lab has ended") from None
        if answer.error_id:
            raise KeysteadError(
                answer.error_id, answer.error, answer.fix, answer.fault, answer.keys
            )
        return answer.result

    async def close(self) -> None:
        """End the connection; the lab stays."""
        await _close(self._writer)


async def find_simulation(folder: Path) -> SimulationClient | None:
    """A connection to the simulated lab of this folder; None when none is served."""
    try:
        with _socket_path(folder) as path:
            return SimulationClient(*await asyncio.open_unix_connection(path))
    except OSError:
        return None


@contextmanager
def _socket_path(folder: Path) -> Iterator[str]:
    """The path of the socket, short enough for one wherever the folder lies."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _receive(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(_SIZE_BYTES))
    if size > FRAME_LIMIT:
        raise ValueError(f"a frame of {size} bytes")
    return await reader.readexactly(size)


def _send(writer: asyncio.StreamWriter, message: msgspec.Struct) -> None:
    data = msgspec.msgpack.encode(message)
    writer.write(len(data).to_bytes(_SIZE_BYTES) + data)
