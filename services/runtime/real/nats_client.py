"""The client of nats-py, with the methods overridden that do not fit keystead.

One timer serves the pings of all links of a process.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from nats import errors
from nats.aio.client import PING_PROTO, Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, MAX_CONTROL_LINE_SIZE, Parser

_PULSES: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, PingTimer]]] = (
    weakref.WeakKeyDictionary()
)


class PingTimer:
    """Calls all its members once in each interval of real seconds, at multiples of the interval."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float) -> None:
        self._loop, self._interval_s = loop, interval_s
        self._members: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def of(interval_s: float) -> PingTimer:
        """The pulse of the running loop with that interval."""
        loop = asyncio.get_running_loop()
        pulses = _PULSES.setdefault(loop, {})
        if interval_s not in pulses:
            pulses[interval_s] = PingTimer(loop, interval_s)
        return pulses[interval_s]

    def join(self, member: Callable[[], None]) -> None:
        """Call ``member`` from the next tick on, until it leaves."""
        self._members[member] = None
        if self._timer is None:
            self._schedule()

    def leave(self, member: Callable[[], None]) -> None:
        """Stop calling ``member``. No change if it is not a member."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        left_s = self._interval_s - time.monotonic() % self._interval_s
        if left_s < self._interval_s / 10:  # timers of the loop may fire slightly early
            left_s += self._interval_s
        self._timer = self._loop.call_later(left_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for member in tuple(self._members):
            if member in self._members:  # an earlier member may have removed this one
                self._call(member)
        if self._members and self._timer is None:
            self._schedule()

    def _call(self, member: Callable[[], None]) -> None:
        """Call one member; its failure does not affect the others."""
        try:
            member()
        except Exception as error:
            what = {"message": f"{member!r} failed in its turn", "exception": error}
            self._loop.call_exception_handler(what)


_MSG, _CRLF = b"MSG ", b"\r\n"


class _IgnoredPong:
    """A future for a pong that no task waits for."""

    def set_result(self, _: bool) -> None:
        """Ignore the pong."""


_NOBODY: Any = _IgnoredPong()


class ClientOwner(Protocol):
    """The client's owner, which the client calls synchronously."""

    closed: bool
    tls_after_greeting: bool

    def handle_message(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        """A message, in order of arrival."""
        ...

    def handle_link_loss(self, error: Exception) -> None:
        """The link was lost just now."""
        ...


class _SynchronousParser(Parser):
    """Passes whole messages without headers to the owner; the base class parses everything else.

    Between two calls ``buf`` may hold an incomplete message.
    """

    def __init__(self, client: BrokerClient, owner: ClientOwner) -> None:
        super().__init__(client)
        self._client, self._owner = client, owner

    async def parse(self, data: bytes = b"") -> None:
        self._client.received_any = True
        if self.state == AWAITING_CONTROL_LINE:
            if self.buf:
                data = bytes(self.buf) + data
                self.buf.clear()
            handed, in_part = self._hand_over_messages(data)
            data = data[handed:]
            if in_part:
                self.buf += data
                return
        if data:
            await super().parse(data)

    def _hand_over_messages(self, data: bytes) -> tuple[int, bool]:
        """Pass the whole messages in ``data`` to the owner. Returns how many bytes they were, and
        whether an incomplete message follows."""
        at = 0
        while data.startswith(_MSG, at):
            end = data.find(_CRLF, at)
            if end < 0:
                return at, len(data) - at < MAX_CONTROL_LINE_SIZE
            tokens = data[at + len(_MSG) : end].split()
            if len(tokens) not in (3, 4) or not tokens[-1].isdigit():
                break
            begin = end + len(_CRLF)
            stop = begin + int(tokens[-1])
            if len(data) < stop + len(_CRLF):
                return at, True
            reply = tokens[2].decode() if len(tokens) == 4 else ""
            self._owner.handle_message(tokens[0].decode(), reply, data[begin:stop], b"")
            at = stop + len(_CRLF)
        return at, False


class BrokerClient(Client):
    """nats-py's client, which passes messages on at once and closes dead sockets."""

    def __init__(self, owner: ClientOwner) -> None:
        super().__init__()
        self._owner = owner
        self._ps = _SynchronousParser(self, owner)
        self.received_any = self.sent_any = (
            False  # received, sent anything in this interval of pings
        )

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self._owner.handle_message(subject.decode(), reply.decode(), data, headers)

    async def _ping_interval(self) -> None:
        """Watch the link: the task sleeps until the link has been silent for too long."""
        silent = asyncio.Event()

        def tick() -> None:
            if self.is_connected and not self._check_link():
                silent.set()

        pulse = PingTimer.of(self.options["ping_interval"])
        pulse.join(tick)
        try:
            await silent.wait()
        finally:
            pulse.leave(tick)
        await self._process_op_err(errors.StaleConnectionError())

    def _check_link(self) -> bool:
        """Whether the link has not been silent for too long. It pings the link unless messages
        passed in both directions, which prove as much. The server pings each client that was silent
        for a second."""
        busy = self.received_any and self.sent_any
        self._pings_outstanding = 0 if self.received_any else self._pings_outstanding + 1
        self.received_any = self.sent_any = False
        if self._pings_outstanding > self.options["max_outstanding_pings"]:
            return False
        if not busy:
            self._write_ping()
        return True

    def _write_ping(self) -> None:
        """Send a ping. Its pong keeps its place among those of ``flush``; no task waits for it."""
        transport = self.raw_transport()
        if transport is not None and not transport.is_closing():
            self._pongs.append(_NOBODY)
            transport.write(PING_PROTO)

    async def _process_pong(self) -> None:
        """Ignore a pong whose flush has given up: nats-py would stop reading for good."""
        waiting: list[Any] = self._pongs
        if waiting and waiting[0] is not _NOBODY and waiting[0].done():
            waiting[0] = _NOBODY
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        """Handle an ``-ERR`` line: count a permissions violation; any other error ends the link."""
        if "permissions violation" in err_msg:
            await self._error_cb(errors.Error(f"nats: {err_msg}"))
            return
        await self._process_op_err(errors.Error(f"nats: {err_msg}"))

    async def _process_op_err(self, e: Exception) -> None:
        """The link is lost (EOF, stale pings, protocol error); every loss is reported here."""
        if not (self.is_closed or self.is_reconnecting):
            self._owner.handle_link_loss(e)
            self.abort_transport()
        await super()._process_op_err(e)

    async def _process_connect_init(self) -> None:
        """Log in. An abandoned client never logs in, however late its dial succeeds."""
        self._stop_if_abandoned()
        # A login that succeeded but was not confirmed has left a timer: two would ping twice as
        # often.
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        try:
            await super()._process_connect_init()
        except (OSError, TimeoutError, errors.Error):
            raise
        except Exception as error:  # any other exception would end the client's dialling for good
            raise errors.Error(f"nats: {type(error).__name__}: {error}") from error
        self._stop_if_abandoned()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Handle a server's greeting. Refuse a server without TLS where TLS is required, and a
        server that asks for no key: nats-py would continue without either."""
        if self._owner.tls_after_greeting and initial_connection and not info.get("tls_required"):
            raise errors.Error("nats: the server does not require TLS")
        if initial_connection and not info.get("nonce"):
            raise errors.Error("nats: the server knows no keys, and lets everybody in")
        await super()._process_info(info, initial_connection)

    def _stop_if_abandoned(self) -> None:
        if self._owner.closed:
            self.abandon()
            raise asyncio.CancelledError

    def raw_transport(self) -> asyncio.Transport | None:
        """The asyncio transport under the client; None before it has dialled."""
        writer = getattr(self._transport, "_io_writer", None)
        transport: asyncio.Transport | None = getattr(writer, "transport", None)
        return transport

    def abort_transport(self) -> None:
        """Reset the socket now; unsent bytes are lost, in the kernel too.

        Without the reset the kernel would deliver its buffer after a stall. Bytes that the broker's
        side has received already still arrive late: receivers check deadlines.
        """
        transport = self.raw_transport()
        if transport is None:
            return
        # An aborted TLS transport has no socket any more, and does not report that it is closed.
        sock = None if transport.is_closing() else transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def abandon(self) -> None:
        """Mark the client closed, so that nothing dials again; then cut everything."""
        self._status = Client.CLOSED
        for task in (
            self._reading_task,
            self._ping_interval_task,
            self._flusher_task,
            self._reconnection_task,
        ):
            if task is not None:
                task.cancel()
        self.abort_transport()
