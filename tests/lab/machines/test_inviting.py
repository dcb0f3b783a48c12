"""Which machines wait for which, when all that were invited join at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.machines.machine import MachineProcesses
from lab.members.inviting import BOOTS_AT_ONCE, LOOK_EVERY_S, Inviter
from lab.processes.notebook import Notebook
from lab.processes.process_lab import ProcessLab
from lab.state.state_folder import Invitations, LabFolder
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
    def _machine(name: str, pool: str) -> MachineProcesses:
        plan = MachinePlan(
            machine=name, lease_s=5, nodes=(NodeName(name),), processes=(1,), arrays=(), pool=pool
        )
        made = MachineProcesses(plan, cast(Any, None), lambda process: None, lambda text: None)
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


def inviter_of(folder: Path, crowd: Crowd, warn: Callable[[str], None]) -> Inviter:
    ready = asyncio.Event()
    ready.set()
    return Inviter(
        cast(LabFolder, SimpleNamespace(path=folder)),
        load(pool_file()),
        cast(ProcessLab, crowd),
        cast(Notebook, SimpleNamespace(record=SimpleNamespace(places=()))),
        Invitations(folder=str(folder), address="127.0.0.1:1"),
        ready,
        warn,
    )


@pytest.mark.slow
async def test_who_asks_for_a_machine_that_the_lab_has_not_is_told_of_once(tmp_path: Path) -> None:
    """A container of a profile that the Lab file of this start knows nothing of."""
    for name in ("racks", "trust-1", "trust-2"):
        (tmp_path / name).mkdir()
    (tmp_path / "tls-proxy").mkdir()
    (tmp_path / "tls-proxy/address.json").write_bytes(b'{"host":"127.0.0.1","port":1}')
    told = list[str]()
    running = asyncio.create_task(inviter_of(tmp_path, Crowd(), told.append).run())
    try:
        await asyncio.sleep(3 * LOOK_EVERY_S)
        assert told == []
        for name in ("trust-1", "trust-2"):
            (tmp_path / name / f"{name}.ask").touch()
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.01)
        await asyncio.sleep(3 * LOOK_EVERY_S)
    finally:
        running.cancel()
    (text,) = told
    assert text.startswith("asked for a bundle of 'trust-1', 'trust-2', and the Lab file has no")


async def test_hosts_that_wait_for_vcenter_take_no_turn_of_it(tmp_path: Path) -> None:
    crowd = Crowd()
    inviter = inviter_of(tmp_path, crowd, lambda text: None)
    running = asyncio.create_task(inviter.run())
    try:
        async with asyncio.timeout(5):
            while len(crowd.on) < len(crowd.machines):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert sorted(crowd.on) == sorted(crowd.machines)
