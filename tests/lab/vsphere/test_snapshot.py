"""What clients that come at the same time see of a lab, without a lab."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.vsphere.executor import Serial
from lab.vsphere.inventory import LabWatch

pytestmark = pytest.mark.sim


class _Lab:
    """A lab that answers when it is let; ``asked`` are its commands in their order."""

    virtual = True
    changes = sleeps = 0

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.done: list[Any] = []
        self.free = asyncio.Event()

    async def look(self, command: Any) -> Any:
        return await self.do(command)

    async def do(self, command: Any, vcenter: str = "", user: str = "") -> Any:
        self.asked.append(command)
        await self.free.wait()
        self.done.append(command)
        if isinstance(command, c.GetStatus):
            return answers.LabStatus(
                name="x", mode="sim", pace=1.0, lab_time=0.0, nodes={}, faults=(),
                vcenter=MachineState.RUNNING,
            )  # fmt: skip
        return _Nothing

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


class _Nothing:
    items, time, pace = (), 0.0, 1.0


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_client_that_goes_away_does_not_stop_a_command_in_the_middle() -> None:
    async def play() -> None:
        lab = _Lab()
        serial = Serial(lab)
        gone = asyncio.ensure_future(serial.do(c.GetVms()))
        await _turns()
        gone.cancel()
        after = asyncio.ensure_future(serial.do(c.GetHosts()))
        await _turns()
        assert gone.cancelled() and lab.asked == [c.GetVms()]
        lab.free.set()
        await after
        assert lab.done == [c.GetVms(), c.GetHosts()]

    asyncio.run(asyncio.wait_for(play(), 5))


def test_what_was_read_while_a_command_changed_the_lab_is_read_again() -> None:
    async def play() -> None:
        lab = _Lab()
        watch = LabWatch(Serial(lab))
        reading = asyncio.ensure_future(watch.now())
        await _turns()
        change = asyncio.ensure_future(watch.do(c.VmOff(("vm-01",))))
        lab.free.set()
        await asyncio.gather(reading, change)
        first = lab.asked.count(c.GetVms())
        await watch.now()
        assert lab.asked.count(c.GetVms()) == first + 1
        await watch.now()
        assert lab.asked.count(c.GetVms()) == first + 1

    asyncio.run(asyncio.wait_for(play(), 5))
