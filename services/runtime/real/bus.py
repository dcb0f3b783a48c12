"""The Bus port's driver for nats-server: a node's wire, the tap that records everything, and how
many requests one sender may send to one node per second.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from protocol.subjects import own_subscription, reply_prefix
from services.runtime.incarnation import Incarnation
from services.runtime.real.broker_tls import BrokerTls
from services.runtime.real.connection import DATA_OPTIONS, BrokerConnection, ConnectionOptions
from services.runtime.world import TapCallback, Wire, WireSink

RATE: Final = 5_000.0
"""Sustained requests of one sender per second of the real clock."""

BURST: Final = 2_500.0
"""Requests of one sender at once."""


class RequestShares:
    """What is left of each sender's share. ``monotonic`` returns seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._left: defaultdict[str, float] = defaultdict(lambda: BURST)
        self._at: dict[str, float] = {}

    def allows(self, sender: str) -> bool:
        """Whether one more request of ``sender`` is within its share; if so, it is used."""
        now = self._monotonic()
        left = min(BURST, self._left[sender] + (now - self._at.get(sender, now)) * RATE)
        self._at[sender] = now
        self._left[sender] = left - 1 if left >= 1 else left
        return left >= 1


class NatsWire(Wire):
    """``Wire`` of one incarnation of one node.

    ``seed`` is the node's nkey seed. ``violations`` counts what the broker's permissions
    refused: in a healthy lab it stays 0, and a test that leaves it above 0 has failed. Requests
    beyond the ``shares`` of their senders are dropped unread.
    """

    def __init__(
        self,
        url: str,
        seed: str,
        life: Incarnation,
        *,
        options: ConnectionOptions = DATA_OPTIONS,
        secured: BrokerTls | None = None,
        shares: RequestShares | None = None,
    ) -> None:
        me = life.node
        self._shares = shares
        self._sink: _LivingSink | None = None
        self.me = me
        self._life = life
        self._connection = BrokerConnection(
            url,
            seed,
            name=me,
            subjects=(own_subscription(me),),
            probe=reply_prefix(me, me) + os.urandom(8).hex(),
            options=options,
            secured=secured,
        )
        # Bound here, not looked up for each message: this is the hottest path of a lab.
        self._put_on_wire = self._connection.send

    @property
    def connected(self) -> bool:
        """Whether the link to the broker is believed to be up."""
        return self._connection.up

    @property
    def violations(self) -> int:
        """How often the broker refused this node a subject."""
        return self._connection.violations

    @property
    def overruns(self) -> int:
        """Requests dropped because their sender exceeded its share."""
        return 0 if self._sink is None else self._sink.overruns

    @property
    def losses(self) -> int:
        """How often the link to the broker was lost."""
        return self._connection.losses

    @property
    def sink_errors(self) -> int:
        """Exceptions that left the sink; each is a defect of the layer above."""
        return self._connection.sink_errors

    @property
    def last_error(self) -> Exception | None:
        """The last error that the client reported, for ``describe``."""
        return self._connection.last_error

    async def open(self, sink: WireSink) -> None:
        """Connect, subscribe, and return when a message to this node itself has arrived.

        ``NotSent`` when no broker admitted the node within two seconds (the text has the last
        error), ``NodeDown`` when the life ended meanwhile.
        """
        self._life.check()
        try:
            self._sink = _LivingSink(sink, self._life, self._shares)
            await self._connection.open(self._sink)
        finally:
            if not self._life.alive:
                self._connection.abort()
                self._life.check()

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send to the broker. ``NotSent``: no link, over 1 MiB unsent, too large, or not a
        subject."""
        self._life.check()
        self._put_on_wire(subject, payload, reply)

    async def close(self) -> None:
        """Close in order, within a limit: flush what was sent, then leave."""
        await self._connection.close()

    def abort(self) -> None:
        """Crash: mark it closed first, so that it never reconnects; nothing is flushed."""
        self._connection.abort()


class _LivingSink:
    """Passes messages on while the life lasts; nothing reaches an ended life."""

    def __init__(self, sink: WireSink, life: Incarnation, shares: RequestShares | None) -> None:
        self._sink = sink
        self._life = life
        self._shares = shares
        self.overruns = 0

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        if self._shares is not None and reply and not self._shares.allows(subject.split(".", 2)[1]):
            self.overruns += 1
        elif self._life.ended is None:
            self._sink.on_message(subject, reply, payload)

    def on_no_responders(self, subject: str) -> None:
        if self._life.ended is None:
            self._sink.on_no_responders(subject)

    def on_disconnected(self) -> None:
        if self._life.ended is None:
            self._sink.on_disconnected()

    def on_reconnected(self) -> None:
        if self._life.ended is None:
            self._sink.on_reconnected()


class TapWire:
    """Receives every message of the data broker and cannot publish: the source of recordings.

    ``callback(subject, reply, payload)`` runs synchronously on the loop, in the broker's order. It
    costs a fifth of the broker's throughput, so it is off by default. ``gaps`` counts lost links:
    messages meanwhile are not in the recording.
    """

    def __init__(
        self,
        url: str,
        seed: str,
        callback: TapCallback,
        *,
        options: ConnectionOptions = DATA_OPTIONS,
        secured: BrokerTls | None = None,
    ) -> None:
        self._callback = callback
        self._connection = BrokerConnection(
            url, seed, name="tap", subjects=("l.>", "e.>"), options=options, secured=secured
        )

    @property
    def gaps(self) -> int:
        """Lost links so far."""
        return self._connection.losses

    @property
    def violations(self) -> int:
        """How often the broker refused the tap; 0 with the tap's own identity."""
        return self._connection.violations

    async def open(self) -> None:
        """Returns when the broker has read the subscriptions; ``NotSent`` after two seconds."""
        await self._connection.open(self)

    async def close(self) -> None:
        """End the connection in order."""
        await self._connection.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._connection.abort()

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        """Pass on a message from the broker."""
        self._callback(subject, reply, payload)

    def on_no_responders(self, subject: str) -> None:
        """Nothing: a tap sends no requests."""

    def on_disconnected(self) -> None:
        """Count a gap."""

    def on_reconnected(self) -> None:
        """Nothing: the tap is subscribed again."""
