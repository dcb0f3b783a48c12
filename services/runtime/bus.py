"""The Bus port: one implementation above a driver's ``Wire``, the same in lab and sim.

It owns envelopes, the request multiplexer, the check that a request and its reply travel the
directed link they claim, link rules, deadlines, duplicates and the sealing of key material.
Bytes that make no sense are counted and dropped; nothing that arrives can raise into the wire.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

from protocol.codec import (
    decode_as,
    decode_envelope,
    decode_message,
    decode_reply,
    encode_envelope,
    encode_message,
)
from protocol.crypto.seal import Keyring, context, open_message, seal_message
from protocol.envelope import VERSION, Envelope, ReplyEnvelope
from protocol.errors import (
    Disconnected,
    Internal,
    Malformed,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
    from_body,
)
from protocol.messages.base import Event, Ping, Pong, Reply, Request, reply_type
from protocol.subjects import (
    Link,
    Parsed,
    event_subject,
    parse_link,
    reply_prefix,
    reply_subject,
    request_subject,
)
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.links.table import RuleTable
from services.runtime.ports import Clock
from services.runtime.service import Peer
from services.runtime.wire import Wire

R = TypeVar("R")

CAUSE: ContextVar[str] = ContextVar("keystead_cause", default="")
"""Id of the message that the running task works on; it goes into every message it sends."""

_WINDOW = 2048  # ids remembered per sender's life
_EMPTY = msgspec.Raw(b"\xc0")


@dataclass(slots=True)
class _Pending:
    to: NodeName
    message_id: int
    answer: type[Reply]
    future: asyncio.Future[Reply]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request that has passed every check of the port."""

    message: Request[Any]
    peer: Peer
    deadline: float  # lab monotonic seconds
    cause: str
    respond: Callable[[Reply | ProductError], None]


class BusPort:
    """See ``services.runtime.ports.Bus``; one per life of a node."""

    def __init__(
        self,
        life: Incarnation,
        wires: Callable[[], Wire],
        ring: Keyring,
        rules: RuleTable,
        clock: Clock,
        role: str,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.accept: Callable[[Incoming], None] | None = None
        self.later: Callable[[str, Coroutine[Any, Any, None]], None] | None = None
        self._life, self._ring = life, ring
        self._wires, self._wire = wires, wires()
        self._rules, self._clock, self._role = rules, clock, role
        self._me = life.node
        self._next = 0
        self._pending: dict[str, _Pending] = {}
        self._seen: dict[tuple[NodeName, int], OrderedDict[int, None]] = {}
        self._sent: Counter[NodeName] = Counter()

    @property
    def me(self) -> NodeName:
        return self._me

    @property
    def violations(self) -> int:
        """How often the broker refused this life a subject: it spoke or listened as another."""
        return self._wire.violations

    # ---- life ---------------------------------------------------------------------------

    async def open(self) -> bool:
        """Connect; requests are ignored until ``accept`` is set. False: no broker let us in.

        A node without network lives: its calls end in ``NotSent`` until ``keep_trying`` has
        brought it in.
        """
        try:
            await self._wire.open(self)
        except NotSent:
            self._life.check()
            self._wire = self._wires()
            return False
        self._life.check()
        return True

    async def keep_trying(self) -> None:
        """Dial until a broker lets us in; each try takes as long as the driver gives it."""
        while not await self.open():
            self.counters["connects_failed"] += 1

    async def close(self) -> None:
        self.accept = None
        await self._wire.close()

    def abort(self) -> None:
        """Crash or purple screen: not a byte more."""
        self.accept = None
        self._wire.abort()

    # ---- asking -------------------------------------------------------------------------

    async def request(self, to: NodeName, message: Request[R], *, within: float) -> R:
        self._life.check()
        self._next += 1
        number = self._next
        name = type(message).__name__
        sealed = seal_message(message, self._ring, to, context(self._me, to, number, name))
        payload = encode_envelope(
            Envelope(
                VERSION,
                number,
                CAUSE.get(),
                self._me,
                self._life.boot,
                self._clock.monotonic() + self._clock.limit(within),
                name,
                encode_message(sealed),
            )
        )
        token = f"{self._life.boot}-{number}"
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[token] = _Pending(to, number, reply_type(type(message)), future)
        self.counters["requests"] += 1
        try:
            self._depart(
                to,
                request_subject(self._me, to, name),
                payload,
                reply_subject(to, self._me, token),
            )
            async with self._clock.timeout(within):
                reply = await future
        except TimeoutError:
            raise TimedOut(f"{name} to {to}: no answer within {within:g} s") from None
        finally:
            self._pending.pop(token, None)
            if future.done() and not future.cancelled():
                future.exception()  # seen, even if the caller was cancelled meanwhile
        self._life.check()
        return cast(R, reply)

    def publish(self, event: Event) -> None:
        self._life.check()
        self._next += 1
        name = type(event).__name__
        body = encode_message(event)
        envelope = Envelope(
            VERSION, self._next, CAUSE.get(), self._me, self._life.boot, 0.0, name, body
        )
        try:
            self._wire.send(event_subject(self._me, name), encode_envelope(envelope))
        except NotSent:
            self.counters["events_lost"] += 1

    def _depart(self, to: NodeName, subject: str, payload: bytes, reply: str = "") -> None:
        """Through the egress rules onto the wire. ``NotSent`` if the wire refuses."""
        nth = self._sent[to] = self._sent[to] + 1
        delays = self._rules.egress(Link(self._me, to), self._life.boot, nth)
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

    # ---- what arrives (WireSink) ----------------------------------------------------------

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        if not self._life.alive:
            return
        parsed = parse_link(subject)
        if parsed is None or parsed.dst != self._me:
            self.counters["malformed"] += 1
            return
        if not self._rules.passes(Link(parsed.src, self._me)):
            self.counters["dropped_ingress"] += 1
            return
        try:
            if parsed.reply:
                self._on_reply(parsed, payload)
            else:
                self._on_request(parsed, reply, payload)
        except Malformed:
            self.counters["malformed"] += 1

    def _on_reply(self, parsed: Parsed, payload: bytes) -> None:
        pending = self._pending.get(parsed.rest)
        if pending is None or pending.future.done():
            self.counters["unexpected_replies"] += 1
            return
        if pending.to != parsed.src:
            self.counters["forged"] += 1
            return
        envelope = decode_reply(payload)
        if envelope.sender != parsed.src or envelope.message_id != pending.message_id:
            self.counters["forged"] += 1
            return
        self.counters["replies"] += 1
        if envelope.error is not None:
            pending.future.set_exception(from_body(envelope.error))
            return
        if envelope.name != pending.answer.__name__:
            pending.future.set_exception(Internal(f"{parsed.src} answered {envelope.name}"))
            return
        info = context(parsed.src, self._me, envelope.message_id, envelope.name)
        try:
            answer = decode_as(pending.answer, envelope.body)
            pending.future.set_result(open_message(answer, self._ring, info))
        except Malformed as error:
            self.counters["malformed"] += 1
            pending.future.set_exception(Internal(str(error)))

    def _on_request(self, parsed: Parsed, reply: str, payload: bytes) -> None:
        if not reply.startswith(reply_prefix(self._me, parsed.src)):
            self.counters["forged"] += 1  # its answer would land elsewhere (confused deputy)
            return
        envelope = decode_envelope(payload)
        if envelope.sender != parsed.src or envelope.name != parsed.rest:
            self.counters["forged"] += 1
            return
        if self.accept is None:
            self.counters["not_serving"] += 1
            return
        if envelope.deadline < self._clock.monotonic():
            self.counters["late"] += 1
            return
        if not self._first_time(envelope):
            self.counters["duplicates"] += 1
            return
        cause = f"{envelope.sender}/{envelope.boot}/{envelope.message_id}"

        def respond(outcome: Reply | ProductError) -> None:
            self._answer(envelope, reply, outcome)

        try:
            message = decode_message(envelope.name, envelope.body)
            if not isinstance(message, Request):
                raise Malformed(f"{envelope.name} is not a request")
            info = context(envelope.sender, self._me, envelope.message_id, envelope.name)
            message = open_message(message, self._ring, info)
        except Malformed as error:
            self.counters["malformed"] += 1
            respond(error)
            return
        if isinstance(message, Ping):
            respond(Pong(boot=self._life.boot, role=self._role))
            return
        peer = Peer(envelope.sender, envelope.boot)
        self.accept(Incoming(message, peer, envelope.deadline, cause, respond))

    def _first_time(self, envelope: Envelope) -> bool:
        key = (envelope.sender, envelope.boot)
        window = self._seen.get(key)
        if window is None:
            # A sender has one life at a time: what an older one said is not remembered for ever.
            for old in [k for k in self._seen if k[0] == envelope.sender][:-1]:
                del self._seen[old]
            window = self._seen[key] = OrderedDict()
        if envelope.message_id in window:
            return False
        window[envelope.message_id] = None
        if len(window) > _WINDOW:
            window.popitem(last=False)
        return True

    def _answer(self, request: Envelope, subject: str, outcome: Reply | ProductError) -> None:
        """Send the outcome on the reverse link; a reply that cannot leave is lost, as in life."""
        if not self._life.alive:
            return
        name, body, error = "", _EMPTY, None
        try:
            if isinstance(outcome, ProductError):
                error = outcome.body()
            else:
                name = type(outcome).__name__
                info = context(self._me, request.sender, request.message_id, name)
                body = encode_message(seal_message(outcome, self._ring, request.sender, info))
            payload = encode_envelope(
                ReplyEnvelope(
                    VERSION, request.message_id, self._me, self._life.boot, name, body, error
                )
            )
        except Malformed as too_large:
            self.counters["oversize"] += 1
            self._answer(request, subject, Internal(str(too_large)))
            return
        try:
            self._depart(request.sender, subject, payload)
        except NotSent:
            self.counters["replies_lost"] += 1

    def on_no_responders(self, subject: str) -> None:
        """The broker's word that nobody listens; it obeys the reverse link's rule."""
        parsed = parse_link(subject)
        if parsed is None or not parsed.reply or not self._life.alive:
            return
        pending = self._pending.get(parsed.rest)
        if pending is None or pending.future.done() or pending.to != parsed.src:
            return
        if self._rules.refuses(pending.to) and self._rules.passes(Link(pending.to, self._me)):
            pending.future.set_exception(Refused(f"{pending.to} refuses connections"))

    def on_disconnected(self) -> None:
        self.counters["disconnects"] += 1
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(
                    Disconnected(f"the broker link was lost with a call to {pending.to} in flight")
                )

    def on_reconnected(self) -> None:
        self.counters["reconnects"] += 1
