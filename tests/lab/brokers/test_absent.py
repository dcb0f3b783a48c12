"""Nodes that servers of somebody else do not let in any more are told, each once, with why."""

from __future__ import annotations

import pytest

from lab.brokers.foreign_servers import LOOKS, Absent
from lab.schema.errors import KeysteadError
from protocol.errors import NotSent
from protocol.messages.agent import NodeRunState, NodeStatus, TpmBackend
from protocol.terms import ClusterName, NodeName, Role

KMS = NodeName("kms")


class World:
    """One node, and what is told of it."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.told, self.asked = error, list[str](), 0
        self.counters = {"disconnects": 2, "reconnects": 1, "violations": 0}
        self.absent = Absent(self._tried, self.told.append)

    async def _tried(self, node: NodeName) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    async def look(self, times: int = 1, state: NodeRunState = NodeRunState.RUNNING) -> None:
        for _ in range(times):
            status = NodeStatus(
                node=KMS,
                role=Role.KMS,
                site="main",
                cluster=ClusterName(""),
                state=state,
                boot=1,
                tpm=TpmBackend.NONE,
                counters=dict(self.counters),
            )
            await self.absent.look({KMS: status})


@pytest.fixture
def world() -> World:
    return World(KeysteadError("KS-BROKER-007", "nats://a:1 does not know kms", "load it"))


async def test_one_that_is_not_let_in_again_is_told_once(world: World) -> None:
    await world.look(5)
    assert world.asked == 0, "a life that ended without its link has left these counters"
    world.counters["disconnects"] += 1
    await world.look(5 * LOOKS)
    assert world.told == [
        "kms has no link to the bus any more: nats://a:1 does not know kms; load it"
    ]
    world.counters["reconnects"] += 1
    await world.look(5)
    world.counters["disconnects"] += 1
    await world.look(5)
    assert len(world.told) == 2, "again"


async def test_one_that_goes_elsewhere_or_is_off_is_no_news(world: World) -> None:
    await world.look()
    world.counters["disconnects"] += 1
    world.counters["reconnects"] += 1
    await world.look(5)
    world.counters["disconnects"] += 1
    await world.look(5, NodeRunState.OFF)
    assert world.asked == 0


@pytest.mark.parametrize("error", [None, NotSent("no server answers")])
async def test_one_that_could_come_in_is_on_its_way(error: Exception | None) -> None:
    world = World(error)
    await world.look()
    world.counters["disconnects"] += 1
    await world.look(5)
    assert world.asked == 1 and not world.told


async def test_refused_messages_are_told(world: World) -> None:
    await world.look()
    world.counters["violations"] += 3
    await world.look(3)
    (told,) = world.told
    assert (
        told.startswith("the servers of the bus refuse what kms says") and "broker-config" in told
    )
