"""Pings to the broker are for silence: what arrives says as much as a pong."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats import errors

from lab.brokers.server import Broker
from protocol.errors import NotSent
from services.runtime.real.nats_client import BrokerClient, PingTimer
from tests.services.runtime.real_bus.conftest import OpenWire

INTERVAL_S = 0.02


class Owner:
    """Nobody in particular."""

    closed = tls_after_greeting = False

    def handle_message(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        """It is heard, and that is all."""

    def handle_link_loss(self, error: Exception) -> None:
        """Nothing is kept."""


class Silent(BrokerClient):
    """A client whose broker answers no ping."""

    def __init__(self) -> None:
        super().__init__(Owner())
        self.options = {"ping_interval": INTERVAL_S, "max_outstanding_pings": 3}
        self.pings = 0
        self.stale: list[Exception] = []

    @property
    def is_connected(self) -> bool:
        return True

    def _write_ping(self) -> None:
        self.pings += 1

    async def _process_op_err(self, e: Exception) -> None:
        self.stale.append(e)


@pytest.fixture
def client() -> Silent:
    return Silent()


async def _talk(client: Silent, *, speaks: bool) -> None:
    """Something arrives six times in each interval; something is sent as often, or nothing."""
    watching = asyncio.create_task(client._ping_interval())
    for _ in range(60):
        await client._ps.parse(b"PONG\r\n")
        client.sent_any = client.sent_any or speaks
        await asyncio.sleep(INTERVAL_S / 6)
    watching.cancel()


async def test_a_link_on_which_messages_go_both_ways_is_not_pinged(client: Silent) -> None:
    await _talk(client, speaks=True)
    assert client.pings <= 2  # the machine may let an interval pass without a step of ours
    assert not client.stale


async def test_a_link_that_only_hears_is_pinged_and_never_taken_for_dead(client: Silent) -> None:
    """The server pings whom it does not hear, and does not know that it is heard."""
    await _talk(client, speaks=False)
    assert client.pings >= 3
    assert not client.stale


async def test_silence_is_pinged_and_then_noticed(client: Silent) -> None:
    await client._ps.parse(b"PONG\r\n")
    async with asyncio.timeout(10):
        await client._ping_interval()
    assert client.pings == 4  # one in the interval that was not silent
    assert [type(error) for error in client.stale] == [errors.StaleConnectionError]


async def test_who_speaks_into_silence_is_no_sign_of_life(client: Silent) -> None:
    watching = asyncio.create_task(client._ping_interval())
    async with asyncio.timeout(10):
        while not client.stale:
            client.sent_any = True
            await asyncio.sleep(INTERVAL_S / 6)
    await watching
    assert [type(error) for error in client.stale] == [errors.StaleConnectionError]


@pytest.mark.slow
async def test_the_server_has_no_need_to_ping(
    open_wire: OpenWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pings who was silent for a second; each such ping is a step and a task of its own."""
    asked: list[BrokerClient] = []
    answers = BrokerClient._process_ping

    async def counted(client: BrokerClient) -> None:
        asked.append(client)
        await answers(client)

    monkeypatch.setattr(BrokerClient, "_process_ping", counted)
    links = [await open_wire(name) for name in "abc"]
    asked.clear()
    await asyncio.sleep(5.0)
    assert all(wire.connected for wire, _ in links)
    # Fifteen without ours; a machine that stands still for a moment lets one through.
    assert len(asked) <= 5


async def test_a_pong_that_nobody_waits_for_is_none_of_a_flush(open_wire: OpenWire) -> None:
    wire, _ = await open_wire("a")
    client = wire._connection._client
    assert client is not None
    done: list[bool] = []
    for _ in range(3):
        client._write_ping()
    waiting = asyncio.create_task(client.flush(2))
    waiting.add_done_callback(lambda _: done.append(True))
    await asyncio.sleep(0)
    assert len(client._pongs) == 4
    while client._pongs:
        assert not done
        await asyncio.sleep(0)
    await waiting


async def test_a_pulse_has_one_timer_and_ends_with_its_last_member() -> None:
    pulse, ticks = PingTimer.of(INTERVAL_S), [0, 0]

    def first() -> None:
        ticks[0] += 1
        pulse.leave(second)

    def second() -> None:
        ticks[1] += 1

    assert PingTimer.of(INTERVAL_S) is pulse
    pulse.join(first)
    pulse.join(second)
    begun = time.monotonic()
    while ticks[0] < 5:
        await asyncio.sleep(INTERVAL_S / 4)
    assert time.monotonic() - begun >= 3 * INTERVAL_S
    assert ticks[1] == 0, "the first made it leave in their first tick"
    pulse.leave(first)
    assert pulse._timer is None
    pulse.leave(first)


async def test_each_loop_has_a_pulse_of_its_own() -> None:
    mine = PingTimer.of(INTERVAL_S)

    async def other() -> PingTimer:
        return PingTimer.of(INTERVAL_S)

    assert await asyncio.to_thread(asyncio.run, other()) is not mine


async def test_a_link_that_fails_in_its_turn_leaves_the_others_their_pings() -> None:
    """One timer for all is not one failure for all: nobody would notice a dead link any more."""
    pulse, ticks = PingTimer.of(INTERVAL_S), [0, 0]

    def bad() -> None:
        ticks[0] += 1
        raise RuntimeError("planted")

    def good() -> None:
        ticks[1] += 1

    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: told.append(repr(what.get("exception"))))
    pulse.join(bad)
    pulse.join(good)
    async with asyncio.timeout(20 * INTERVAL_S + 5):
        while ticks[1] < 3:
            await asyncio.sleep(INTERVAL_S / 4)
    assert ticks[0] >= 3 and "RuntimeError('planted')" in told
    pulse.leave(bad)
    pulse.leave(good)
    assert pulse._timer is None


@pytest.mark.slow
async def test_a_pong_after_its_flush_has_given_up_costs_nothing(
    open_wire: OpenWire, broker: Broker
) -> None:
    """A broker that stands still for longer than a flush waits, and not for as long as a dead link
    takes to be noticed: what it was sent, and sends, arrives."""
    a, _ = await open_wire("a")
    b, heard = await open_wire("b")
    broker.pause()
    try:
        await asyncio.sleep(0.1)  # it stands still by now
        with pytest.raises(NotSent):
            await b._connection.echo()
    finally:
        broker.resume()
    await asyncio.sleep(0.2)  # its pongs have come
    a.send("l.a.b.q.Later", b"x")
    async with asyncio.timeout(3):
        while not heard.messages:
            await asyncio.sleep(0.01)
    assert b._connection.losses == 0 and b.connected
