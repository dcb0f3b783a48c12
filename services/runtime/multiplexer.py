"""The request multiplexer of the data bus and of the control plane.

Envelopes have numbers, a size limit and boxes; each call in flight waits for one reply, from one
node, until its deadline; each received request is checked, decoded and answered once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from protocol.codec import (
    SIZE_LIMIT,
    VERSION,
    Envelope,
    ReplyEnvelope,
    decode_as,
    decode_envelope,
    decode_message,
    decode_reply,
    encode_envelope,
    encode_message,
)
from protocol.crypto.seal import without_keys
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
from protocol.messages.base import NIL, Event, Message, Reply, Request, reply_type
from protocol.terms import NodeName

M = TypeVar("M", bound=Message)
E = TypeVar("E", Envelope, ReplyEnvelope)


class Seals(Protocol):
    """Seals the keys of a message before it is sent, and opens them on arrival."""

    def seal_keys(self, envelope: E, message: Message, to: NodeName, life: int = 0) -> E:
        """``envelope`` as it travels to ``to``: the keys of ``message`` are in its boxes.

        ``life``: the boot of ``to`` that a reply is for, 0 in a request.
        """
        ...

    def unseal_keys(self, envelope: Envelope | ReplyEnvelope, message: M) -> M:
        """``message``, decoded from ``envelope``, with its keys; ``Malformed`` if not for us."""
        ...


class Unsealed:
    """For connections on which keys must not travel: a message with keys is refused."""

    def seal_keys(self, envelope: E, message: Message, to: NodeName, life: int = 0) -> E:
        if without_keys(message) is not message:
            raise TypeError(f"{type(message).__name__} carries keys, which are not allowed here")
        return envelope

    def unseal_keys(self, envelope: Envelope | ReplyEnvelope, message: M) -> M:
        if envelope.boxes or without_keys(message) is not message:
            raise Malformed(f"{envelope.name} carries keys, which are not allowed here")
        return message


class Envelopes:
    """Builds the envelopes of one life of one sender. ``size_limit`` in bytes is the broker's."""

    def __init__(
        self, me: NodeName, boot: int, seals: Seals, *, size_limit: int = SIZE_LIMIT
    ) -> None:
        self.me, self.boot, self.seals = me, boot, seals
        self._size_limit = size_limit
        self._last = 0

    def next_number(self) -> int:
        """A number unique within this life."""
        self._last += 1
        return self._last

    def request(
        self, number: int, to: NodeName, message: Request[Any], *, deadline: float, cause: str
    ) -> bytes:
        """A request for the wire; ``Malformed`` when it is over the limit of size.

        ``deadline`` is a moment of the receiver's monotonic clock, in the seconds both agree on.
        """
        envelope = self._envelope(number, message, deadline, cause)
        return encode_envelope(self.seals.seal_keys(envelope, message, to), self._size_limit)

    def event(self, event: Event, *, cause: str) -> bytes:
        """An event for the wire; ``Malformed`` when it is over the limit of size."""
        envelope = self._envelope(self.next_number(), event, 0.0, cause)
        return encode_envelope(envelope, self._size_limit)

    def _envelope(self, number: int, message: Message, deadline: float, cause: str) -> Envelope:
        name, body = type(message).__name__, encode_message(without_keys(message))
        return Envelope(VERSION, number, cause, self.me, self.boot, deadline, name, body)

    def reply(self, request: Envelope, outcome: Reply | ProductError) -> bytes:
        """The answer to ``request`` for the wire; ``Malformed`` when it is over the limit."""
        number = request.message_id
        if isinstance(outcome, ProductError):
            error = outcome.body()
            envelope = ReplyEnvelope(VERSION, number, self.me, self.boot, "", NIL, error)
        else:
            name, body = type(outcome).__name__, encode_message(without_keys(outcome))
            envelope = ReplyEnvelope(VERSION, number, self.me, self.boot, name, body)
            envelope = self.seals.seal_keys(envelope, outcome, request.sender, request.boot)
        return encode_envelope(envelope, self._size_limit)

    def oversize_reply(self, request: Envelope, why: Malformed) -> bytes:
        """The error in place of a reply over the limit. The request was executed, so it is no
        refusal."""
        return self.reply(request, Internal(str(why)))


R = TypeVar("R")

Alarm = Callable[[Callable[[], None]], asyncio.TimerHandle]
"""Schedules a callback for the deadline of a call."""


@dataclass(slots=True)
class _Call:
    to: NodeName
    number: int
    answer: type[Reply]
    future: asyncio.Future[Reply]


class PendingCalls:
    """The calls of one connection, by token: the last part of a reply's subject.

    Counts ``unexpected_replies`` (nobody waits for them any more), ``forged`` (from another node
    than was asked, or to another request) and ``malformed`` (not a reply of the right kind).
    """

    def __init__(self, seals: Seals, counters: Counter[str]) -> None:
        self._seals, self._counters = seals, counters
        self._calls: dict[str, _Call] = {}

    async def ask(
        self,
        token: str,
        to: NodeName,
        number: int,
        message: Request[R],
        send: Callable[[], None],
        alarm: Alarm,
        within_s: float,
    ) -> R:
        """``send`` the request, then wait for the reply to ``token`` until ``alarm`` rings.

        ``within_s`` is the time of the alarm, for the text of ``TimedOut``. Raises what ``send``
        raises, ``TimedOut``, ``Disconnected`` or ``Refused`` (see ``fail_all``, ``refuse``), and
        the error of the other side.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[token] = _Call(to, number, reply_type(type(message)), future)
        ringing: asyncio.TimerHandle | None = None

        def too_late() -> None:
            if not future.done():
                future.set_exception(TimedOut(f"{to} did not answer within {within_s:g} s"))

        try:
            send()
            ringing = alarm(too_late)
            return cast(R, await future)
        finally:
            if ringing is not None:
                ringing.cancel()
            del self._calls[token]
            if future.done() and not future.cancelled():
                future.exception()  # seen, even if the caller was cancelled meanwhile

    def handle_reply(self, token: str, responder: NodeName, payload: bytes) -> bool:
        """A reply to ``token`` arrived in the name of ``responder``; True if it ended its call.

        Raises ``Malformed`` for bytes that are not a reply; the call continues to wait.
        """
        call = self._calls.get(token)
        if call is None or call.future.done():
            self._counters["unexpected_replies"] += 1
            return False
        if call.to != responder:
            self._counters["forged"] += 1
            return False
        reply = decode_reply(payload)
        if reply.sender != responder or reply.message_id != call.number:
            self._counters["forged"] += 1
            return False
        if reply.error is not None:
            call.future.set_exception(from_body(reply.error))
        elif reply.name != call.answer.__name__:
            call.future.set_exception(
                Internal(f"the answer of {responder} does not fit the request")
            )
        else:
            try:
                answer = decode_as(call.answer, reply.body)
                call.future.set_result(self._seals.unseal_keys(reply, answer))
            except Malformed as error:
                self._counters["malformed"] += 1
                call.future.set_exception(Internal(str(error)))
        return True

    def find_callee(self, token: str) -> NodeName | None:
        """The node that is to answer the call ``token``; None when no call waits."""
        call = self._calls.get(token)
        return None if call is None or call.future.done() else call.to

    def refuse(self, token: str, why: str) -> None:
        """Nobody serves the call's target: it ends in ``Refused``, it certainly did not run."""
        call = self._calls.get(token)
        if call is not None and not call.future.done():
            call.future.set_exception(Refused(why))

    def fail_all(self) -> None:
        """The connection is lost: every call ends in ``Disconnected``, it may have run."""
        for call in self._calls.values():
            if not call.future.done():
                self._counters["calls_cut"] += 1
                error: ProductError = Disconnected(
                    f"the broker link was lost with a call to {call.to} in flight"
                )
                call.future.set_exception(error)


SendReply = Callable[[NodeName, str, bytes], None]
"""Sends a reply: to whom, on which subject, what. Raises ``NotSent``."""


class RequestServing:
    """The serving side of one connection.

    Counts ``forged`` (sent in another node's name), ``late`` (its deadline has passed),
    ``oversize`` (the reply was over the limit, an error was sent instead), ``replies_lost`` (no
    connection to send it on) and ``answered_twice``.
    """

    def __init__(
        self,
        envelopes: Envelopes,
        counters: Counter[str],
        monotonic: Callable[[], float],
        send: SendReply,
    ) -> None:
        self.envelopes, self.counters = envelopes, counters
        self.monotonic, self.send = monotonic, send

    def admit(self, sender: str, name: str, reply_to: str, payload: bytes) -> PendingRequest | None:
        """A request that arrived in the name of ``sender`` on the subject of messages ``name``.

        None when its bytes contradict that; ``Malformed`` for bytes that are not an envelope.
        """
        envelope = decode_envelope(payload)
        if envelope.sender != sender or envelope.name != name:
            self.counters["forged"] += 1
            return None
        return PendingRequest(self, envelope, reply_to)


class PendingRequest:
    """One request, with the subject of its answer."""

    __slots__ = ("_answered", "_reply_to", "_serving", "envelope")

    def __init__(self, serving: RequestServing, envelope: Envelope, reply_to: str) -> None:
        self.envelope = envelope
        self._serving, self._reply_to, self._answered = serving, reply_to, False

    def too_late(self) -> bool:
        """Whether its deadline has passed: the sender has given up, so it is not carried out."""
        if self.envelope.deadline < self._serving.monotonic():
            self._serving.counters["late"] += 1
            return True
        return False

    def message(self) -> Request[Any]:
        """The message; ``Malformed`` if it is unknown, invalid or not sealed for this node."""
        envelope = self.envelope
        message = decode_message(envelope.name, envelope.body)
        if not isinstance(message, Request):
            raise Malformed(f"{envelope.name} is not a request")
        return self._serving.envelopes.seals.unseal_keys(envelope, message)

    def answer(self, outcome: Reply | ProductError) -> None:
        """Send the outcome, once; a reply that cannot be sent is lost."""
        serving, request = self._serving, self.envelope
        if self._answered:
            serving.counters["answered_twice"] += 1
            return
        self._answered = True
        try:
            payload = serving.envelopes.reply(request, outcome)
        except Malformed as too_large:
            serving.counters["oversize"] += 1
            payload = serving.envelopes.oversize_reply(request, too_large)
        try:
            serving.send(request.sender, self._reply_to, payload)
        except NotSent:
            serving.counters["replies_lost"] += 1
