"""The second half of the Bus port: connections under mutually authenticated TLS, for KMIP.

A service gets a connection only after the other end has proved a certificate. The certificate is
judged during the handshake, at the time of the node's own Clock, so that a refused peer learns why.
Bytes pass under the rules of the links between the two nodes, each direction under its own. Over a
link that lets nothing through, no byte arrives and neither end gets an error.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

CONNECTIONS: Final = 10_000
"""How many connections a listener serves at a time, unless it asks for another number."""
HANDSHAKE_S: Final = 10.0
"""Lab seconds that the other end of an accepted connection has for its handshake."""


class DeferredAnswer:
    """An answer that is given once, at a later time."""

    __slots__ = ("to",)

    def __init__(self) -> None:
        self.to: Callable[[bytes | BaseException], None] | None = None

    def set(self, answer: bytes | BaseException) -> None:
        """Give the answer, or the error that ``read`` raises."""
        if self.to is not None:
            self.to(answer)


AtOnce = Callable[[bytes], bytes | DeferredAnswer | None]
"""Maps all bytes received on a connection to the answer, or to None. Raises the errors of
``read``."""


@dataclass(frozen=True)
class TlsIdentity:
    """What one end presents, and what it trusts. Certificates are DER.

    - ``chain``: its own certificate, then the issuing ones
    - ``key``: the private key of the first certificate, PKCS#8 DER: P-256 or RSA
    - ``trusted``: the other end's certificate must lead to one of these, or be one of them
    - ``anyone``: clients only: accept any certificate, to inspect the server's
    """

    chain: tuple[bytes, ...]
    key: KeyMaterial
    trusted: tuple[bytes, ...]
    anyone: bool = False


class Stream(Protocol):
    """One connection. At most one task reads, and one writes."""

    @property
    def peer(self) -> bytes:
        """The certificate (DER) that the other end proved."""
        ...

    @property
    def room(self) -> int:
        """How many bytes ``write`` takes now without waiting; 0 when that is not known."""
        ...

    async def read(self, most: int, at_once: AtOnce | None = None) -> bytes:
        """What has arrived: 1 to ``most`` bytes; empty when the other end has closed.

        ``at_once`` answers requests without a step of the task. It is called with the bytes that
        arrive while the reader waits. If it returns bytes, they are written and ``read`` goes on
        waiting. If it returns None, ``read`` returns what arrived. If it returns a
        ``DeferredAnswer``, later bytes wait until the answer is given.

        Raises ``Disconnected`` when the connection broke, and ``TlsFailure`` when the other end
        refused the handshake after this end had finished its part (TLS 1.3).
        """
        ...

    async def write(self, data: bytes) -> None:
        """Send ``data``; waits while too much is unsent.

        Raises ``Disconnected`` when the connection broke or is closed; ``TlsFailure`` as ``read``.
        """
        ...

    def close(self) -> None:
        """Close it in order, after what was written. No change when it is closed."""
        ...


class Listener(Protocol):
    """A place that accepts connections. ``port`` is the TCP port for clients that are not nodes;
    None when there is none."""

    port: int | None = None

    def close(self) -> None:
        """Accept no new connections, and close those that are open."""
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
        """Accept connections. ``serve`` runs in a task of this life for each connection whose
        handshake is done.

        ``identity`` is called at each handshake. ``outside`` is an address and a port (0: any) for
        clients that are not nodes of the lab; the simulation has none. ``refused`` is called with
        the error of each failed handshake. At ``most`` connections the oldest one that is still in
        its handshake is closed for the next one; if there is none, the next one is refused. A
        connection is closed when ``serve`` returns; an error of a connection that leaves ``serve``
        ends that connection only. ``InvalidState`` when this life listens already,
        ``InvalidArgument`` when the present identity is unusable, ``OSError`` when the outside port
        is not available.
        """
        ...

    async def connect(
        self, to: NodeName | str, identity: TlsIdentity, *, within_s: float
    ) -> Stream:
        """A connection to a node, or to ``host:port`` outside of the lab, after its handshake.

        Raises ``Refused`` (nobody listens there, or the listener is full), ``TimedOut``,
        ``Disconnected`` (it broke during the handshake), ``TlsFailure`` (a certificate or the
        handshake was refused: the text has OpenSSL's reason, such as "certificate has expired"),
        ``NotAvailable`` for an address outside of a simulation.
        """
        ...
