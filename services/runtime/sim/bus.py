"""The broker of the simulation, in memory, with the rules of nats-server.

There are two hops: a sender's messages reach the broker in their order, and a receiver gets its
messages in the broker's order. Latency is drawn per message from the stream of its link, never from
its size. Permissions, size limit, "no responders", and the loss of everything in flight when the
broker dies behave as measured with nats-server.
"""

from __future__ import annotations

import asyncio
import random
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from protocol.codec import SIZE_LIMIT
from protocol.errors import NotSent
from protocol.subjects import may_publish, may_subscribe, own_subscription, reply_prefix
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, context_of
from services.runtime.request_queues import ServiceQueue
from services.runtime.seeded import stream
from services.runtime.sim import trace
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.ready_queue import SimTimer
from services.runtime.world import TapCallback, WireSink

FIRST_CONNECT_S = 2.0  # seconds that ``open`` tries
BACK_OFF = (0.15, 0.25)  # a client's wait before it dials again
NEXT_SERVER = (0.02, 0.1)  # until a client whose server was lost is connected to another server
STALL = (3.15, 3.88)  # the broker drops a client that is silent for so long (1 s x 3 pings)
UNSENT_LIMIT = 1024 * 1024 // 150
"""Unsent messages: as many of the smallest as the bound of the real wire has room for. They are
counted, not measured, because lengths are random (decision 23)."""
_SUBJECT = re.compile(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*")


class SimBroker:
    """All wires of one simulation meet here.

    ``latency_s``   from sender to receiver, a range; half for each hop
    ``tap``         called with (subject, reply, payload) of every message that is let in
    ``violations``  node -> how often permissions refused it; a healthy run has none
    ``messages``    how many were let in
    ``hops``        the queue of its own work, when it shares a machine: its times are then the
                    only latency, as over loopback
    ``servers``     of how many servers it is; a client is at one, and what one has let in reaches
                    the clients of all
    """

    def __init__(
        self,
        loop: SimLoop,
        seed: int,
        *,
        latency_s: tuple[float, float] = (0.0002, 0.0008),
        tap: TapCallback | None = None,
        servers: int = 1,
    ) -> None:
        self.loop = loop
        self.tap = tap
        self.servers = BrokerServers(servers)
        self.hops: ServiceQueue | None = None
        self.epoch = 1  # of the running broker; messages of an older one are gone
        self.messages = 0
        self.violations: Counter[NodeName] = Counter()
        self.context = context_of(None)
        self._seed = seed
        self._low, self._span = latency_s[0] * 5e8, (latency_s[1] - latency_s[0]) * 5e8
        self._links: dict[tuple[str, str], random.Random] = {}
        self._clients: dict[SimWire, BrokerClientConnection] = {}
        self._wires: dict[NodeName, SimWire] = {}  # those that are subscribed
        self._stalls: dict[NodeName, SimTimer] = {}
        self._waiting: dict[SimWire, None] = {}  # clients that lost their link and dial again

    @property
    def up(self) -> bool:
        """Whether a server runs."""
        return bool(self.servers.up)

    def reseed(self, seed: int) -> None:
        """Draw from the streams of another seed, on every link."""
        self._seed = seed
        self._links.clear()

    # ---- the process ------------------------------------------------------------------------

    def stop(self) -> None:
        """Kill the broker: everything in flight is lost, and every client sees its connection
        end."""
        if not self.servers.running:
            return
        self.servers.running = False
        self.epoch += 1
        self._trace("broker-down")
        for wire in list(self._clients):
            self._drop(wire)

    def start(self) -> None:
        """Start the broker again; each client reconnects after a back-off of its own. No change
        when it is up."""
        if self.servers.running:
            return
        self.servers.running = True
        self._trace("broker-up")
        self._dial_waiting()

    def _dial_waiting(self) -> None:
        waiting, self._waiting = list(self._waiting), {}
        for wire in waiting:
            self.dial(wire)

    def stop_server(self, number: int) -> None:
        """Kill one server: messages in flight there are lost, and its clients go to other
        servers."""
        if not self.servers.stop(number):
            return
        self._trace(f"broker-server-down {number}")
        for wire, connection in list(self._clients.items()):
            if connection.server == number:
                self._drop(wire)

    def start_server(self, number: int) -> None:
        """Start the server again; clients at other servers stay there."""
        if not self.servers.start(number):
            return
        self._trace(f"broker-server-up {number}")
        self._dial_waiting()

    def at_server(self, number: int) -> tuple[NodeName, ...]:
        """The nodes connected to that server, sorted."""
        return tuple(sorted(w.me for w, c in self._clients.items() if c.server == number))

    def pause(self, node: NodeName) -> None:
        """Park the node's steps (``loop.pause``). The broker drops a client that is silent for
        longer than its pings allow; requests to it then have no responder."""
        if self.loop.paused(node):
            return
        self.loop.pause(node)
        patience = self.link(node, "").uniform(*STALL)
        self._stalls[node] = self.loop.call_later(patience, self.cut, node, context=self.context)

    def resume(self, node: NodeName) -> None:
        """Run the node's steps again; if it was dropped meanwhile, it notices and dials again."""
        stall = self._stalls.pop(node, None)
        if stall is not None:
            stall.cancel()
        self.loop.resume(node)

    def cut(self, node: NodeName) -> None:
        """The broker ends this client's connection; messages in flight on it are lost."""
        wire = self._wires.get(node)
        if wire is not None:
            self._trace(f"broker-cut {node}")
            self._drop(wire)

    def _drop(self, wire: SimWire) -> None:
        connection = self._clients.pop(wire)
        if self._wires.get(wire.me) is wire:
            del self._wires[wire.me]
        connection.open = False
        delay = self.draw_latency(wire.me, "")
        self.loop.call_at_ns(
            self.loop.now_ns + delay, wire.handle_link_loss, connection, context=wire.context
        )

    def dial(self, wire: SimWire) -> None:
        """Connect ``wire`` after its back-off, as soon as the broker is up."""
        if not self.up:
            self._waiting[wire] = None
            return
        elsewhere = wire.server not in self.servers.up
        wait = self.link(wire.me, "").uniform(*(NEXT_SERVER if elsewhere else BACK_OFF))
        self.loop.call_later(wait, wire.connect, context=wire.context)

    # ---- connections ------------------------------------------------------------------------

    def join(self, wire: SimWire, subscription: str) -> BrokerClientConnection | None:
        """Connect and subscribe; None when the broker is down."""
        if not self.up:
            return None
        wire.server = self.servers.next(wire.server)
        connection = self._clients[wire] = BrokerClientConnection(self.epoch, wire.server)
        if not may_subscribe(wire.me, subscription):
            self._count_refusal(wire)
            return connection
        other = self._wires.get(wire.me)
        if other is not None and other is not wire:
            if other.life.alive:
                raise RuntimeError(f"{wire.me} has a connection already: two lives at once")
            other.abort()
        self._wires[wire.me] = wire
        return connection

    def leave(self, wire: SimWire) -> None:
        """Forget the connection of ``wire``; messages in flight on it are lost."""
        if self._wires.get(wire.me) is wire:
            del self._wires[wire.me]
        self._clients.pop(wire, None)
        self._waiting.pop(wire, None)

    def _count_refusal(self, wire: SimWire) -> None:
        """Count a refusal. With nats-server, too, a client learns of it only asynchronously."""
        self.violations[wire.me] += 1
        wire.violations += 1
        self._trace(f"violation {wire.me}")

    # ---- messages ---------------------------------------------------------------------------

    def link(self, src: str, dst: str) -> random.Random:
        """The stream of the link src -> dst; ``dst`` "" is the connection itself."""
        found = self._links.get((src, dst))
        if found is None:
            found = self._links[src, dst] = stream(self._seed, "link", src, dst)
        return found

    def draw_latency(self, src: str, dst: str) -> int:
        """Nanoseconds of one hop. One message in 64 is late by some milliseconds. None to or from
        a broker on the same machine, whose work takes time instead."""
        if self.hops is not None:
            return 0
        rng = self.link(src, dst)
        hop = self._low + self._span * rng.random()
        return int(hop) if rng.random() > 1 / 64 else int(hop + rng.random() * 5e6)

    def receive(self, wire: SimWire, connection: BrokerClientConnection) -> None:
        """A message of this connection has come in: work on it, then pass it on."""
        if self.hops is None or self.hops.idle:
            self.receive_next(wire, connection)
        else:
            work = self._hop(self.hops, wire, connection)
            self.loop.create_task(work, name="broker", context=self.context)

    async def _hop(
        self, hops: ServiceQueue, wire: SimWire, connection: BrokerClientConnection
    ) -> None:
        await hops.serve("hop", None)
        self.receive_next(wire, connection)

    def receive_next(self, wire: SimWire, connection: BrokerClientConnection) -> None:
        """Receive the next message of this connection, if it is still open."""
        if not connection.open or connection.epoch != self.epoch or not connection.up:
            return
        self._route(wire, connection.up.popleft())

    def _route(self, wire: SimWire, message: BrokerMessage) -> None:
        """Check a message, pass it to the tap, and forward it."""
        tokens = message.subject.split(".")
        if not may_publish(wire.me, message.subject):
            self._count_refusal(wire)
            return
        self.messages += 1
        link = tokens[0] == "l" and len(tokens) > 3
        # The last token of a reply's subject is the call's own: it does not belong into the trace.
        reply = link and tokens[3] == "_r"
        label = ".".join(tokens[:4] if reply else tokens)
        content = trace.of_reply(message.payload) if reply else trace.of_request(message.payload)
        self.loop.trace.add_content(self.loop.now_ns, wire.me, wire.life.boot, label, content)
        if self.tap is not None:
            self.tap(message.subject, message.reply, message.payload)
        receiver = self._wires.get(NodeName(tokens[2])) if link else None
        if receiver is not None and not self.servers.reaches(wire.server, receiver.server):
            receiver = None  # the sender's server has no route to the receiver's
        if receiver is None and link and message.reply and may_subscribe(wire.me, message.reply):
            receiver = wire  # the broker itself answers: no responders
            message = BrokerMessage(message.reply, "", b"", message.down, no_responders=True)
        connection = self._clients.get(receiver) if receiver is not None else None
        if receiver is None or connection is None:
            return
        connection.down.append(message)
        due = max(connection.down_due + 1, self.loop.now_ns + message.down)
        connection.down_due = due
        self.loop.call_at_ns(due, receiver.deliver_next, connection, context=receiver.context)

    def _trace(self, label: str) -> None:
        self.loop.trace.add(self.loop.now_ns, "", 0, label)


class SimWire:
    """``Wire`` of one incarnation of one node; see there. Mirrors ``lab.bus.NatsWire``."""

    def __init__(
        self, broker: SimBroker, life: Incarnation, *, subscription: str | None = None
    ) -> None:
        self.me = life.node
        self.life = life
        self.context = context_of(life)
        self.closed = False
        self.violations = self.overruns = 0
        self.losses = 0
        self.sink_errors = 0
        self._broker = broker
        self._loop = broker.loop
        self.server = zlib.crc32(self.me.encode()) % broker.servers.count + 1
        self._subscription = own_subscription(self.me) if subscription is None else subscription
        self._connection: BrokerClientConnection | None = None
        self._sink: WireSink | None = None
        self._probe = reply_prefix(self.me, self.me) + f"ready-{life.boot}"
        self._ready = asyncio.Event()
        self._opened = False

    @property
    def connected(self) -> bool:
        """Whether the link is believed to be up; a dead broker is noticed a little later."""
        return self._connection is not None

    # ---- Wire -------------------------------------------------------------------------------

    async def open(self, sink: WireSink) -> None:
        """Connect, subscribe, and return when a message to this node itself has arrived;
        ``NotSent`` after two seconds."""
        self.life.check()
        self._sink = sink
        try:
            async with asyncio.timeout(FIRST_CONNECT_S):
                self.connect()
                while not self._ready.is_set():
                    if self._connection is not None:
                        self.send(self._probe, b"")
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self._ready.wait()
        except TimeoutError:
            self.abort()
            raise NotSent(f"{self.me}: the broker did not admit the node") from None
        except BaseException:
            self.abort()
            raise
        self.life.check()
        self._opened = True

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send to the broker. ``NotSent``: no link, too much unsent, too large, or not a
        subject."""
        self.life.check()
        connection = self._connection
        if connection is None:
            raise NotSent(f"{self.me} has no connection to the broker")
        if len(payload) > SIZE_LIMIT:
            raise NotSent(f"{len(payload)} bytes are over the broker's limit of {SIZE_LIMIT}")
        if len(connection.up) >= UNSENT_LIMIT:
            raise NotSent(f"{self.me} has too much unsent: the broker does not read")
        if not _SUBJECT.fullmatch(subject) or (reply and not _SUBJECT.fullmatch(reply)):
            raise NotSent(f"{subject!r} (reply {reply!r}) is not a valid subject")
        broker, loop = self._broker, self._loop
        tokens = subject.split(".", 3)
        dst = tokens[2] if tokens[0] == "l" and len(tokens) > 3 else "*"
        up, down = broker.draw_latency(self.me, dst), broker.draw_latency(self.me, dst)
        connection.up.append(BrokerMessage(subject, reply, payload, down))
        connection.up_due = due = max(connection.up_due + 1, loop.now_ns + up)
        loop.call_at_ns(due, broker.receive, self, connection, context=broker.context)

    async def close(self) -> None:
        """Orderly: what was sent reaches the broker, then disconnect. Never raises, ends in
        time."""
        connection = self._connection
        if not self.closed and connection is not None and connection.up:
            # One step after the last message is due at the broker, without polling.
            done = self._loop.create_future()
            self._loop.call_at_ns(connection.up_due + 1, wake, done)
            await done
        self._leave()

    def abort(self) -> None:
        """Crash: mark the wire closed first. A drawn first part of the unsent messages had already
        left the machine and arrives; nothing is received any more."""
        if self.closed:
            return
        connection = self._connection
        self._leave()
        if connection is not None and connection.up:
            keep = self._broker.link(self.me, "").randrange(len(connection.up) + 1)
            while len(connection.up) > keep:
                connection.up.pop()

    def _leave(self) -> None:
        self.closed = True
        self._connection = None
        self._broker.leave(self)

    # ---- what the broker calls ----------------------------------------------------------------

    def connect(self) -> None:
        """Dial; subscribed at once on success, otherwise dial again later."""
        if self.closed or self._connection is not None:
            return
        self._connection = self._broker.join(self, self._subscription)
        if self._connection is None:
            self._broker.dial(self)
        elif self._opened and self._sink is not None:
            self._call_sink(self._sink.on_reconnected)

    def handle_link_loss(self, connection: BrokerClientConnection) -> None:
        """This client notices the end of ``connection``."""
        if self.closed or self._connection is not connection:
            return
        self._connection = None
        self.losses += 1
        self._broker.dial(self)
        if self._opened and self._sink is not None:
            self._call_sink(self._sink.on_disconnected)

    def deliver_next(self, connection: BrokerClientConnection) -> None:
        """Deliver the next message of this connection, if it is still open."""
        if self.closed or not connection.open or not connection.down or self._sink is None:
            return
        message = connection.down.popleft()
        if message.subject == self._probe:
            self._ready.set()
        elif message.no_responders:
            self._call_sink(self._sink.on_no_responders, message.subject)
        else:
            self._call_sink(self._sink.on_message, message.subject, message.reply, message.payload)

    def _call_sink(self, callback: Callable[..., None], *args: str | bytes) -> None:
        """Call the sink. An exception is a defect of the layer above and must not end the wire."""
        try:
            callback(*args)
        except Exception as error:
            self.sink_errors += 1
            self._loop.call_exception_handler(
                {"message": f"the sink of {self.me} failed", "exception": error}
            )


# ---- connections of clients ----------------------------------------------------------------------
# Messages on a simulated connection to the broker, and the servers of the broker.


class BrokerMessage(NamedTuple):
    subject: str
    reply: str
    payload: bytes
    down: int  # nanoseconds from the broker to the receiver
    no_responders: bool = False


@dataclass(eq=False, slots=True)
class BrokerClientConnection:
    """One TCP connection of a client. Queues hold messages in transit; a timer only means "one
    more": the loop or a pause may reorder timers, never messages."""

    epoch: int  # of the broker that it leads to
    server: int = 1  # the number of that broker's server
    open: bool = True  # the broker's view; the client sees the end a little later
    up: deque[BrokerMessage] = field(default_factory=deque)
    down: deque[BrokerMessage] = field(default_factory=deque)
    up_due: int = 0  # when the latest message sent reaches the broker
    down_due: int = 0  # when the latest message for the client reaches it


def wake(future: asyncio.Future[None]) -> None:
    """Wake the waiting task, if it still waits."""
    if not future.done():
        future.set_result(None)


class BrokerServers:
    """The servers of one broker, counted from 1: which run, and which have routes to each other."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.running = True  # whether the broker runs; servers may be stopped one by one
        self._down: dict[int, None] = {}
        self._cut: set[frozenset[int]] = set()

    @property
    def up(self) -> tuple[int, ...]:
        """The numbers of the running servers."""
        numbers = range(1, self.count + 1) if self.running else ()
        return tuple(number for number in numbers if number not in self._down)

    def stop(self, number: int) -> bool:
        """Stop one server; False when it was stopped already."""
        if number in self._down:
            return False
        self._down[number] = None
        return True

    def start(self, number: int) -> bool:
        """Undo ``stop``; False when the server was not stopped."""
        if number not in self._down:
            return False
        del self._down[number]
        return True

    def cut(self, one: int, other: int) -> None:
        """Cut the route between two servers, until ``mend``."""
        self._cut.add(frozenset((one, other)))

    def mend(self, one: int, other: int) -> None:
        """Restore the route."""
        self._cut.discard(frozenset((one, other)))

    def reaches(self, one: int, other: int) -> bool:
        """Whether messages admitted by one server reach the clients of the other."""
        return frozenset((one, other)) not in self._cut

    def next(self, number: int) -> int:
        """``number``, or the next running server after it. ``IndexError`` when none runs."""
        up = self.up
        return next((n for n in up if n >= number), up[0])
