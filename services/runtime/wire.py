"""What a driver of the Bus port provides: one node's raw connection to the broker.

Envelopes, replies, rules, sealing and deadlines are in ``bus.BusPort``, which is the same in both
drivers. A wire knows subjects and bytes only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

TapCallback = Callable[[str, str, bytes], None]
"""Called with (subject, reply subject, payload) of each message that the broker admits."""


class WireSink(Protocol):
    """The calls of a wire. They are synchronous, on the loop, in the order of arrival per
    sender."""

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        """A message on one of our subjects; ``reply`` is the reply subject or empty."""
        ...

    def on_no_responders(self, subject: str) -> None:
        """The broker reports that nobody listens; ``subject`` is the reply subject of our
        request."""
        ...

    def on_disconnected(self) -> None:
        """The link to the broker is lost; what was in flight may or may not have arrived."""
        ...

    def on_reconnected(self) -> None:
        """Subscribed again. Messages sent while the link was lost are not delivered."""
        ...


class Wire(Protocol):
    """One node's connection under its own broker identity."""

    @property
    def violations(self) -> int:
        """How often the broker refused this connection a subject; a healthy node's is 0."""
        ...

    @property
    def overruns(self) -> int:
        """How many requests were dropped unread because their senders exceeded their share."""
        ...

    async def open(self, sink: WireSink) -> None:
        """Connect and subscribe to ``l.*.<me>.>``; return when a message of the node to itself has
        arrived."""
        ...

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send to the broker; nothing is buffered while it is away.

        Raises ``NotSent`` when there is no connection, or too much is unsent already.
        """
        ...

    async def close(self) -> None:
        """Orderly: flush what was sent, then disconnect."""
        ...

    def abort(self) -> None:
        """Crash: mark the wire closed first, so that it never reconnects; nothing is flushed."""
        ...
