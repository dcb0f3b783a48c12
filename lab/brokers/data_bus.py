"""What carries the messages of a lab, whoever runs its servers: what a lab requests of it, and the
connection of a recorder.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from lab.brokers.identities import TAP, Identities
from lab.brokers.server import Broker
from protocol.messages.agent import NodeStatus
from protocol.terms import NodeName
from services.runtime.real.broker_tls import BrokerTls, ForeignServersTls
from services.runtime.real.bus import TapWire
from services.runtime.world import TapCallback

Statuses = Callable[[], Awaitable[Mapping[NodeName, NodeStatus]]]
"""Asks all nodes of a lab how they are."""


class DataBus(Protocol):
    """``all`` are the servers that are the lab's own, in order of their numbers from 1; of servers
    of somebody else it is empty, and what ends, starts or parts one is ``NotAvailable``."""

    all: Sequence[Broker]
    kept_off: Mapping[NodeName, str]
    """Nodes that may not use the bus now, because they flooded it, each with why. Servers of
    somebody else are not looked after in this way: it stays empty."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The addresses of all servers, with commas between them."""

    @property
    @abstractmethod
    def secured(self) -> ForeignServersTls | None:
        """How they are reached under TLS; None: in clear."""

    @property
    @abstractmethod
    def answers(self) -> bool:
        """Whether a server is up and does not stand still."""

    @abstractmethod
    def as_wanted(self, number: int) -> bool:
        """Whether that server is up, or down because a fault wants it so."""

    @abstractmethod
    async def start(self) -> None:
        """Return when all that are wanted can be used. ``KeysteadError`` when they cannot."""

    @abstractmethod
    async def admit(self, *nodes: NodeName) -> None:
        """Let nodes that have come to the lab log in."""

    @abstractmethod
    async def watch(self, statuses: Statuses) -> None:
        """Until cancelled: keep nodes off that flood the lab's own servers; tell of what becomes of
        nodes at servers of somebody else."""

    @abstractmethod
    async def stop(self) -> None:
        """Leave, or end what is the lab's own, in order."""

    @abstractmethod
    def abort(self) -> None:
        """The same at once."""

    @abstractmethod
    async def kill(self) -> None:
        """SIGKILL of all, until ``start``."""

    @abstractmethod
    async def up(self, number: int) -> bool:
        """Whether that server is up, and reaches all others that are and it may reach."""

    @abstractmethod
    async def stop_one(self, number: int) -> None:
        """SIGKILL of one, until ``start_one``."""

    @abstractmethod
    async def start_one(self, number: int) -> None:
        """Up again, unless all are wanted down."""

    @abstractmethod
    async def clients(self, number: int) -> frozenset[str]:
        """The names of those that are at that server, by its own word; none when it is down."""

    @abstractmethod
    async def cut_route(self, one: int, other: int) -> None:
        """No route between two servers, until ``mend_route``; each stays with all others."""

    @abstractmethod
    async def mend_route(self, one: int, other: int) -> None:
        """The two look for each other again."""

    @abstractmethod
    async def routed(self, one: int, other: int) -> bool:
        """Whether a route leads from one server to the other, by the word of either; or one of the
        two is down."""


@asynccontextmanager
async def open_tap(
    url: str, identities: Identities, hear: TapCallback, secured: BrokerTls | None
) -> AsyncIterator[Callable[[], int]]:
    """See ``LabCore.tapped``; ``NotSent`` when the broker does not answer."""
    wire = TapWire(url, identities.control(TAP).seed, hear, secured=secured)
    await wire.open()
    try:
        yield lambda: wire.gaps
    finally:
        await wire.close()
