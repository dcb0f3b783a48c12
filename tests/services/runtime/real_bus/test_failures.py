"""The broker dies, stops, or goes half-open: noticed, told, healed, and nothing sent late."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from protocol.errors import NotSent
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.bus import NatsWire
from tests.services.runtime.real_bus.conftest import OpenWire
from tests.services.runtime.real_bus.listeners import PATIENCE_S, Recorder, StallingProxy, until

pytestmark = pytest.mark.lab


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[StallingProxy]:
    made = StallingProxy(int(broker.url.rsplit(":", 1)[1]))
    await made.start()
    yield made
    await made.stop()


def refuses(wire: NatsWire) -> bool:
    """Whether the wire would not send now."""
    try:
        wire.send("l.a.b.q.Ghost", b"ghost")
    except NotSent:
        return True
    return False


async def exchange(a: NatsWire, heard: Recorder, text: bytes) -> None:
    """A message from a arrives at b (whose recorder is ``heard``)."""
    a.send("l.a.b.q.Ping", text)
    await until(lambda: text in heard.payloads(), f"{text!r} arrives")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_a_broker_that_ends_is_noticed_and_its_return_heals(
    broker: Broker, open_wire: OpenWire, ending: signal.Signals
) -> None:
    a, told = await open_wire("a")
    b, heard = await open_wire("b")
    await exchange(a, heard, b"before")
    await (broker.kill() if ending is signal.SIGKILL else broker.stop())
    await until(lambda: told.link == heard.link == ["down"], "both are told")
    assert refuses(a)
    await broker.start()
    await until(lambda: told.link == heard.link == ["down", "up"], "both are back")
    await exchange(a, heard, b"after")
    assert b"ghost" not in heard.payloads()
    assert (a.losses, b.losses) == (1, 1)


async def test_what_was_queued_in_the_turn_of_the_loss_is_not_sent_later(
    broker: Broker, open_wire: OpenWire
) -> None:
    a, told = await open_wire("a")
    _, heard = await open_wire("b")

    def send_ghosts() -> None:
        for _ in range(50):
            a.send("l.a.b.q.Ghost", b"ghost")

    told.on_disconnected = lambda: None  # type: ignore[method-assign]
    await broker.kill()
    with contextlib.suppress(NotSent):
        send_ghosts()  # the loss is not known yet: they wait in the outbox or the dead socket
    await until(lambda: not a.connected, "the loss")
    await broker.start()
    await until(lambda: a.connected and heard.link[-1:] == ["up"], "both are back")
    await exchange(a, heard, b"fence")
    assert heard.payloads() == [b"fence"]


@pytest.mark.slow
async def test_a_paused_broker_is_noticed_and_told(broker: Broker, open_wire: OpenWire) -> None:
    a, told = await open_wire("a")
    _, heard = await open_wire("b")
    broker.pause()
    took = await until(lambda: told.link == heard.link == ["down"], "both notice")
    assert 2.0 < took  # three pings a second apart, not a false alarm at the first
    assert refuses(a)
    broker.resume()
    await until(lambda: told.link == heard.link == ["down", "up"], "both are back")
    await exchange(a, heard, b"after")
    assert heard.payloads() == [b"after"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["half-open proxy", "paused broker"])
async def test_unsent_bytes_neither_hang_the_reconnect_nor_come_late(
    broker: Broker, proxy: StallingProxy, open_wire: OpenWire, how: str
) -> None:
    """The hang of nats-py: 20 kB messages fill every buffer of a link that nobody reads."""
    a, told = await open_wire("a", url=proxy.url)
    _, heard = await open_wire("b")
    await exchange(a, heard, b"before")
    proxy.stall() if how == "half-open proxy" else broker.pause()
    sent, refused_by_bound = 0, False
    while not told.link:
        try:
            a.send("l.a.b.q.Bulk", sent.to_bytes(4, "big") + bytes(20_000))
            sent += 1
        except NotSent:
            refused_by_bound |= a.connected
        await asyncio.sleep(0.001)
    assert refused_by_bound, "the bound on unsent bytes came before the loss was noticed"
    assert told.link == ["down"]
    if how == "half-open proxy":
        proxy.heal()
    else:
        broker.resume()
    await until(lambda: told.link == ["down", "up"], "healed by itself")
    await until(lambda: heard.link in ([], ["down", "up"]), "the other is there")
    await exchange(a, heard, b"after")
    bulk = [int.from_bytes(p[:4], "big") for s, _, p in heard.messages if s.endswith("Bulk")]
    # A paused broker's kernel had taken some already: those come late, and deadlines drop
    # them. What waited in this process (1 MiB of it) went down with the link. The first of what
    # comes may be late for a listener that subscribes again; the rest is whole and in order.
    first = bulk[0] if bulk else 0
    assert bulk == list(range(first, first + len(bulk)))
    assert first + len(bulk) <= sent - 40
    if how == "half-open proxy":
        assert bulk == []


async def test_the_outbox_of_the_turn_in_which_the_link_is_lost_is_emptied(
    open_wire: OpenWire,
) -> None:
    a, told = await open_wire("a")
    _, heard = await open_wire("b")
    client = a._connection._client
    assert client is not None
    a.send("l.a.b.q.Ghost", b"ghost")
    await client._process_op_err(OSError("stale"))  # what nats-py calls; no turn in between
    await until(lambda: told.link == ["down", "up"], "back")
    await exchange(a, heard, b"fence")
    assert heard.payloads() == [b"fence"]


async def test_an_error_line_costs_the_link_and_not_the_client(open_wire: OpenWire) -> None:
    """nats-py would close for good; the wire dials again."""
    a, told = await open_wire("a")
    _, heard = await open_wire("b")
    a._connection._max_payload = 1 << 30  # as if it had not been told the limit
    a.send("l.a.b.q.Big", bytes(300_000))
    await until(lambda: told.link == ["down", "up"], "cut off and back")
    await exchange(a, heard, b"after")


async def test_an_aborted_wire_never_comes_back(
    broker: Broker, identities: Identities, open_wire: OpenWire
) -> None:
    """Cut while connected, while the broker is away, and while it dials for the first time."""
    connected, told = await open_wire("a")
    away, told_away = await open_wire("c")
    b, heard = await open_wire("b")
    connected.abort()

    def gone() -> bool:
        b.send("l.b.a.q.Ping", b"x", "l.a.b._r.1")  # just after the cut either may be seen
        return bool(heard.no_responders)

    await until(gone, "a is gone from the broker")

    await broker.kill()
    await until(lambda: told_away.link == ["down"], "c is told")
    away.abort()
    dialling = NatsWire(
        broker.url, identities.node(NodeName("a")).seed, Incarnation(NodeName("a"), 2)
    )
    opening = asyncio.create_task(dialling.open(told))
    await asyncio.sleep(0.05)
    dialling.abort()
    with pytest.raises(NotSent, match="closed"):
        await opening
    await broker.start()
    await until(lambda: heard.link == ["down", "up"], "b is back")
    await asyncio.sleep(0.75)  # three times what any of them would have taken to dial
    heard.no_responders.clear()
    for name in ("a", "c"):
        b.send(f"l.b.{name}.q.Ping", b"x", f"l.{name}.b._r.2")
    await until(lambda: heard.no_responders == ["l.a.b._r.2", "l.c.b._r.2"], "neither is there")
    assert told.link == []
    assert told_away.link == ["down"]
    assert told.messages == told_away.messages == []


async def test_the_next_incarnation_takes_over(open_wire: OpenWire) -> None:
    a, _ = await open_wire("a")
    old, old_heard = await open_wire("b", life=Incarnation(NodeName("b"), 1))
    old.abort()
    _, heard = await open_wire("b", life=Incarnation(NodeName("b"), 2))
    await exchange(a, heard, b"to the second life")
    assert old_heard.messages == []


async def test_a_node_joins_while_others_stay_connected(
    broker: Broker, identities: Identities, open_wire: OpenWire
) -> None:
    a, told = await open_wire("a")
    _, heard = await open_wire("b")
    identities.add(NodeName("d"))
    joining = asyncio.create_task(broker.reload())
    n = 0
    while not joining.done():
        a.send("l.a.b.q.Ping", b"%d" % n)
        n += 1
        await asyncio.sleep(0.001)
    await joining
    d, _ = await open_wire("d")
    d.send("l.d.b.q.Ping", b"hello")
    await until(lambda: len(heard.messages) == n + 1, "all of it")
    assert [p for s, _, p in heard.messages if s.startswith("l.a")] == [b"%d" % i for i in range(n)]
    assert (told.link, heard.link) == ([], [])


async def test_a_burst_of_joins_shares_reloads(broker: Broker, identities: Identities) -> None:
    async def join(n: int) -> None:
        identities.add(NodeName(f"n{n}"))
        await broker.reload()

    await asyncio.gather(*(join(n) for n in range(40)))
    applied = broker.log.read_text().count("Reloaded server configuration")
    assert 1 <= applied <= 3
    wire = NatsWire(
        broker.url, identities.node(NodeName("n39")).seed, Incarnation(NodeName("n39"), 1)
    )
    await wire.open(Recorder())
    await wire.close()


async def test_a_reload_of_a_broker_that_is_down_waits_for_its_start(
    broker: Broker, identities: Identities, open_wire: OpenWire
) -> None:
    await broker.kill()
    identities.add(NodeName("d"))
    await broker.reload()
    await broker.start()
    await open_wire("d")


async def test_a_dial_that_swallows_its_end_is_given_up_all_the_same(
    broker: Broker, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``wait_for`` does whose answer has come while the loop was late: a node would boot for
    ever."""
    given_up = asyncio.Event()

    async def swallowing(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(
        "services.runtime.real.connection.BrokerConnection._connect_first", swallowing
    )
    node = identities.node(NodeName("a"))
    wire = NatsWire(broker.url, node.seed, Incarnation(NodeName("a"), 1))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotSent, match="no broker at"):
            await wire.open(Recorder())
    assert given_up.is_set() or not wire.connected
