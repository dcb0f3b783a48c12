"""One machine as the supervisor sees it, with an agent that answers as the test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lab.brokers.configuration import AgentConfig
from lab.machines import machine as module
from lab.machines.bundle import MachinePart
from lab.machines.machine import MachineProcesses, RemoteProcess
from lab.schema.errors import KeysteadError
from lab.topology.machine_plan import MachinePlan
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import InvalidState, TimedOut
from protocol.messages.host.session import Done
from protocol.messages.machines import (
    Beat,
    Beaten,
    EndProcess,
    HeldProcess,
    KeepIdentities,
    ProcessStarted,
    StartProcess,
    TakeMachine,
)
from protocol.terms import NodeName

CONFIG = AgentConfig(
    name="agent-4",
    folder="",
    control_url="",
    data_url="",
    epoch=0.0,
    wall=0.0,
    pace=1.0,
    seed=1,
)


class Agent:
    """Answers in the place of the control broker; what ``answer`` raises is raised."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.running: set[tuple[str, int]] = set()
        self.answer: Callable[[Any], None] = lambda message: None
        self.ahead_s = 10_800.0

    async def request(self, to: str, message: Any, *, within_s: float) -> Any:
        assert to == "machine-east"
        self.asked.append(message)
        self.answer(message)
        match message:
            case Beat():
                now = time.monotonic() + self.ahead_s
                held = tuple(HeldProcess(name=n, life=life) for n, life in sorted(self.running))
                return Beaten(received=now, answered=now, wall=0.0, load=0.5, processes=held)
            case StartProcess():
                life = len(self.asked)
                self.running.add((message.name, life))
                return ProcessStarted(life=life)
            case EndProcess():
                self.running.discard((message.name, message.life))
        return Done()


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def ends() -> list[RemoteProcess]:
    return []


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def machine(
    agent: Agent, ends: list[RemoteProcess], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> MachineProcesses:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.02)
    plan = MachinePlan(
        machine="east",
        lease_s=0.2,
        nodes=(NodeName("esxi-002"),),
        processes=(4,),
        arrays=("datastore-b",),
    )
    return MachineProcesses(plan, lambda: agent, ends.append, told.append)  # type: ignore[arg-type, return-value]


async def test_the_offset_is_told_before_anything_is_started(
    machine: MachineProcesses, agent: Agent
) -> None:
    await machine.take("r1", {})
    assert isinstance(agent.asked[0], TakeMachine)
    assert [message.offset_s for message in agent.asked[1:3]] == [
        None,
        pytest.approx(agent.ahead_s, abs=0.05),
    ]
    assert machine.joined.is_set()


async def test_a_process_that_is_not_there_any_more_has_ended(
    machine: MachineProcesses, agent: Agent, ends: list[RemoteProcess]
) -> None:
    await machine.take("r1", {})
    process = await machine.spawn("ks-esxi-002", CONFIG)
    await asyncio.sleep(0.1)
    assert not process.gone.is_set() and machine.processes == 1
    agent.running.clear()
    await asyncio.wait_for(process.gone.wait(), 5)
    assert ends == [process] and machine.processes == 0


async def test_a_kill_is_repeated_until_it_is_done(machine: MachineProcesses, agent: Agent) -> None:
    await machine.take("r1", {})
    process = await machine.spawn("ks-esxi-002", CONFIG)
    fails = iter([True, True, False])

    def answer(message: Any) -> None:
        if isinstance(message, EndProcess) and next(fails):
            raise TimedOut("lost")

    agent.answer = answer
    process.kill()
    await asyncio.wait_for(process.gone.wait(), 5)
    assert not agent.running


async def test_silence_for_the_lease_is_the_end_of_a_run(
    machine: MachineProcesses, agent: Agent, ends: list[RemoteProcess], told: list[str]
) -> None:
    await machine.take("r1", {})
    process = await machine.spawn("ks-esxi-002", CONFIG)

    def answer(message: Any) -> None:
        raise TimedOut("cut")

    agent.answer = answer
    await asyncio.sleep(0.1)
    assert not process.gone.is_set(), "the lease is not over"
    await asyncio.wait_for(process.gone.wait(), 5)
    assert ends == [process] and not machine.joined.is_set() and machine.run == ""
    assert "has not answered" in told[0] and "off now" in told[0]
    left_s = machine.ended_by_s - time.monotonic()
    assert left_s > module.BEAT_LIMIT_S, "a beat on its way could still let it live"


async def test_of_one_that_has_ended_its_nodes_nobody_waits_for_a_lease(
    machine: MachineProcesses, agent: Agent
) -> None:
    await machine.take("r1", {})
    await asyncio.sleep(0)  # the next beat is waited for
    machine.lose("has left", ended=True)
    await asyncio.sleep(0.1)
    assert machine.ended_by_s == 0.0, "no beat went to a run that is over"


async def test_who_is_in_another_run_is_not_taken_and_nothing_waits_for_it(
    machine: MachineProcesses, agent: Agent, told: list[str]
) -> None:
    def answer(message: Any) -> None:
        raise InvalidState("another run")

    agent.answer = answer
    await machine.take("r1", {})
    assert machine.run == "" and machine.ended_by_s == 0.0 and told == []


async def test_the_worst_error_is_told_from_when_it_was_asked_for(
    machine: MachineProcesses, agent: Agent
) -> None:
    await machine.take("r1", {})
    calm = machine.watch_clock_error()
    await asyncio.sleep(0.2)
    assert calm() < 0.1
    worst = machine.watch_clock_error()
    agent.ahead_s += 600  # it stood still for ten minutes
    await asyncio.sleep(0.3)
    assert worst() == pytest.approx(600, abs=1) and machine.offset.jumps == 1
    assert machine.joined.is_set(), "no lease goes by that clock"
    later = machine.watch_clock_error()
    await asyncio.sleep(0.1)
    assert later() < 0.1


async def test_a_machine_that_goes_while_a_process_starts(
    machine: MachineProcesses, agent: Agent
) -> None:
    await machine.take("r1", {})
    agent.answer = lambda message: (
        machine.lose("went") if isinstance(message, StartProcess) else None
    )
    with pytest.raises(KeysteadError) as refused:
        await machine.spawn("ks-esxi-002", CONFIG)
    assert refused.value.id == "KS-AGENT-008" and machine.processes == 0


async def test_beats_that_are_not_answered_give_less_and_end_nothing_later(
    machine: MachineProcesses, agent: Agent
) -> None:
    await machine.take("r1", {})
    cut = asyncio.Event()

    def answer(message: Any) -> None:
        if cut.is_set():
            raise TimedOut("cut")

    agent.answer = answer
    await asyncio.sleep(0.05)
    cut.set()
    heard_s, before = machine.heard_s, len(agent.asked)
    async with asyncio.timeout(5):
        while machine.run:
            await asyncio.sleep(0.01)
    grants = [message.grant_s for message in agent.asked[before:]]
    assert len(grants) > 2 and grants == sorted(grants, reverse=True), "less each time"
    assert machine.heard_s == heard_s and grants[0] <= machine.plan.lease_s
    assert machine.ended_by_s == pytest.approx(heard_s + machine.plan.lease_s + module.MARGIN_S)


async def test_who_may_have_been_taken_unheard_is_waited_for(
    machine: MachineProcesses, agent: Agent, told: list[str]
) -> None:
    def answer(message: Any) -> None:
        raise TimedOut("the answer is lost")

    agent.answer = answer
    await machine.take("r1", {}, (HeldProcess(name="agent-4", life=3),))
    left_s = machine.ended_by_s - time.monotonic()
    assert machine.run == "" and "could not be taken" in told[0]
    assert left_s > machine.plan.lease_s + module.ORDER_LIMIT_S, "what it holds may live on"


async def test_what_is_private_of_a_host_that_came_later_is_there_before_its_process_starts(
    machine: MachineProcesses, agent: Agent
) -> None:
    key = OneTimeKey()
    part = MachinePart(
        lab="far", machine="east", agent="agent-5", nodes=(NodeName("esxi-003"),), files={}
    )
    machine.parts["agent-5"] = lambda: part
    alive = (HeldProcess(name="agent-5", life=1),)
    await machine.take("r1", {}, alive, key.public)
    later = msgspec.structs.replace(CONFIG, name="agent-5")
    for config in (CONFIG, later):  # the second one lives on
        await machine.spawn("ks", config)
    assert not [message for message in agent.asked if isinstance(message, KeepIdentities)]
    await machine.spawn("ks", later)
    kept, started = agent.asked[-2:]
    assert isinstance(kept, KeepIdentities) and isinstance(started, StartProcess)
    assert key.open_box(kept.box, "part of a bundle for run r1").reveal() == msgspec.msgpack.encode(
        part
    )
