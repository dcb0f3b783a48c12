"""What a pass makes of the marks on a host's VMs, and which events tell of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from protocol.terms import (
    CryptoKeyId,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from services.vcenter import events
from services.vcenter.hosts.plan import by_provider
from services.vcenter.inventory import Edit, change_vm
from services.vcenter.locks import Keep, Lock, Unlock, VmLockFacts, decide
from services.vcenter.tables import VmRow

Denied = Mapping[CryptoKeyId, KeyUnavailableReason]
"""Keys that a host lacks and cannot be given, each with its own reason."""


@dataclass(frozen=True)
class MarkChange:
    """A mark that is set, changed or taken back: the edit and the event are one transaction."""

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
    """The decisions on these VMs of one host, those that change nothing left out.

    ``lacking``: keys that its cache does not have now. ``connected``: what vCenter does not see it
    does not judge. ``may_unlock``: whether this occasion may take a mark back (LOCK-05).
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
    told_by_vms: Collection[CryptoKeyId],
    told_by_host: KeyUnavailableReason | None,
) -> tuple[events.EventDraft, ...]:
    """``SendKeyError`` for keys that neither a VM of this host nor its host key tells of.

    ``told_by_vms``: keys of VMs on this host, which say so by their own marks. ``told_by_host``:
    why the host key cannot be had; keys denied for the same reason are part of that story.
    """
    drafts: list[events.EventDraft] = []
    for provider, keys in by_provider(key for key in denied if key not in told_by_vms).items():
        for reason in KeyUnavailableReason:
            these = tuple(key for key in keys if denied[key] is reason)
            if not these or reason is told_by_host:
                continue
            if reason is KeyUnavailableReason.MISSING_IN_CACHE:
                continue  # the host's own refusal has an event of its own
            drafts.append(events.send_error(host, provider, these, reason))
    return tuple(drafts)
