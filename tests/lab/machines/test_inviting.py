"""Which machines wait for which, when all that were invited join at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lab.machines.inviting import BOOTS_AT_ONCE, Inviter
from lab.machines.machine import Machine
from lab.processes.process_lab import ProcessLab
from lab.supervise.notebook import Notebook
from lab.supervise.state_folder import Invitations, LabFolder
from lab.topology.lab_file import load
from lab.topology.machine_plan import MachinePlan
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName
from tests.lab.topology.test_places import pool_file


class Crowd:
    """A vCenter's machine and more hosts than build at once; a host's boot waits for vCenter's."""

    def __init__(self) -> None:
        self.vcenter = asyncio.Event()
        self.on: list[str] = []
        hosts = [f"esxi-{number:03d}" for number in range(1, BOOTS_AT_ONCE + 2)]
        self.machines = {name: self._machine(name, "racks") for name in hosts}
        self.machines["vcenter"] = self._machine("vcenter", "")
        self.roster = SimpleNamespace(machines=self.machines)
        self.topology = SimpleNamespace(pools=())

    @staticmethod
    def _machine(name: str, pool: str) -> Machine:
        plan = MachinePlan(
            machine=name, lease_s=5, nodes=(NodeName(name),), processes=(1,), arrays=(), pool=pool
        )
        made = Machine(plan, cast(Any, None), lambda process: None, lambda text: None)
        made.run = "1"
        made.joined.set()
        return made

    async def status(self, node: NodeName) -> Any:
        return SimpleNamespace(state=NodeRunState.OFF)

    async def power_on(self, node: NodeName) -> None:
        if node == "vcenter":
            self.vcenter.set()
        await self.vcenter.wait()
        self.on.append(str(node))


async def test_hosts_that_wait_for_vcenter_take_no_turn_of_it(tmp_path: Path) -> None:
    crowd, ready = Crowd(), asyncio.Event()
    ready.set()
    inviter = Inviter(
        cast(LabFolder, SimpleNamespace(path=tmp_path)),
        load(pool_file()),
        cast(ProcessLab, crowd),
        cast(Notebook, SimpleNamespace(record=SimpleNamespace(places=()))),
        Invitations(folder=str(tmp_path), address="127.0.0.1:1"),
        ready,
        lambda text: None,
    )
    running = asyncio.create_task(inviter.run())
    try:
        async with asyncio.timeout(5):
            while len(crowd.on) < len(crowd.machines):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert sorted(crowd.on) == sorted(crowd.machines)
