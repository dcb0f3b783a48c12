"""A node that floods the bus is kept off it; one that sends as much as it may is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.brokers.bus_servers import BURST_S, HOST, OTHER, Amount, BusServers, Flood, FloodMeter
from lab.brokers.identities import Identities
from lab.brokers.monitoring import Connection
from protocol.errors import NotSent
from protocol.messages.agent import NodeStatus
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.bus import NatsWire
from tests.services.runtime.real_bus.listeners import Recorder, until

LIMIT = Amount(100, 1000)
VCENTER, BAD, GOOD = NodeName("vcenter"), NodeName("esxi-001"), NodeName("esxi-002")


def floods(
    *sent: tuple[int, int], seconds: float = 1.0, connections: int = 1, servers: int = 1
) -> list[bool]:
    """What follows from each look, when a node has sent so many messages and bytes before it, over
    so many connections at each of so many servers."""
    meter, found, total = FloodMeter(), [], [0, 0]
    share = connections * servers
    for number, (messages, octets) in enumerate([(0, 0), *sent]):
        total = [total[0] + messages, total[1] + octets]
        told = {
            server: (
                f"id-{server}",
                [
                    Connection(cid, "x", "bad", total[0] // share, total[1] // share)
                    for cid in range(connections)
                ],
            )
            for server in range(servers)
        }
        found.append(meter.look(number * seconds, told, {"bad": LIMIT}) is not None)
    return found[1:]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([(200, 0)], [False]),
        ([(201, 0)], [True]),
        ([(199, 0)], [False]),
        ([(0, 2000)], [False]),
        ([(0, 2001)], [True]),
        ([(100, 1000)] * 20, [False] * 20),
        ([(150, 0)] * 4, [False, False, True, False]),
        ([(200, 0), (100, 0), (101, 0)], [False, False, True]),
        ([(200, 0), (0, 0), (201, 0)], [False, False, True]),
        ([(200, 0), (0, 0), (0, 0), (200, 0)], [False, False, False, False]),
    ],
)
def test_two_seconds_of_its_rate_at_once_and_its_rate_for_ever(
    sent: list[tuple[int, int]], expected: list[bool]
) -> None:
    assert floods(*sent) == expected


def test_a_flood_is_one_over_all_connections_and_servers() -> None:
    assert floods((204, 0), connections=2, servers=2) == [True]
    assert floods((200, 0), connections=2, servers=2) == [False]


def one(server: str, *counts: tuple[int, str, int]) -> dict[int, tuple[str, list[Connection]]]:
    return {1: (server, [Connection(cid, "any", nkey, n) for cid, nkey, n in counts])}


def test_what_was_counted_before_the_first_look_is_nobodys_flood() -> None:
    meter = FloodMeter()
    assert meter.look(0.0, one("s", (1, "bad", 10_000)), {"bad": LIMIT}) is None
    assert meter.look(1.0, one("s", (1, "bad", 10_050)), {"bad": LIMIT}) is None


def test_connections_that_came_and_went_between_two_looks_count() -> None:
    """``cid`` 2 and 3 are in the list of closed ones."""
    meter = FloodMeter()
    meter.look(0.0, one("s", (1, "bad", 50)), {"bad": LIMIT})
    told = one("s", (1, "bad", 60), (2, "bad", 100), (3, "bad", 91))
    assert meter.look(1.0, told, {"bad": LIMIT}) == Flood("bad", Amount(201, 0))
    assert meter.look(1.25, told, {"bad": LIMIT}) is None


def test_a_server_that_was_started_again_counts_from_nothing() -> None:
    meter = FloodMeter()
    meter.look(0.0, one("s", (1, "bad", 5_000)), {"bad": LIMIT})
    assert meter.look(1.0, one("t", (1, "bad", 200)), {"bad": LIMIT}) is None
    assert meter.look(2.0, one("t", (1, "bad", 501)), {"bad": LIMIT}) is not None


def test_a_server_that_is_away_for_a_while_takes_nothing_from_the_count() -> None:
    meter = FloodMeter()
    meter.look(0.0, one("s", (1, "bad", 10_000)), {"bad": LIMIT})
    assert meter.look(1.0, {}, {"bad": LIMIT}) is None
    assert meter.look(2.0, one("s", (1, "bad", 10_200)), {"bad": LIMIT}) is None
    assert meter.look(3.0, one("s", (1, "bad", 10_501)), {"bad": LIMIT}) is not None


def test_who_answers_a_flood_is_not_taken_for_the_one_that_floods() -> None:
    meter, limits = FloodMeter(), {"bad": LIMIT, "vcenter": LIMIT}
    meter.look(0.0, one("s", (1, "bad", 0), (2, "vcenter", 0)), limits)
    told = one("s", (1, "bad", 1_000), (2, "vcenter", 900))
    assert meter.look(1.0, told, limits) == Flood("bad", Amount(1_000, 0))
    told = one("s", (1, "bad", 1_000), (2, "vcenter", 1_000))
    assert meter.look(2.0, told, limits) is None


def test_who_is_no_node_has_no_limit() -> None:
    meter = FloodMeter()
    meter.look(0.0, one("s", (1, "tap", 0)), {"bad": LIMIT})
    assert meter.look(1.0, one("s", (1, "tap", 1_000_000)), {"bad": LIMIT}) is None


# ---- real servers -----------------------------------------------------------------------------


class Pair:
    """A bus, a flooder that calls itself as another does, and two honest nodes."""

    def __init__(self, folder: Path, servers: int) -> None:
        self.identities = Identities.create(folder, [VCENTER, BAD, GOOD])
        self.told: list[str] = []
        self.bus = BusServers(
            folder, self.identities, servers, others={VCENTER}, notice=self.told.append
        )
        self.watch: asyncio.Task[None] | None = None
        self.wires: list[NatsWire] = []

    async def wire(self, node: NodeName) -> tuple[NatsWire, Recorder]:
        made = NatsWire(self.bus.url, self.identities.node(node).seed, Incarnation(node, 1))
        self.wires.append(made)
        heard = Recorder()
        await made.open(heard)
        return made, heard

    async def watched(self) -> None:
        async def statuses() -> dict[NodeName, NodeStatus]:
            return {}

        self.watch = asyncio.create_task(self.bus.watch(statuses))
        await asyncio.sleep(0.3)  # its first look

    async def flood(self, wire: NatsWire, messages: int) -> None:
        """So many messages to vCenter, as fast as they leave, or until it is cut off."""
        for at in range(0, messages, 500):
            with suppress(NotSent):
                for number in range(at, min(at + 500, messages)):
                    wire.send(f"l.{BAD}.{VCENTER}.q.Ping", b"%d" % number)
            await asyncio.sleep(0.001)


@pytest.fixture(params=[1, pytest.param(3, marks=pytest.mark.slow)])
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    made = Pair(tmp_path, request.param)
    await made.bus.start()
    yield made
    if made.watch is not None:
        made.watch.cancel()
    for wire in made.wires:
        wire.abort()
    await made.bus.kill()


@pytest.mark.lab
async def test_the_node_that_floods_is_kept_off_and_named_and_nobody_else(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.brokers.bus_servers.KEPT_OFF_S", 0.6)
    _, vcenter = await pair.wire(VCENTER)
    good, other = await pair.wire(GOOD)
    bad, offender = await pair.wire(BAD)
    await pair.watched()
    flooding = asyncio.create_task(pair.flood(bad, 100_000))
    await until(lambda: bool(pair.told), "the flood is told")
    assert f"{BAD} is kept off the bus for " in pair.told[0]
    await until(lambda: offender.link == ["down"], "it is cut off")
    flooding.cancel()
    good.send(f"l.{GOOD}.{VCENTER}.q.Ping", b"honest")
    await until(lambda: b"honest" in vcenter.payloads(), "others are heard")
    await until(lambda: offender.link == ["down", "up"], "its time is over")
    assert vcenter.link == other.link == [] and not pair.bus.kept_off and len(pair.told) == 1


@pytest.mark.lab
async def test_as_much_as_a_host_may_send_keeps_it_on_the_bus(pair: Pair) -> None:
    bad, offender = await pair.wire(BAD)
    _, vcenter = await pair.wire(VCENTER)
    await pair.watched()
    most = round(HOST.messages * BURST_S)
    await pair.flood(bad, most)
    await until(lambda: len(vcenter.messages) == most, "all of it has arrived")
    await asyncio.sleep(0.6)  # two looks
    assert offender.link == [] and pair.told == []


def test_vcenter_may_answer_whoever_floods_it() -> None:
    """What it answers in a second is less than what it may send: it is not taken for the one."""
    assert OTHER.messages >= 2 * HOST.messages * BURST_S
