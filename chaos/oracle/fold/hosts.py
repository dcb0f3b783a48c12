"""What a run's history says of a host, and what the rules let it be: the places of its keys, what
it has of each native provider, and what it has of its Trust Authority.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, Self

from chaos.oracle.facts import (
    AttestationVerdict,
    Change,
    Kdk,
    KeyInMemory,
    KeyPlace,
    Life,
    Question,
    Situation,
)
from chaos.oracle.fold.known import NO, OPEN, YES, Known, both
from chaos.oracle.fold.listings import FIRST, NONE, Kdks, of_kdk
from chaos.oracle.fold.settings import FoldSettings
from chaos.oracle.judgement import Outcome, outcome


@dataclass
class Derivation:
    """One native provider on one host.

    ``kdk``: the KDKs that the host may have. ``excluded``: the provider is for hosts with a TPM,
    and this one has none (NKP-12). ``at_boot``: the KDKs that it may have had when the present boot
    began. ``came``: the KDKs that may have arrived since. ``went``: whether one may have been
    removed.
    """

    excluded: Known = NO
    kdk: Kdks = FIRST | NONE
    at_boot: Kdks = FIRST | NONE
    came: Kdks = field(default_factory=frozenset)
    went: bool = False

    def boot(self) -> None:
        """The host boots, with the same configuration."""
        self.came, self.went = frozenset(), False
        self.at_boot = self.kdk

    def could_derive(self, origin: Kdks) -> bool:
        """Whether the host may have derived a key of this origin in the present boot."""
        return bool((self.at_boot | self.came | self.kdk) & origin)

    def comes(self, kdks: Kdks, *, surely: bool) -> None:
        """vCenter has pushed one of these KDKs, perhaps or surely."""
        self.came |= kdks
        self.kdk = kdks if surely else self.kdk | kdks

    def goes(self, *, surely: bool) -> None:
        """The deletion was pushed, perhaps or surely."""
        self.went = True
        self.kdk = NONE if surely else self.kdk | NONE

    def has(self, origin: Kdks) -> Known:
        """Whether the host has the KDK that a key of this origin is derived from."""
        return frozenset(own == mine for own, mine in product(self.kdk, origin))

    def was_used(self, origin: Kdks) -> None:
        """A key of this origin is in memory, so it was derived in this boot. Only another KDK or a
        deletion ends that."""
        if not self.went and self.came <= origin:
            self.kdk = origin

    def was_lacking(self, origin: Kdks) -> None:
        """The boot did not derive the host key. Only a push ends that."""
        if not self.came:
            self.lacks(origin)

    def lacks(self, origin: Kdks) -> None:
        """A key of this origin cannot be derived now."""
        if len(origin) == 1:
            self.kdk = (self.kdk - origin) or NONE

    def cases(self, origin: Kdks) -> frozenset[tuple[Kdk, bool]]:
        """The possible KDKs of the host for a key of this origin, and whether it is excluded, in
        which case it has none."""
        each = product(self.kdk, origin, self.excluded)
        return frozenset(
            (Kdk.ABSENT if excluded else of_kdk(own, mine), excluded)
            for own, mine, excluded in each
        )


Case = tuple[bool, AttestationVerdict]
"""Whether the services know what the host has booted, and what they have said of it."""


class Services(NamedTuple):
    """Who serves a trusted provider, by node name."""

    attestation: tuple[str, ...]
    keys: tuple[str, ...]
    kms: tuple[str, ...]

    @classmethod
    def of(cls, provider: Mapping[str, Any], services: Mapping[str, Any]) -> Self:
        """Of a ``provider`` of the staging, and the ``services`` of its lab."""
        return cls(
            tuple(services.get("attestation", ())),
            tuple(services.get("keys", ())),
            tuple(services.get("kms", {}).get(provider["name"], ())),
        )

    @property
    def nodes(self) -> frozenset[str]:
        """All of them."""
        return frozenset((*self.attestation, *self.keys, *self.kms))


class TrustParts(NamedTuple):
    """The parts of the way to a trusted host's keys, for the reasons to tell which is missing."""

    attestation: Known
    service: Known
    kms: Known
    listed: Known

    @property
    def whole(self) -> Known:
        """Whether a host without a token gets its keys."""
        return both(self)

    def with_token(self, token: Known) -> Known:
        """Whether a host gets its keys that may have one."""
        rest = both(self[1:])
        return rest if token == YES else both((rest, self.attestation | token - NO))


@dataclass
class FoldedTrust:
    """One trusted host in its present boot, with the trusted ``providers``.

    ``token``: whether it was attested in it; ``known``: whether the services know what it has
    booted, and on which TPM; ``sealed_anew``: its TPM was another one once, so that nobody knows.
    ``untold``: a certificate in its Trust Authority is another one, which not all were told.
    """

    providers: frozenset[str] = frozenset()
    token: Known = OPEN
    known: Known = YES
    sealed_anew: bool = False
    untold: bool = False

    def boot(self, *, changed: bool) -> None:
        """A token is not kept over a boot; ``changed``: what it measures may be otherwise."""
        self.token = NO
        self.known = OPEN if changed or self.sealed_anew or self.untold else YES

    def asks_for(self, key: str) -> bool:
        """Whether this host has the key unwrapped when it needs it, and says nothing before."""
        return key.partition("/")[0] in self.providers

    def may_attest(self, service: Known) -> None:
        """An Attestation Service can be asked, perhaps; a host asks when it needs a key."""
        if service != NO and self.token == NO:
            self.token = OPEN

    def cases(self) -> Iterator[Case]:
        """What may be so of its attestation."""
        for known in self.known:
            for token in self.token:
                yield known, AttestationVerdict.ATTESTED if token else AttestationVerdict.UNKNOWN
            if not known:
                yield known, AttestationVerdict.REFUSED


Places = frozenset[KeyPlace]
"""Where a host may have a key: one of these."""
NOWHERE: Places = frozenset({KeyPlace()})
CACHED: Places = frozenset({KeyPlace(KeyInMemory.CACHED)})


@dataclass
class FoldedHost:
    """One host. ``places`` by key (``provider/id``). ``stops``: whether this boot must end at the
    screen. ``unsure``: its sealing has changed in a way that is not followed."""

    cluster: str
    secure_boot: bool | None = None
    boot: int = 0
    lives: int = 0  # how many boots of it were seen
    maintains: bool = False  # as it said last, or as it was told to be since
    said_maintenance: bool = False  # as it said last
    sealed: bool = False
    persists: Known = NO  # whether key persistence is on
    persisted: bool = False  # it may have been, at some time
    toggles: int = 0  # operations under way that turn it off and on
    maintained: bool = False  # it was in maintenance at some time of this boot
    key: str = ""
    crypto: str = ""
    seen_boot: int = 0  # the boot in which it was last asked
    silent: bool = True
    places: dict[str, Places] = field(default_factory=dict)
    native: dict[str, Derivation] = field(default_factory=dict)  # by provider
    trust: FoldedTrust | None = None  # of a trusted host
    stops: Known = NO
    change: Change = Change.NOTHING
    unsure: bool = False
    doubted: set[str] = field(default_factory=set)
    """Keys that may have been taken away in this boot: a VM that runs does not tell of them."""
    disabled: bool = (
        False  # its encryption mode was turned off, from its next boot on at the latest
    )
    wiped_at: float = -math.inf  # installed anew, or sealed anew: older faults may be over
    moved: int = 0  # how often something changed of where its keys are
    settings: FoldSettings = field(default_factory=FoldSettings)
    origins: dict[str, Kdks] = field(default_factory=dict)  # of keys, as ``Listings`` has them
    seq: int = 0  # of the record that says so

    # ---- what happens -----------------------------------------------------------------------

    def saw(self, data: dict[str, Any], seq: int) -> None:
        """Take the host's own report."""
        self.seq = seq
        self.silent = bool(data.get("silent"))
        if self.silent:
            return
        sealed_now = data["mode"] == "TPM" and not self.sealed and self.seen_boot > 0
        self.seen_boot = int(data["boot"])
        self.sealed = data["mode"] == "TPM"
        self.has_persistence(YES if data["persistence"] else NO, turned=sealed_now)
        self.maintained |= bool(data.get("maintenance"))
        self.maintains = self.said_maintenance = bool(data.get("maintenance"))
        self.crypto, key = str(data["crypto"]), data.get("key") or ""
        if key != self.key:
            self.key = key
            self.places.setdefault(key, self.unknown(key))

    def maintenance(self, *, begins: bool) -> None:
        """The host enters or leaves maintenance mode."""
        self.maintained |= begins
        self.maintains = begins

    def has_persistence(self, known: Known, *, turned: bool = False) -> None:
        """Key persistence is on, off, or may be either. Cached keys were written when it came on
        (C5); stored keys may have been removed when it went off (C9). ``turned``: it surely changed
        just now."""
        self.persisted |= known != NO and self.sealed
        if known == self.persists and not turned:
            return
        before, self.persists = self.persists, known
        self.moved += 1
        for key, places in self.places.items():
            if known == OPEN:
                each = (self._turn_persistence(places, on=on) for on in known)
                self._put(key, places.union(*each))
            elif turned or before != OPEN:  # else what comes of it is among its places already
                self._put(key, frozenset(self._turn_persistence(places, on=known == YES)))

    def _turn_persistence(self, places: Places, *, on: bool) -> Iterator[KeyPlace]:
        """Where a key is when persistence has gone on or off; unsealed hosts store none (KP-01)."""
        if on and not self.sealed:
            yield from places
        else:
            yield from _turn_places(places, self.settings, on=on)

    def derivation(self, key: str) -> Derivation | None:
        """The native provider that derives the key on this host; None for a key that is brought to
        it."""
        return self.native.get(key.partition("/")[0])

    def origin(self, key: str) -> Kdks:
        """The KDKs from which the key may be derived."""
        return self.origins.get(key, FIRST)

    def unknown(self, key: str) -> Places:
        """The possible places of a key without observations: it may be older than persistence."""
        if self.derivation(key) is not None:
            return NOWHERE | CACHED
        stored = self._written if self.settings.persist_on_enable else self._written | NO
        return NOWHERE | {KeyPlace(KeyInMemory.CACHED, each) for each in stored}

    def places_of(self, key: str) -> Places:
        """The possible places of the key."""
        found = self.places.get(key)
        return self.unknown(key) if found is None else found

    @property
    def _written(self) -> frozenset[bool]:
        """Whether a key that is in memory is in the store too: never without a seal (KP-01)."""
        if not self.sealed:
            return NO
        return self.persists if self.settings.saves_at_once else self.persists | NO

    def boot_into(self, boot: int) -> None:
        """The host boots: its cache has only the keys that it loads."""
        self.boot = boot
        self.doubted.clear()
        self.maintained = self.maintains
        if self.toggles:
            self.has_persistence(OPEN)
        for key, places in self.places.items():
            self._put(key, self._after_boot(key, places))
        for own in self.native.values():
            own.boot()

    def _after_boot(self, key: str, places: Places) -> Places:
        """The boot loads what is stored, and derives the host key if it can (B4, B5)."""
        own = self.derivation(key)
        if own is None:
            return _boot_places(places, self.persists)
        if key != self.key:
            return NOWHERE
        has_it = own.has(self.origin(key))
        return frozenset(KeyPlace(KeyInMemory.CACHED if has else KeyInMemory.NO) for has in has_it)

    def bring(self, key: str, *, surely: bool) -> None:
        """vCenter has brought the key in this boot, perhaps or surely."""
        places = self.places_of(key)
        come = _receive_places(places, self._written)
        self._put(key, come if surely else places | come)
        if surely:
            self.doubted.discard(key)

    def derive(self, key: str, own: Derivation, *, asked: bool, surely: bool) -> None:
        """The key was perhaps derived, as at each use. A host key is derived at the boot, or when
        vCenter ``asked`` for it, perhaps or ``surely`` (HEM-01)."""
        if key == self.key:
            if asked:
                self._put(key, CACHED if surely else self.places_of(key) | CACHED)
        elif True in own.has(self.origin(key)):
            self._put(key, self.places_of(key) | CACHED)

    def take_away(self, key: str, *, surely: bool) -> None:
        """vCenter had the key removed, perhaps or surely; a host key stays in memory until the
        boot."""
        places, memory = self.places_of(key), key != self.key
        left = frozenset(KeyPlace() if memory else KeyPlace(place.held) for place in places)
        self._put(key, left if surely else places | left)
        if memory:
            self.doubted.add(key)

    def observe(self, key: str, *, held: bool) -> None:
        """Narrow the places: the key is in memory, or is not. An observation that the rules do not
        allow changes nothing."""
        fitting = _fitting(self.places_of(key), held)
        own = self.derivation(key)
        if fitting:
            self._put(key, fitting)
        else:
            own = None
        if own is not None and held:
            own.was_used(self.origin(key))
        elif own is not None and key == self.key:
            own.was_lacking(self.origin(key))

    def hear_of_vm(self, key: str, *, missing: bool, running: bool) -> None:
        """Take a VM's report about a key. A running VM goes on without its key (LOCK-04), so it
        proves nothing. A VM that does not run lacks neither a key in memory nor one that can be
        derived. If its provider has another KDK now, it reports that only after a try (NKP-18)."""
        own = self.derivation(key)
        if own is not None and own.excluded == YES:
            return
        if self.trust is not None and self.trust.asks_for(key) and not (running or missing):
            return  # nobody has asked for it yet, or it is there (KPS-02)
        if running:
            if key not in self.doubted:
                self.observe(key, held=not missing)
        elif own is None or missing or own.kdk == NONE:
            self.observe(key, held=not missing)
            if own is not None and missing:
                own.lacks(self.origin(key))
        elif self.places_of(key) == NOWHERE:
            own.kdk -= NONE

    def _put(self, key: str, places: Places) -> None:
        if self.places.get(key) != places:
            self.places[key] = places
            self.moved += 1

    # ---- what follows -----------------------------------------------------------------------

    def screen(self) -> Outcome:
        """The outcome of a boot that had to stop."""
        broken = Change.POLICY if self.change in (Change.NOTHING, Change.IMAGE) else self.change
        return outcome(
            Situation(ask=Question.BOOT, life=Life.SCREEN, change=broken, booted=True, sealed=True)
        )


@lru_cache(maxsize=1024)
def _boot_places(places: Places, persists: Known) -> Places:
    return frozenset(place.after_boot(persistence=on) for place in places for on in persists)


@lru_cache(maxsize=1024)
def _fitting(places: Places, held: bool) -> Places:
    return frozenset(place for place in places if (place.held is not KeyInMemory.NO) == held)


@lru_cache(maxsize=1024)
def _receive_places(places: Places, written: frozenset[bool]) -> Places:
    return frozenset(
        place.after_receipt(persistence=persists, how=KeyInMemory.PUSHED)
        for place in places
        for persists in written
    )


def _turn_places(
    places: Iterable[KeyPlace], settings: FoldSettings, *, on: bool
) -> Iterator[KeyPlace]:
    for place in places:
        has = place.held is not KeyInMemory.NO
        if not on:
            yield KeyPlace(place.held, stored=False)  # with the flag, or by the knob
            if settings.disable_keeps_store:
                yield place
        elif not (has and settings.persist_on_enable):
            yield place
        else:
            yield KeyPlace(place.held, stored=True)
            if not settings.saves_at_once:
                yield place
