"""What a driver provides for connections: how parts get to the other end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from protocol.terms import NodeName
from services.runtime.tls.lane import StreamPart, Timing


class Carrier(Protocol):
    """One end's channel to the other end. Parts that the rules let pass are put into it, in
    order."""

    @property
    def full(self) -> bool:
        """Whether so much is in transit that writers should wait."""
        ...

    @property
    def room(self) -> int:
        """How many bytes may be put before it is full; a lower bound."""
        ...

    def put(self, part: StreamPart) -> None:
        """Send ``part`` to the other end, where ``ConnectionEnd.receive_part`` is called."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop delivering parts to this end, or resume."""
        ...

    def call_when_closed(self, act: Callable[[], None]) -> None:
        """The channel was closed: call ``act`` when nothing of it is left here, which may be at
        once."""
        ...

    def stop(self) -> None:
        """Break the channel: parts in transit are lost, and the other end is notified."""
        ...


class ConnectionEnd(Protocol):
    """One end of a connection, as a driver uses it."""

    @property
    def unread(self) -> int:
        """Plain bytes that have arrived and were not read."""
        ...

    def receive_part(self, part: StreamPart) -> None:
        """The driver has received a part from the other end."""
        ...

    def receive_bytes(self, data: bytes) -> None:
        """As ``receive_part`` for data."""
        ...

    def wake_writer(self) -> None:
        """The carrier has room again."""
        ...

    def begin_handshake(self, carrier: Carrier) -> None:
        """The channel to the other end is open, without a question: begin the handshake."""
        ...

    def grant_dial(self, carrier: Carrier) -> None:
        """Let the caller behind ``carrier`` begin the handshake."""
        ...


class Admitting(Protocol):
    """Decides whether other nodes may connect."""

    def incoming(self, src: NodeName, opening: bytes) -> ConnectionEnd | str:
        """Accept or refuse a connection from ``src``; ``opening``: the content of its first part.

        Returns this node's end of it, or the reason for a refusal.
        """
        ...


class StreamDriver(Protocol):
    """The connections of one life, as the driver has them."""

    @property
    def timing(self) -> Timing:
        """The clock for the connections of this life; it calls nothing when the life is over."""
        ...

    async def open(self, port: Admitting) -> None:
        """Pass requests of other nodes to ``port``. Raises ``OSError``."""
        ...

    def dial(self, to: str, connection: ConnectionEnd) -> Carrier:
        """Open a channel to a node. Its first part is the request, sent until it is answered."""
        ...

    async def dial_outside(self, address: str, connection: ConnectionEnd) -> Carrier:
        """Open a channel to ``host:port``. Raises ``Refused``, ``Disconnected`` or
        ``NotAvailable``."""
        ...

    async def listen_outside(
        self, host: str, port: int, take: Callable[[], ConnectionEnd | None]
    ) -> int | None:
        """Accept connections there, each for the end that ``take`` builds (None: no room).

        Returns the port; None when this driver has no outside. Raises ``OSError``.
        """
        ...

    def close_outside(self) -> None:
        """Accept no new connections from outside."""
        ...

    def close(self) -> None:
        """Accept no new connections at all."""
        ...
