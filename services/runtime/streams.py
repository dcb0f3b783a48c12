"""The other half of the Bus port: connections under mutually authenticated TLS, for KMIP's wire.

Who has one has seen the other end prove a certificate. Whether a certificate is good is judged
while the handshake lasts, at the time of the node's own Clock, so that the other end is told why
it was refused. Bytes pass under the rules of the links between the two nodes, each direction under
those of its own; a connection through which nothing passes looks as it does in life: no byte comes,
and nobody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

CONNECTIONS: Final = 10_000
"""How many connections a listener has at a time, unless it asks for another number."""
HANDSHAKE_S: Final = 10.0
"""Lab seconds that the other end of an accepted connection has for its handshake."""


class Later:
    """An answer that follows: whoever has promised it gives it, once, in a later step."""

    __slots__ = ("to",)

    def __init__(self) -> None:
        self.to: Callable[[bytes | BaseException], None] | None = None

    def give(self, answer: bytes | BaseException) -> None:
        """Here it is, or why there is none, which is an error of ``read``."""
        if self.to is not None:
            self.to(answer)


AtOnce = Callable[[bytes], bytes | Later | None]
"""The answer to all that has come on a connection, or None. Its errors are those of ``read``."""


@dataclass(frozen=True)
class TlsIdentity:
    """What one end shows, and what it believes. Certificates are DER.

    ``chain``    its own certificate, then those above it
    ``key``      the private key of the first one, PKCS#8 DER: P-256 or RSA
    ``trusted``  certificates to one of which that of the other end must lead; one of them may be
                 the other end's own
    ``anyone``   a client's only: whatever the server proves is taken, to look at its certificate
    """

    chain: tuple[bytes, ...]
    key: KeyMaterial
    trusted: tuple[bytes, ...]
    anyone: bool = False


class Stream(Protocol):
    """One connection. One task at a time reads, and one writes."""

    @property
    def peer(self) -> bytes:
        """The certificate (DER) that the other end proved."""
        ...

    @property
    def room(self) -> int:
        """So many bytes are taken by ``write`` now without a wait; 0 when that is not known."""
        ...

    async def read(self, most: int, at_once: AtOnce | None = None) -> bytes:
        """What has come, at least one byte and at most ``most``; empty when the other end closed.

        While nothing has come, ``at_once`` is shown what comes: bytes that it gives are the answer,
        as if what came had been read and they were written, and nothing has come again; with None
        it is read. So who can answer without a wait needs no step of the task for it. With a
        ``Later`` it is taken, and what comes after it waits until the answer was given.

        Raises ``Disconnected`` when the connection broke, and ``TlsFailure`` when the other end
        refused the handshake after this one had done its part (TLS 1.3).
        """
        ...

    async def write(self, data: bytes) -> None:
        """Hand over to the connection; it waits while too much is under way.

        Raises ``Disconnected`` when the connection broke or is closed; ``TlsFailure`` as ``read``.
        """
        ...

    def close(self) -> None:
        """Close it in order, after what was written. No change when it is closed."""
        ...


class Listener(Protocol):
    """A place where connections are taken. ``port`` is the TCP port for clients that are no nodes;
    None when there is none."""

    port: int | None = None

    def close(self) -> None:
        """No new connections, and the end of those that are open."""
        ...


class Streams(Protocol):
    """Connections from and to this node."""

    async def listen(
        self,
        identity: Callable[[], TlsIdentity],
        serve: Callable[[Stream], Coroutine[Any, Any, None]],
        *,
        outside: tuple[str, int] | None = None,
        refused: Callable[[ProductError], None] | None = None,
        most: int = CONNECTIONS,
    ) -> Listener:
        """Take connections; ``serve`` runs in a task of this life for each whose handshake is done.

        ``identity`` is asked at each handshake. ``outside`` is an address and a port (0: any) for
        clients that are no nodes of the lab; the simulation has none. ``refused`` is told of each
        handshake that failed. With ``most`` connections the oldest one that is still in its
        handshake gives way to the next one, which is refused where all have proved themselves. A
        connection is closed when ``serve`` returns; an error of a connection that leaves ``serve``
        ends just that one. ``InvalidState`` when this life listens already, ``InvalidArgument``
        when the identity of now is of no use, ``OSError`` when the outside port cannot be had.
        """
        ...

    async def connect(
        self, to: NodeName | str, identity: TlsIdentity, *, within_s: float
    ) -> Stream:
        """A connection to a node, or to ``host:port`` outside of the lab, its handshake done.

        Raises ``Refused`` (nobody listens there, or it has enough), ``TimedOut``, ``Disconnected``
        (it broke in the handshake), ``TlsFailure`` (a certificate or the handshake was refused: the
        text has OpenSSL's reason, as "certificate has expired"), ``NotAvailable`` for an address
        outside of a simulation.
        """
        ...
