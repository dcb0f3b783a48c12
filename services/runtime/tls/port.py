"""All connections of one life of a node, above what a driver carries."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from protocol.crypto.certificates import SEED_SIZE, SERIAL_SIZE, new_key, self_signed
from protocol.errors import Disconnected, InvalidState, ProductError, TimedOut, TlsFailure
from protocol.secret import KeyMaterial
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.link_rules import RuleTable
from services.runtime.ports import Clock
from services.runtime.streams import (
    CONNECTIONS,
    HANDSHAKE_S,
    Listener,
    Stream,
    Streams,
    TlsIdentity,
)
from services.runtime.tls.connection import StreamRules, TlsConnection
from services.runtime.tls.endpoint import Credentials
from services.runtime.tls.transport import StreamDriver, Timer

Serve = Callable[[Stream], Coroutine[Any, Any, None]]

_KEPT: Final = 32  # prepared identities that a client keeps


class StreamPort(Streams):
    """See ``Streams``. ``spawn`` begins a task of the life; the node's runner sets it.

    ``counters``: streams_dialled, streams_taken, streams_refused, streams_broken,
    handshakes_failed.
    """

    def __init__(
        self, life: Incarnation, rules: RuleTable, clock: Clock, driver: StreamDriver
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.spawn: Callable[[str, Coroutine[Any, Any, None]], None] | None = None
        self._life, self._rules, self._clock, self._driver = life, rules, clock, driver
        self._connections: dict[TlsConnection, None] = {}
        self._listener: StreamListener | None = None
        self._credentials: list[Credentials] = []
        self._sent: Counter[str] = Counter()
        life.call_on_resume(self._catch_up)

    @property
    def me(self) -> NodeName:
        """The node of these connections."""
        return self._life.node

    @property
    def life(self) -> Incarnation:
        """The life of these connections."""
        return self._life

    # ---- life ---------------------------------------------------------------------------

    async def open(self) -> None:
        """Accept requests of other nodes; they are refused until a listener is opened."""
        await self._driver.open(self)

    def close(self) -> None:
        """Orderly end: accept nothing more, and close each connection after what was written."""
        self.stop_listening()
        for connection in list(self._connections):
            connection.close()
        self._driver.close()

    async def finish(self, within_s: float) -> None:
        """Accept nothing more, and let services answer what has arrived, for ``within_s`` lab
        seconds."""
        self.stop_listening()
        listener = self._listener
        if listener is not None:
            with suppress(TimeoutError):
                async with self._clock.timeout(within_s):
                    await listener.finish()

    def abort(self) -> None:
        """Crash: the other ends find their connections broken."""
        self._listener = None
        for connection in list(self._connections):
            connection.drop()
        self._connections.clear()
        self._driver.close()

    def _catch_up(self) -> None:
        for connection in list(self._connections):
            connection.go_on()

    def alarm(self, seconds: float, act: Callable[[], None]) -> Timer:
        """Call ``act`` after ``limit(seconds)``."""
        return self._clock.alarm(seconds, act)

    def begin(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a task of the life."""
        if self.spawn is None:
            work.close()
        else:
            self.spawn(label, work)

    def create_connection(
        self, credentials: Credentials, way: StreamRules | None, now: float | None = None
    ) -> TlsConnection:
        """One end of a connection, without a carrier yet. It judges certificates at ``now`` (Unix
        seconds); None: by the node's clock."""
        endpoint = credentials.endpoint(self._clock.now() if now is None else now)
        made = TlsConnection(self._life, endpoint, self._driver.timing, way, self._forget)
        self._connections[made] = None
        return made

    def _forget(self, connection: TlsConnection) -> None:
        self._connections.pop(connection, None)
        if self._listener is not None:
            self._listener.remove_connection(connection)

    def way(self, to: NodeName) -> StreamRules:
        """The rules between this node and another."""

        def number() -> int:
            self._sent[to] += 1
            return self._sent[to]

        return StreamRules(self._rules, NodePair(self.me, to), self._life.boot, number)

    # ---- connecting ---------------------------------------------------------------------

    async def connect(
        self, to: NodeName | str, identity: TlsIdentity, *, within_s: float
    ) -> Stream:
        self._life.check()
        credentials = self._credentials_of(identity)
        self.counters["streams_dialled"] += 1
        way = None if ":" in to else self.way(NodeName(to))
        connection = self.create_connection(credentials, way)
        await self._connect_within(within_s, to, connection, b"")
        return connection

    async def canary(self, to: NodeName, within_s: float) -> None:
        """Shake hands with a node, which its service does not see; raises the errors of
        ``connect``."""
        self._life.check()
        way = self.way(to)
        connection = self.create_connection(canary_credentials(server=False), way, NOW)
        await self._connect_within(within_s, to, connection, CANARY)
        connection.close()

    async def _connect_within(
        self, within_s: float, to: str, connection: TlsConnection, opening: bytes
    ) -> None:
        try:
            async with self._clock.timeout(within_s):
                await self._dial(to, connection, opening)
        except TimeoutError:
            connection.abort()
            self._life.check()
            raise TimedOut(f"no connection to {to} within {within_s:g} s") from None
        except BaseException:
            connection.abort()
            raise
        self._life.check()

    async def _dial(self, to: str, connection: TlsConnection, opening: bytes) -> None:
        done = asyncio.Event()
        connection.shaken = lambda _: done.set()
        if ":" in to:
            connection.begin_handshake(await self._driver.dial_outside(to, connection))
        else:
            connection.dial(self._driver.dial(to, connection), opening)
        await done.wait()
        await self._life.wait_until_resumed()
        self._life.check()
        if connection.failure is not None:
            raise connection.failure

    def _credentials_of(self, identity: TlsIdentity) -> Credentials:
        """The prepared identity. The latest ones are kept: preparing costs more than a
        handshake."""
        kept = self._credentials
        for place, found in enumerate(kept):
            if found.identity is identity or found.identity == identity:
                if place:
                    kept.insert(0, kept.pop(place))
                return found
        made = Credentials(identity, server=False)
        kept.insert(0, made)
        del kept[_KEPT:]
        return made

    # ---- listening ----------------------------------------------------------------------

    async def listen(
        self,
        identity: Callable[[], TlsIdentity],
        serve: Serve,
        *,
        outside: tuple[str, int] | None = None,
        refused: Callable[[ProductError], None] | None = None,
        most: int = CONNECTIONS,
    ) -> Listener:
        self._life.check()
        if self._listener is not None and self._listener.taking:
            raise InvalidState(f"{self.me} takes connections already")
        listener = StreamListener(self, identity, serve, refused, most)
        listener.ready()
        if outside is not None:
            listener.port = await self._driver.listen_outside(*outside, listener.accept_outside)
            self._life.check()
        self._listener = listener
        return listener

    def incoming(self, src: NodeName, opening: bytes) -> TlsConnection | str:
        """A node asks for a connection: one end for it, or the reason for a refusal."""
        if opening == CANARY:
            return self._build_canary_end(src)
        listener = self._listener
        if listener is None or not listener.taking:
            self.counters["streams_refused"] += 1
            return f"{self.me} takes no connections"
        return listener.accept_node(src)

    def _build_canary_end(self, src: NodeName) -> TlsConnection:
        """The other end of a canary."""
        made = self.create_connection(canary_credentials(server=True), self.way(src), NOW)
        late = self.alarm(HANDSHAKE_S, lambda: made.fail(TimedOut(_SLOW)))

        def shaken(connection: TlsConnection) -> None:
            late.cancel()
            connection.close()

        made.shaken = shaken
        return made

    def stop_listening(self) -> None:
        """Accept no new connections; open ones continue."""
        if self._listener is not None:
            self._listener.taking = False
        self._driver.close_outside()


class StreamListener(Listener):
    """See ``Listener``. ``taking`` is False when it is closed."""

    def __init__(
        self,
        port: StreamPort,
        identity: Callable[[], TlsIdentity],
        serve: Serve,
        refused: Callable[[ProductError], None] | None,
        most: int,
    ) -> None:
        self.port: int | None = None
        self.taking = True
        self._port, self._identity, self._serve = port, identity, serve
        self._refused, self._most = refused, most
        self._taken: dict[TlsConnection, None] = {}
        self._newcomers: dict[TlsConnection, Timer] = {}  # in their handshake, oldest first
        self._credentials: Credentials | None = None
        self._emptied: asyncio.Event | None = None

    def ready(self) -> Credentials:
        """The identity that this end shows now; ``InvalidArgument`` when it is unusable."""
        identity, known = self._identity(), self._credentials
        if known is None or not (known.identity is identity or known.identity == identity):
            known = self._credentials = Credentials(identity, server=True)
        return known

    def close(self) -> None:
        if self.taking:
            self._port.stop_listening()
        for connection in list(self._taken):
            connection.close()

    def remove_connection(self, connection: TlsConnection) -> None:
        """A connection has ended."""
        self._taken.pop(connection, None)
        if (late := self._newcomers.pop(connection, None)) is not None:
            late.cancel()
        if not self._taken and self._emptied is not None:
            self._emptied.set()

    async def finish(self) -> None:
        """Wait until all connections have ended; each ends when what has arrived is answered."""
        self._emptied = asyncio.Event()
        for connection in list(self._taken):
            if connection.shaken is not None:  # no service uses it yet
                connection.drop()
            else:
                connection.end_reading()
        if self._taken:
            await self._emptied.wait()

    def accept_outside(self) -> TlsConnection | None:
        """One end for a client that is not a node; None when there is no room."""
        taken = self._accept(None) if self.taking else None
        return taken if isinstance(taken, TlsConnection) else None

    def accept_node(self, src: NodeName) -> TlsConnection | str:
        """One end for that node, or the reason for a refusal."""
        return self._accept(self._port.way(src))

    def _accept(self, way: StreamRules | None) -> TlsConnection | str:
        counters = self._port.counters
        if len(self._taken) >= self._most:
            counters["streams_refused"] += 1
            if not self._newcomers:
                return f"{self._port.me} has as many connections as it may"
            next(iter(self._newcomers)).drop()
        try:
            known = self.ready()
        except ProductError as error:  # this listener has no usable identity
            counters["streams_refused"] += 1
            if self._refused is not None:
                self._refused(error)
            return f"{self._port.me} has no certificate to show"
        connection = self._port.create_connection(known, way)
        self._taken[connection] = None
        counters["streams_taken"] += 1
        late = self._port.alarm(HANDSHAKE_S, lambda: connection.fail(TimedOut(_SLOW)))
        self._newcomers[connection] = late

        def shaken(connection: TlsConnection) -> None:
            self._newcomers.pop(connection, None)
            late.cancel()
            if connection.failure is None:
                self._port.begin("stream", self._serve_connection(connection))
            else:
                counters["handshakes_failed"] += 1
                if self._refused is not None:
                    self._refused(connection.failure)

        connection.shaken = shaken
        return connection

    async def _serve_connection(self, connection: TlsConnection) -> None:
        try:
            await self._serve(connection)
        except (Disconnected, TlsFailure, TimedOut):
            self._port.counters["streams_broken"] += 1
        finally:
            connection.close()


_SLOW: Final = f"the handshake was not done within {HANDSHAKE_S:g} s"


# ---- canaries ------------------------------------------------------------------------------------
# A canary is a whole TLS handshake between two nodes, under the rules of their link, then closed.
# Like a ping of the bus it is answered below the service, by every node that has connections,
# whether its service listens or not. All canaries share one identity, which never expires.

CANARY: Final = b"canary"
"""The opening of a canary."""
NOW: Final = 1.0
"""The time at which a canary's certificate is judged, whatever the nodes' clocks show."""


@lru_cache(maxsize=2)
def canary_credentials(*, server: bool) -> Credentials:
    """The identity of canaries, prepared for one side."""
    key = new_key(KeyMaterial(CANARY.ljust(SEED_SIZE)))
    certificate = self_signed("canary", key, bytes(SERIAL_SIZE), 0.0, 2.0)
    return Credentials(TlsIdentity((certificate,), key, (certificate,)), server=server)
