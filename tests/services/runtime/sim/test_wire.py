"""The broker in memory: permissions, order, refusals, the end of a broker, a client, a life."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from protocol.codec import SIZE_LIMIT
from protocol.errors import NotSent
from protocol.subjects import reply_subject, request_subject
from protocol.terms import NodeName
from services.runtime.incarnation import CURRENT, Incarnation, NodeDown, WayDown, context_of
from services.runtime.sim.bus import FIRST_CONNECT_S, UNSENT_LIMIT, SimBroker, SimWire
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.ready_queue import StepOrder
from services.runtime.world import Wire

pytestmark = pytest.mark.sim

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")


class Ear:
    """What arrived at one wire."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.messages: list[tuple[str, str, bytes]] = []
        self.stamps: list[float] = []
        self.refused: list[str] = []
        self.lost: list[float] = []
        self.back: list[float] = []
        self.lives: set[str] = set()

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        life = CURRENT.get()
        self.lives.add(life.node if life else "")
        self.messages.append((subject, reply, payload))
        self.stamps.append(self.loop.time())

    def on_no_responders(self, subject: str) -> None:
        self.refused.append(subject)

    def on_disconnected(self) -> None:
        self.lost.append(self.loop.time())

    def on_reconnected(self) -> None:
        self.back.append(self.loop.time())

    @property
    def payloads(self) -> list[int]:
        return [int(payload) for _, _, payload in self.messages]


class Net:
    """A broker and the wires of a few nodes, opened on demand."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.seen: list[str] = []
        self.broker = SimBroker(loop, 5, tap=lambda subject, reply, data: self.seen.append(subject))
        self.lives: dict[NodeName, Incarnation] = {}
        self.ears: dict[NodeName, Ear] = {}

    async def open(self, node: NodeName, boot: int = 1, **options: Any) -> SimWire:
        life = self.lives[node] = Incarnation(node, boot)
        wire = SimWire(self.broker, life, **options)
        self.ears[node] = Ear(self.loop)
        await self.loop.create_task(wire.open(self.ears[node]), context=context_of(life))
        return wire


def q(src: str, dst: str) -> str:
    return request_subject(src, dst, "Ping")


@pytest.fixture(params=list(StepOrder))
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with SimLoop(2, order=request.param) as loop:
        yield Net(loop)
        assert loop.escapes == []
        assert loop.unhandled == []


def run(net: Net, work: Coroutine[Any, Any, None]) -> None:
    net.loop.run(work, seconds=100)


def test_it_is_a_wire(net: Net) -> None:
    async def main() -> None:
        wire: Wire = await net.open(A)
        await wire.close()

    run(net, main())


def test_a_message_arrives_in_the_life_of_its_receiver(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        a.send(q("a", "b"), b"1", reply_subject("b", "a", "t1"))
        assert net.ears[B].messages == []
        await asyncio.sleep(0.1)
        assert net.ears[B].messages == [(q("a", "b"), "l.b.a._r.t1", b"1")]
        assert net.ears[B].lives == {"b"}
        assert net.ears[A].messages == []  # its own readiness message is not shown to it
        assert q("a", "b") in net.seen

    run(net, main())


def test_the_order_of_a_sender_is_kept(net: Net) -> None:
    async def main() -> None:
        a, c = await net.open(A), await net.open(C)
        await net.open(B)
        for number in range(300):
            a.send(q("a", "b"), b"%d" % number)
            c.send(q("c", "b"), b"%d" % (1000 + number))
            if number % 50 == 0:
                await asyncio.sleep(0.0003)
        await asyncio.sleep(1)
        heard = net.ears[B].payloads
        assert [n for n in heard if n < 1000] == list(range(300))
        assert [n for n in heard if n >= 1000] == list(range(1000, 1300))
        assert heard != sorted(heard)  # the two senders are mixed

    run(net, main())


def test_the_order_is_kept_through_a_pause(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        net.broker.pause(B)
        for number in range(100):
            a.send(q("a", "b"), b"%d" % number)
            await asyncio.sleep(0.001)
        assert net.ears[B].messages == []
        net.broker.resume(B)
        await asyncio.sleep(1)
        assert net.ears[B].payloads == list(range(100))
        assert net.ears[B].lost == []

    run(net, main())


def test_what_a_message_caused_comes_after_it(net: Net) -> None:
    """a -> b, then a -> c, and c -> b: one broker is causal, b hears a first."""

    async def main() -> None:
        a, c = await net.open(A), await net.open(C)
        await net.open(B)
        for number in range(100):
            a.send(q("a", "b"), b"%d" % number)
            a.send(q("a", "c"), b"0")
            while len(net.ears[C].messages) <= number:
                await asyncio.sleep(0.00001)
            c.send(q("c", "b"), b"%d" % -number)
            await asyncio.sleep(0.02)
        assert net.ears[B].payloads == [n for k in range(100) for n in (k, -k)]

    run(net, main())


def test_latency_is_drawn_and_ignores_the_size() -> None:
    def stamps(size: int) -> list[float]:
        with SimLoop(2) as loop:
            net = Net(loop)

            async def main() -> None:
                a = await net.open(A)
                await net.open(B)
                for _ in range(50):
                    a.send(q("a", "b"), b"0" * size)
                    await asyncio.sleep(0.05)

            loop.run(main())
            return net.ears[B].stamps

    small, large = stamps(1), stamps(100_000)
    assert small == large
    assert len(small) == 50


def test_another_name_is_refused_and_counted(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        for subject in (q("c", "b"), "e.c.Lie", reply_subject("c", "b", "t"), "ctl.x"):
            a.send(subject, b"1")  # told later, if at all: no exception here
        await asyncio.sleep(0.1)
        assert net.ears[B].messages == []
        assert net.broker.violations[A] == a.violations == 4
        assert net.broker.violations.total() == 4

    run(net, main())


def test_anothers_inbox_is_refused(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        with pytest.raises(NotSent):
            await net.open(C, subscription="l.*.b.>")
        a.send(q("a", "b"), b"1")
        await asyncio.sleep(0.1)
        assert net.broker.violations[C] > 0
        assert net.ears[C].messages == []
        assert net.ears[B].payloads == [1]

    run(net, main())


def test_an_event_is_for_the_tap(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        a.send("e.a.Alarm", b"1")
        await asyncio.sleep(0.1)
        assert "e.a.Alarm" in net.seen
        assert net.broker.violations.total() == 0

    run(net, main())


def test_nobody_there(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        token = reply_subject("b", "a", "t1")
        a.send(q("a", "b"), b"1", token)
        a.send(q("a", "b"), b"1")  # no reply subject: nobody to tell
        a.send(q("a", "b"), b"1", reply_subject("b", "c", "t1"))  # not ours to hear
        await asyncio.sleep(0.1)
        assert net.ears[A].refused == [token]

    run(net, main())


def test_what_never_leaves(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        a.send(q("a", "b"), bytes(SIZE_LIMIT))
        with pytest.raises(NotSent, match="over the broker's limit"):
            a.send(q("a", "b"), bytes(SIZE_LIMIT + 1))
        for subject in ("", "l.a.b .q.X", "l.a.*.q.X", "l.a.>", "l..b"):
            with pytest.raises(NotSent, match="not a valid subject"):
                a.send(subject, b"")
        await asyncio.sleep(1)
        for _ in range(UNSENT_LIMIT):
            a.send(q("a", "b"), b"")
        with pytest.raises(NotSent, match="too much unsent"):
            a.send(q("a", "b"), b"")

    run(net, main())


def test_a_broker_that_dies_takes_everything_in_flight(net: Net) -> None:
    async def main() -> None:
        a, b = await net.open(A), await net.open(B)
        for number in range(20):
            a.send(q("a", "b"), b"%d" % number)
        net.broker.stop()
        for number in range(20, 40):  # not noticed yet: believed sent, and gone as well
            a.send(q("a", "b"), b"%d" % number)
        await asyncio.sleep(0.05)
        for wire in (a, b):
            assert not wire.connected and wire.losses == 1
            with pytest.raises(NotSent):
                wire.send(q(wire.me, "b"), b"")
        assert len(net.ears[A].lost) == len(net.ears[B].lost) == 1
        await asyncio.sleep(30)
        began = net.loop.time()
        net.broker.start()
        await asyncio.sleep(0.5)
        back = [net.ears[node].back[0] - began for node in (A, B)]
        assert all(0.1 < wait < 0.3 for wait in back) and back[0] != back[1]
        assert net.ears[B].messages == []
        a.send(q("a", "b"), b"77")
        await asyncio.sleep(0.1)
        assert net.ears[B].payloads == [77]

    run(net, main())


def test_a_broker_that_is_back_before_anybody_noticed(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        net.broker.stop()
        net.broker.start()
        a.send(q("a", "b"), b"1")
        await asyncio.sleep(1)
        assert net.ears[B].messages == []
        assert len(net.ears[A].lost) == len(net.ears[A].back) == 1
        a.send(q("a", "b"), b"2")
        await asyncio.sleep(0.1)
        assert net.ears[B].payloads == [2]

    run(net, main())


def test_opening_waits_for_the_broker_but_not_for_ever(net: Net) -> None:
    async def main() -> None:
        net.broker.stop()
        began = net.loop.time()
        with pytest.raises(NotSent, match="did not admit the node"):
            await net.open(A)
        assert net.loop.time() - began == pytest.approx(FIRST_CONNECT_S, abs=0.1)
        net.loop.call_later(FIRST_CONNECT_S / 2, net.broker.start)
        wire = await net.open(A, 2)
        assert wire.connected
        assert net.ears[A].back == []  # the first connection is no reconnection

    run(net, main())


def test_a_crash_sends_at_most_a_first_part(net: Net) -> None:
    async def main() -> None:
        counts = set()
        await net.open(B)
        for boot in range(1, 20):
            a = await net.open(A, boot)
            heard = len(net.ears[B].messages)
            for number in range(10):
                a.send(q("a", "b"), b"%d" % number)
            net.lives[A].end(WayDown.CRASH)
            a.abort()
            await asyncio.sleep(0.1)
            arrived = net.ears[B].payloads[heard:]
            assert arrived == list(range(len(arrived)))
            counts.add(len(arrived))
            with pytest.raises(NodeDown):
                a.send(q("a", "b"), b"1")
        assert len(counts) > 3

    run(net, main())


def test_the_last_words_of_a_dead_node_die_with_the_broker(net: Net) -> None:
    async def main() -> None:
        await net.open(B)
        for boot in range(1, 20):
            a = await net.open(A, boot)
            for _ in range(10):
                a.send(q("a", "b"), b"1")
            net.lives[A].end(WayDown.CRASH)
            a.abort()
            net.broker.stop()
            net.broker.start()
            await asyncio.sleep(1)
        assert net.ears[B].messages == []
        assert q("a", "b") not in net.seen  # the new broker has not even heard them

    run(net, main())


def test_after_a_crash_there_is_nobody(net: Net) -> None:
    async def main() -> None:
        a, b = await net.open(A), await net.open(B)
        a.send(q("a", "b"), b"1", reply_subject("b", "a", "t1"))
        net.lives[B].end(WayDown.CRASH)
        b.abort()
        a.send(q("a", "b"), b"2", reply_subject("b", "a", "t2"))
        await asyncio.sleep(0.1)
        assert net.ears[B].messages == []
        assert net.ears[A].refused == ["l.b.a._r.t1", "l.b.a._r.t2"]
        dead = net.ears[B]
        await net.open(B, 2)
        net.broker.stop()
        await asyncio.sleep(1)
        net.broker.start()
        await asyncio.sleep(1)
        assert not (dead.lost or dead.back or dead.messages)

    run(net, main())


def test_an_orderly_end_flushes(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        for number in range(30):
            a.send(q("a", "b"), b"%d" % number)
        await a.close()
        assert a.closed and not a.connected
        await asyncio.sleep(0.1)
        assert net.ears[B].payloads == list(range(30))
        with pytest.raises(NotSent):
            a.send(q("a", "b"), b"1")

    run(net, main())


def test_a_node_that_is_paused_for_long_is_dropped(net: Net) -> None:
    async def main() -> None:
        a = await net.open(A)
        await net.open(B)
        net.broker.pause(B)
        await asyncio.sleep(3.0)
        a.send(q("a", "b"), b"1", reply_subject("b", "a", "t1"))
        await asyncio.sleep(0.05)
        assert net.ears[A].refused == []  # still believed to be there
        await asyncio.sleep(2.0)
        a.send(q("a", "b"), b"2", reply_subject("b", "a", "t2"))
        await asyncio.sleep(0.05)
        assert net.ears[A].refused == ["l.b.a._r.t2"]
        net.broker.resume(B)
        await asyncio.sleep(1)
        assert len(net.ears[B].lost) == len(net.ears[B].back) == 1
        a.send(q("a", "b"), b"3")
        await asyncio.sleep(0.05)
        assert net.ears[B].payloads == [3]

    run(net, main())


def test_two_lives_at_once_are_a_fault_of_the_driver(net: Net) -> None:
    async def main() -> None:
        await net.open(A)
        with pytest.raises(RuntimeError, match="two lives at once"):
            await net.open(A, 2)

    run(net, main())


def test_a_failing_sink_is_counted_and_heard_of() -> None:
    class Deaf(Ear):
        def on_message(self, subject: str, reply: str, payload: bytes) -> None:
            raise ValueError("sink")

    with SimLoop(3) as loop:
        broker = SimBroker(loop, 3)

        async def main() -> None:
            wire = SimWire(broker, Incarnation(A, 1))
            await wire.open(Deaf(loop))
            wire.send(q("a", "a"), b"1")
            wire.send(q("a", "a"), b"2")
            await asyncio.sleep(0.1)
            assert wire.sink_errors == 2

        loop.run(main())
        assert len(loop.unhandled) == 2


def test_a_client_whose_server_is_lost_goes_to_another_one() -> None:
    """Of three servers; in a moment, and not when its own is back."""
    loop = SimLoop(5)
    broker = SimBroker(loop, 5, servers=3)
    wire, ear = SimWire(broker, Incarnation(A, 1)), Ear(loop)

    def at() -> int:
        return wire.server if wire.connected else 0

    async def play() -> None:
        await wire.open(ear)
        home = wire.server
        broker.stop_server(home)
        await asyncio.sleep(0.1)
        assert len(ear.lost) == len(ear.back) == 1, "it is at another one"
        assert at() not in (0, home)
        broker.start_server(home)
        await asyncio.sleep(1)
        assert at() not in (0, home) and len(ear.lost) == 1
        for number in broker.servers.up:
            broker.stop_server(number)
        await asyncio.sleep(1)
        assert at() == 0 and not broker.up
        broker.start_server(2)
        await asyncio.sleep(1)
        assert at() == 2

    loop.run(play(), seconds=60, steps=100_000)
    loop.close()
