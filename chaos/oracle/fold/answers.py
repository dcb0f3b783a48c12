"""What the facts of a run allow, as far as they are known.

Where some facts of a question are open there is one outcome for each way in which they may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

from chaos.oracle.effects import FaultEffect, Takes
from chaos.oracle.facts import (
    Kdk,
    KeyInMemory,
    KeyPlace,
    KeyProviderKind,
    Overrides,
    Question,
    Situation,
)
from chaos.oracle.fold.disturbances import Disturbances, id_at_source
from chaos.oracle.fold.hosts import NOWHERE, Case, FoldedHost, FoldedTrust, Places, TrustParts
from chaos.oracle.fold.known import NO, OPEN, YES, Known, both, inverse
from chaos.oracle.fold.listings import as_listed
from chaos.oracle.fold.settings import SLACK_S, FoldSettings
from chaos.oracle.fold.vms import FoldedVm
from chaos.oracle.fold.ways import RUNNING, KeyWay, NodeSight, Realm, Realms, WayParts
from chaos.oracle.judgement import Outcome, outcome, worst
from chaos.oracle.terms import Letter

Outcomes = frozenset[Outcome]
WORKS: Outcomes = frozenset({Outcome(Letter.OK)})
ANY: Outcomes = WORKS | {Outcome(Letter.LOCKED), Outcome(Letter.NO)}
"""Of a VM whose key, or whose host, is not known."""
BROUGHT_THEN = frozenset({4, 40, 41, 46, 56})
"""Reasons by which it works because what is missing comes, once it is tried."""
TRIED_IN_VAIN = frozenset({44, 48, 50, 52, 53, 65})
"""Reasons why a host does not get a key that it asks others for, or derives another one: what
nobody has tried locks nothing."""


@lru_cache(maxsize=16384)
def of_key(
    ask: Question,
    places: frozenset[KeyPlace],
    parts: WayParts,
    usable: Known,
    renewable: Known,
    renews: Known,
    sealed: bool,
) -> Outcomes:
    """Of a host that booted and may have the key in any of ``places``; ``usable``: the key is
    Active at its source; ``renewable``: another provider could make a new host key; ``renews``:
    vCenter makes new host keys at all, and has a default provider for it."""
    open_ = product(places, *parts, usable, renewable, renews)
    return frozenset(
        outcome(
            Situation(
                ask=ask,
                sealed=sealed,
                booted=True,
                held=place.held,
                vcenter=vcenter,
                vcenter_reaches_host=to_host,
                kms=kms,
                listed=listed,
                default=listed and makes,
                key_usable=can,
                renewable=renew and vcenter and to_host,
            )
        )
        for place, vcenter, to_host, kms, listed, can, renew, makes in open_
    )


@lru_cache(maxsize=16384)
def of_derived_key(
    ask: Question,
    places: frozenset[KeyPlace],
    cases: frozenset[tuple[Kdk, bool]],
    parts: WayParts,
    listings: frozenset[Kdk],
    renewable: Known,
    sealed: bool,
) -> Outcomes:
    """Of a host that booted and derives the key; ``cases``: its KDK, and whether the provider
    leaves it out; ``listings``: the KDK that vCenter lists. A host key was derived at the boot or
    it was not (B5): whether the right KDK is there by now is another thing."""
    found: set[Outcome] = set()
    open_ = product(places, cases, parts.vcenter, parts.to_host, listings, renewable)
    for place, (kdk, excluded), vcenter, to_host, theirs, renew in open_:
        held, boot, listed = place.held, ask is Question.BOOT, theirs is not Kdk.ABSENT
        if excluded:
            held = KeyInMemory.NO
        if boot and (held is not KeyInMemory.NO or kdk is Kdk.RIGHT):
            kdk = Kdk.ABSENT if held is KeyInMemory.NO else Kdk.RIGHT
        # Which host is left out stands in the list that hosts have: it is told when that changes.
        for out in (excluded,) if listed else (excluded, False):
            there = listed or out
            situation = Situation(
                ask=ask,
                kind=KeyProviderKind.NATIVE,
                sealed=sealed,
                booted=True,
                held=KeyInMemory.NO if boot else held,
                vcenter=vcenter,
                vcenter_reaches_host=to_host,
                listed=there,
                default=there,
                kdk=kdk,
                vcenter_kdk=theirs if listed or not there else Kdk.RIGHT,
                excluded=out,
                renewable=renew and vcenter and to_host,
            )
            found.add(outcome(situation))
    return frozenset(found)


@lru_cache(maxsize=16384)
def of_trusted_key(
    ask: Question,
    places: frozenset[KeyPlace],
    cases: frozenset[Case],
    parts: TrustParts,
    usable: Known,
    renewable: Known,
    overrides: Overrides,
) -> Outcomes:
    """Of a trusted host that booted; ``cases``: what may be so of its attestation."""
    open_ = product(places, cases, *parts, usable)
    found = {
        outcome(
            Situation(
                ask=ask,
                kind=KeyProviderKind.TRUSTED,
                booted=True,
                held=KeyInMemory.CACHED
                if place.held is KeyInMemory.PUSHED
                else place.held,  # nobody pushes it
                listed=listed,
                default=listed,
                attestation=said,
                image_known=known,
                attestation_service=attestation,
                key_provider_service=service,
                kms=kms,
                key_usable=can,
                overrides=overrides,
            )
        )
        for place, (known, said), attestation, service, kms, listed, can in open_
    }
    if ask is Question.BOOT and True in renewable:
        found.add(Outcome(Letter.SAFE, (30,)))
    return frozenset(found)


@lru_cache(maxsize=16384)
def of_vm(keys: tuple[Outcomes, ...], host: Outcomes) -> Outcomes:
    """Of a VM that needs all of these keys, on a host that may be in these states: with its keys
    there, and the host not safe, it is refused and not locked."""
    found = WORKS
    for outcomes in keys:
        found = frozenset(worst((a, b)) for a in outcomes for b in found)
    if keys and any(one.letter is Letter.OK for one in found):
        found |= {Outcome(Letter.NO, s.reasons) for s in host if s.letter is Letter.UNSAFE}
    return found


@lru_cache(maxsize=4096)
def lock_states(outcomes: Outcomes) -> frozenset[str]:
    """A VM that does not run is locked while its host lacks a key of it, by the host's record."""
    states: set[str] = set()
    for found in outcomes:
        if found.letter is Letter.LOCKED and not TRIED_IN_VAIN & set(found.reasons):
            states.add("locked")
        elif found.letter is Letter.OK and not BROUGHT_THEN & set(found.reasons):
            states.add("off")
        else:
            states |= {"off", "locked"}
    return frozenset(states)


EARLY_S: Final = 2.0
"""Nodes are seen each second: what was there so long before a boot was seen was there in it."""
ANYHOW: Final = frozenset(FoldedTrust(known=OPEN).cases())
OFF, BOOTING, SCREEN = "off", "booting", "halted"
RUNS: Final = frozenset({"running"})
BY_ITSELF: Final = Outcome(Letter.SAFE, (15,))
NOT_SAFE: Final = Outcome(Letter.UNSAFE)
_STATE = {Letter.SAFE: "safe", Letter.UNSAFE: "prepared"}


@dataclass(frozen=True)
class Allowed:
    """The allowed states of a host or a VM now, and the reasons for each."""

    states: frozenset[str]
    outcomes: Outcomes = frozenset()

    @property
    def because(self) -> str:
        """The reasons, as ``R5, R7``."""
        numbers = sorted({number for found in self.outcomes for number in found.reasons})
        return ", ".join(f"R{number}" for number in numbers)


class FoldAnswers:
    """Answers from the facts at one moment, cached until ``forget``."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        self.now = 0.0
        self.settings = FoldSettings()
        self.hosts: dict[str, FoldedHost] = {}
        self.vms: dict[str, FoldedVm] = {}
        self.marked: frozenset[str] = frozenset()
        """VMs that vCenter has as locked."""
        self.marked_at = 0
        self.at_source: dict[str, Known] = {}
        """Whether keys that an operator has changed, by id, are Active at their source."""
        self.sources_are_open = False  # key servers are being put back to what they were
        self.forgotten: dict[str, Known] = {}
        """Whether vCenter was made to forget keys, which it brings to nobody then."""
        self.not_granted: dict[str, Known] = {}
        """Whether keys are of VMs that vCenter knows from their hosts alone. It brings them to no
        host before somebody unlocks or registers the VM (C28)."""
        self.default_is_open = False  # it may have none, or another one than at first
        self.nodes: dict[str, NodeSight] = {}
        self.faults = Disturbances(effects)
        self.realms = Realms(self.faults, self.nodes)
        self.lost = ""  # the first action after which nobody knows what is allowed
        self._told: dict[str, Allowed] = {}  # since the last record, as the two below
        self._vms_told: dict[str, frozenset[str]] = {}
        self._asked: dict[tuple[Question, str, str], Outcomes] = {}

    @property
    def several(self) -> bool:
        """Whether several vCenters lead hosts."""
        return len(self.realms.all) > 1

    def forget(self) -> None:
        """Clear the cache: something has changed, or time has passed."""
        self._told.clear()
        self._vms_told.clear()
        self._asked.clear()

    def usable(self, key: str) -> Known:
        """Whether the key is Active at its source, and vCenter has it and brings it."""
        changed = self.at_source or self.forgotten or self.not_granted or self.sources_are_open
        if not changed and not any(self.faults.taking(Takes.KEYS)):
            return YES
        users = frozenset(name for name, vm in self.vms.items() if key in vm.keys)
        here = self.at_source.get(id_at_source(key), YES)
        known = inverse(self.forgotten.get(key, NO))
        granted = inverse(self.not_granted.get(key, NO))
        some = OPEN if self.sources_are_open else YES
        return both((self.faults.usable(key, users), here, known, granted, some))

    def way_to(self, host: str, provider: str) -> KeyWay:
        """The way of this provider's keys to this host, over the host's vCenter."""
        return self.realms.at(host).ways.to(host, provider)

    def settled(self, way: KeyWay) -> bool:
        """Whether the way has been open long enough for its keys to have arrived."""
        late = way.open_since > self.settings.begin_s
        repaired = (
            SLACK_S if way.pushes and way.led_since < way.open_since else self.settings.repair_s
        )
        opened = way.open_since + (repaired if late else 0.0)
        return self.now >= max(opened, way.host_since + self.settings.connect_s)

    def may_evict(self, provider: str, realm: Realm) -> Known:
        """Whether the repair after the grace removes the provider's keys from hosts of the realm,
        or may (C4)."""
        found = realm.listings.of(provider)
        if not self.settings.evict_on_provider_delete:
            return NO
        if self.now - found.gone_since < self.settings.grace_s:
            return NO
        return YES if found.listed == NO and not found.forgot else OPEN

    def surely_evicted(self, provider: str, realm: Realm, way: KeyWay) -> bool:
        """Whether vCenter has reached the host for long enough after the grace."""
        since = realm.listings.of(provider).surely_gone_since
        ready = max(since + self.settings.grace_s, way.led_since + self.settings.connect_s)
        return self.now >= ready + self.settings.repair_s

    def outcomes(self, ask: Question, vm: FoldedVm, host: FoldedHost, name: str = "") -> Outcomes:
        """The possible outcomes of an operation on a VM on this host (``name``, when it is not the
        VM's)."""
        name = name or vm.host
        if vm.unsure(self.now):
            return ANY
        if not vm.keys:
            return WORKS
        of_keys = tuple(self._outcomes_of(ask, key, host, name) for key in vm.keys)
        return of_vm(of_keys, self.host_outcomes(name, host))

    def elsewhere(self, ask: Question, vm: FoldedVm, host: FoldedHost, name: str) -> Outcomes:
        """As ``outcomes``, on a host that need not be the VM's. The VM's keys are not followed
        there; only that none can have arrived since a boot."""
        if vm.unsure(self.now) or name not in self.nodes:
            return ANY
        if not vm.keys:
            return WORKS
        of_keys = tuple(
            self._answer(ask, key, host, name, self._places_elsewhere(key, host, name))
            for key in vm.keys
        )
        return of_vm(of_keys, self.host_outcomes(name, host))

    def _places_elsewhere(self, key: str, host: FoldedHost, name: str) -> Places:
        own, way = host.derivation(key), self.way_to(name, key.partition("/")[0])
        derives = own is not None and own.could_derive(host.origin(key))
        cold = host.lives > 1 and not host.persisted and not way.came and not derives
        return NOWHERE if cold else host.unknown(key) | host.places_of(key)

    def _outcomes_of(self, ask: Question, key: str, host: FoldedHost, name: str) -> Outcomes:
        found = self._asked.get((ask, key, name))
        if found is None:
            found = self._asked[ask, key, name] = self._answer(ask, key, host, name)
        return found

    def _answer(
        self, ask: Question, key: str, host: FoldedHost, name: str, places: Places | None = None
    ) -> Outcomes:
        realm, provider = self.realms.at(name), key.partition("/")[0]
        way = realm.ways.to(name, provider)
        parts = way.parts
        places, own = places or host.places_of(key), host.derivation(key)
        renews = self.settings.host_key_renewal
        renewable = self._renewable(key, name) if renews and ask is Question.BOOT else NO
        if isinstance(parts, TrustParts):
            return self._of_trusted(ask, key, host, way, parts, renewable, places)
        if not self.settled(way):  # it has not been there long enough to be used
            part = "kms" if own is None else "to_host"
            if getattr(parts, part) == YES:
                parts = parts._replace(**{part: OPEN})
        if own is not None:
            origin = realm.listings.origin(key)
            theirs = as_listed(realm.listings.of(provider).now, origin)
            cases = own.cases(origin)
            return of_derived_key(ask, places, cases, parts, theirs, renewable, host.sealed)
        usable = self.usable(key)
        makes = (OPEN if self.default_is_open else YES) if renews else NO
        if usable != YES and id_at_source(key) != key.partition("/")[2] and makes == YES:
            makes = OPEN  # a new host key is under a wrapping key too, which may be the lost one
        return of_key(ask, places, parts, usable, renewable, makes, host.sealed)

    def _of_trusted(
        self,
        ask: Question,
        key: str,
        host: FoldedHost,
        way: KeyWay,
        parts: TrustParts,
        renewable: Known,
        places: Places,
    ) -> Outcomes:
        if host.trust is None or (parts.service == YES and not self.asked(way)):
            parts = parts._replace(service=OPEN)
        cases = frozenset(() if host.trust is None else host.trust.cases())
        return of_trusted_key(
            ask,
            places,
            cases or ANYHOW,
            parts,
            self.usable(key),
            renewable,
            self.settings.persist_overrides_attestation,
        )

    def asked(self, way: KeyWay) -> bool:
        """Whether a trusted host has surely requested keys since the services are available: at its
        boot for its own key (B7) and those of its VMs (B9), and periodically."""
        if way.open_since <= max(self.settings.begin_s, way.booting_since - EARLY_S):
            started = way.host_since + 2 * self.settings.boot_step_s + EARLY_S
            return self.now >= started or way.host_since <= self.settings.begin_s
        return self.now >= max(way.open_since, way.host_since) + self.settings.again_s

    def _renewable(self, key: str, name: str) -> Known:
        """Whether the default provider could make another host key than this (HEM-07)."""
        others = self.realms.at(name).defaults - {key.partition("/")[0]}
        ways = (self.way_to(name, other).parts.whole for other in others)
        return NO if all(whole == NO for whole in ways) else OPEN

    def host_outcomes(self, name: str, host: FoldedHost) -> Outcomes:
        """The states that the rules allow a host that is up. Where it may have got its host key
        itself, it may be safe whatever vCenter could do (R15)."""
        found = self._outcomes_of(Question.BOOT, host.key, host, name)
        itself = self.realms.at(name).ways.could_ask(name, host.key.partition("/")[0])
        if host.disabled:
            found |= {NOT_SAFE}
        return found | {BY_ITSELF} if itself else found

    def tries_to_start(self, vm: FoldedVm) -> bool:
        """Whether the host may be trying to start what ran before its boot (B9)."""
        node = self.nodes.get(vm.host)
        if node is None or vm.ran_boot == node.boot or node.state != RUNNING:
            return False
        return self.now <= node.since + self.settings.tries_s

    def surely_tries(self, vm: FoldedVm) -> bool:
        """Whether the host has yet to start the VMs that can be started now (LOCK-05)."""
        return self.now <= self.nodes[vm.host].since + self.settings.autostart_window_s

    def host_allowance(self, name: str) -> Allowed:
        """The allowed states of the host: ``safe``, ``prepared``, ``halted``, ``booting``,
        ``off``."""
        found = self._told.get(name)
        if found is None:
            found = self._told[name] = self._host_may_be(name)
        return found

    def _host_may_be(self, name: str) -> Allowed:
        host, node = self.hosts[name], self.nodes.get(name)
        states: set[str] = set()
        outcomes: set[Outcome] = set()
        if True in host.stops or host.unsure:
            states.add(SCREEN)
            outcomes.add(host.screen())
        if False in host.stops or host.unsure:
            found = self.host_outcomes(name, host) if host.key else frozenset()
            outcomes |= found
            states |= {_STATE[state.letter] for state in found}
            if not found or host.disabled or host.crypto not in ("safe", "prepared"):
                states |= {"safe", "prepared", "incapable", "pendingIncapable"}
        if self.faults.may_be_off(name):
            states |= {OFF, BOOTING}
        if node is not None and node.state == BOOTING:
            if self.now - node.since <= self.settings.boot_s:
                states.add(BOOTING)
        return Allowed(frozenset(states), frozenset(outcomes))

    def observe_host(self, name: str) -> str:
        """The observed state of the host; empty when it cannot be told."""
        host, node = self.hosts[name], self.nodes.get(name)
        if node is None:
            return ""
        if node.state != RUNNING:
            return node.state
        fresh = not host.silent and host.seen_boot == node.boot
        return host.crypto if fresh else ""

    def record_of_host(self, name: str) -> int:
        """The ``seq`` of the record behind ``observe_host``."""
        node = self.nodes[name]
        return self.hosts[name].seq if node.state == RUNNING else node.seq

    def vm_may_be(self, name: str) -> frozenset[str]:
        """The allowed states of the VM on a host that is up: ``running``, ``off``, ``locked``."""
        found = self._vms_told.get(name)
        if found is None:
            vm = self.vms[name]
            found = self._vms_told[name] = self._vm_states(vm, self._runs(vm))
        return found

    def _vm_states(self, vm: FoldedVm, runs: Known) -> frozenset[str]:
        if runs == YES:
            return RUNS
        stopped = lock_states(self.outcomes(Question.START, vm, self.hosts[vm.host]))
        return stopped if runs == NO else stopped | RUNS

    def vm_allowance(self, name: str) -> Allowed:
        """As ``vm_may_be``, with the reasons."""
        vm = self.vms[name]
        host, node = self.hosts[vm.host], self.nodes[vm.host]
        goes_on = vm.ran_boot == node.boot and self._runs(vm) == YES
        outcomes = self.outcomes(Question.RUN if goes_on else Question.START, vm, host)
        return Allowed(self.vm_may_be(name), outcomes | vm.tries)

    def _runs(self, vm: FoldedVm) -> Known:
        if self.now <= vm.adrift_until:
            return OPEN
        if vm.to_run != YES or vm.ran_boot == self.nodes[vm.host].boot:
            return vm.to_run  # nothing but a command ends what runs (LOCK-04)
        if self.hosts[vm.host].maintained:
            return OPEN
        return vm.may_have_started()

    def observe_vm(self, name: str) -> str:
        """The observed state of the VM; empty when it cannot be told."""
        vm = self.vms.get(name)
        if vm is None:  # it is not followed any more
            return ""
        if vm.host not in self.hosts or vm.host not in self.nodes:
            return ""
        host, node = self.hosts[vm.host], self.nodes[vm.host]
        up = node.state == RUNNING and not host.silent
        return vm.label if up and host.seen_boot == vm.boot == node.boot else ""
