"""Workers: what they return, how they fail, that they end."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.connection import ForkFailed
from services.runtime.sim.runner import (
    Conversation,
    Worker,
    WorkerDied,
    WorkerFailed,
    run_in_worker,
    send_frame,
)
from tests.services.runtime.sim import talker

TALK = "tests.services.runtime.sim.talker:talk"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer(["tests.services.runtime.sim.talker"])
    yield made
    made.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own time limit ends a hopeless wait."""
    while not condition():
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """No such process, or one that has ended and waits for its parent to notice."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while we read
        return True


def test_a_result_comes_back(server: ForkServer) -> None:
    assert run_in_worker(talker.add, 2, 3, server=server) == 5
    assert len(run_in_worker(talker.large, 5_000_000, server=server)) == 5_000_000


def test_a_worker_is_clean(server: ForkServer) -> None:
    first = run_in_worker(talker.describe, server=server)
    second = run_in_worker(talker.describe, server=server)
    assert first["pid"] != second["pid"] != os.getpid()
    assert first["threads"] == first["alive"] == 1
    assert first["gc"] is False
    assert first["main"] is None and first["pytest"] is False  # pytest was not imported again
    eventually(lambda: gone(int(str(first["pid"]))))


def test_an_exception_comes_back_with_its_traceback(server: ForkServer) -> None:
    with pytest.raises(ValueError, match="from far away") as caught:
        run_in_worker(talker.fail, "value", server=server)
    assert "talker.py" in "".join(caught.value.__notes__)
    with pytest.raises(WorkerFailed, match="Odd: ab"):
        run_in_worker(talker.fail, "odd", server=server)
    with pytest.raises(SystemExit):
        run_in_worker(talker.fail, "exit", server=server)
    with pytest.raises(WorkerDied):
        run_in_worker(talker.fail, "die", server=server)
    assert run_in_worker(talker.add, 1, 1, server=server) == 2


def test_a_worker_that_takes_too_long_is_killed(server: ForkServer) -> None:
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        run_in_worker(talker.spin, timeout_s=0.2, server=server)
    assert run_in_worker(talker.add, 1, 1, server=server) == 2


def test_a_server_that_cannot_start_says_why() -> None:
    server = ForkServer(["no.such.module"])
    with pytest.raises(ForkFailed, match=r"no\.such|'no'"):
        server.start()
    with pytest.raises(WorkerDied, match="did not start"):
        run_in_worker(talker.add, 1, 1, server=server)
    server.close()


def test_a_blocking_conversation(server: ForkServer) -> None:
    worker = Worker(TALK, "5", server=server)
    assert worker.call("sleep", b"100") == b"100"
    assert worker.call("sleep", b"50") == b"150"
    with pytest.raises(KeyError):
        worker.call("unknown")
    assert worker.call("echo", bytes(1_000_000)) == bytes(1_000_000)
    worker.close()
    eventually(lambda: gone(worker.pid))
    with pytest.raises(WorkerDied):
        worker.call("echo")


def test_a_conversation_that_stops_answering(server: ForkServer) -> None:
    worker = Worker(TALK, "5", server=server)
    with pytest.raises(TimeoutError):
        worker.call("spin", timeout_s=0.2)
    eventually(lambda: gone(worker.pid))
    other = Worker(TALK, "5", server=server)
    with pytest.raises(WorkerDied):
        other.call("die")
    with pytest.raises(ValueError, match="not today"):
        Worker(TALK, "refuse", server=server)


async def test_a_conversation_on_a_stock_loop(server: ForkServer) -> None:
    talk = await Conversation.open(TALK, "5", server=server)
    answers = await asyncio.gather(*(talk.call("sleep", b"10") for _ in range(5)))
    assert answers == [b"10", b"20", b"30", b"40", b"50"]
    with pytest.raises(KeyError):
        await talk.call("unknown")
    assert await talk.call("echo", bytes(1_000_000)) == bytes(1_000_000)
    assert int(await talk.call("pid")) == talk.pid
    await talk.close()
    await asyncio.to_thread(eventually, lambda: gone(talk.pid))
    with pytest.raises(WorkerDied):
        await talk.call("echo")


async def test_a_conversation_in_trouble(server: ForkServer) -> None:
    with pytest.raises(ValueError, match="not today"):
        await Conversation.open(TALK, "refuse", server=server)
    talk = await Conversation.open(TALK, "5", server=server)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await talk.call("spin")
    await asyncio.to_thread(eventually, lambda: gone(talk.pid))
    other = await Conversation.open(TALK, "5", server=server)
    with pytest.raises(WorkerDied):
        await other.call("die")


async def test_an_opening_that_is_cancelled_leaves_nothing(server: ForkServer) -> None:
    """Cancelled at each step; the worker of a fork that nobody waits for is closed with it.

    A socket that only the collector closes is a ``ResourceWarning``, an error here.
    """
    server.start()
    for steps in range(12):
        opening = asyncio.create_task(Conversation.open(TALK, server=server))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    await asyncio.get_running_loop().shutdown_default_executor()
    gc.collect()
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text
    eventually(lambda: children() == "")


def test_a_worker_whose_answer_nobody_takes_leaves_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = ForkServer()
    sock, pid = server.fork("x", "services.runtime.sim.runner:run_worker")
    send_frame(sock, pickle.dumps(("run", time.sleep, (0.2,))))
    sock.close()
    eventually(lambda: gone(pid))
    server.close()
    assert capfd.readouterr().err == ""


def test_no_orphan_survives_the_parent() -> None:
    """The parent is killed while one worker computes and another waits for a call."""
    text = f"""
import os, sys, threading
sys.path[:] = {sys.path!r}
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import Worker
server = ForkServer(["tests.services.runtime.sim.talker"])
busy, idle = Worker({TALK!r}, "1", server=server), Worker({TALK!r}, "1", server=server)
threading.Thread(target=lambda: busy.call("spin"), daemon=True).start()
print(server.pid, busy.pid, idle.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3 and not any(gone(pid) for pid in pids)
        parent.kill()
        for pid in pids:
            eventually(lambda pid=pid: gone(pid))  # type: ignore[misc]
