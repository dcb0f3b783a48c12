"""The data bus of a lab on servers of its own: one, or a cluster of several on this machine, and
which nodes send more than they may (decision 93). ``bus_of`` chooses between these and the
servers of somebody else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lab.brokers.configuration import BrokerKind, Routes
from lab.brokers.data_bus import DataBus, Statuses
from lab.brokers.foreign_servers import ForeignServers, ensure_keys
from lab.brokers.identities import Identities
from lab.brokers.monitoring import Connection
from lab.brokers.server import Broker
from lab.schema.errors import KeysteadError
from lab.topology.plan import Topology
from protocol.terms import NodeName, Role
from services.runtime.each import for_each

LOOK_EVERY_S: Final = 0.2
"""Real seconds between two looks."""

BURST_S: Final = 2.0
"""So many seconds of its rate a node may send at once."""

KEPT_OFF_S: Final = 60.0
"""Real seconds for which a node that flooded stays off the bus."""


class Amount(NamedTuple):
    """Messages and bytes, or so many of them a second."""

    messages: float = 0.0
    octets: float = 0.0

    def plus(self, other: Amount, times: float = 1.0) -> Amount:
        return Amount(self.messages + other.messages * times, self.octets + other.octets * times)


HOST: Final = Amount(5_000, 16 << 20)
"""What a host may send in a second."""

OTHER: Final = Amount(20_000, 64 << 20)
"""What any other node may send in a second: vCenter, a key server or a service speaks with all
hosts, and answers whoever floods it."""


class Flood(NamedTuple):
    """Who floods, and the rate since the last look."""

    nkey: str
    rate: Amount


NOTHING: Final = Amount()


@dataclass
class _Level:
    filled: Amount = NOTHING

    def add(self, sent: Amount, rate: Amount, seconds: float) -> float:
        """How full it is, 1: to the brim. It leaks for ``seconds`` before ``sent`` goes in."""
        left = self.filled.plus(rate, -seconds)
        self.filled = Amount(max(left.messages, 0.0), max(left.octets, 0.0)).plus(sent)
        of_messages = self.filled.messages / rate.messages
        return max(of_messages, self.filled.octets / rate.octets) / BURST_S


Counts = tuple[str, Iterable[Connection]]
"""What a server has counted: its id, which each start makes anew, and its connections."""


class FloodMeter:
    """The buckets of all nodes over all servers of a bus."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._counted: dict[int, tuple[str, dict[int, Connection]]] = {}
        self._levels: dict[str, _Level] = {}

    def look(
        self, now: float, told: Mapping[int, Counts], limits: Mapping[str, Amount]
    ) -> Flood | None:
        """Who floods the bus at ``now`` (seconds). ``told``: by number of the server, of all that
        are up; ``limits``: what may be sent in a second, by nkey.

        Nothing follows from the first look: nobody knows since when the servers have counted. Of
        several that run over it is the one that is the furthest above its limit, and all buckets
        are emptied: others may only have answered it.
        """
        sent: dict[str, Amount] = {}
        for number, (server, connections) in told.items():
            known, before = self._counted.get(number, ("", {}))
            seen = {one.cid: one for one in connections}
            for cid, one in seen.items():
                old = before.get(cid) if known == server else None
                news = Amount(one.in_msgs, one.in_bytes)
                if old is not None:
                    news = news.plus(Amount(old.in_msgs, old.in_bytes), -1)
                sent[one.authorized_user] = sent.get(one.authorized_user, NOTHING).plus(news)
            self._counted[number] = (server, seen)
        at, self._at = self._at, now
        if at is None:
            return None
        worst, most = None, 1.0
        for nkey in self._levels.keys() | sent.keys():
            if (rate := limits.get(nkey)) is None:
                self._levels.pop(nkey, None)
                continue
            level = self._levels.setdefault(nkey, _Level())
            news = sent.get(nkey, NOTHING)
            if (share := level.add(news, rate, now - at)) > most:
                worst, most = Flood(nkey, NOTHING.plus(news, 1 / max(now - at, 1e-3))), share
        if worst is not None:
            self._levels.clear()
        return worst


def describe_flood(node: NodeName, rate: Amount, limit: Amount) -> str:
    """Why a node is kept off, as a sentence without its end."""
    return (
        f"{node} is kept off the bus for {KEPT_OFF_S:g} s: it sent {_amount(rate)} a second, and "
        f"may send {_amount(limit)}"
    )


def _amount(amount: Amount) -> str:
    return f"{amount.messages:,.0f} messages of {amount.octets / (1 << 20):,.1f} MiB"


_ROUTES_LIMIT_S: Final = 10.0  # real seconds; the usual is 0.1
_LOOK_EVERY_S: Final = 0.01


class BusServers(DataBus):
    """``servers`` of them, counted from 1. Each is a ``Broker``; who loses one goes to another.

    ``wanted`` is false while a fault has all of them down, and ``held`` has those that a fault has
    down alone; whatever else is down is to be started again. ``cut`` are pairs of servers without a
    route between them. ``others`` are nodes that are no hosts; ``notice`` hears, in a sentence, of
    each node that is kept off the bus (decision 93).
    """

    def __init__(
        self,
        folder: Path,
        identities: Identities,
        servers: int,
        *,
        others: Collection[NodeName] = (),
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.wanted = True
        self.held: set[int] = set()
        self.cut: set[frozenset[int]] = set()
        self._coming: set[int] = set()  # those that are being started one by one
        self._identities, self._others_than_hosts, self._notice = identities, others, notice
        self.kept_off: dict[NodeName, str] = {}
        self._limits: dict[str, Amount] = {}
        self._nodes: dict[str, NodeName] = {}  # by nkey
        self._secret = os.urandom(16).hex()
        if servers == 1:
            self.all: Sequence[Broker] = [
                Broker(folder, identities, BrokerKind.DATA, kept_off=self.kept_off)
            ]
            return
        self.all = [self._member(folder, identities, n) for n in range(1, servers + 1)]

    def _member(self, folder: Path, identities: Identities, number: int) -> Broker:
        def routes() -> Routes:
            ports = [self.all[other - 1].route_port for other in self._others(number)]
            return Routes(self._secret, others=tuple(port for port in ports if port > 0))

        return Broker(
            folder,
            identities,
            BrokerKind.DATA,
            number=number,
            routes=routes,
            kept_off=self.kept_off,
        )

    def _others(self, number: int) -> list[int]:
        """Those to which it shall have a route."""
        numbers = range(1, len(self.all) + 1)
        return [n for n in numbers if n != number and frozenset((n, number)) not in self.cut]

    @property
    def secured(self) -> None:
        """On loopback there is no TLS."""

    @property
    def url(self) -> str:
        """Of all servers, with commas between them."""
        return ",".join(server.url for server in self.all)

    def alive(self) -> bool:
        """Whether a server runs; a paused one does."""
        return any(server.alive() for server in self.all)

    @property
    def answers(self) -> bool:
        """Whether one runs and is not paused."""
        return any(server.alive() and not server.paused for server in self.all)

    def as_wanted(self, number: int) -> bool:
        """Whether that server runs, or is down because a fault wants it so."""
        wanted = self.wanted and number not in self.held | self._coming
        return self.all[number - 1].alive() or not wanted

    async def start(self) -> None:
        """Start those that are down and not held, and return when they answer, and reach each
        other. See ``Broker.start``."""
        self._know()
        self._coming = {n for n in range(1, len(self.all) + 1) if n not in self.held}
        self.wanted = True
        try:
            for number in sorted(self._coming):
                await self.all[number - 1].start()  # one by one: each is told of those before
        finally:
            self._coming = set()
        try:
            async with asyncio.timeout(_ROUTES_LIMIT_S):
                while not all([await self.joined(n) for n in range(1, len(self.all) + 1)]):
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            return  # a slow machine: they go on looking for each other

    async def joined(self, number: int) -> bool:
        """Whether that server reaches all others that run, by its own word; or is down. It need
        not reach one to which the route is cut."""
        server, others = self.all[number - 1], [self.all[n - 1] for n in self._others(number)]
        there = {other.server_name for other in others if other.alive()}
        return not server.alive() or not there or there <= await server.fetch_routes()

    async def up(self, number: int) -> bool:
        """Whether that server runs, and reaches all others that run."""
        server = self.all[number - 1]
        return server.alive() and not server.paused and await self.joined(number)

    async def stop_one(self, number: int) -> None:
        """SIGKILL, until ``start_one``."""
        self.held.add(number)
        await self.all[number - 1].kill()

    async def start_one(self, number: int) -> None:
        """Up again, unless all are wanted down."""
        self.held.discard(number)
        if self.wanted:
            await self.all[number - 1].start()

    async def clients(self, number: int) -> frozenset[str]:
        return await self.all[number - 1].clients()

    async def cut_route(self, one: int, other: int) -> None:
        self.cut.add(frozenset((one, other)))
        await self._reload(one, other)

    async def mend_route(self, one: int, other: int) -> None:
        self.cut.discard(frozenset((one, other)))
        await self._reload(one, other)

    async def _reload(self, *numbers: int) -> None:
        await for_each(numbers, lambda number: self.all[number - 1].reload())

    async def routed(self, one: int, other: int) -> bool:
        ends = self.all[one - 1], self.all[other - 1]
        if not all(end.alive() for end in ends):
            return True
        return any([b.server_name in await a.fetch_routes() for a, b in (ends, ends[::-1])])

    async def kill(self) -> None:
        """SIGKILL of all, until ``start``."""
        self.wanted = False
        await for_each(self.all, lambda server: server.kill())

    async def stop(self) -> None:
        """Orderly end of all."""
        self.wanted = False
        await for_each(self.all, lambda server: server.stop())

    def abort(self) -> None:
        """SIGKILL of all, at once."""
        for server in self.all:
            server.abort()

    def pause(self) -> None:
        """SIGSTOP of all."""
        for server in self.all:
            server.pause()

    def resume(self) -> None:
        """SIGCONT of all."""
        for server in self.all:
            server.resume()

    async def watch(self, statuses: Statuses) -> None:
        """Keep each node off the bus that floods it, for ``KEPT_OFF_S``."""
        meter, until = FloodMeter(), dict[NodeName, float]()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if (told := await self._traffic()) is None:
                continue
            now = time.monotonic()
            flood = meter.look(now, told, self._limits)
            if flood is not None:
                node = self._nodes[flood.nkey]
                until[node] = now + KEPT_OFF_S
                self.kept_off[node] = describe_flood(node, flood.rate, self._limits[flood.nkey])
                self._notice(str(KeysteadError("KS-BROKER-012", self.kept_off[node])))
            over = [node for node, end in until.items() if end <= now]
            for node in over:
                del until[node], self.kept_off[node]
            if flood is not None or over:
                with suppress(KeysteadError):  # a server that is lost has the list when it is back
                    await self._reload(*range(1, len(self.all) + 1))

    async def _traffic(self) -> dict[int, Counts] | None:
        """What each server that is up has counted; None when one of them does not say."""
        told: dict[int, Counts] = {}
        for number, server in enumerate(self.all, 1):
            if server.alive() and not server.paused:
                told[number] = await server.traffic()
                if not told[number][0]:
                    return None
        return told

    async def admit(self, *nodes: NodeName) -> None:
        """Let nodes that have come to the lab log in; see ``Broker.reload``."""
        for node in nodes:
            self._identities.add(node)
        self._know()
        await for_each(self.all, lambda server: server.reload())

    def _know(self) -> None:
        """Read again who the nodes are: more have come, or some have new keys."""
        self._nodes = {nkey: node for node, nkey in self._identities.node_nkeys()}
        self._limits = {
            nkey: OTHER if node in self._others_than_hosts else HOST
            for nkey, node in self._nodes.items()
        }


def bus_of(
    folder: Path, topology: Topology, notice: Callable[[str], None]
) -> tuple[Identities, DataBus]:
    """The identities of the lab in ``folder``, made where they are missing, and its data bus;
    ``notice`` hears of what it goes on with."""
    nodes = [spec.node for spec in topology.nodes]
    if not topology.bus.urls:
        identities = Identities.create(folder, nodes)
        others = {spec.node for spec in topology.nodes if spec.role is not Role.ESXI}
        servers = topology.bus.servers
        return identities, BusServers(folder, identities, servers, others=others, notice=notice)
    kept = ensure_keys(topology.name, nodes)
    identities = Identities.create(folder)
    identities.adopt(kept, nodes)
    return identities, ForeignServers(topology, identities, kept, notice)
