"""What surrounds the messages of one sender: numbers, the limit of size, bodies."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from protocol.codec import encode_envelope, encode_message
from protocol.envelope import SIZE_LIMIT, VERSION, Envelope, ReplyEnvelope
from protocol.errors import Internal, Malformed, ProductError
from protocol.messages.base import NIL, Event, Message, Reply, Request
from protocol.terms import NodeName

M = TypeVar("M", bound=Message)


class Seals(Protocol):
    """What is done to a message before it leaves and after it came: the bus seals keys."""

    def closed(self, message: M, to: NodeName, number: int) -> M:
        """``message`` as it travels to ``to`` under ``number`` (a reply's is its request's)."""
        ...

    def opened(self, message: M, sender: NodeName, number: int) -> M:
        """``message`` as ``sender`` meant it; ``Malformed`` when it is not for us."""
        ...


class Unsealed:
    """Messages travel as they are: there are no keys in them."""

    def closed(self, message: M, to: NodeName, number: int) -> M:
        return message

    def opened(self, message: M, sender: NodeName, number: int) -> M:
        return message


class Envelopes:
    """Makes the envelopes of one life of one sender. ``size_limit`` in bytes is the broker's."""

    def __init__(
        self, me: NodeName, boot: int, seals: Seals, *, size_limit: int = SIZE_LIMIT
    ) -> None:
        self.me, self.boot, self.seals = me, boot, seals
        self._size_limit = size_limit
        self._last = 0

    def next_number(self) -> int:
        """A number that no message of this life had before."""
        self._last += 1
        return self._last

    def request(
        self, number: int, to: NodeName, message: Request[Any], *, deadline: float, cause: str
    ) -> bytes:
        """A request for the wire; ``Malformed`` when it is over the limit of size.

        ``deadline`` is a moment of the receiver's monotonic clock, in the seconds both agree on.
        """
        closed = self.seals.closed(message, to, number)
        return self._envelope(number, closed, deadline, cause)

    def event(self, event: Event, *, cause: str) -> bytes:
        """An event for the wire; ``Malformed`` when it is over the limit of size."""
        return self._envelope(self.next_number(), event, 0.0, cause)

    def _envelope(self, number: int, message: Message, deadline: float, cause: str) -> bytes:
        name, body = type(message).__name__, encode_message(message)
        envelope = Envelope(VERSION, number, cause, self.me, self.boot, deadline, name, body)
        return encode_envelope(envelope, self._size_limit)

    def reply(self, request: Envelope, outcome: Reply | ProductError) -> bytes:
        """The answer to ``request`` for the wire; ``Malformed`` when it is over the limit."""
        number = request.message_id
        if isinstance(outcome, ProductError):
            name, body, error = "", NIL, outcome.body()
        else:
            closed = self.seals.closed(outcome, request.sender, number)
            name, body, error = type(outcome).__name__, encode_message(closed), None
        envelope = ReplyEnvelope(VERSION, number, self.me, self.boot, name, body, error)
        return encode_envelope(envelope, self._size_limit)

    def oversize_reply(self, request: Envelope, why: Malformed) -> bytes:
        """In place of a reply over the limit. What was asked has been done, so it is no refusal."""
        return self.reply(request, Internal(str(why)))
