"""Which processes a lab with machines starts, and who forks them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from lab.brokers.control_plane import ControlClient
from lab.brokers.server import Broker
from lab.machines.roster import Roster
from lab.processes.agents import AgentProcess, Agents
from lab.processes.process_lab import ProcessLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from services.runtime.real.world import LabTime
from tests.lab.topology.test_places import pool_file

MACHINES = [{"name": "keys", "nodes": ["kms"]}, {"name": "centre", "nodes": ["vcenter"]}]


class Alive:
    """A process that runs."""

    stopped = False

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def kill(self) -> None: ...

    def signal(self, number: signal.Signals) -> None: ...


class Started:
    """A lab whose machine ``keys`` has joined before its start, and ``centre`` joins during it; no
    broker and no agent is started, and what would be is noted."""

    def __init__(self, folder: Path, hosts: int, patch: pytest.MonkeyPatch) -> None:
        file = pool_file() | {"machines": [*pool_file()["machines"], *MACHINES]}
        if not hosts:
            del file["clusters"][0]

        time = LabTime(0.0, 0.0, 1.0)
        self.lab = ProcessLab(folder, plan(load(file)), time, 1, listen="127.0.0.1:0")
        self.spawned: list[str] = []
        self.forks = 0

        async def nothing(*_: Any) -> None:
            return

        async def forks(*_: Any) -> None:
            self.forks += 1

        async def spawn(process: AgentProcess) -> None:
            if process.machine is not None:
                await process.machine.joined.wait()
            process.child = Alive()
            self.spawned.append(str(process.nodes[0]))
            self._join("centre")

        for part, name in ((Broker, "start"), (ControlClient, "open"), (Roster, "start")):
            patch.setattr(part, name, nothing)
        patch.setattr(Roster, "wait", nothing)
        patch.setattr(Broker, "url", "nats://127.0.0.1:1")
        patch.setattr(Agents, "start", forks)
        patch.setattr(self.lab, "_spawn", spawn)

    def _join(self, machine: str) -> None:
        assert self.lab.roster is not None
        self.lab.roster.machines[machine].joined.set()

    async def run(self) -> None:
        self._join("keys")
        await self.lab.start()
        await asyncio.sleep(0.05)  # those that come with their machine
        await self.lab.close()


async def test_a_machine_that_joins_while_others_start_has_its_processes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(tmp_path, 2, monkeypatch)
    await started.run()
    assert {"kms", "vcenter", "esxi-001", "esxi-002"} <= set(started.spawned)


@pytest.mark.parametrize("hosts", [0, 2])
async def test_a_fork_server_is_there_where_processes_are(
    hosts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(tmp_path, hosts, monkeypatch)
    await started.run()
    assert started.forks == (1 if hosts else 0)
