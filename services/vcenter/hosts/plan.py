"""What a pass of step B8 shall do, in the order of the documents, from what was seen. Pure.

1. the list of key providers, if it differs (STD-10) or a KDK is missing (NKP-15)
2. the recovery key, if it is a new one (REC-03)
3. the host's encryption mode and host key, before any other key (STD-14); that it was disabled
4. in a pass of the reconciliation: evict providers that were deleted long ago (DEL-02), once from
   each host, and take away keys that no VM uses any more (STD-17)
5. keys of all encrypted VMs of the cluster that its cache lacks and that the cluster was given
   (STD-12, C28), by who brings them

1 to 3 are planned from the host's view; 4 and 5 when these are done, because a provider may be
waited for in between. ``mark_changes`` and ``send_errors`` follow from the outcome of the pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from protocol.messages.host.session import HostSummary, ProviderRef
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmName,
)
from services.vcenter import events
from services.vcenter.hosts.mode import ModeStep, is_adoptable, next_mode_step
from services.vcenter.inventory import Edit, change_vm
from services.vcenter.locks import Keep, Lock, Unlock, VmLockFacts, decide
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.providers.native import references
from services.vcenter.tables import DeletedRow, HostRow, ProviderRow, VmRow


@dataclass(frozen=True)
class PlannedHostFacts:
    """What is known of a host when its pass begins.

    ``host_key``: the one vCenter has for it. ``needed``: whether the host should be safe.
    ``requested``: an administrator asks for it. ``lacks_kdk``: it has not every KDK that it can be
    given.
    """

    summary: HostSummary
    row: HostRow
    providers: tuple[ProviderRow, ...]
    host_key: CryptoKeyId | None
    needed: bool
    requested: bool = False
    lacks_kdk: bool = False


@dataclass(frozen=True)
class PlannedKeyFacts:
    """What is known of a host's keys once its mode is reached.

    ``keys``: of all encrypted VMs of its cluster; ``absent``: those of them that its cache lacks,
    and that it cannot derive.
    ``expired``: providers deleted so long ago that their keys leave this host now. ``released``:
    keys that it should not keep. ``types``: of the providers there are, by name. ``takes_keys``:
    its mode lets it take keys. ``forgotten``: removed by force, though VMs may use them.
    ``granted``: those of ``keys`` that the host may be brought (C28).
    """

    keys: tuple[CryptoKeyId, ...]
    absent: frozenset[CryptoKeyId]
    expired: tuple[ProviderId, ...]
    released: tuple[CryptoKeyId, ...]
    types: Mapping[ProviderId, ManagementType]
    takes_keys: bool = True
    forgotten: frozenset[CryptoKeyId] = frozenset()
    granted: frozenset[CryptoKeyId] = frozenset()


@dataclass(frozen=True)
class SetProviderList:
    """Send the host the whole list of providers."""

    providers: tuple[ProviderRef, ...]


@dataclass(frozen=True)
class NoteRecoveryKey:
    """Record the recovery key of this id, and post the event that it must be kept safe; empty: the
    host has none any more."""

    recovery_id: str


@dataclass(frozen=True)
class ReachMode:
    """Take the next step towards the host's encryption mode.

    ``needed``: it should be safe, whatever it was before. ``requested``: an administrator asks for
    it.
    """

    needed: bool
    requested: bool = False


@dataclass(frozen=True)
class NoteDisabled:
    """Record that an administrator disabled the host's encryption mode (HEM-02)."""


@dataclass(frozen=True)
class Evict:
    """Remove all keys of a deleted provider; ``keys`` are those of VMs here among them."""

    provider: ProviderId
    keys: tuple[CryptoKeyId, ...]


@dataclass(frozen=True)
class TakeAway:
    """Remove these keys, which no VM uses."""

    keys: tuple[CryptoKeyId, ...]


@dataclass(frozen=True)
class Supply:
    """Fetch these keys of one provider and push them; a deleted provider has none."""

    provider: ProviderId
    keys: tuple[CryptoKeyId, ...]


Action = SetProviderList | NoteRecoveryKey | NoteDisabled | ReachMode | Evict | TakeAway | Supply


def plan_host(facts: PlannedHostFacts) -> tuple[Action, ...]:
    """The actions on the host itself, in order; empty when nothing has to change."""
    actions: list[Action] = []
    summary = facts.summary
    wanted = references(facts.providers, summary)
    if summary.providers != wanted or facts.lacks_kdk:
        actions.append(SetProviderList(wanted))
    if (recovery_id := _recovery_id(summary)) != facts.row.recovery_id:
        actions.append(NoteRecoveryKey(recovery_id))
    step = next_mode_step(
        summary.crypto_state,
        summary.crypto_key_id,
        facts.host_key,
        needed=facts.needed,
        requested=facts.requested,
        adoptable=is_adoptable(summary, {row.name: row.management_type for row in facts.providers}),
    )
    if step is not ModeStep.NONE:
        actions.append(ReachMode(facts.needed, facts.requested))
    elif _newly_disabled(summary, facts.row):
        actions.append(NoteDisabled())
    return tuple(actions)


def plan_keys(facts: PlannedKeyFacts) -> tuple[Action, ...]:
    """The actions on the host's keys, in order; empty when nothing has to change."""
    lacking = list(_lacking(facts))
    leaving: list[CryptoKeyId] = []
    taken: tuple[CryptoKeyId, ...] = ()
    if facts.expired or facts.released:  # most hosts have nothing to remove
        taken = _keys_to_take_away(facts)
        leaving, lost = _losing(facts, taken)
        lacking += [key for key in leaving + lost if key in facts.granted]
    here = by_provider(leaving)
    return (
        *(Evict(provider, here.get(provider, ())) for provider in facts.expired),
        *((TakeAway(taken),) if taken else ()),
        *(supplies(lacking, facts.types) if facts.takes_keys else ()),
    )


def _keys_to_take_away(facts: PlannedKeyFacts) -> tuple[CryptoKeyId, ...]:
    """Released keys to remove from the host."""
    used = frozenset(facts.keys)
    return tuple(key for key in facts.released if key not in used or key in facts.forgotten)


def _losing(
    facts: PlannedKeyFacts, taken: tuple[CryptoKeyId, ...]
) -> tuple[list[CryptoKeyId], list[CryptoKeyId]]:
    """Cached keys that the plan removes although VMs use them: those of deleted providers, and
    those of ``taken``."""
    going, expired = frozenset(taken), frozenset(facts.expired)
    present = [key for key in facts.keys if key not in facts.absent]
    leaving = [key for key in present if key.provider_id in expired]
    return leaving, [key for key in present if key in going and key.provider_id not in expired]


def supplies(
    lacking: Iterable[CryptoKeyId], types: Mapping[ProviderId, ManagementType]
) -> tuple[Supply, ...]:
    """How the host gets keys that its cache lacks.

    Keys that hosts fetch or derive by themselves need no action of vCenter. A missing provider is
    asked all the same: it may be back by then.
    """
    return tuple(
        Supply(provider, keys)
        for provider, keys in by_provider(lacking).items()
        if not of_provider(types, provider).self_served
    )


def keys_refused_by_mode(facts: PlannedKeyFacts) -> tuple[CryptoKeyId, ...]:
    """Keys that the host lacks and vCenter would deliver, but its mode does not accept."""
    if facts.takes_keys:
        return ()
    return tuple(key for each in supplies(_lacking(facts), facts.types) for key in each.keys)


def not_granted(facts: PlannedKeyFacts) -> tuple[CryptoKeyId, ...]:
    """Keys that the host lacks, or loses by the plan, and that vCenter does not deliver because no
    task granted them to its cluster."""
    leaving, lost = _losing(facts, _keys_to_take_away(facts))
    gone = facts.absent.union(leaving, lost)
    withheld = [key for key in facts.keys if key in gone and key not in facts.granted]
    return tuple(key for each in supplies(withheld, facts.types) for key in each.keys)


def _lacking(facts: PlannedKeyFacts) -> Iterable[CryptoKeyId]:
    """Keys that the host should have, may get, and its cache lacks, in order."""
    if not facts.absent:
        return ()
    return (key for key in facts.keys if key in facts.absent and key in facts.granted)


def find_expired_providers(
    deleted: Iterable[DeletedRow], host: NodeName, now: float, grace_s: float
) -> tuple[ProviderId, ...]:
    """Names of providers whose keys leave this host now, and have not left it before (DEL-02).

    Times in monotonic lab seconds.
    """
    return tuple(
        row.name
        for row in deleted
        if host not in row.evicted_from
        and not now - grace_s < row.at <= now  # a future time is of a lab that began anew
    )


def by_provider(keys: Iterable[CryptoKeyId]) -> dict[ProviderId, tuple[CryptoKeyId, ...]]:
    """Keys by their provider, in order of first appearance."""
    found: dict[ProviderId, list[CryptoKeyId]] = {}
    for key in keys:
        found.setdefault(key.provider_id, []).append(key)
    return {provider: tuple(some) for provider, some in found.items()}


def keys_removed_by(actions: Sequence[Action]) -> frozenset[CryptoKeyId]:
    """The keys that a plan removes from the host."""
    return frozenset(
        key for action in actions if isinstance(action, Evict | TakeAway) for key in action.keys
    )


def _recovery_id(summary: HostSummary) -> str:
    """The id of the recovery key to keep safe; empty where the TPM seals nothing."""
    return summary.recovery_id if summary.protection_mode is ProtectionMode.TPM else ""


def _newly_disabled(summary: HostSummary, row: HostRow) -> bool:
    return summary.crypto_state is HostCryptoState.PENDING_INCAPABLE and not row.kept_off


# ---- marks on VMs --------------------------------------------------------------------------------
# What a pass changes of the marks on a host's VMs, and the events for it.

Denied = Mapping[CryptoKeyId, KeyUnavailableReason]
"""Keys that a host lacks and cannot be given, with the reasons."""


@dataclass(frozen=True)
class MarkChange:
    """A mark that is set, changed or removed: the edit and the event are one transaction."""

    vm: VmName
    locked: bool
    edit: Edit
    draft: events.EventDraft


def mark_changes(
    host: NodeName,
    rows: Iterable[VmRow],
    lacking: Collection[CryptoKeyId],
    denied: Denied,
    types: Mapping[ProviderId, ManagementType],
    *,
    connected: bool,
    may_unlock: bool,
) -> tuple[MarkChange, ...]:
    """The changes of marks on these VMs of one host.

    ``lacking``: keys that its cache does not have now. ``connected``: a host that vCenter does not
    see is not judged. ``may_unlock``: whether this occasion may remove a mark (LOCK-05).
    """
    changes: list[MarkChange] = []
    absent = frozenset(lacking)
    for row in rows:
        decision = decide(
            VmLockFacts(
                keys=row.keys,
                running=row.power is PowerState.ON,
                connected=connected and row.host == host,
                absent=absent,
                denied=denied,
                mark=row.lock_event,
                marked_missing=row.missing,
                may_unlock=may_unlock,
                types=types,
            )
        )
        match decision:
            case Keep():
                pass
            case Lock(event, missing, reasons):
                edit = change_vm(row.name, lock_event=event, missing=missing)
                draft = events.vm_locked(row.name, host, event, missing, reasons)
                changes.append(MarkChange(row.name, True, edit, draft))
            case Unlock():
                edit = change_vm(row.name, lock_event=None, missing=())
                draft = events.vm_unlocked(row.name, host)
                changes.append(MarkChange(row.name, False, edit, draft))
            case _:
                assert_never(decision)
    return tuple(changes)


def send_errors(
    host: NodeName,
    denied: Denied,
    reported_by_vms: Collection[CryptoKeyId],
    reported_by_host: KeyUnavailableReason | None,
) -> tuple[events.EventDraft, ...]:
    """``SendKeyError`` for keys that no other event of this host reports.

    ``reported_by_vms``: keys of VMs on this host, whose marks report them. ``reported_by_host``:
    why the host key is not available; that event covers keys denied for the same reason.
    """
    drafts: list[events.EventDraft] = []
    for provider, keys in by_provider(key for key in denied if key not in reported_by_vms).items():
        for reason in KeyUnavailableReason:
            these = tuple(key for key in keys if denied[key] is reason)
            if not these or reason is reported_by_host:
                continue
            if reason is KeyUnavailableReason.MISSING_IN_CACHE:
                continue  # the host's own refusal has an event of its own
            drafts.append(events.send_error(host, provider, these, reason))
    return tuple(drafts)
