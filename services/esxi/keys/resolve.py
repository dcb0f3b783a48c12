"""The order in which a host looks for a key. Pure.

1. key cache: nobody else is asked   2. persisted store, if persistence is on
3. native provider: derive from the KDK   4. trusted provider: attest, ask a KPS
5. standard provider: the host cannot help itself; vCenter, when connected, is told
6. otherwise the operation fails and names the key

What is stored was brought by vCenter and is never derived: it is of a provider that was a standard
one when it was brought, and a native one that has its name now would derive another value.

Each key is judged by its own facts: what holds for one of a VM's keys decides nothing for the
others. What a management type can do at all is in ``providers.capabilities``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from protocol.terms import ManagementType
from services.esxi.providers.capabilities import KeySource, capability


class KeyMeans(StrEnum):
    """Where a host takes a key from, or whom it tells."""

    CACHE = "cache"
    DERIVE = "derive"
    STORE = "store"
    KEY_PROVIDER_SERVICE = "key provider service"
    ASK_VCENTER = "ask vCenter"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ResolvedKeyFacts:
    """What the host knows of one key. ``provider`` is UNKNOWN unless its list names it: a
    standard provider has no presence on a host (NKP-09). ``may_ask``: vCenter is connected
    and is not itself the one that waits for the answer.
    """

    cached: bool
    stored: bool
    persistence: bool
    provider: ManagementType = ManagementType.UNKNOWN
    has_kdk: bool = False
    may_ask: bool = False


def next_means(facts: ResolvedKeyFacts) -> KeyMeans:
    """The first means that applies to the key with these facts."""
    can = capability(facts.provider)
    if facts.cached:
        return KeyMeans.CACHE
    if facts.persistence and facts.stored:
        return KeyMeans.STORE
    if can.source is KeySource.DERIVATION and facts.has_kdk:
        return KeyMeans.DERIVE
    if can.source is KeySource.KEY_PROVIDER_SERVICE:
        return KeyMeans.KEY_PROVIDER_SERVICE
    return KeyMeans.ASK_VCENTER if can.asks_vcenter and facts.may_ask else KeyMeans.NONE


def on_the_host(facts: ResolvedKeyFacts) -> bool:
    """Whether the host can use the key without asking anybody: else its VMs are locked."""
    return next_means(facts) in (KeyMeans.CACHE, KeyMeans.DERIVE, KeyMeans.STORE)
