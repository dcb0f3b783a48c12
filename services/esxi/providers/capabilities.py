"""What a host does for each management type of key provider, one table, and the order in which it
looks for a missing key. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from protocol.terms import KeyManagement, KeyUnavailableReason, ManagementType


class KeySource(StrEnum):
    """Where a host gets a key from that is neither cached nor stored."""

    VCENTER = "vCenter brings it"
    KEY_PROVIDER_SERVICE = "the host asks a Key Provider Service"
    DERIVATION = "the host derives it from the KDK"


@dataclass(frozen=True, slots=True)
class HostCapability:
    """One column of the table above.

    ``makes_keys``: the host makes the key when ``ReconfigureVm`` names none. ``rings_vcenter``: the
    host rings vCenter for a missing key. ``unavailable``: the reason that the host reports for a
    missing key of such a provider. ``management``: who manages its keys, in a key's status
    (HEM-08).
    """

    source: KeySource
    makes_keys: bool
    rings_vcenter: bool
    persists_without_tpm: bool
    unavailable: KeyUnavailableReason
    management: KeyManagement


_STANDARD: Final = HostCapability(
    source=KeySource.VCENTER,
    makes_keys=False,
    rings_vcenter=True,
    persists_without_tpm=False,
    unavailable=KeyUnavailableReason.MISSING_IN_CACHE,
    management=KeyManagement.EXTERNAL,
)
_UNLISTED: Final = replace(_STANDARD, management=KeyManagement.UNKNOWN)
_TRUSTED: Final = HostCapability(
    source=KeySource.KEY_PROVIDER_SERVICE,
    makes_keys=True,
    rings_vcenter=False,
    persists_without_tpm=False,
    unavailable=KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY,
    management=KeyManagement.EXTERNAL,
)
_NATIVE: Final = HostCapability(
    source=KeySource.DERIVATION,
    makes_keys=True,
    rings_vcenter=True,
    persists_without_tpm=True,
    unavailable=KeyUnavailableReason.MANAGED_BY_NKP,
    management=KeyManagement.INTERNAL,
)


def capability(management_type: ManagementType) -> HostCapability:
    """What a host does for a provider of this management type."""
    match management_type:
        case ManagementType.VCENTER:
            return _STANDARD
        case ManagementType.UNKNOWN:
            return _UNLISTED
        case ManagementType.TRUST_AUTHORITY:
            return _TRUSTED
        case ManagementType.NATIVE_PROVIDER:
            return _NATIVE
        case _:
            assert_never(management_type)


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
