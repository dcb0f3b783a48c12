"""What a driver provides for a node's lives: the ports, a raw connection to the broker for the Bus
port, and the end of a life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from protocol.crypto.seal import Keyring
from protocol.messages.agent import NodeSpec
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.link_rules import RuleTable
from services.runtime.ports import Clock, Disk, Rng, Tpm
from services.runtime.request_queues import Processor
from services.runtime.store import Store
from services.runtime.tls.port import StreamPort
from services.runtime.tpm.device import TpmDevice
from services.runtime.virtual_tpm import VirtualTpms

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


class MachineClock(Clock, Protocol):
    """A node's clock as its machine has it, which may be skewed."""

    skew_s: float


class World(Protocol):
    """Creates the ports of lives. One per process (lab) or per simulation."""

    rules: RuleTable

    def processor(self, node: NodeName) -> Processor | None:
        """The process of the node on a machine whose cores all share; None: the node has cores of
        its own."""
        ...

    def add(self, spec: NodeSpec) -> None:
        """Create what outlives a life: store, TPM, identity. No change when it exists."""
        ...

    def next_boot(self, node: NodeName) -> int:
        """Count up and return the boot number of the node. Numbers never repeat and survive the
        process."""
        ...

    def last_boot(self, node: NodeName) -> int:
        """The boot number of the node's latest life, 0 before the first."""
        ...

    def monotonic(self) -> float:
        """Lab seconds since the lab began."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` lab seconds; works outside of any life."""
        ...

    def clock(self, life: Incarnation) -> MachineClock:
        """The Clock port of ``life``."""
        ...

    def rng(self, life: Incarnation) -> Rng:
        """The Rng port of ``life``."""
        ...

    def wire(self, life: Incarnation) -> Wire:
        """A new wire to the broker under the identity of the node, not opened yet."""
        ...

    def disk(self, life: Incarnation) -> Disk:
        """The Disk port of ``life``."""
        ...

    def tpm(self, life: Incarnation) -> Tpm | None:
        """The Tpm port of ``life``; None on a host without TPM."""
        ...

    def vtpms(self, life: Incarnation) -> VirtualTpms | None:
        """The virtual half of the Tpm port of ``life``; None on a node that is no host."""
        ...

    def streams(self, life: Incarnation, clock: Clock) -> StreamPort:
        """The connections of ``life``, whose certificates are judged at the time of ``clock``."""
        ...

    def device(self, node: NodeName) -> TpmDevice | None:
        """The TPM itself, for commands of the lab; None on a node without one."""
        ...

    def store(self, node: NodeName) -> Store:
        """The node's storage, for commands of the lab."""
        ...

    def keyring(self, node: NodeName) -> Keyring:
        """The keys with which the node unseals messages to it, and seals messages to others."""
        ...

    def spawn(
        self, life: Incarnation | None, label: str, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """Start the root task of a life (its tasks inherit the life), or a task of the agent
        itself."""
        ...

    def mark(self, node: NodeName, boot: int, label: str) -> None:
        """Add a point of the run to the trace (sim); nothing in the lab."""
        ...

    async def end_life(self, life: Incarnation, way: WayDown) -> None:
        """After ``life.end(way)``: roll databases back, release datastore locks, restore the synced
        image after a power loss, cut the TPM's power without Shutdown."""
        ...
