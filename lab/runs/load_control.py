"""How a load that runs is changed: a socket in the folder of its run, on which its rate is set, and
the load of an experiment on real processes that follows it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from chaos.playing.load import Coming, Unchangeable
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from lab.state.state_folder import runs_folder
from protocol import names

NAME: Final = "control"
WITHIN_S: Final = 60.0
"""Seconds in which a load answers: it may have to make keys for what is offered from then on."""
_LONGEST: Final = 4096


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A rate came into force ``at`` so many seconds after the begin of the load, in place of
    ``was``; the id, text and cure of an error where it did not."""

    at: float = 0.0
    was: str = ""
    error: str = ""
    text: str = ""
    fix: str = ""


Change = Callable[[str], Awaitable[Changed]]


@asynccontextmanager
async def load_control(folder: RunFolder, change: Change) -> AsyncIterator[None]:
    """Open while the load is offered. Where no socket can be had, its rate stays as it is: that is
    no reason not to measure."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError):  # who asked has gone, or said what nobody says
            writer.write(await _answer(await reader.readline(), change))
            await writer.drain()
        writer.close()

    server = None
    with suppress(OSError), _path(folder) as path:
        server = await asyncio.start_unix_server(hear, path, limit=_LONGEST)
    try:
        yield
    finally:
        if server is not None:
            server.close()
            with suppress(OSError):
                os.unlink(folder.path / NAME)


async def _answer(line: bytes, change: Change) -> bytes:
    try:
        answer = await change(msgspec.json.decode(line, type=str))
    except KeysteadError as error:
        answer = Changed(error=error.id, text=str(error), fix=error.fix)
    except msgspec.DecodeError as error:
        answer = Changed(error="KS-USE-003", text=f"that is no rate: {error}")
    return msgspec.json.encode(answer) + b"\n"


def tell(folder: RunFolder, rate: str) -> Changed:
    """Change the rate of a load that runs; the error that it tells, or KS-LOAD-004."""
    try:
        with _open_connection(folder, WITHIN_S) as end:
            end.sendall(msgspec.json.encode(rate) + b"\n")
            said = end.makefile("rb").readline(_LONGEST)
        answer = msgspec.json.decode(said, type=Changed)
    except TimeoutError:
        text = f"{folder.run} did not answer within {WITHIN_S:g} s"
        raise KeysteadError("KS-LOAD-004", text) from None
    except (OSError, msgspec.DecodeError):
        raise KeysteadError("KS-LOAD-004", f"{folder.run} has just ended") from None
    if answer.error:
        raise KeysteadError(answer.error, answer.text, answer.fix)
    return answer


def runs(folder: RunFolder) -> bool:
    """Whether a load is offered there now, which may have to be asked."""
    try:
        with _open_connection(folder, 1.0):
            return True
    except OSError:
        return False


def the_one(run: str) -> RunFolder:
    """The load of that name that runs, or the only one; KS-RUN-001, KS-LOAD-004 to 006."""
    if not run:
        found = [folder for folder in _folders_with_control() if runs(folder)]
        if not found:
            raise KeysteadError("KS-LOAD-004")
        if len(found) > 1:
            there = ", ".join(sorted(folder.run for folder in found))
            raise KeysteadError("KS-LOAD-005", f"{len(found)} loads run: {there}")
        return found[0]
    folder = RunFolder(run)
    record = folder.record()
    if runs(folder):
        return folder
    if record.mode == "sim":
        raise KeysteadError("KS-LOAD-006", f"{run} is in virtual time")
    raise KeysteadError("KS-LOAD-004", f"{run}: no load is offered there now")


def _folders_with_control() -> Iterator[RunFolder]:
    for path in runs_folder().glob(f"*/{NAME}"):
        if not names.RUN.fault(path.parent.name):
            yield RunFolder(path.parent.name)


@contextmanager
def _open_connection(folder: RunFolder, within_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end, _path(folder) as path:
        end.settimeout(within_s)
        _connect(end, path, time.monotonic() + within_s)
        yield end


def _connect(end: socket.socket, path: str, until: float) -> None:
    """Where many others ask at this moment, there is no room in its queue for a moment."""
    while True:
        try:
            return end.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError from None
            time.sleep(0.01)


@contextmanager
def _path(folder: RunFolder) -> Iterator[str]:
    """The path of its socket, short enough for one wherever the folder lies."""
    fd = os.open(folder.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(Path("/proc/self/fd") / str(fd) / NAME)
    finally:
        os.close(fd)


@asynccontextmanager
async def changeable(folder: RunFolder, coming: Coming) -> AsyncIterator[None]:
    """Let people change the load of a run while it comes; no change for one without."""
    if coming.load is None:
        yield
        return
    begin = coming.load.from_s

    async def change(rate: str) -> Changed:
        try:
            at, was = coming.change(rate)
        except ValueError as error:
            raise KeysteadError("KS-USE-003", str(error)) from None
        except Unchangeable as error:
            raise KeysteadError("KS-LOAD-007", str(error)) from None
        return Changed(at=round(at - begin, 3), was=was)

    async with load_control(folder, change):
        coming.open = True
        try:
            yield
        finally:
            coming.open = False
