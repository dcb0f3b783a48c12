"""Agent processes: one that does not come up is told with its reason, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.brokers.configuration import AgentConfig
from lab.processes.agents import Agents
from lab.schema.errors import KeysteadError

pytestmark = pytest.mark.lab

TARGETS = "tests.services.runtime.forking.targets"


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    made = Agents(tmp_path / "logs" / "fork.err", real_tpms=False)
    await made.start()
    yield made
    await made.close()


def config(folder: Path) -> AgentConfig:
    return AgentConfig(
        name="agent-1",
        folder=str(folder),
        control_url="",
        data_url="",
        epoch=0.0,
        wall=0.0,
        pace=1.0,
        seed=1,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "within_s", "why"),
    [
        ("mute", 1.0, "not ready within 1 s"),
        ("echo", 30.0, "said something else"),
        ("fail", 30.0, "it ended"),
    ],
)
async def test_one_that_does_not_serve_is_told_and_ended(
    agents: Agents,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    within_s: float,
    why: str,
) -> None:
    """It waits for ever, writes garbage, or raises."""
    monkeypatch.setattr("lab.processes.agents._TARGET", f"{TARGETS}:{target}")
    with pytest.raises(KeysteadError, match=f"ks-x did not start .*{why}.*see ") as raised:
        await agents.spawn("ks-x", config(tmp_path), within_s)
    assert raised.value.id == "KS-INT-001"
    until = time.monotonic() + 10
    while agents.pids:
        assert time.monotonic() < until, "it still runs"
        await asyncio.sleep(0)


async def test_a_fork_server_that_was_killed_is_told_at_once(
    agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.processes.agents._TARGET", f"{TARGETS}:mute")
    starting = asyncio.create_task(agents.spawn("ks-x", config(tmp_path)))
    while not agents.pids:
        await asyncio.sleep(0)
    assert agents.server_pid is not None
    os.kill(agents.server_pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        with pytest.raises(KeysteadError, match="did not start"):
            await starting


COPY = f"""
import asyncio, gc, os, signal, sys
from pathlib import Path
from lab.processes.agents import Agents, begin, build_copied_server, log_of
from services.runtime.forking.connection import ForkServerConnection
from services.runtime.forking.own_forks import CopiedServer

TARGETS = {TARGETS!r}

async def main(folder, server):
    agents = Agents(log_of(folder), real_tpms=False)
    agents.server = server
    await agents.start()
    print(agents.server_pid == server.pid, agents.alive)
    child = await agents.fork("ks-x", TARGETS + ":collects", b"")
    print((await child.read(5)).decode())
    child = await agents.fork("ks-x", TARGETS + ":fail", b"a word of it")
    await child.gone.wait()
    print("a word of it" in log_of(folder).read_text())
    os.kill(server.pid, signal.SIGKILL)
    while agents.alive:
        await asyncio.sleep(0.01)
    await agents.close()
    await agents.start()
    print(type(agents._connection).__name__, agents.alive)
    await agents.close()

gc.disable()  # as a worker does
folder = Path(sys.argv[1])
server = build_copied_server()
begin(server, folder)
asyncio.run(main(folder, server))
"""


@pytest.mark.slow
def test_agents_are_forked_by_a_copy_of_their_owner_and_later_by_a_server_of_their_own(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COPY, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True True", "True", "True", "ForkServerConnection True"]
