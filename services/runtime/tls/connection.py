"""One end of a connection: an endpoint of TLS between two lanes; the ``Stream`` of a service.

It applies the rules of the links between the two nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Final

from protocol.errors import Disconnected, ProductError, Refused, TimedOut
from protocol.subjects import NodePair
from services.runtime.incarnation import Incarnation, NodeDown
from services.runtime.link_rules import RuleTable
from services.runtime.streams import AtOnce, DeferredAnswer, Stream
from services.runtime.tls.endpoint import TlsEndpoint
from services.runtime.tls.transport import (
    GIVE_UP_S,
    Carrier,
    ConnectionEnd,
    PartKind,
    StreamLane,
    StreamPart,
    Timing,
    Wait,
)


class StreamRules:
    """The rules between two nodes for one end: ``out`` for what it sends, ``back`` for what it
    receives.

    ``number`` counts what the life has sent over the link, for the fates that a seed fixes.
    """

    def __init__(
        self, rules: RuleTable, out: NodePair, boot: int, number: Callable[[], int]
    ) -> None:
        self.rules, self.out, self.back, self.boot = rules, out, out.reverse, boot
        self._number = number

    def judge_departure(self, part: StreamPart) -> float | Wait:
        """How late a part leaves, or why it must wait."""
        if part.kind is PartKind.HANDSHAKE and self.rules.stalls(self.out):
            return Wait.RETRY
        delays = self.rules.egress(self.out, self.boot, self._number())
        return min(delays) if delays else Wait.RETRY


GRANTED: Final = b"+"
"""The answer that grants a connection; any other answer is the reason for a refusal."""
UNSENT: Final = 256 * 1024
"""Plain bytes that may wait at an end before writers wait."""
OVERHEAD: Final = 512
"""Bytes that TLS adds to a small write; a large write grows by less than its own size."""
UNREAD: Final = 256 * 1024
"""Unread plain bytes after which nothing more is accepted."""


def _bind_context(at_once: AtOnce) -> AtOnce:
    """Bind ``at_once`` to the present context, so that callbacks of the driver can call it."""
    context = copy_context()
    return lambda data: context.run(at_once, data)


class TlsConnection(Stream, ConnectionEnd):
    """See ``Stream``. The driver calls ``receive_part`` and ``writable``; the port calls what
    begins or ends the connection.

    ``way`` is None for a connection to the outside of the lab, which has no rules.
    """

    def __init__(
        self,
        life: Incarnation,
        endpoint: TlsEndpoint,
        timing: Timing,
        way: StreamRules | None,
        over: Callable[[TlsConnection], None],
    ) -> None:
        # Called at the end of the handshake.
        self.shaken: Callable[[TlsConnection], None] | None = None
        self.failure: ProductError | None = None
        self._life, self._endpoint, self._way, self._over = life, endpoint, way, over
        self._departures = StreamLane(timing, self._judge_departure, self._depart, self._give_up)
        self._arrivals = StreamLane(timing, self._judge_arrival, self._process_part)
        self._arrivals.emptied = self._unpause
        self._carrier: Carrier | None = None
        self._closing = self._gone = self._reading_ended = False
        self._reader: asyncio.Future[None] | None = None
        self._at_once: AtOnce | None = None  # set while a task waits in ``read``
        self._answer_pending = False  # whether a deferred answer is outstanding
        # The answer, which was given while the node was paused.
        self._held_answer: bytes | BaseException | None = None
        self._answer_error: BaseException | None = (
            None  # why the answer was not sent; ``read`` raises it
        )
        self._writer: asyncio.Future[None] | None = None

    # ---- what a service sees --------------------------------------------------------------

    @property
    def peer(self) -> bytes:
        return self._endpoint.peer

    @property
    def room(self) -> int:
        carrier = self._carrier
        if carrier is None or self._life.is_paused:
            return 0
        least = min(UNSENT - self._departures.weight, carrier.room)
        return max(least // 2 - OVERHEAD, 0)

    async def read(self, most: int, at_once: AtOnce | None = None) -> bytes:
        await self._check_alive()
        plain = self._endpoint.plain
        while not plain or self._answer_pending or self._answer_error is not None:
            if self._answer_error is not None:
                raise self._answer_error
            if self._closing:
                raise Disconnected("the connection is closed")
            if self.failure is not None:
                raise self.failure
            if (self._endpoint.closed or self._reading_ended) and not self._answer_pending:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            self._at_once = None if at_once is None else _bind_context(at_once)
            try:
                await self._reader
            finally:
                self._reader = self._at_once = None
            await self._check_alive()
        data = bytes(plain) if len(plain) <= most else bytes(plain[:most])
        del plain[: len(data)]
        if not self._arrivals.empty:
            self._arrivals.go_on()
        return data

    async def write(self, data: bytes) -> None:
        await self._check_alive()
        self._check_writable()
        if data:
            self._endpoint.send(data)
            self._flush(PartKind.DATA, len(data))
        if self.failure is not None:  # a link rule broke the connection
            raise self.failure
        while self._full():
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None
            await self._check_alive()
            self._check_writable()

    def close(self) -> None:
        if self._closing or self.failure is not None:
            return
        self._closing = True
        self._endpoint.close()
        self._flush(PartKind.DATA, 0)
        self._departures.send(StreamPart(PartKind.CLOSING))
        self._wake()

    def end_reading(self) -> None:
        """Deliver what has arrived; after that, reads return as if the other end had closed."""
        self._reading_ended = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _check_alive(self) -> None:
        """Check before a call of the port does something, and after each inner wait."""
        self._life.check()
        if self._life.is_paused:
            await self._life.wait_until_resumed()
            self._life.check()

    def _check_writable(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._closing:
            raise Disconnected("the connection is closed")
        if self._gone or self._endpoint.closed:
            raise Disconnected("the other end has closed the connection")

    def _full(self) -> bool:
        carrier = self._carrier
        return self._departures.weight > UNSENT or (carrier is not None and carrier.full)

    # ---- beginning ------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Plain bytes that have arrived and were not read."""
        return self._arrivals.weight

    def dial(self, carrier: Carrier, opening: bytes) -> None:
        """Ask the other end for a connection; ``opening`` tells what it is for."""
        self._carrier = carrier
        self._departures.send(StreamPart(PartKind.OPENING, opening))

    def begin_handshake(self, carrier: Carrier) -> None:
        """The channel to the other end is open: begin the handshake."""
        self._carrier = carrier
        self._begin_handshake()

    def grant_dial(self, carrier: Carrier) -> None:
        """Let the caller behind ``carrier`` begin the handshake."""
        self._carrier = carrier
        self._departures.send(StreamPart(PartKind.OPENING, GRANTED))

    def _begin_handshake(self) -> None:
        self._endpoint.start()
        self._progress()

    # ---- ending ---------------------------------------------------------------------------

    def fail(self, error: ProductError) -> None:
        """Break the connection: its users at both ends get the error."""
        if self.failure is not None:
            return
        self.failure = error
        self.abort()
        self._wake()
        if self.shaken is not None:
            done, self.shaken = self.shaken, None
            done(self)

    def drop(self) -> None:
        """The life has ended: no further byte is sent; only the other end is notified."""
        self.shaken = None
        self.abort()

    def abort(self) -> None:
        """No further byte is sent; the other end is notified."""
        self._departures.drop()
        self._arrivals.drop()
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.stop()
        self._over(self)

    def _give_up(self) -> None:
        """Nothing has passed for so long that the other end counts as gone; it is not notified."""
        self.fail(TimedOut(f"nothing reached the other end for {GIVE_UP_S:g} s"))

    def _wake(self) -> None:
        for waiting in (self._reader, self._writer):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    # ---- departures -----------------------------------------------------------------------

    def _judge_departure(self, part: StreamPart) -> float | Wait:
        if self._way is None:
            return 0.0
        if self._way.rules.breaks(self._way.out):
            self.fail(Disconnected("the connection was reset"))
            return Wait.KICK
        return self._way.judge_departure(part)

    def _depart(self, part: StreamPart) -> None:
        carrier = self._carrier
        if carrier is None:
            return
        carrier.put(part)
        if part.kind is PartKind.CLOSING:
            self._carrier = None
            self._arrivals.drop()
            carrier.call_when_closed(lambda: self._over(self))
        elif self._writer is not None:
            self.wake_writer()

    def wake_writer(self) -> None:
        """The carrier has room again: wake the writer."""
        if self._writer is not None and not self._writer.done() and not self._full():
            self._writer.set_result(None)

    def _flush(self, kind: PartKind, weight: int) -> None:
        data = self._endpoint.outgoing()
        if not data:
            return
        part = StreamPart(kind, data, weight)
        if self._way is None and self._departures.clear:
            self._depart(part)
        else:
            self._departures.send(part)

    # ---- arrivals -------------------------------------------------------------------------

    def receive_part(self, part: StreamPart) -> None:
        """The driver has received a part from the other end."""
        if self._life.alive:
            self._arrivals.send(part)
            if not self._arrivals.empty and self._carrier is not None:
                self._carrier.pause(True)

    def receive_bytes(self, data: bytes) -> None:
        """As ``receive_part`` for data. Most data is passed on at once, without building a part."""
        if self._life.alive and self._arrivals.clear and self._judge_arrival() == 0.0:
            self._endpoint.receive_data(data)
            self._progress()
        else:
            self.receive_part(StreamPart(PartKind.DATA, data, len(data)))

    def go_on(self) -> None:
        """The node resumes after a pause."""
        answer, self._held_answer = self._held_answer, None
        if answer is not None:
            self._send_promised_answer(answer)
        self._arrivals.go_on()

    def _unpause(self) -> None:
        if self._carrier is not None:
            self._carrier.pause(False)

    def _judge_arrival(self, part: StreamPart | None = None) -> float | Wait:
        """Whether a part may be accepted now; None stands for any part."""
        if self._life.is_paused or len(self._endpoint.plain) > UNREAD:
            return Wait.KICK
        if self._way is not None and not self._way.rules.passes(self._way.back):
            return Wait.RETRY
        return 0.0

    def _process_part(self, part: StreamPart) -> None:
        if part.kind in (PartKind.HANDSHAKE, PartKind.DATA):
            self._endpoint.receive_data(part.data)
            self._progress()
        elif part.kind is PartKind.OPENING:
            self._process_opening(part)
        else:
            self._process_end(part)

    def _process_opening(self, part: StreamPart) -> None:
        if part.data == GRANTED:
            self._begin_handshake()
        else:
            self.fail(Refused(part.data.decode(errors="replace") or "nobody takes connections"))

    def _process_end(self, part: StreamPart) -> None:
        self._gone = True
        if self._endpoint.closed:
            self._wake()
        elif self._closing:
            self.abort()
        else:
            during = "" if self._endpoint.established else " in the handshake"
            self.fail(Disconnected(f"the other end broke the connection{during}"))

    def _progress(self) -> None:
        """After bytes arrived, or the handshake began: send what is due, and wake waiting tasks."""
        endpoint = self._endpoint
        shaking = self.shaken is not None
        weight = 0 if self._at_once is None else self._answer_at_once(self._at_once)
        self._flush(PartKind.HANDSHAKE if shaking else PartKind.DATA, weight)
        if endpoint.failure is not None:
            self._send_alert(endpoint.failure)
            return
        if shaking and endpoint.established and self.shaken is not None:
            done, self.shaken = self.shaken, None
            done(self)
        if (endpoint.plain or endpoint.closed) and not self._answer_pending:
            reader = self._reader
            if reader is not None and not reader.done():
                reader.set_result(None)

    def _answer_at_once(self, at_once: AtOnce) -> int:
        """Answer the received bytes, if that needs no wait; returns the plain bytes of the answer,
        0 for none."""
        endpoint, reader = self._endpoint, self._reader
        if (
            not endpoint.plain
            or endpoint.closed
            or endpoint.failure is not None
            or self._answer_pending
        ):
            return 0
        if reader is None or reader.done() or self._closing or self._full():
            return 0
        try:
            answer = at_once(bytes(endpoint.plain))
        except Exception as error:
            reader.set_exception(error)
            return 0
        if not answer:
            return 0
        endpoint.plain.clear()
        if isinstance(answer, DeferredAnswer):
            self._answer_pending, answer.to = True, self._send_promised_answer
            return 0
        with suppress(Disconnected):  # the endpoint has recorded the failure
            endpoint.send(answer)
        return len(answer)

    def _send_promised_answer(self, answer: bytes | BaseException) -> None:
        """Send a deferred answer. If that fails, ``read`` raises the reason."""
        if not self._life.alive:
            return
        if self._life.is_paused:
            self._held_answer = answer
            return
        self._answer_pending = False
        if self._closing or self.failure is not None:  # the service knows already
            return
        try:
            if isinstance(answer, BaseException):
                raise answer
            self._check_writable()
            self._endpoint.send(answer)
            self._flush(PartKind.DATA, len(answer))
        except (Exception, NodeDown) as error:
            self._answer_error = error
            self._wake()
            return
        if self._reading_ended:
            self._wake()
        elif self._endpoint.plain or self._endpoint.closed:
            self._progress()
            if not self._arrivals.empty:
                self._arrivals.go_on()

    def _send_alert(self, error: ProductError) -> None:
        """The endpoint has failed: send its alert, then close."""
        if self.failure is not None:
            return
        self.failure = error
        self._departures.send(StreamPart(PartKind.CLOSING))
        self._wake()
        if self.shaken is not None:
            done, self.shaken = self.shaken, None
            done(self)
