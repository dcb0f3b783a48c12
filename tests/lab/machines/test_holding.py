"""An agent's processes: they live as long as their supervisor is heard, and no longer."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lab.brokers.control_plane import NoAnswer
from lab.machines.bundle import MachinePart, read, seal_part
from lab.machines.issuing import issue
from lab.members import holding as module
from lab.members.holding import Holding, JoinedFolder
from lab.state.state_folder import LabFolder
from protocol.errors import CryptographicFailure, InvalidState, SaveFailed
from protocol.messages.machines import (
    Beat,
    KeepIdentities,
    RefuseMachine,
    ReleaseMachine,
    StartProcess,
    TakeMachine,
)
from protocol.terms import NodeName
from services.runtime.real.shared_offset import SharedOffset


class Child:
    """A process that ends when it is killed."""

    def __init__(self, agents: Agents) -> None:
        self.gone, self._agents = asyncio.Event(), agents

    def kill(self) -> None:
        self.gone.set()
        self._agents.on_end(self)

    def signal(self, number: signal.Signals) -> None:
        pass


class Agents:
    """Forks nothing."""

    def __init__(self) -> None:
        self.on_end: Any = None
        self.children: list[Child] = []

    async def spawn(self, label: str, config: Any) -> Child:
        self.children.append(Child(self))
        return self.children[-1]

    def alive(self) -> list[Child]:
        return [child for child in self.children if not child.gone.is_set()]


class Clock:
    """Of the machine, which goes on while it sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "machine_clock", made.read)
    return made


@pytest.fixture
def joined(folder: LabFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JoinedFolder:
    issue("far", "east", tmp_path / "bundle", "", 60.0)
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "far-away"))
    return JoinedFolder(read(tmp_path / "bundle"))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def agents() -> Agents:
    return Agents()


@pytest.fixture
async def holding(joined: JoinedFolder, agents: Agents, clock: Clock, said: list[str]) -> Holding:
    return Holding(joined, "nats://127.0.0.1:1", agents, said.append)  # type: ignore[arg-type]


async def ask(holding: Holding, message: Any) -> Any:
    return await holding.handlers[type(message)](message, "supervisor")


def start(run: str) -> StartProcess:
    return StartProcess(run=run, name="agent-4", label="ks", epoch=5.0, wall=0.0, pace=1.0, seed=1)


async def taken(holding: Holding, lease_s: float = 15.0) -> str:
    run = holding.run
    await ask(holding, TakeMachine(run=run, lease_s=lease_s, public={}))
    await ask(holding, Beat(run=run, offset_s=0.0, grant_s=lease_s))
    await ask(holding, start(run))
    return run


async def test_a_beat_that_waited_while_the_machine_slept_does_not_wake_the_lease(
    holding: Holding, agents: Agents, clock: Clock, said: list[str]
) -> None:
    run = await taken(holding)
    clock.now += 60.0  # the network kept a beat, and nobody has looked at the lease yet
    with pytest.raises(InvalidState):
        await ask(holding, Beat(run=run, offset_s=0.0, grant_s=15.0))
    with pytest.raises(InvalidState):
        await ask(holding, TakeMachine(run=run, lease_s=15.0, public={}))
    with pytest.raises(InvalidState):
        await ask(holding, start(run))
    watch = asyncio.create_task(holding.watch())
    async with asyncio.timeout(5):
        while agents.alive():
            await asyncio.sleep(0.01)
    watch.cancel()
    assert holding.ended == run and holding.run != run and "not heard for" in said[-1]


async def test_a_beat_gives_no_more_than_it_says(holding: Holding, clock: Clock) -> None:
    run = await taken(holding)
    clock.now += 10.0
    await ask(holding, Beat(run=run, offset_s=0.0, grant_s=5.0))
    clock.now += 4.9
    await ask(holding, Beat(run=run, offset_s=0.0, grant_s=0.5))
    clock.now += 0.6
    with pytest.raises(InvalidState):
        await ask(holding, start(run))


async def test_processes_can_see_the_end_of_the_lease_themselves(
    holding: Holding, joined: JoinedFolder, clock: Clock
) -> None:
    page = SharedOffset(joined.path / "offset")
    await taken(holding)
    assert page.lease_end == clock.now + 15.0
    await holding.let_go()
    assert page.lease_end < clock.now, "one that is being forked ends itself"


async def test_what_another_agent_of_this_name_is_told_is_not_answered(holding: Holding) -> None:
    run = await taken(holding)
    for message in (
        Beat(run="another", grant_s=15.0),
        start("another"),
        TakeMachine(run="another", lease_s=15.0, public={}),
        RefuseMachine(run="another", error_id="KS-AGENT-005", text="t", wait=True),
        ReleaseMachine(run="another"),
    ):
        with pytest.raises(NoAnswer):
            await ask(holding, message)
    await holding.let_go()
    with pytest.raises(InvalidState):  # that was this one: whoever asks may know at once
        await ask(holding, Beat(run=run, grant_s=15.0))


async def test_a_killed_agent_is_known_to_have_ended_when_its_processes_have(
    holding: Holding, joined: JoinedFolder, agents: Agents, said: list[str]
) -> None:
    run = await taken(holding)
    process = SharedOffset(joined.path / "offset")
    process.live()
    after = Holding(joined, "", agents, said.append)  # type: ignore[arg-type]
    assert after.ended == "", "a process of the one before is alive"
    process.close()
    after = Holding(joined, "", agents, said.append)  # type: ignore[arg-type]
    assert after.ended == run
    later = SharedOffset(joined.path / "offset")
    later.live()  # the new one keeps nobody from starting
    later.close()


async def test_a_lab_that_is_removed_for_good_leaves_nothing_here(
    holding: Holding, joined: JoinedFolder, agents: Agents, said: list[str]
) -> None:
    await taken(holding)
    await holding._release(ReleaseMachine(run=holding.run), "supervisor")
    assert not holding.purged.is_set() and "waits until it is up again" in said[-1]
    await holding._take(TakeMachine(run=holding.run, lease_s=15, public={}), "supervisor")
    await holding._release(ReleaseMachine(run=holding.run, purged=True), "supervisor")
    assert holding.purged.is_set() and not holding.taken and agents.alive() == []
    assert str(joined.path) in said[-1]
    joined.remove()
    assert not joined.path.exists()


async def test_what_was_copied_knows_nothing_of_where_it_came_from(
    holding: Holding, joined: JoinedFolder, agents: Agents, said: list[str], tmp_path: Path
) -> None:
    await taken(holding)
    moved = joined.path.with_name("copy")
    moved.mkdir()
    for name in ("run.json", "offset"):
        (moved / name).write_bytes((joined.path / name).read_bytes())
    joined.path = moved
    assert Holding(joined, "", agents, said.append).ended == ""  # type: ignore[arg-type]


async def test_late_beats_are_seen_by_a_clock_that_goes_on_in_sleep(joined: JoinedFolder) -> None:
    page = SharedOffset(joined.path / "offset")
    page.seconds = 0.0
    assert abs(page.supervisor_time() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


async def test_what_is_private_of_a_host_that_comes_is_kept_by_a_taken_run_alone(
    holding: Holding, joined: JoinedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"identity/node/esxi-003.json": b"n", "identity/control/agent-5.json": b"c"}
    part = MachinePart(
        lab="far", machine="east", agent="agent-5", nodes=(NodeName("esxi-003"),), files=files
    )

    def keep(run: str, key: bytes) -> KeepIdentities:
        return KeepIdentities(run=run, box=seal_part(part, run, key))

    with pytest.raises(InvalidState):
        await ask(holding, keep(holding.run, holding.key))
    run = await taken(holding)
    first = holding.key
    for _ in range(2):  # it may be told twice
        await ask(holding, keep(run, first))
    assert [(joined.path / name).read_bytes() for name in files] == [b"n", b"c"]
    await holding.let_go()
    with pytest.raises(CryptographicFailure):
        run = await taken(holding)
        await ask(holding, keep(run, first))

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(joined, "keep", full)
    with pytest.raises(SaveFailed, match="cannot be written: No space"):
        await ask(holding, keep(run, holding.key))
