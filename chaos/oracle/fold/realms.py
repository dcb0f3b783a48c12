"""What one vCenter of a lab leads: the hosts that are its own, the key providers that it lists, and
the ways over it to these hosts. Two vCenters may list two providers of one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.oracle.fold.disturbances import Disturbances
from chaos.oracle.fold.listings import Listings
from chaos.oracle.fold.ways import NodeSight, Ways


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
