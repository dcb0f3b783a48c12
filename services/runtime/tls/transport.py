"""What a driver provides for connections: how parts get to the other end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from protocol.terms import NodeName
from services.runtime.tls.lane import StreamPart, Timing


class Carrier(Protocol):
    """One end's channel to the other end. What the rules let pass goes in here, in order."""

    @property
    def full(self) -> bool:
        """Whether so much is in transit that writers had better wait."""
        ...

    @property
    def room(self) -> int:
        """Bytes that may be put before it is full, or less."""
        ...

    def put(self, part: StreamPart) -> None:
        """Bring it to the other end: ``End.arrived`` is called there."""
        ...

    def pause(self, paused: bool) -> None:
        """Bring nothing more for now, or go on."""
        ...

    def when_gone(self, act: Callable[[], None]) -> None:
        """It was closed: call ``act`` when nothing of it is left here, at once if that is now."""
        ...

    def stop(self) -> None:
        """Break: what is not yet at the other end is lost, and the other end is notified."""
        ...


class ConnectionEnd(Protocol):
    """One end of a connection, as a driver uses it."""

    @property
    def unread(self) -> int:
        """Plain bytes that have come and were not taken."""
        ...

    def receive_part(self, part: StreamPart) -> None:
        """The driver has brought a part from the other end."""
        ...

    def came(self, data: bytes) -> None:
        """As ``arrived`` for a part of these bytes."""
        ...

    def writable(self) -> None:
        """There is room again for what is written."""
        ...

    def begins(self, carrier: Carrier) -> None:
        """There is a way to the other end, which need not be asked: on with the handshake."""
        ...

    def grant(self, carrier: Carrier) -> None:
        """Let who asked over ``carrier`` begin the handshake."""
        ...


class Admitting(Protocol):
    """Decides whether other nodes may connect."""

    def incoming(self, src: NodeName, said: bytes) -> ConnectionEnd | str:
        """A node asks for a connection, with what its opening said: one for it, or why none."""
        ...


class StreamDriver(Protocol):
    """The connections of one life, as the driver has them."""

    @property
    def timing(self) -> Timing:
        """Time for the connections of this life; nothing is called when the life is over."""
        ...

    async def open(self, port: Admitting) -> None:
        """Let connections of other nodes come to ``port``. ``OSError`` when that cannot be."""
        ...

    def dial(self, to: str, connection: ConnectionEnd) -> Carrier:
        """A way to a node. Its first part asks there, until somebody answers."""
        ...

    async def dial_outside(self, address: str, connection: ConnectionEnd) -> Carrier:
        """A way to ``host:port``; ``Refused``, ``Disconnected``, ``NotAvailable``."""
        ...

    async def listen_outside(
        self, host: str, port: int, take: Callable[[], ConnectionEnd | None]
    ) -> int | None:
        """Take connections there, each for what ``take`` makes (None: it has enough of them).

        Gives the port, None when this driver has nothing outside. ``OSError``.
        """
        ...

    def close_outside(self) -> None:
        """No new connections there."""
        ...

    def close(self) -> None:
        """No new connections at all."""
        ...
