"""A life that ends while somebody asks at its console, or while its agent pings for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from protocol.errors import NotConnected
from protocol.messages.agent import CanaryResult, NodeRunState
from protocol.messages.host.session import QueryHost
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import NodeName
from services.runtime.incarnation import WayDown
from tests.chaos.worlds import World

HOST, VCENTER, KMS = NodeName("esxi-001"), NodeName("vcenter"), NodeName("kms")


@pytest.fixture(params=range(1))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(seed=request.param, hosts=1, vms=1)
    yield made
    made.close()


@pytest.mark.sim
@pytest.mark.parametrize("way", ["power_loss", "crash", "stop"])
def test_pings_of_a_node_that_goes_down_are_not_answered(world: World, way: str) -> None:
    lab = world.lab

    async def pinged_down() -> CanaryResult:
        await lab.pause(KMS)
        ping = asyncio.ensure_future(lab.canary(VCENTER, KMS, within_s=60.0, count=2))
        await lab.sleep(1.0)
        await lab.power_off(VCENTER, way)
        return await ping

    found = world.run(pinged_down())
    assert found.answered == 0 and found.error in ("NotConnected", "TimedOut")


@pytest.mark.sim
@pytest.mark.parametrize(("node", "question"), [(HOST, QueryHost()), (VCENTER, ListVms())])
def test_the_console_refuses_from_the_begin_of_an_orderly_end_on(
    world: World, node: NodeName, question: QueryHost | ListVms
) -> None:
    """Also when nothing runs any more, and the machine is not off yet."""
    lab = world.lab
    runner = lab.agent.machine(node).runner

    async def asked() -> list[str]:
        found: list[str] = []
        stop = asyncio.ensure_future(lab.power_off(node, "stop"))
        while not stop.done():
            await lab.sleep(0.001)
            found.append(await refusal())
        return [*found, await refusal()]

    async def refusal() -> str:
        with pytest.raises(NotConnected) as caught:
            await runner.ask(question, 5.0)
        return str(caught.value)

    assert set(world.run(asked())) == {f"{node} is going down"}


@pytest.mark.sim
def test_work_that_is_cancelled_before_its_first_step_is_closed(world: World) -> None:
    """Else the interpreter complains, somewhere and later, of what was never awaited."""
    runner = world.lab.agent.machine(HOST).runner

    async def never() -> None:
        raise AssertionError("it ran")

    work = never()

    async def cancelled() -> None:
        runner.background("late", work)
        list(runner._background)[-1].cancel()
        await world.lab.sleep(1.0)

    world.run(cancelled())
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


@pytest.mark.sim
def test_an_orderly_end_that_turns_into_a_crash_is_over_too(world: World) -> None:
    """In the simulation the steps of an ended life never run again: whoever waits for its stop
    must hear of the crash otherwise."""
    lab = world.lab
    machine = lab.agent.machine(HOST)

    async def struck() -> bool:
        stop = asyncio.ensure_future(lab.power_off(HOST, "stop"))
        await lab.sleep(0.001)
        assert machine.state is NodeRunState.RUNNING and not stop.done()
        machine.end_life_now(WayDown.CRASH)
        await lab.sleep(5.0)
        return stop.done()

    assert world.run(struck())
    assert (machine.state, machine.ended) == (NodeRunState.OFF, "crash")
