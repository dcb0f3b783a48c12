"""The envelopes of one sender's messages: numbers, size limit, bodies, boxes."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from protocol.codec import encode_envelope, encode_message
from protocol.crypto.seal import without_keys
from protocol.envelope import SIZE_LIMIT, VERSION, Envelope, ReplyEnvelope
from protocol.errors import Internal, Malformed, ProductError
from protocol.messages.base import NIL, Event, Message, Reply, Request
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
