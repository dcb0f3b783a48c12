"""Whether vCenter could bring keys of a provider to a host: now, since when, and at any time.

A realm is what one vCenter of a lab leads: its hosts and the key providers that it lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from chaos.oracle.fold.disturbances import Disturbances
from chaos.oracle.fold.hosts import FoldedTrust, Services, TrustParts
from chaos.oracle.fold.known import NO, OPEN, YES, Known, both, either, inverse
from chaos.oracle.fold.listings import Kdks, Listings
from chaos.oracle.fold.settings import SLACK_S

RUNNING = "running"


@dataclass
class NodeSight:
    """A node as its agent saw it last."""

    state: str
    boot: int
    since: float  # of this state
    seq: int = 0  # of the record that says so
    began: float = 0.0  # this boot, as it was first seen

    @property
    def up(self) -> Known:
        """Whether it serves."""
        return YES if self.state == RUNNING else NO


class WayParts(NamedTuple):
    """The parts of a way, for the reasons to tell which of them is missing."""

    vcenter: Known
    to_host: Known
    kms: Known
    listed: Known

    @property
    def whole(self) -> Known:
        """Whether all of it is there."""
        return both(self)


NOWHERE = WayParts(NO, NO, NO, NO)


@dataclass
class KeyWay:
    """The way from a provider over vCenter to one host, in the host's present life.

    ``could``: it was there at some time of it, or may have been, and what it brought may still be
    on its way; ``came``: the same, however long ago. ``shut_since``: it surely is not there since
    then. ``open_since``: it is there for sure since then, the host itself aside; never while it is
    not. ``led_since``: vCenter reaches the host for sure since then.
    """

    parts: WayParts | TrustParts = NOWHERE
    could: bool = False
    came: bool = False
    open_since: float = math.inf
    shut_since: float = math.inf
    host_since: float = math.inf
    booting_since: float = -math.inf
    led_since: float = math.inf
    pushes: bool = (
        False  # vCenter tells hosts at once of a change, and waits for no repair (NKP-02)
    )
    brings: Kdks = frozenset()  # what may be brought by it, of a native provider


@dataclass
class Ways:
    """All ways of a run. Each is looked at anew whenever a fault or a node changes."""

    disturbances: Disturbances
    nodes: dict[str, NodeSight]
    listings: Listings
    vcenter: str = ""
    servers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by provider
    natives: tuple[str, ...] = ()
    """Providers that have no key server: vCenter itself brings what hosts need."""
    asking: frozenset[str] = frozenset()
    """Hosts with an encrypted vSAN, which ask key servers themselves (VSAN-03)."""
    trusted: dict[str, Services] = field(default_factory=dict)
    """Providers whose keys hosts get by themselves, with who serves them."""
    trust: dict[str, FoldedTrust] = field(default_factory=dict)  # of each trusted host
    led: dict[str, Known] = field(default_factory=dict)  # hosts that vCenter may not lead any more
    caches_primary_keys: bool = False  # by the knob of C14
    _key_until: dict[str, float] = field(default_factory=dict)
    _key_now: frozenset[str] = frozenset()
    _ways: dict[tuple[str, str], KeyWay] = field(default_factory=dict)
    _away: dict[tuple[str, str], KeyWay] = field(default_factory=dict)
    _asked: set[tuple[str, str]] = field(default_factory=set)
    _found: tuple[object, ...] = ()  # what all ways were looked at under

    def to(self, host: str, provider: str) -> KeyWay:
        """The way of this provider's keys to this host."""
        found = self._ways.get((host, provider))
        if found is None:
            found = self._ways[host, provider] = KeyWay()
        return found

    def away(self, host: str, provider: str) -> KeyWay:
        """The way of the news that vCenter does not list this native provider any more."""
        found = self._away.get((host, provider))
        if found is None:
            found = self._away[host, provider] = KeyWay()
        return found

    def could_make(self, provider: str, since: float) -> bool:
        """Whether a new key of the provider could be had at some time since then, or may have
        been (R12)."""
        if provider not in self.servers or provider in self._key_now:
            return True
        return self._key_until.get(provider, 0.0) >= since

    def could_ask(self, host: str, provider: str) -> bool:
        """Whether the host asks this provider's key servers itself, and reached one at some time of
        its present life, or may have (R15)."""
        return (host, provider) in self._asked

    def forget(self, way: KeyWay, now: float) -> None:
        """What it had brought has come, when it has been shut for long enough."""
        way.could &= now - way.shut_since < SLACK_S

    def boot(self, host: str) -> None:
        """A new life of the host: nothing has come to it yet."""
        for (to, _), way in (*self._ways.items(), *self._away.items()):
            if to == host:
                way.could, way.host_since, way.led_since = False, math.inf, math.inf
                way.came = False
                way.booting_since = self.nodes[host].began
        self._asked = {(to, provider) for to, provider in self._asked if to != host}
        self._ask((host,))

    def look(self, now: float, seen: str = "") -> None:
        """Take note of how all ways are now; only the one to ``seen`` is looked at when it is a
        host, and nothing but that node has changed since the last look."""
        vcenter = both((self._up(self.vcenter), self.disturbances.stands(self.vcenter)))
        leaders = self._leaders
        sources = (*self.servers.items(), *self.trusted.items())
        versions = (self.disturbances.version, self.listings.version)
        under = (*versions, self.vcenter, *sources, *self.led.items())
        only = seen in self.nodes and seen not in leaders and under == self._found
        hosts = [host for host in ((seen,) if only else self.nodes) if host not in leaders]
        self._found = under
        self._ask(hosts)
        to_host = {
            host: both((self.disturbances.passes(self.vcenter, host), self.led.get(host, YES)))
            for host in hosts
        }
        for provider in self.servers:
            parts = WayParts(
                vcenter=vcenter,
                to_host=YES,
                kms=self._key_server(provider),
                listed=self.listings.of(provider).listed,
            )
            self._note_key(provider, could=parts.whole != NO, now=now)
            for host in hosts:
                here = parts._replace(to_host=to_host[host])
                _note(self.to(host, provider), here, self.nodes[host].up, now)
        for provider in self.natives:
            entry = self.listings.of(provider)
            listed = entry.listed
            for host in hosts:
                parts = WayParts(vcenter, to_host[host], kms=YES, listed=listed)
                up, way = self.nodes[host].up, self.to(host, provider)
                way.pushes = self.away(host, provider).pushes = True
                if way.brings != entry.now:  # another KDK takes its own time to come
                    way.brings, way.open_since = entry.now, math.inf
                _note(way, parts, up, now)
                _note(self.away(host, provider), parts._replace(listed=inverse(listed)), up, now)
        self._look_at_services(hosts, now)

    def _look_at_services(self, hosts: Iterable[str], now: float) -> None:
        """Take note of the ways of trusted providers' keys to these hosts."""
        for provider, services in self.trusted.items():
            listed = self.listings.of(provider).listed
            # A deletion leaves vCenter's list at once, and the hosts' when they are told (KPS-00).
            kms, known = self._kms_of(services), listed if listed == YES else OPEN
            for host in (host for host in hosts if host in self.trust):
                attestation, keys = (
                    self._some(
                        [both((self._up(s), self.disturbances.passes(host, s))) for s in nodes]
                    )
                    for nodes in (services.attestation, services.keys)
                )
                keys = both(
                    (keys, self.disturbances.agree((*services.attestation, *services.keys)))
                )
                trust, up = self.trust[host], self.nodes[host].up
                if up != NO:
                    trust.may_attest(attestation)
                found = TrustParts(attestation, keys, kms, known)
                _note(self.to(host, provider), found, up, now, could=found.with_token(trust.token))

    def _kms_of(self, services: Services) -> Known:
        """Whether a Key Provider Service reaches a key server, or has the primary key (C14)."""
        ways = [
            both(
                (
                    self._up(server),
                    self.disturbances.passes(service, server),
                    self.disturbances.gives(server),
                )
            )
            for service in services.keys
            for server in services.kms
        ]
        found = self._some(ways)
        return OPEN if found == NO and self.caches_primary_keys else found

    def _ask(self, hosts: Iterable[str]) -> None:
        """Note which providers' key servers these hosts reach now, or may reach."""
        for host in self.asking.intersection(hosts):
            for provider, servers in self.servers.items():
                passes = (self.disturbances.passes(host, server) for server in servers)
                ways = [both((self._up(s), way)) for s, way in zip(servers, passes, strict=True)]
                if either(ways) != NO:
                    self._asked.add((host, provider))

    @property
    def _leaders(self) -> frozenset[str]:
        """Nodes to which no key is brought: vCenter, key servers, services of a Trust Authority."""
        of_trust = chain.from_iterable(found.nodes for found in self.trusted.values())
        servers = chain.from_iterable(self.servers.values())
        return frozenset({self.vcenter, *servers, *of_trust})

    def _note_key(self, provider: str, *, could: bool, now: float) -> None:
        if could or provider in self._key_now:
            self._key_until[provider] = now
        self._key_now = self._key_now | {provider} if could else self._key_now - {provider}

    def _key_server(self, provider: str) -> Known:
        """Whether vCenter reaches one; that one of several is away may take it some time."""
        ways = [
            both(
                (
                    self._up(server),
                    self.disturbances.passes(self.vcenter, server),
                    self.disturbances.trust_between(self.vcenter, provider, server),
                    self.disturbances.gives(server),
                )
            )
            for server in self.servers[provider]
        ]
        return self._some(ways)

    def _some(self, ways: list[Known]) -> Known:
        """Whether one of them is there; that one of several is away may take it some time."""
        some = either(ways)
        return OPEN if some == YES and both(ways) != YES else some

    def _up(self, node: str) -> Known:
        """Nodes are seen each second: one that nothing holds down any more may be up by now."""
        if node not in self.nodes:
            return NO
        up = self.nodes[node].up
        return OPEN if up == NO and not self.disturbances.held_down(node) else up


def _note(
    way: KeyWay, parts: WayParts | TrustParts, up: Known, now: float, *, could: Known | None = None
) -> None:
    """A way that was not there before has its time from now on. ``could``: whether something
    comes by it, if that is not the same as being whole."""
    way.parts, whole = parts, parts.whole
    if whole != YES:
        way.open_since = math.inf
    elif way.open_since == math.inf:
        way.open_since = now
    led = (parts.vcenter, parts.to_host) if isinstance(parts, WayParts) else ()
    if both((*led, up)) != YES:
        way.led_since = math.inf
    elif way.led_since == math.inf:
        way.led_since = now
    if up == NO:
        way.host_since = math.inf
    elif way.host_since == math.inf:
        way.host_since = now
    if (whole if could is None else could) != NO and up != NO:
        way.could, way.came, way.shut_since = True, True, math.inf
    elif way.shut_since == math.inf:
        way.shut_since = now


@dataclass
class Realm:
    """``defaults``: providers with one of which it makes new host keys."""

    listings: Listings
    ways: Ways
    defaults: frozenset[str] = frozenset()

    @classmethod
    def of(cls, disturbances: Disturbances, nodes: dict[str, NodeSight]) -> Realm:
        """One that leads nobody yet."""
        listings = Listings()
        return cls(listings, Ways(disturbances, nodes, listings))

    @property
    def vcenter(self) -> str:
        """Its name."""
        return self.ways.vcenter

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of all that it lists, or has listed."""
        return (*self.ways.servers, *self.ways.natives, *self.ways.trusted)

    def could_use(self, provider: str, since: float) -> bool:
        """Whether a native provider was usable at some time since then; any other one is."""
        native = provider in self.ways.natives
        return not native or self.listings.of(provider).could_make(since)


class Realms:
    """All of a lab, by host. Of a lab whose history does not say who leads whom, its first vCenter
    leads every host."""

    def __init__(self, disturbances: Disturbances, nodes: dict[str, NodeSight]) -> None:
        self.first = Realm.of(disturbances, nodes)
        self.all: tuple[Realm, ...] = (self.first,)
        self._of_host: dict[str, Realm] = {}
        self._new = (disturbances, nodes)

    def stage(self, vcenters: Iterable[str], leads: Mapping[str, str]) -> None:
        """These vCenters lead; ``leads``: which of them each host, where there are several."""
        first, *others = vcenters or ("",)
        self.first.ways.vcenter = first
        found = {first: self.first}
        for name in others:
            found[name] = Realm.of(*self._new)
            found[name].ways.vcenter = name
        self.all = tuple(found.values())
        self._of_host = {host: found[name] for host, name in leads.items() if name in found}

    def at(self, host: str) -> Realm:
        """That of a host."""
        return self._of_host.get(host, self.first)

    def of(self, data: Mapping[str, Any]) -> Realm:
        """That of the vCenter which a record names; the first one for a record that names none."""
        named = data.get("vcenter")
        return next((realm for realm in self.all if realm.vcenter == named), self.first)
