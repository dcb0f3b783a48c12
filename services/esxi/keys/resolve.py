"""The order in which a host looks for a key. Pure.

1. key cache
2. persisted store, if persistence is on
3. native provider: derive from the KDK
4. trusted provider: attest, then ask a Key Provider Service
5. standard provider: ask vCenter, when it is connected; the host has no means of its own
6. otherwise the operation fails and names the key

A stored key was sent by vCenter and is never derived: its provider was a standard one at that time,
and a native provider that has its name now would derive another value.

Each key is decided by its own facts; one key of a VM does not affect the others.
``providers.capabilities`` has what a management type can do at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from protocol.terms import ManagementType
from services.esxi.providers.capabilities import KeySource, capability


class KeyMeans(StrEnum):
    """Where a host gets a key from, or whom it asks."""

    CACHE = "cache"
    DERIVE = "derive"
    STORE = "store"
    KEY_PROVIDER_SERVICE = "key provider service"
    ASK_VCENTER = "ask vCenter"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ResolvedKeyFacts:
    """What the host knows of one key. ``provider`` is UNKNOWN unless the host's list names it: a
    standard provider has no presence on a host (NKP-09). ``may_ask``: vCenter is connected and is
    not itself waiting for the answer."""

    cached: bool
    stored: bool
    persistence: bool
    provider: ManagementType = ManagementType.UNKNOWN
    has_kdk: bool = False
    may_ask: bool = False


def next_means(facts: ResolvedKeyFacts) -> KeyMeans:
    """The first means that applies to a key with these facts."""
    can = capability(facts.provider)
    if facts.cached:
        return KeyMeans.CACHE
    if facts.persistence and facts.stored:
        return KeyMeans.STORE
    if can.source is KeySource.DERIVATION and facts.has_kdk:
        return KeyMeans.DERIVE
    if can.source is KeySource.KEY_PROVIDER_SERVICE:
        return KeyMeans.KEY_PROVIDER_SERVICE
    return KeyMeans.ASK_VCENTER if can.rings_vcenter and facts.may_ask else KeyMeans.NONE


def is_usable_on_host(facts: ResolvedKeyFacts) -> bool:
    """Whether the host can use the key without asking another node; otherwise its VMs are
    locked."""
    return next_means(facts) in (KeyMeans.CACHE, KeyMeans.DERIVE, KeyMeans.STORE)
