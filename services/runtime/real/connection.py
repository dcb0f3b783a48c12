"""One connection to a broker: its options, readiness, and a bound on unsent data.

nats-py buffers while the broker is away and sends after the reconnect: a request that timed out
long ago would still run. Therefore nothing is given to its buffer. Commands go from our outbox
straight to the socket's transport, and both the outbox and the transport's buffer are discarded the
moment the link is lost. A dial that fails half-way (a paused broker) would keep its socket: each
failed attempt resets it. ``nats_client`` has the other differences.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nats import errors

from protocol.errors import NotSent
from services.runtime.real.broker_tls import BrokerTls, ForeignServersTls
from services.runtime.real.nats_client import BrokerClient
from services.runtime.world import WireSink

_SUBJECT = re.compile(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*")
_NO_RESPONDERS = b"NATS/1.0 503"
_CRLF = b"\r\n"
_PROBE_EVERY_S = 0.5  # interval of the readiness message, whose first copy may be lost


@dataclass(frozen=True)
class ConnectionOptions:
    """How a connection watches its broker. Seconds of the real clock, sizes in bytes.

    A dead link is detected after ``max_outstanding_pings`` to two more ``ping_interval_s``.
    ``unsent_limit_bytes`` bounds what waits in this process until the socket takes it.
    """

    ping_interval_s: int = 1
    max_outstanding_pings: int = 3
    connect_timeout_s: int = 2
    reconnect_time_wait_s: float = 0.2
    first_connect_s: float = 2.0  # a node that is not admitted boots without network
    close_within_s: float = 3.0
    tcp_user_timeout_s: float = 3.0
    unsent_limit_bytes: int = 1024 * 1024


DATA_OPTIONS = ConnectionOptions()


class BrokerConnection:
    """A named connection under one nkey, with its subscriptions and a synchronous ``send``.

    ``url`` has one server of the broker, or several with commas between them.

    ``probe`` is a subject of this connection alone, covered by ``subjects``: ``open`` returns
    when a message on it came back. An identity that may publish nothing passes an empty one and
    gets the weaker promise that the broker has read the subscriptions. ``secured``: it takes TLS
    only.

    ``violations`` counts refusals by the broker's permissions (its text is not parsed: the
    client lower-cases it). ``losses`` counts lost links, ``epoch`` completed (re)connections.
    """

    def __init__(
        self,
        url: str,
        seed: str,
        *,
        name: str,
        subjects: tuple[str, ...],
        probe: str = "",
        options: ConnectionOptions = DATA_OPTIONS,
        secured: BrokerTls | None = None,
    ) -> None:
        self.url = url
        self.name = name
        self.options = options
        self.violations = 0
        self.losses = 0
        self.epoch = 0
        self.sink_errors = 0
        self.last_error: Exception | None = None
        self.refusal: Exception | None = None  # set when the broker does not know our key
        self.crowded: Exception | None = None  # set when the broker had no room for us
        self.closed = False
        self._seed, self._secured = seed, secured
        self.tls_after_greeting = isinstance(secured, ForeignServersTls)
        self._subjects = subjects
        self._probe = probe
        self._probed = asyncio.Event()
        self._up = False
        self._opened = False
        self._client: BrokerClient | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._sink: WireSink | None = None
        self._outbox: list[bytes] = []
        self._outbox_size = 0
        self._max_payload = 0

    @property
    def up(self) -> bool:
        """Whether the link is believed to be up. It may be half-open for some seconds."""
        return self._up

    async def open(self, sink: WireSink) -> None:
        """Connect, subscribe, prove readiness; ``NotSent`` after ``first_connect_s`` seconds."""
        self._sink = sink
        self._client = client = BrokerClient(self)
        self._dialling = asyncio.get_running_loop().create_task(self._connect_first(client))
        self._dialling.add_done_callback(_discard_outcome)
        try:
            # This is no timeout around the dial. When the loop is late, a ``wait_for`` in nats-py
            # may have its answer already; it then swallows the cancellation and continues.
            await asyncio.wait((self._dialling,), timeout=self.options.first_connect_s)
            if not self._dialling.done():
                raise TimeoutError
            if self._dialling.cancelled():
                raise NotSent(f"{self.name} was closed while it connected")
            self._dialling.result()
        except (TimeoutError, OSError, errors.Error) as error:
            self.abort()
            why = self.refusal or self.last_error or error
            raise NotSent(f"{self.name}: no broker at {self.url}: {why!r}") from None
        except BaseException:
            self.abort()
            raise
        self._opened = True

    async def _connect_first(self, client: BrokerClient) -> None:
        options = self.options
        await client.connect(
            servers_for(self.name, self.url),
            name=self.name,
            nkeys_seed_str=self._seed,
            pending_size=-1,
            ping_interval=options.ping_interval_s,
            max_outstanding_pings=options.max_outstanding_pings,
            connect_timeout=options.connect_timeout_s,
            # Spread, so that a thousand clients do not dial in the same instant.
            reconnect_time_wait=options.reconnect_time_wait_s * random.uniform(0.75, 1.25),  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            flush_timeout=2,
            drain_timeout=2,
            dont_randomize=True,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            **({} if self._secured is None else self._secured.options),
        )
        for subject in self._subjects:
            await client.subscribe(subject)
        self._attach(client)
        await self._wait_until_written(client)
        if not self._probe:
            await client.flush(2)
            return
        while not self._probed.is_set():
            if self._up:
                self.send(self._probe, b"")
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_EVERY_S):
                    await self._probed.wait()

    @staticmethod
    async def _wait_until_written(client: BrokerClient) -> None:
        """Return when the client's own commands are in the socket's transport.

        The client queues a SUB for its flusher, but writes a PING at once. Without this wait the
        PONG of ``flush`` would say nothing about the subscription.
        """
        while client.pending_data_size and client.is_connected:
            await asyncio.sleep(0.001)

    def _attach(self, client: BrokerClient) -> None:
        """The link is up: keep its transport, and let the kernel detect dead peers."""
        transport = client.raw_transport()
        if transport is None or transport.is_closing() or self.closed:
            return
        self._transport = transport
        self._max_payload = client.max_payload
        sock = transport.get_extra_info("socket")
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if sock is not None and option is not None:
            with suppress(OSError):
                limit = int(self.options.tcp_user_timeout_s * 1000)
                sock.setsockopt(socket.IPPROTO_TCP, option, limit)
        self._up = True
        self.refusal = None
        self.epoch += 1

    # ---- calls by the client -----------------------------------------------------------

    def handle_message(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        """Called by the read loop for each message, in order of arrival."""
        if self.closed or self._sink is None:
            return
        if subject == self._probe:
            self._probed.set()
            return
        try:
            if headers and headers.startswith(_NO_RESPONDERS) and not payload:
                self._sink.on_no_responders(subject)
            else:
                self._sink.on_message(subject, reply, payload)
        except Exception as error:
            # An exception here would end the client's read loop: nothing would be received any
            # more.
            self.sink_errors += 1
            self._report(error)

    def handle_link_loss(self, error: Exception) -> None:
        """The link is lost: discard what waits, so that it is not sent over the next link."""
        self._outbox.clear()
        self._outbox_size = 0
        self._transport = None
        self._record_error(error)
        if self._up:
            self._up = False
            self.losses += 1
            if self._opened and not self.closed and self._sink is not None:
                self._sink.on_disconnected()

    async def _on_error(self, error: Exception) -> None:
        self._record_error(error)
        text = str(error).lower()
        if "permissions violation" in text:
            self.violations += 1
            return
        if "authorization violation" in text:
            self.refusal = error
        client = self._client
        if not self._up and client is not None:
            client.abort_transport()  # a dial that failed half-way would keep its socket

    def _record_error(self, error: Exception) -> None:
        """Keep the error. Several dials may fail for one cause and only one of them learns it: a
        server that closes at once discards its error when our bytes are unread."""
        self.last_error = error
        if "connections exceeded" in str(error).lower():  # a limit of the server, or of the account
            self.crowded = error

    async def _on_disconnected(self) -> None:
        self.handle_link_loss(self.last_error or errors.StaleConnectionError())

    async def _on_reconnected(self) -> None:
        client = self._client
        if self.closed or client is None:
            return
        self._attach(client)
        if self._up and self._opened and self._sink is not None:
            self._sink.on_reconnected()

    @staticmethod
    def _report(error: Exception) -> None:
        context: dict[str, Any] = {"message": "a listener of the bus failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    # ---- calls by the owner ------------------------------------------------------------

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Queue one PUB for the end of this iteration of the loop; see ``Wire.send``.

        All messages of one iteration leave in one write, so that many calls in flight are cheap.
        The client's own ``publish`` costs a future and a task switch for each message.
        """
        transport = self._transport
        if transport is None or not self._up:
            raise NotSent(f"{self.name} has no connection to the broker")
        size = len(payload)
        if size > self._max_payload:
            raise NotSent(f"{size} bytes are over the broker's limit of {self._max_payload}")
        if self._outbox_size + transport.get_write_buffer_size() + size > (
            self.options.unsent_limit_bytes
        ):
            raise NotSent(f"{self.name} has too much unsent: the broker does not read")
        if not _SUBJECT.fullmatch(subject) or (reply and not _SUBJECT.fullmatch(reply)):
            raise NotSent(f"{subject!r} (reply {reply!r}) is not a valid subject")
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox += (f"PUB {subject} {reply} {size}\r\n".encode(), payload, _CRLF)
        self._outbox_size += size

    def _flush(self) -> None:
        transport = self._transport
        if self._outbox and transport is not None:
            data = b"".join(self._outbox)
            self._outbox.clear()
            self._outbox_size = 0
            transport.write(data)
            if self._client is not None:
                self._client.sent_any = True

    async def subscribe(self, subject: str) -> None:
        """One more subscription; returns when the broker has read it (if the link is up)."""
        client = self._client
        if client is None or self.closed:
            raise NotSent(f"{self.name} is not open")
        try:
            await client.subscribe(subject)
            if not self._up:
                return  # sent with the other subscriptions when the link is back
            await self._wait_until_written(client)
            await client.flush(2)
        except errors.Error as error:
            raise NotSent(f"{self.name}: {error}") from None

    async def echo(self) -> None:
        """Return when the broker has read everything sent; ``NotSent`` when it does not answer
        within two seconds."""
        client = self._client
        if client is None or self.closed or not self._up:
            raise NotSent(f"{self.name} has no connection to the broker")
        try:
            await client.flush(2)
        except errors.Error as error:
            raise NotSent(f"{self.name}: {error}") from None

    async def close(self) -> None:
        """Flush what was sent and disconnect, within ``close_within_s`` seconds. Never raises."""
        client = self._client
        if client is None or self.closed or not self._opened:  # nothing was sent yet
            self.abort()
            return
        self._flush()
        try:
            async with asyncio.timeout(self.options.close_within_s):
                if self._up:
                    await client.flush(2)
                self.closed = True
                await client.close()
        except (OSError, TimeoutError, errors.Error):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut the connection now: nothing is flushed, nothing reconnects, no callback runs."""
        self.closed = True
        self._up = False
        self._transport = None
        self._outbox.clear()
        self._outbox_size = 0
        if self._dialling is not None:
            self._dialling.cancel()
        if self._client is not None:
            self._client.abandon()


def servers_for(name: str, url: str) -> list[str]:
    """The servers of a bus in the order in which the client ``name`` tries them. Each client begins
    at a server of its own, always the same, and goes to the next when it is lost."""
    servers = url.split(",")
    first = zlib.crc32(name.encode()) % len(servers)
    return servers[first:] + servers[:first]


def _discard_outcome(dial: asyncio.Task[None]) -> None:
    """Ignore the outcome of a dial that nobody awaits any more."""
    if not dial.cancelled():
        dial.exception()
