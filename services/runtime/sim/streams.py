"""Connections of the simulation, in memory: parts in transit between two ends.

TLS draws its own randomness, so the length of a part differs at each run. Latency is therefore
drawn for each part from the stream of its link, never from its content, and the trace records only
the kind and the number of the part.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final

from protocol.errors import NotAvailable
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, context_of
from services.runtime.link_rules import RuleTable
from services.runtime.seeded import stream
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.ready_queue import SimTimer
from services.runtime.tls.transport import (
    Admitting,
    Carrier,
    ConnectionEnd,
    PartKind,
    StreamDriver,
    StreamPart,
)

ASK_AGAIN_S: Final = 1.0
"""A caller that gets no answer asks again after so many seconds, as TCP does."""
UNDER_WAY: Final = 256 * 1024
"""Plain bytes in transit between two ends before writers wait."""


class SimExchange:
    """All connections of one simulation meet here.

    ``latency_s`` is from one end to the other, a range.
    """

    def __init__(
        self,
        loop: SimLoop,
        rules: RuleTable,
        seed: int,
        *,
        latency_s: tuple[float, float] = (0.0002, 0.0008),
    ) -> None:
        self.loop, self.rules = loop, rules
        self.drivers: dict[NodeName, SimStreams] = {}  # of the lives that are up
        self.opened = 0
        self._seed = seed
        self._low, self._span = latency_s[0] * 1e9, (latency_s[1] - latency_s[0]) * 1e9
        self._links: dict[tuple[str, str], random.Random] = {}

    def reseed(self, seed: int) -> None:
        """Draw from the streams of another seed from now on, on every link."""
        self._seed = seed
        self._links.clear()

    def latency(self, src: str, dst: str) -> int:
        """Nanoseconds from one end to the other."""
        found = self._links.get((src, dst))
        if found is None:
            found = self._links[src, dst] = stream(self._seed, "stream", src, dst)
        return int(self._low + self._span * found.random())


class SimStreams(StreamDriver):
    """The connections of one life; also its ``Timing``."""

    def __init__(self, exchange: SimExchange, life: Incarnation) -> None:
        self.exchange, self.life = exchange, life
        self.context = context_of(life)
        self._port: Admitting | None = None

    @property
    def timing(self) -> SimStreams:
        return self

    def now(self) -> float:
        """Virtual seconds."""
        return self.exchange.loop.time()

    def later(self, seconds: float, act: Callable[[], None]) -> SimTimer:
        """Call ``act``, unless the life is over then."""
        timer: SimTimer = self.exchange.loop.call_later(seconds, act, context=self.context)
        return timer

    async def open(self, port: Admitting) -> None:
        self._port = port
        self.exchange.drivers[self.life.node] = self

    def dial(self, to: str, connection: ConnectionEnd) -> Carrier:
        return SimCarrier(self, NodeName(to), connection)

    async def dial_outside(self, address: str, connection: ConnectionEnd) -> Carrier:
        raise NotAvailable(f"{address} is outside of the simulation")

    async def listen_outside(
        self, host: str, port: int, take: Callable[[], ConnectionEnd | None]
    ) -> int | None:
        return None

    def close_outside(self) -> None:
        """Nothing: the simulation has no outside."""

    def close(self) -> None:
        if self.exchange.drivers.get(self.life.node) is self:
            del self.exchange.drivers[self.life.node]

    def handle_dial(self, caller: SimCarrier) -> None:
        """A node asks for a connection to this one. While no answer arrives, it asks again."""
        src = caller.node
        if self._port is None or not caller.open or caller.other is not None:
            return
        if not self.exchange.rules.passes(NodePair(src, self.life.node)):
            return
        made = self._port.incoming(src, caller.opening)
        if isinstance(made, str):
            caller.refuse(made)
            return
        carrier = SimCarrier(self, src, made)
        carrier.other, caller.other = caller, carrier
        made.grant_dial(carrier)


class SimCarrier(Carrier):
    """One end's channel. The queue holds parts in transit to the other end; a timer only means "one
    more": the loop or a pause may reorder timers, never parts."""

    def __init__(self, driver: SimStreams, to: NodeName, connection: ConnectionEnd) -> None:
        self.other: SimCarrier | None = None
        self.open = True
        self.opening = b""
        self._driver, self._to, self._connection = driver, to, connection
        self._exchange, self._loop = driver.exchange, driver.exchange.loop
        self._queue: deque[StreamPart] = deque()
        self._due = self._weight = self._parts = 0
        self._exchange.opened += 1
        self._number = self._exchange.opened

    @property
    def node(self) -> NodeName:
        """The node of this end."""
        return self._driver.life.node

    @property
    def full(self) -> bool:
        return self.room < 0

    @property
    def room(self) -> int:
        other = self.other
        waits = 0 if other is None else other._connection.unread
        return UNDER_WAY - self._weight - waits

    def pause(self, paused: bool) -> None:
        """Nothing is held here, but the other end may be waiting for room."""
        if not paused and self.other is not None:
            self.other._wake_writer()

    def put(self, part: StreamPart) -> None:
        self._trace(part.kind)
        if self.other is None:
            self.opening = part.data
            self._loop.call_at_ns(
                self._draw_arrival(), self._deliver_opening, context=context_of(None)
            )
        else:
            self._send_part(self.other, part)

    def call_when_closed(self, act: Callable[[], None]) -> None:
        """Parts in transit belong to the exchange, so nothing is left here."""
        act()

    def stop(self) -> None:
        if self.open:
            self.open = False
            if self.other is not None:
                self._trace(PartKind.BROKEN)
                self._send_part(self.other, StreamPart(PartKind.BROKEN))

    def refuse(self, why: str) -> None:
        """The other machine reports that there is no connection."""
        self.open = False
        due = self._loop.now_ns + self._exchange.latency(self._to, self.node)
        part = StreamPart(PartKind.OPENING, why.encode())
        context = self._driver.context
        self._loop.call_at_ns(due, self._connection.receive_part, part, context=context)

    def _trace(self, kind: PartKind) -> None:
        life = self._driver.life
        self._parts += 1
        label = f"tls {self._to} {kind.value}"
        at = self._loop.now_ns
        self._loop.trace.add(at, life.node, life.boot, label, self._number, self._parts)

    def _draw_arrival(self) -> int:
        due = self._loop.now_ns + self._exchange.latency(self.node, self._to)
        self._due = max(self._due + 1, due)
        return self._due

    def _send_part(self, other: SimCarrier, part: StreamPart) -> None:
        self._queue.append(part)
        self._weight += part.weight
        context = other._driver.context
        self._loop.call_at_ns(self._draw_arrival(), self._deliver, other, context=context)

    def _deliver(self, other: SimCarrier) -> None:
        was_full = self.full
        part = self._queue.popleft()
        self._weight -= part.weight
        other._connection.receive_part(part)
        if was_full:
            self._wake_writer()

    def _wake_writer(self) -> None:
        if not self.full:
            self._loop.call_soon(self._connection.wake_writer, context=self._driver.context)

    def _deliver_opening(self) -> None:
        """The opening has reached the other machine. If that machine is down, the opening is sent
        again later."""
        if not self.open or self.other is not None or not self._driver.life.alive:
            return
        me, rules = self.node, self._exchange.rules
        callee = self._exchange.drivers.get(self._to)
        if callee is not None and callee.life.alive:
            self._loop.call_soon(callee.handle_dial, self, context=callee.context)
        elif rules.refuses(self._to) and rules.passes(NodePair(me, self._to)):
            self.refuse(f"{self._to} refuses connections")
            return
        self._loop.call_later(ASK_AGAIN_S, self._deliver_opening, context=context_of(None))
