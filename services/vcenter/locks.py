"""When vCenter marks a VM locked, and when it takes the mark back (LOCK-01..07). Pure.

LOCK-01  Marked only when a key is not in the host's cache *and* vCenter cannot supply it.
         Absent but not yet tried, or the try was cut short: no decision.
LOCK-02  The home's key missing: the VM shows as *invalid* too (``shows_invalid``).
LOCK-03  Only a disk's key missing: valid, the power-on fails.
LOCK-04  A running VM needs no key: it is never marked, and a mark on it is void.
LOCK-05  Unlocked by reconcile, reconnect of the host (both by ``auto_unlock``), the unlock
         action, or re-enabling host encryption. Unlocking powers nothing on.
LOCK-06  Providers are found by name, so one made again under the same name cures.
LOCK-07  The event names the missing ids and the provider.
What vCenter cannot see (the host is not connected) it does not judge. Each key is judged on its
own: that one is denied says nothing of another that is merely absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from protocol.events import EventTypeId
from protocol.terms import CryptoKeyId, KeyUnavailableReason, ManagementType, ProviderId
from services.vcenter.providers.capabilities import LockEvents, of_provider


@dataclass(frozen=True)
class VmLockFacts:
    """The facts by which the lock of one VM is judged.

    ``absent``: keys not in its host's cache now. ``denied``: of these, why vCenter cannot supply
    them. ``mark`` and ``marked_missing``: its present mark. ``may_unlock``: whether this occasion
    may remove a mark. ``types``: of the existing providers, by name.
    """

    keys: tuple[CryptoKeyId, ...]
    running: bool
    connected: bool
    absent: frozenset[CryptoKeyId]
    denied: Mapping[CryptoKeyId, KeyUnavailableReason]
    mark: EventTypeId | None
    marked_missing: tuple[CryptoKeyId, ...] = ()
    may_unlock: bool = True
    types: Mapping[ProviderId, ManagementType] = field(default_factory=dict)


@dataclass(frozen=True)
class Keep:
    """No change."""


@dataclass(frozen=True)
class Lock:
    """Mark the VM, or change the cause of its mark.

    ``reasons``: of each missing key that was tried now, the one that decided on ``event`` first; a
    missing key without a reason is still missing, but was not tried now.
    """

    event: EventTypeId
    missing: tuple[CryptoKeyId, ...]
    reasons: Mapping[CryptoKeyId, KeyUnavailableReason]


@dataclass(frozen=True)
class Unlock:
    """Remove the mark."""


Decision = Keep | Lock | Unlock


def decide(facts: VmLockFacts) -> Decision:
    """The decision for one VM.

    A key counts as missing if it is absent and was denied now, or is absent, was not tried now,
    and the mark names it already.
    """
    if not facts.connected:
        return Keep()
    absent = tuple(key for key in facts.keys if key in facts.absent)
    if facts.running:
        return Unlock() if facts.mark is not None else Keep()
    if not absent:
        return Unlock() if facts.mark is not None and facts.may_unlock else Keep()
    denied = sorted((key for key in absent if key in facts.denied), key=_rank_in(facts.denied))
    missing = tuple(key for key in absent if key in facts.denied or key in facts.marked_missing)
    if not missing:
        return Unlock() if facts.mark is not None and facts.may_unlock else Keep()
    if not denied:
        return Keep()
    worst = denied[0]
    events = of_provider(facts.types, worst.provider_id).lock_events
    event = event_for(facts.denied[worst], events)
    if facts.mark is not None and not set(missing) <= set(denied):
        event = facts.mark  # a key that was not tried now may still have the worse trouble
    if event is facts.mark and missing == facts.marked_missing:
        return Keep()
    return Lock(event, missing, {key: facts.denied[key] for key in denied})


def event_for(reason: KeyUnavailableReason, events: LockEvents) -> EventTypeId:
    """The ``VMLocked`` event for this reason of a key of a provider with these events."""
    match reason:
        case KeyUnavailableReason.CLUSTER_INVALID | KeyUnavailableReason.CLUSTER_UNREACHABLE:
            return events.provider_unusable
        case (
            KeyUnavailableReason.MISSING_IN_KMS
            | KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
            | KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS
            | KeyUnavailableReason.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED
        ):
            return events.missing_at_provider
        case (
            KeyUnavailableReason.MISSING_IN_CACHE
            | KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY
            | KeyUnavailableReason.MANAGED_BY_NKP
        ):
            return events.missing_on_host
        case _:
            assert_never(reason)


_WORST_FIRST = (
    KeyUnavailableReason.MISSING_IN_KMS,
    KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS,
    KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED,
    KeyUnavailableReason.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED,
    KeyUnavailableReason.CLUSTER_INVALID,
    KeyUnavailableReason.CLUSTER_UNREACHABLE,
    KeyUnavailableReason.MISSING_IN_CACHE,
    KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY,
    KeyUnavailableReason.MANAGED_BY_NKP,
)


def _rank_in(
    denied: Mapping[CryptoKeyId, KeyUnavailableReason],
) -> Callable[[CryptoKeyId], int]:
    """The keys' reasons in order: the one that is hardest to repair comes first."""
    return lambda key: _WORST_FIRST.index(denied[key])


def shows_invalid(
    keys: tuple[CryptoKeyId, ...],
    mark: EventTypeId | None,
    missing: tuple[CryptoKeyId, ...],
) -> bool:
    """LOCK-02: a locked VM whose home key (the first) is missing."""
    return mark is not None and bool(keys) and keys[0] in missing
