"""A wire on a healthy broker: readiness, order, limits, the end of a life."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.brokers.identities import TAP, Identities
from lab.brokers.server import Broker
from protocol.errors import NotSent
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.real.bus import NatsWire, TapWire
from services.runtime.real.connection import BrokerConnection, ConnectionOptions
from services.runtime.world import Wire
from tests.services.runtime.real_bus.conftest import OpenWire
from tests.services.runtime.real_bus.listeners import Recorder, until

pytestmark = pytest.mark.lab


async def test_open_means_ready_and_messages_arrive_as_they_were_sent(open_wire: OpenWire) -> None:
    a, _ = await open_wire("a")
    _, heard = await open_wire("b")
    as_contract: Wire = a
    as_contract.send("l.a.b.q.Ping", b"PUB x 3\r\n\r\n\x00", "l.b.a._r.1")
    as_contract.send("l.a.b._r.77", b"")
    await until(lambda: len(heard.messages) == 2, "both messages")
    assert heard.messages == [
        ("l.a.b.q.Ping", "l.b.a._r.1", b"PUB x 3\r\n\r\n\x00"),
        ("l.a.b._r.77", "", b""),
    ]
    assert heard.link == []
    assert a.connected


async def test_a_message_to_oneself_is_delivered_and_the_probe_is_not(open_wire: OpenWire) -> None:
    a, heard = await open_wire("a")
    a.send("l.a.a.q.Ping", b"me", "l.a.a._r.1")
    await until(lambda: bool(heard.messages), "the message to itself")
    assert heard.messages == [("l.a.a.q.Ping", "l.a.a._r.1", b"me")]


async def test_order_is_kept_per_sender_over_mixed_subjects(open_wire: OpenWire) -> None:
    a, _ = await open_wire("a")
    c, _ = await open_wire("c")
    _, heard = await open_wire("b")
    for turn in range(30):
        for n in range(100):
            number = b"%d" % (turn * 100 + n)
            a.send(f"l.a.b.{'q' if n % 2 else '_r'}.S{n % 7}", number)
            c.send(f"l.c.b.q.S{n % 5}", number)
        await asyncio.sleep(0)
    await until(lambda: len(heard.messages) == 6000, "all messages")
    for sender in ("l.a.", "l.c."):
        numbers = [int(p) for s, _, p in heard.messages if s.startswith(sender)]
        assert numbers == list(range(3000))


async def test_nobody_there_is_told_on_the_reply_subject_at_once(open_wire: OpenWire) -> None:
    a, heard = await open_wire("a")
    a.send("l.a.ghost.q.Ping", b"x", "l.ghost.a._r.9")
    await until(lambda: bool(heard.no_responders), "no responders")
    assert heard.no_responders == ["l.ghost.a._r.9"]
    assert heard.messages == []


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("", ""),
        ("l.a.b.q.Ping extra", ""),
        ("l.a.*.q.Ping", ""),
        ("l.a.>", ""),
        ("l.a.b.q.x\r\nPUB l.a.b.q.y 0", ""),
        ("l.a..b", ""),
        ("l.a.b.q.Ping", "l.b.a._r.*"),
        ("l.a.b.q.Ping", "_INBOX x"),
        ("l.a.b.q.Ping\n", ""),
    ],
)
async def test_what_is_no_subject_is_not_sent(
    open_wire: OpenWire, subject: str, reply: str
) -> None:
    a, _ = await open_wire("a")
    _, heard = await open_wire("b")
    with pytest.raises(NotSent):
        a.send(subject, b"bad", reply)
    a.send("l.a.b.q.Ping", b"good")
    await until(lambda: bool(heard.messages), "the good one")
    assert heard.payloads() == [b"good"]


async def test_a_message_at_the_limit_passes_and_one_over_it_is_refused_here(
    open_wire: OpenWire,
) -> None:
    a, told = await open_wire("a")
    _, heard = await open_wire("b")
    with pytest.raises(NotSent, match="limit"):
        a.send("l.a.b.q.Big", bytes(256 * 1024 + 1))
    a.send("l.a.b.q.Big", bytes(256 * 1024))
    await until(lambda: bool(heard.messages), "the large one")
    assert len(heard.messages[0][2]) == 256 * 1024
    assert told.link == []


async def test_what_waits_for_the_socket_is_bounded(open_wire: OpenWire) -> None:
    a, _ = await open_wire("a")
    sent = 0
    with pytest.raises(NotSent, match="unsent"):
        for _ in range(100):  # within one turn of the loop nothing can leave
            a.send("l.a.b.q.Big", bytes(100_000))
            sent += 1
    assert sent == 10  # 1 MiB


async def test_a_failing_listener_is_reported_and_does_not_deafen(open_wire: OpenWire) -> None:
    class Failing(Recorder):
        def on_message(self, subject: str, reply: str, payload: bytes) -> None:
            super().on_message(subject, reply, payload)
            if payload == b"bomb":
                raise ZeroDivisionError

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    a, _ = await open_wire("a")
    b, heard = await open_wire("b", sink=Failing())
    for payload in (b"bomb", b"after"):
        a.send("l.a.b.q.Ping", payload)
    await until(lambda: len(heard.messages) == 2, "the one after")
    assert b.sink_errors == 1
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


async def test_nothing_passes_once_the_life_is_over(open_wire: OpenWire) -> None:
    life = Incarnation(NodeName("b"), 1)
    a, _ = await open_wire("a")
    b, heard = await open_wire("b", life=life)
    life.end(WayDown.CRASH)  # the driver has not aborted yet: still nobody may hear or speak
    a.send("l.a.b.q.Ping", b"late", "l.b.a._r.1")
    a.send("l.a.a.q.Fence", b"")
    with pytest.raises(NodeDown):
        b.send("l.b.a.q.Ping", b"ghost")
    c, other = await open_wire("c")
    a.send("l.a.c.q.Fence", b"")
    await until(lambda: bool(other.messages), "the fence")
    assert heard.messages == []
    assert c.violations == 0


async def test_close_flushes_what_was_sent_in_the_same_turn(open_wire: OpenWire) -> None:
    a, _ = await open_wire("a")
    _, heard = await open_wire("b")
    for n in range(1000):
        a.send("l.a.b.q.Ping", b"%d" % n)
    await a.close()
    await until(lambda: len(heard.messages) == 1000, "all that was sent")
    with pytest.raises(NotSent):
        a.send("l.a.b.q.Ping", b"after")
    await a.close()  # twice is once


async def test_close_waits_for_what_the_socket_did_not_take_at_once_and_tells_nobody(
    open_wire: OpenWire,
) -> None:
    """Also when others talk to it: a socket closed with unread bytes takes back its own."""
    a, told = await open_wire("a")
    b, heard = await open_wire("b")
    for _ in range(10):
        b.send("l.b.a.q.Big", bytes(100_000))
        a.send("l.a.b.q.Big", bytes(100_000))
    await a.close()
    await until(lambda: len(heard.messages) == 10, "all that was sent")
    assert told.link == [], "its own end is no loss"


async def test_a_link_that_is_lost_before_it_is_ready_is_told_to_nobody(
    broker: Broker, identities: Identities
) -> None:
    """Its probe never comes back: somebody else's subject. Who opens it hears ``NotSent`` alone."""
    opening = BrokerConnection(
        broker.url,
        identities.node(NodeName("a")).seed,
        name="a",
        subjects=("l.*.a.>",),
        probe="l.a.b.q.Never",
        options=ConnectionOptions(first_connect_s=20.0),
    )
    told = Recorder()
    task = asyncio.create_task(opening.open(told))
    await until(lambda: opening.epoch == 1, "the link")
    await broker.kill()
    await until(lambda: opening.losses == 1, "the loss")
    await broker.start()
    await until(lambda: opening.epoch == 2, "the link again")
    opening.abort()
    with pytest.raises(NotSent, match="closed while it connected"):
        await task
    assert told.link == []


async def test_the_first_connect_is_bounded(identities: Identities) -> None:
    seed = identities.node(NodeName("a")).seed
    options = ConnectionOptions(first_connect_s=0.5)
    wire = NatsWire("nats://127.0.0.1:1", seed, Incarnation(NodeName("a"), 1), options=options)
    with pytest.raises(NotSent, match="no broker"):
        await wire.open(Recorder())
    with pytest.raises(NotSent):
        wire.send("l.a.b.q.Ping", b"")


async def test_who_is_not_in_the_list_does_not_get_in(broker: Broker, tmp_path: Any) -> None:
    stranger = Identities.create(tmp_path / "other", [NodeName("a")]).node(NodeName("a"))
    life = Incarnation(NodeName("a"), 1)
    options = ConnectionOptions(first_connect_s=1.0)
    wire = NatsWire(broker.url, stranger.seed, life, options=options)
    with pytest.raises(NotSent, match=r"(?i)authorization"):
        await wire.open(Recorder())


async def test_the_tap_sees_all_in_order_and_may_say_nothing(
    broker: Broker, identities: Identities, open_wire: OpenWire
) -> None:
    seed = identities.control(TAP).seed
    seen: list[tuple[str, str, bytes]] = []
    tap = TapWire(broker.url, seed, lambda *what: seen.append(what))
    await tap.open()
    a, _ = await open_wire("a")
    b, _ = await open_wire("b")

    def heard() -> list[tuple[str, str, bytes]]:
        """All but what the nodes say to themselves to prove that they are in, early or late."""
        return [what for what in seen if not what[0].startswith(("l.a.a.", "l.b.b."))]

    for n in range(100):
        a.send("l.a.b.q.Ping", b"%d" % n, "l.b.a._r.1")
        a.send("e.a.Said", b"%d" % n)
    b.send("l.b.a._r.1", b"pong")
    await until(lambda: len(heard()) == 201, "all messages")
    assert [p for s, _, p in heard() if s.startswith(("l.a", "e.a"))] == [
        b"%d" % (n // 2) for n in range(200)
    ]
    assert (tap.gaps, tap.violations) == (0, 0)
    await tap.close()

    mute = BrokerConnection(broker.url, seed, name="tap", subjects=())
    await mute.open(Recorder())
    mute.send("l.a.b.q.Ping", b"as the tap")
    await until(lambda: mute.violations == 1, "the refusal")
    await mute.close()
