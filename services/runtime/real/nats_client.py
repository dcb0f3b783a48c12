"""nats-py's client with its traps closed: what is overridden, and why.

What nats-py 2.16 does and we must not live with, and what is done here instead:

- *The hang.* After stale pings it closes the transport and waits until the write buffer has
  drained, which a half-open peer never allows. Here the transport is reset first.
- *The end.* Any ``-ERR`` but a permissions violation closes the client for good; here it is a
  lost link, and the client dials again until it is closed by its owner.
- *The ghost.* A dial in progress may survive ``close``; here a client that was given up never
  logs in.
- *Order and cost.* One task and queue per subscription lose the order between subscriptions;
  here every message goes from the read loop to the owner, synchronously.

This needs names that nats-py does not promise: ``tests/services/runtime/real_bus`` has a test
that fails when one of them goes away, and failure tests that fail when one stops being called.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Protocol

from nats import errors
from nats.aio.client import Client


class ClientOwner(Protocol):
    """Whom the client tells, synchronously."""

    closed: bool

    def received(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        """One message, in order of arrival."""
        ...

    def lost(self, error: Exception) -> None:
        """The link is gone, known this very moment."""
        ...


class BrokerClient(Client):
    """nats-py's client, told to hand over messages at once and to let go of dead sockets."""

    def __init__(self, owner: ClientOwner) -> None:
        super().__init__()
        self._owner = owner

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self._owner.received(subject.decode(), reply.decode(), data, headers)

    async def _process_err(self, err_msg: str) -> None:
        """An ``-ERR`` line: a violation is counted, anything else costs the link."""
        if "permissions violation" in err_msg:
            await self._error_cb(errors.Error(f"nats: {err_msg}"))
            return
        await self._process_op_err(errors.Error(f"nats: {err_msg}"))

    async def _process_op_err(self, e: Exception) -> None:
        """The link is lost (EOF, stale pings, protocol error): every path comes through here."""
        if not (self.is_closed or self.is_reconnecting):
            self._owner.lost(e)
            self.abort_transport()
        await super()._process_op_err(e)

    async def _process_connect_init(self) -> None:
        """Log in. One that was given up never does, however late its dial succeeds."""
        self._forbid_ghost()
        # Left by a login that succeeded and was not confirmed: two would ping twice as often.
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        await super()._process_connect_init()
        self._forbid_ghost()

    def _forbid_ghost(self) -> None:
        if self._owner.closed:
            self.abandon()
            raise asyncio.CancelledError

    def raw_transport(self) -> asyncio.Transport | None:
        """The asyncio transport under the client, if it has dialled."""
        writer = getattr(self._transport, "_io_writer", None)
        transport: asyncio.Transport | None = getattr(writer, "transport", None)
        return transport

    def abort_transport(self) -> None:
        """Reset the socket now; unsent bytes are lost, in the kernel too.

        Without the reset the kernel would go on delivering its buffer after a stall. What the
        broker's side has taken already still comes late: receivers check deadlines.
        """
        transport = self.raw_transport()
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and not transport.is_closing():
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def abandon(self) -> None:
        """Marked closed first, so that no path dials again; then everything is cut."""
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
