"""The wall around the simulation: every way out is refused and recorded."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from services.runtime.sim.loop import SimLoop
from services.runtime.sim.wall import EscapeRefused

pytestmark = pytest.mark.sim


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    with SimLoop(11) as made:
        yield made


async def _executor() -> None:
    await asyncio.to_thread(int)


async def _socket() -> None:
    socket.socket()


async def _connection() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def _process() -> None:
    await asyncio.create_subprocess_exec("true")


async def _popen() -> None:
    subprocess.run(["true"], check=False)  # noqa: ASYNC221


async def _thread() -> None:
    threading.Thread(target=int).start()


async def _nap() -> None:
    time.sleep(0)  # noqa: ASYNC251


async def _file_database() -> None:
    sqlite3.connect("somewhere.db")


async def _reader() -> None:
    asyncio.get_running_loop().add_reader(0, int)


async def _signal() -> None:
    asyncio.get_running_loop().add_signal_handler(10, int)


async def _threadsafe() -> None:
    asyncio.get_running_loop().call_soon_threadsafe(int)


@pytest.mark.parametrize(
    "attempt",
    [
        _executor,
        _socket,
        _connection,
        _process,
        _popen,
        _thread,
        _nap,
        _file_database,
        _reader,
        _signal,
        _threadsafe,
    ],
)
def test_an_attempt_to_leave_is_refused_and_recorded(
    attempt: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    refused = []

    async def main() -> None:
        try:
            await attempt()
        except Exception as error:  # a service that swallows it
            refused.append(error)

    with SimLoop(1) as loop:
        loop.run(main())
        assert len(refused) == 1 and isinstance(refused[0], EscapeRefused)
        assert len(loop.escapes) >= 1


def test_what_is_inside_is_no_attempt(loop: SimLoop) -> None:

    async def main() -> None:
        sqlite3.connect(":memory:").close()
        await asyncio.sleep(1)

    loop.run(main())
    assert loop.escapes == []


def test_the_wall_stands_only_while_the_loop_runs(loop: SimLoop) -> None:
    loop.run(asyncio.sleep(1))
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert loop.escapes == []
