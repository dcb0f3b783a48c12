"""The Bus port: one implementation above a driver's ``Wire``, the same in lab and sim.

It uses the request multiplexer of ``services.runtime.rpc`` and adds what belongs to the data bus:
the check that a request and its reply travel on the directed link that they claim, link rules,
limits in lab seconds, detection of duplicates, and the sealing of key material. Malformed bytes are
counted and dropped; no input can raise an exception into the wire.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec

from protocol.codec import Envelope
from protocol.crypto.seal import Keyring, Sealing
from protocol.errors import Malformed, NotSent, ProductError
from protocol.messages.base import Event, Ping, Pong, Reply, Request
from protocol.subjects import (
    LinkSubject,
    NodePair,
    event_subject,
    parse_link,
    reply_prefix,
    reply_subject,
    request_subject,
)
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.link_rules import RuleTable
from services.runtime.multiplexer import Envelopes, PendingCalls, RequestServing
from services.runtime.ports import Bus, Clock
from services.runtime.request_queues import ServiceQueue
from services.runtime.service import Peer
from services.runtime.world import Wire, WireSink

R = TypeVar("R")

CAUSE: ContextVar[str] = ContextVar("keystead_cause", default="")
"""Id of the message that the running task handles; it is the cause of every message it sends."""

_WINDOW = 2048  # ids remembered per sender's life


class IncomingRequest(msgspec.Struct, frozen=True):
    """A request that passed every check of the port."""

    message: Request[Any]
    peer: Peer
    deadline: float  # lab monotonic seconds
    cause: str
    respond: Callable[[Reply | ProductError], None]


class BusPort(Bus, WireSink):
    """The Bus port of one life of a node; the wire calls it with what arrives."""

    def __init__(
        self,
        life: Incarnation,
        wires: Callable[[], Wire],
        ring: Keyring,
        rules: RuleTable,
        clock: Clock,
        role: str,
        queue: ServiceQueue | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.accept: Callable[[IncomingRequest], None] | None = None
        self.refused = ""
        self.later: Callable[[str, Coroutine[Any, Any, None]], None] | None = None
        self._life, self._queue = life, queue
        self._wires, self._wire = wires, wires()
        self._rules, self._clock, self._role = rules, clock, role
        self._me = life.node
        seals = Sealing(life.node, life.boot, ring, clock.monotonic)
        self._envelopes = Envelopes(life.node, life.boot, seals)
        self._calls = PendingCalls(seals, self.counters)
        self._serving = RequestServing(self._envelopes, self.counters, clock.monotonic, self._reply)
        self._seen: dict[tuple[NodeName, int], OrderedDict[int, None]] = {}
        self._sent: Counter[NodeName] = Counter()
        # Callbacks that wait while the node is paused.
        self._waiting: deque[Callable[[], None]] = deque()
        life.call_on_resume(self._catch_up)

    @property
    def me(self) -> NodeName:
        return self._me

    @property
    def violations(self) -> int:
        """How often the broker refused a subject of this life, because it was in another node's
        name."""
        return self._wire.violations

    @property
    def overruns(self) -> int:
        """Requests that were dropped unread; see ``Wire.overruns``."""
        return self._wire.overruns

    # ---- life ---------------------------------------------------------------------------

    async def open(self) -> bool:
        """Connect; requests are ignored until ``accept`` is set. False: no broker admitted the
        node.

        A node without network runs: its calls raise ``NotSent`` until ``keep_trying`` connects it;
        ``refused`` is the reason.
        """
        try:
            await self._wire.open(self)
        except NotSent as error:
            self._life.check()
            self._wire = self._wires()
            self.refused = str(error)
            return False
        self._life.check()
        return True

    async def keep_trying(self) -> None:
        """Dial until a broker admits the node; the driver decides how long each attempt takes."""
        while not await self.open():
            self.counters["connects_failed"] += 1

    async def close(self) -> None:
        """Close the connection in order; nothing is accepted any more."""
        self.accept = None
        await self._wire.close()

    def abort(self) -> None:
        """Cut the connection at a crash or purple screen: no further byte is sent."""
        self.accept = None
        self._wire.abort()

    # ---- sending ----------------------------------------------------------------------------

    async def request(self, to: NodeName, message: Request[R], *, within_s: float) -> R:
        self._life.check()
        number = self._envelopes.next_number()
        deadline = self._clock.monotonic() + self._clock.limit(within_s)
        payload = self._envelopes.request(number, to, message, deadline=deadline, cause=CAUSE.get())
        token = f"{self._life.boot}-{number}"
        subject = request_subject(self._me, to, type(message).__name__)
        reply_to = reply_subject(to, self._me, token)
        self.counters["requests"] += 1
        reply = await self._calls.ask(
            token,
            to,
            number,
            message,
            lambda: self._depart(to, subject, payload, reply_to),
            lambda late: self._clock.alarm(within_s, late),
            within_s,
        )
        self._life.check()
        if self._queue is not None and not self._queue.idle:
            await self._queue.serve(f"{type(message).__name__}.reply", reply)
        return reply

    def publish(self, event: Event) -> None:
        self._life.check()
        payload = self._envelopes.event(event, cause=CAUSE.get())
        subject = event_subject(self._me, type(event).__name__)
        if self._life.is_paused:
            self._waiting.append(lambda: self._send_event(subject, payload))
        else:
            self._send_event(subject, payload)

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] += by

    def _send_event(self, subject: str, payload: bytes) -> None:
        try:
            self._wire.send(subject, payload)
        except NotSent:
            self.counters["events_lost"] += 1

    def _reply(self, to: NodeName, subject: str, payload: bytes) -> None:
        if self._life.alive:
            self._depart(to, subject, payload)

    def _depart(self, to: NodeName, subject: str, payload: bytes, reply: str = "") -> None:
        """Send through the egress rules. ``NotSent`` if the wire refuses.

        A paused node sends its messages when it resumes.
        """
        if self._life.is_paused:
            self._waiting.append(lambda: self._depart(to, subject, payload, reply))
            return
        nth = self._sent[to] = self._sent[to] + 1
        delays = self._rules.egress(NodePair(self._me, to), self._life.boot, nth, subject)
        if len(delays) != 1:
            self.counters["duplicated" if delays else "dropped_egress"] += 1
        for delay_s in delays:
            if delay_s == 0:
                self._wire.send(subject, payload, reply)
            else:
                self.counters["delayed"] += 1
                if self.later is not None:
                    self.later("bus.delay", self._send_later(delay_s, subject, payload, reply))

    async def _send_later(self, seconds: float, subject: str, payload: bytes, reply: str) -> None:
        await self._clock.sleep(seconds)
        try:
            self._wire.send(subject, payload, reply)
        except NotSent:
            self.counters["delayed_lost"] += 1

    # ---- receiving (WireSink) --------------------------------------------------------------

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        if not self._life.alive:
            return
        if self._life.is_paused:
            self._waiting.append(lambda: self.on_message(subject, reply, payload))
            return
        parsed = parse_link(subject)
        if parsed is None or parsed.dst != self._me:
            self.counters["malformed"] += 1
            return
        if not self._rules.passes(NodePair(parsed.src, self._me)):
            self.counters["dropped_ingress"] += 1
            return
        try:
            if parsed.reply:
                if self._calls.handle_reply(parsed.rest, parsed.src, payload):
                    self.counters["replies"] += 1
            else:
                self._on_request(parsed, reply, payload)
        except Malformed:
            self.counters["malformed"] += 1

    def _catch_up(self) -> None:
        """Process in order what arrived, and what was to be sent, while the node was paused."""
        while self._waiting and self._life.alive:
            try:
                self._waiting.popleft()()
            except NotSent:
                self.counters["delayed_lost"] += 1

    def _on_request(self, parsed: LinkSubject, reply: str, payload: bytes) -> None:
        if not reply.startswith(reply_prefix(self._me, parsed.src)):
            self.counters["forged"] += 1  # its answer would go to another node (confused deputy)
            return
        request = self._serving.admit(parsed.src, parsed.rest, reply, payload)
        if request is None:
            return
        if self.accept is None:
            self.counters["not_serving"] += 1
            return
        if request.too_late():
            return
        envelope = request.envelope
        if not self._first_time(envelope):
            self.counters["duplicates"] += 1
            return
        try:
            message = request.message()
        except Malformed as error:
            self.counters["malformed"] += 1
            request.answer(error)
            return
        if isinstance(message, Ping):
            request.answer(Pong(boot=self._life.boot, role=self._role))
            return
        cause = f"{envelope.sender}/{envelope.boot}/{envelope.message_id}"
        peer = Peer(envelope.sender, envelope.boot)
        self.accept(IncomingRequest(message, peer, envelope.deadline, cause, request.answer))

    def _first_time(self, envelope: Envelope) -> bool:
        key = (envelope.sender, envelope.boot)
        window = self._seen.get(key)
        if window is None:
            # A sender has one life at a time: forget the message ids of older ones.
            for old in [k for k in self._seen if k[0] == envelope.sender][:-1]:
                del self._seen[old]
            window = self._seen[key] = OrderedDict()
        if envelope.message_id in window:
            return False
        window[envelope.message_id] = None
        if len(window) > _WINDOW:
            window.popitem(last=False)
        return True

    def on_no_responders(self, subject: str) -> None:
        """The broker reports that nobody listens; subject to the rules of the reverse link."""
        parsed = parse_link(subject)
        if parsed is None or not parsed.reply or not self._life.alive:
            return
        to = self._calls.find_callee(parsed.rest)
        if to is None or to != parsed.src:
            return
        if self._rules.refuses(to) and self._rules.passes(NodePair(to, self._me)):
            self._calls.refuse(parsed.rest, f"{to} refuses connections")

    def on_disconnected(self) -> None:
        self.counters["disconnects"] += 1
        self._calls.fail_all()

    def on_reconnected(self) -> None:
        self.counters["reconnects"] += 1
