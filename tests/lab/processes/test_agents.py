"""Agent processes: one that does not come up is told with its reason, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.errors import KeysteadError
from lab.processes.agent import AgentConfig
from lab.processes.agents import Agents

pytestmark = pytest.mark.lab

TARGETS = "tests.services.runtime.forking.targets"


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    made = Agents(tmp_path / "logs" / "fork.err", real_tpms=False)
    await made.start()
    yield made
    made.close()


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
