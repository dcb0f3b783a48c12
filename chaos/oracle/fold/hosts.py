"""What a run's history says of a host, and what the rules let it be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from chaos.oracle.facts import Ask, Change, Held, Life, Place, Situation
from chaos.oracle.fold.known import NO, Known
from chaos.oracle.judgement import Outcome, outcome

Places = frozenset[Place]
"""Where a host may have a key: one of these."""
NOWHERE: Places = frozenset({Place()})


@dataclass
class HostFacts:
    """One host. ``places`` by key (``provider/id``); ``stops``: whether the boot of this life had
    to end at the screen; ``unsure``: what seals it was changed in a way that cannot be followed.
    """

    cluster: str
    secure_boot: bool | None = None
    boot: int = 0
    sealed: bool = False
    persistence: bool = False
    maintenance: bool = False
    key: str = ""
    crypto: str = ""
    seen_boot: int = 0  # the boot in which it was last asked
    silent: bool = True
    places: dict[str, Places] = field(default_factory=dict)
    stops: Known = NO
    change: Change = Change.NOTHING
    unsure: bool = False
    moved: int = 0  # how often something changed of where its keys are
    writes: bool = True  # what persistence stores is on disk before it is acknowledged (C11)
    seq: int = 0  # of the record that says so

    # ---- what happens -----------------------------------------------------------------------

    def saw(self, data: dict[str, Any], seq: int) -> None:
        """What the host says of itself."""
        self.seq = seq
        self.silent = bool(data.get("silent"))
        if self.silent:
            return
        self.seen_boot = int(data["boot"])
        self.sealed = data["mode"] == "TPM"
        if self.persistence != data["persistence"]:
            self.persistence = bool(data["persistence"])  # what it does to a store is open (C5, C9)
            for key, places in self.places.items():
                self._put(key, frozenset(_stored_or_not(places)))
            self.moved += 1
        self.maintenance = bool(data.get("maintenance"))
        self.crypto, key = str(data["crypto"]), data.get("key") or ""
        if key != self.key:
            self.key = key
            self.places.setdefault(key, self.unknown())

    def unknown(self) -> Places:
        """Where a key may be of which nothing was seen yet."""
        return NOWHERE | {Place(Held.CACHED, stored) for stored in self._written}

    def places_of(self, key: str) -> Places:
        """Where the key may be."""
        found = self.places.get(key)
        return self.unknown() if found is None else found

    @property
    def _written(self) -> frozenset[bool]:
        """Whether a key that is in memory is in the store too."""
        return frozenset({self.persistence} if self.writes else {False, self.persistence})

    def booted(self, boot: int) -> None:
        """A new life: the cache is empty but for what is loaded."""
        self.boot = boot
        for key, places in self.places.items():
            self._put(key, _booted(places, self.persistence))

    def brought(self, key: str, *, surely: bool) -> None:
        """vCenter may have brought the key in this life, or surely has."""
        places = self.places_of(key)
        come = _obtained(places, self._written)
        self._put(key, come if surely else places | come)

    def taken_away(self, key: str, *, memory: bool) -> None:
        """vCenter may have had the key removed; a host key stays in memory until the boot."""
        places = self.places_of(key)
        left = frozenset(Place() if memory else Place(place.held) for place in places)
        self._put(key, places | left)

    def seen(self, key: str, *, held: bool) -> None:
        """An observation narrows: the key is in memory, or is not. What the rules do not let be
        so changes nothing that is known."""
        fitting = _fitting(self.places_of(key), held)
        if fitting:
            self._put(key, fitting)

    def _put(self, key: str, places: Places) -> None:
        if self.places.get(key) != places:
            self.places[key] = places
            self.moved += 1

    # ---- what follows -----------------------------------------------------------------------

    def screen(self) -> Outcome:
        """What a boot that had to stop comes to."""
        broken = Change.POLICY if self.change in (Change.NOTHING, Change.IMAGE) else self.change
        return outcome(
            Situation(ask=Ask.BOOT, life=Life.SCREEN, change=broken, booted=True, sealed=True)
        )


@lru_cache(maxsize=1024)
def _booted(places: Places, persistence: bool) -> Places:
    return frozenset(place.booted(persistence=persistence) for place in places)


@lru_cache(maxsize=1024)
def _fitting(places: Places, held: bool) -> Places:
    return frozenset(place for place in places if (place.held is not Held.NO) == held)


@lru_cache(maxsize=1024)
def _obtained(places: Places, written: frozenset[bool]) -> Places:
    return frozenset(
        place.obtained(persistence=persists, how=Held.PUSHED)
        for place in places
        for persists in written
    )


def _stored_or_not(places: Iterable[Place]) -> Iterator[Place]:
    for place in places:
        yield Place(place.held, stored=False)
        yield Place(place.held, stored=True)
