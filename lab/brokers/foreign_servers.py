"""The data bus of a lab on servers that somebody else runs, in an account of its own there.

Their administrator knows the lab's nkeys from ``keystead lab broker-config``; the private halves
are kept outside of the lab's folder, so that a lab of this name that is made anew has the same.
A lab that is down has left nothing on the servers: no stream, no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from lab.brokers.absent import EVERY_S, Absent
from lab.brokers.data_bus import DataBus, Statuses
from lab.brokers.identities import TAP, Identities
from lab.brokers.probing import Probing
from lab.brokers.server import Broker
from lab.state.scratch import state_home
from lab.topology.plan import Topology
from protocol.errors import NotAvailable, ProductError
from protocol.terms import NodeName
from services.runtime.real.broker_tls import ForeignServersTls
from services.runtime.real.connection import BrokerConnection


def ensure_keys(lab: str, nodes: Iterable[NodeName] = ()) -> Identities:
    """The nkeys of the lab of this name on servers of others, made where they are missing."""
    folder = state_home() / "bus" / lab
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Identities.create(folder, nodes)


class ForeignServers(DataBus):
    """What ``BusServers`` is for servers of the lab's own; none of these can be ended or started.

    ``start`` tries by doing whether each node may do there what it has to and nothing else. From
    then on an idle connection to each tells whether it answers: ``notice`` hears of each change.
    """

    def __init__(
        self,
        topology: Topology,
        identities: Identities,
        kept: Identities,
        notice: Callable[[str], None],
    ) -> None:
        bus = topology.bus
        self._url = ",".join(bus.urls)
        self.all: Sequence[Broker] = ()
        self.kept_off: Mapping[NodeName, str] = {}
        self._notice = notice
        self._nodes = tuple(spec.node for spec in topology.nodes)
        self._identities, self._kept = identities, kept
        self._probing = Probing(topology.name, bus, identities)
        self._watches: list[BrokerConnection] = []

    @property
    def url(self) -> str:
        return self._url

    @property
    def secured(self) -> ForeignServersTls | None:
        return self._probing.secured

    @property
    def answers(self) -> bool:
        return any(watch.up for watch in self._watches)

    def as_wanted(self, number: int) -> bool:
        """There is none that could be started."""
        return True

    async def start(self) -> None:
        """Try them. ``KeysteadError`` KS-BROKER-004 to 009 when they will not do."""
        for text in await self._probing.all(self._nodes):
            self._notice(text)
        seed = self._identities.control(TAP).seed
        for url in self._probing.there:
            watch = BrokerConnection(url, seed, name="keystead", subjects=(), secured=self.secured)
            self._watches.append(watch)
            await watch.open(_Told(self._notice, url))

    async def admit(self, *nodes: NodeName) -> None:
        """Nodes that have come to the lab: KS-BROKER-007 when its administrator was not told."""
        for node in nodes:
            self._kept.add(node)
            self._identities.adopt(self._kept, [node])
            await self._probing.one(node)

    async def watch(self, statuses: Statuses) -> None:
        absent = Absent(self._probing.one, self._notice)
        while True:
            await asyncio.sleep(EVERY_S)
            with contextlib.suppress(ProductError):
                await absent.look(await statuses())

    async def stop(self) -> None:
        """Leave."""
        for watch in self._watches:
            await watch.close()
        self._watches.clear()

    def abort(self) -> None:
        """Leave at once."""
        for watch in self._watches:
            watch.abort()
        self._watches.clear()

    async def kill(self) -> None:
        _refuse()

    async def up(self, number: int) -> bool:
        _refuse()

    async def stop_one(self, number: int) -> None:
        _refuse()

    async def start_one(self, number: int) -> None:
        _refuse()

    async def clients(self, number: int) -> frozenset[str]:
        _refuse()

    async def cut_route(self, one: int, other: int) -> None:
        _refuse()

    async def mend_route(self, one: int, other: int) -> None:
        _refuse()

    async def routed(self, one: int, other: int) -> bool:
        _refuse()


def _refuse() -> NoReturn:
    raise NotAvailable("the servers of the bus are run by somebody else")


class _Told:
    """Hears of the link of the idle connection to one server."""

    def __init__(self, notice: Callable[[str], None], url: str) -> None:
        self._notice, self._url = notice, url

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        """It has no subscriptions."""

    def on_no_responders(self, subject: str) -> None:
        """It asks nobody anything."""

    def on_disconnected(self) -> None:
        self._notice(f"{self._url} of the bus is lost; who was at it looks for another server")

    def on_reconnected(self) -> None:
        self._notice(f"{self._url} of the bus answers again")
