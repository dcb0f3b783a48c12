"""A bus of three real servers: clients of each reach those of all, and survive the loss of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.brokers.bus_servers import BusServers
from lab.brokers.configuration import BrokerKind, BrokerPlace, Routes, render
from lab.brokers.identities import Identities
from lab.brokers.program import find_server
from lab.brokers.server import Broker
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.bus import NatsWire
from services.runtime.real.connection import servers_for
from tests.services.runtime.real_bus.listeners import PATIENCE_S, Recorder, until

pytestmark = pytest.mark.lab
NAMES = [NodeName(name) for name in ("kms", "vcenter", "esxi-001", "esxi-002", "esxi-003")]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[BusServers]:
    made = BusServers(tmp_path, Identities.create(tmp_path, NAMES), 3)
    await made.start()
    yield made
    await made.kill()


async def opened(tmp_path: Path, bus: BusServers) -> dict[NodeName, tuple[NatsWire, Recorder]]:
    identities, found = Identities.load(tmp_path), {}
    for name in NAMES:
        wire = NatsWire(bus.url, identities.node(name).seed, Incarnation(name, 1))
        found[name] = (wire, Recorder())
        await wire.open(found[name][1])
    return found


async def exchanged(wires: dict[NodeName, tuple[NatsWire, Recorder]], word: bytes) -> None:
    """Each sends to each until all of it has arrived.

    A server drops what it gets before it has heard from the others who listens there, and no call
    says when it has.
    """
    wanted = {word + src.encode() for src in wires}

    def missing() -> list[tuple[NodeName, bytes]]:
        return [(d, w) for d, (_, heard) in wires.items() for w in wanted - {*heard.payloads()}]

    async with asyncio.timeout(PATIENCE_S):
        while left := missing():
            for dst, payload in left:
                src = NodeName(payload.removeprefix(word).decode())
                wires[src][0].send(f"l.{src}.{dst}.q.Ping", payload)
            await asyncio.sleep(0.05)


async def test_clients_are_spread_reach_all_and_go_elsewhere(
    tmp_path: Path, bus: BusServers
) -> None:
    firsts = {name: servers_for(name, bus.url)[0] for name in NAMES}
    assert {*firsts.values()} == {*bus.url.split(",")}
    wires = await opened(tmp_path, bus)
    try:
        await exchanged(wires, b"before ")
        assert all([await bus.up(number) for number in (1, 2, 3)])
        await bus.stop_one(2)
        there = {name for name, first in firsts.items() if first == bus.all[1].url}
        for name, (_, told) in wires.items():
            wanted = ["down", "up"] if name in there else []
            await until(lambda t=told, w=wanted: t.link == w, f"{name} is at a server that runs")  # type: ignore[misc]
        await exchanged(wires, b"without ")
        assert not await bus.up(2) and await bus.up(1)
        await bus.start_one(2)
        async with asyncio.timeout(20):
            while not await bus.up(2):
                await asyncio.sleep(0.02)
        await exchanged(wires, b"after ")
    finally:
        for wire, _ in wires.values():
            wire.abort()


async def test_who_is_at_two_servers_without_a_route_does_not_hear_the_other(
    tmp_path: Path, bus: BusServers
) -> None:
    wires = await opened(tmp_path, bus)
    try:
        at = {number: await bus.clients(number) for number in (1, 2, 3)}
        assert all(at.values()) and sum(map(len, at.values())) == len(NAMES)
        await bus.cut_route(1, 2)
        await gone(bus, 1, 2)
        assert await bus.up(1) and await bus.up(2), "both go on"
        await bus.all[2].kill()  # it would tell each of them of the other
        await bus.all[2].start()
        async with asyncio.timeout(20):
            while not (await bus.routed(1, 3) and await bus.routed(2, 3)):
                await asyncio.sleep(0.02)
        await asyncio.sleep(1.5)  # servers dial those that they are told of within a second
        assert not await bus.routed(1, 2)
        a, b = (NodeName(sorted(at[number])[0]) for number in (1, 2))
        wires[a][0].send(f"l.{a}.{b}.q.Ping", b"lost", f"l.{b}.{a}._r.1")
        await until(lambda: bool(wires[a][1].no_responders), "the server knows of nobody there")
        assert b"lost" not in wires[b][1].payloads()
        await bus.mend_route(1, 2)
        async with asyncio.timeout(20):
            while not (await bus.routed(1, 2) and await bus.up(1)):
                await asyncio.sleep(0.02)
        await exchanged(wires, b"mended ")
    finally:
        for wire, _ in wires.values():
            wire.abort()


async def gone(bus: BusServers, one: int, other: int) -> None:
    async with asyncio.timeout(10):
        while await bus.routed(one, other):
            await asyncio.sleep(0.01)


async def test_a_server_that_does_not_know_the_secret_is_no_part_of_it(
    tmp_path: Path, bus: BusServers
) -> None:
    """It would hear what nodes say to each other, with no permission that could keep it out."""
    port = bus.all[0].route_port
    for secret, joins in (("guessed", False), (bus.all[0].routes_secret, True)):
        folder = tmp_path / secret[:8]
        folder.mkdir()
        place = BrokerPlace(folder, "stranger", routes=Routes(secret, others=(port,)))
        (folder / "broker.conf").write_text(render(BrokerKind.DATA, place, ()))
        process = await asyncio.create_subprocess_exec(find_server().path, "-c", place.config)
        try:
            for _ in range(100):
                if seen := "stranger" in await bus.all[0].fetch_routes():
                    break
                await asyncio.sleep(0.01 if joins else 0.005)
        finally:
            process.kill()
            await process.wait()
        assert seen is joins


async def test_ports_stay_when_it_is_started_again(tmp_path: Path, bus: BusServers) -> None:
    before = bus.url
    await bus.stop()
    again = BusServers(tmp_path, Identities.load(tmp_path), 3)
    await again.start()
    try:
        assert again.url == before and all([await again.up(n) for n in (1, 2, 3)])
        assert Broker(tmp_path, Identities.load(tmp_path)).url == before.split(",")[0]
    finally:
        await again.kill()
