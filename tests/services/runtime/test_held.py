"""A node that is held at its ports stands still, and misses nothing but time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from protocol.errors import NotConnected, TimedOut
from protocol.messages.agent import HoldNode
from protocol.messages.base import Ping, Pong
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from tests.chaos.worlds import World

HOST, OTHER = NodeName("esxi-001"), NodeName("esxi-002")


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=1)
    yield made
    made.close()


def hold(world: World, held: bool, node: NodeName = HOST) -> None:
    world.run(world.lab.agent.handle(HoldNode(node=node, held=held)))


@pytest.mark.sim
def test_nothing_reaches_it_and_nothing_leaves_it_until_it_goes_on(world: World) -> None:
    lab = world.lab
    bus = lab.agent.machine(OTHER).runner.bus
    own = lab.agent.machine(HOST).runner.bus
    hold(world, True)

    async def asked(within_s: float) -> Pong:
        return await bus.request(HOST, Ping(), within_s=within_s)

    with pytest.raises(TimedOut):
        world.run(asked(5.0))

    async def both() -> tuple[Pong, Pong]:
        """A question to it, and one of its own, wait until it goes on."""
        waiting = [
            asyncio.ensure_future(asked(60.0)),
            asyncio.ensure_future(own.request(OTHER, Ping(), within_s=60.0)),
        ]
        await lab.sleep(20.0)
        assert not any(task.done() for task in waiting)
        await lab.agent.handle(HoldNode(node=HOST, held=False))
        first, second = await asyncio.gather(*waiting)
        return first, second

    before = lab.loop.time()
    found = world.run(both())
    assert [pong.boot for pong in found] == [1, 1] and lab.loop.time() - before < 25.0
    assert own.counters["late"] >= 1, "what came too late is not done"


@pytest.mark.sim
def test_the_others_of_its_process_go_on(world: World) -> None:
    hold(world, True)
    found = world.run(world.lab.canary(OTHER, NodeName("vcenter")))
    assert found.answered == 1
    hold(world, False)
    assert world.run(world.lab.canary(HOST, NodeName("vcenter"))).answered == 1


@pytest.mark.sim
def test_a_node_that_is_off_is_not_held(world: World) -> None:
    world.run(world.lab.power_off(HOST, "power_loss"))
    with pytest.raises(NotConnected, match="esxi-001 is off"):
        hold(world, True)
    hold(world, False)
    world.run(world.lab.power_on(HOST))
    assert world.run(world.lab.canary(OTHER, HOST)).answered == 1


async def test_no_wait_of_its_clock_ends_meanwhile() -> None:
    life = Incarnation(HOST, 1)
    clock = PacedClock(life, LabRng(1, life), epoch=0.0, wall=0.0, pace=1000.0)
    life.pause()
    life.pause()
    waiting = asyncio.ensure_future(clock.sleep(1.0))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    life.resume()
    await waiting
    life.resume()
    await clock.sleep(1.0)
