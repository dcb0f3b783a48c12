"""Parts that end by themselves are started again, and one that is spared ends no lab."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lab.processes import agents
from lab.processes.agents import Part, Revival
from lab.schema.errors import KeysteadError


class Watched:
    """A part that cannot be started until it ``may``."""

    def __init__(self, name: str, *, spared: bool = False) -> None:
        self.well, self.may, self.tries = True, True, 0
        self.part = Part(name, lambda: self.well, self.start, lambda: spared)

    async def start(self) -> None:
        self.tries += 1
        if not self.may:
            raise KeysteadError("KS-BROKER-002", f"the {self.part.name} did not start: no port")
        self.well = True

    def end(self) -> None:
        self.well = self.may = False


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(agents, "_LOOK_EVERY_S", 0.005)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_that_is_spared_is_tried_on_and_told_once() -> None:
    told: list[str] = []
    lost: list[KeysteadError] = []
    one, other = Watched("server 1", spared=True), Watched("server 2")
    watching = asyncio.create_task(Revival(told.append, lost.append).watch((one.part, other.part)))
    one.end()
    await until(lambda: one.tries > 5)
    other.well = False
    await until(lambda: other.well)  # none waits for another
    one.may = True
    await until(lambda: one.well)
    assert not lost and not watching.done()
    assert told.count("the server 1 did not start: no port") == 1
    watching.cancel()


async def test_one_that_is_not_ends_the_lab_with_why() -> None:
    lost: list[KeysteadError] = []
    one = Watched("control broker")
    watching = asyncio.create_task(Revival(lambda text: None, lost.append).watch((one.part,)))
    one.end()
    await until(watching.done)
    assert [error.id for error in lost] == ["KS-LAB-007"]
    assert "cannot be had again: the control broker did not start: no port" in str(lost[0])
    assert one.tries == 3
