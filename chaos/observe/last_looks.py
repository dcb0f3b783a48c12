"""The last looks of a run, for the checks: guests' disks, acknowledged keys and VMs, and vCenter's
events of locks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

from chaos.history import History
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.alarms import look_at_alarms, may_have_rung
from chaos.observe.guests import Guests
from chaos.observe.listing import all_vms
from chaos.observe.look import LabLook, is_there
from chaos.observe.vcenters import leaders
from protocol.events import EventTypeId
from protocol.messages.vcenter import VcEvent, VmInfo
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    NodeName,
    PowerState,
    ProviderId,
    VmCryptoState,
    VmName,
)

_ORDERED: Final = frozenset(
    {
        EventTypeId.KMS_UNREACHABLE,
        EventTypeId.KMS_NOT_BACKED_UP,
        EventTypeId.KMS_NOT_BACKED_UP_AFTER_UPDATE,
        EventTypeId.KMS_ALL_BACKED_UP,
        EventTypeId.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
        EventTypeId.HOST_REQ_ENABLE_KEY_MISSING_ON_KMS,
        EventTypeId.HOST_CRYPTO_ENABLED,
        EventTypeId.TA_HOST_ATTEST_FAIL,
        EventTypeId.TA_HOST_ATTEST_UNSET,
        EventTypeId.KMS_TA_CLUSTER_NOT_AVAILABLE,
        EventTypeId.KMS_TA_CLUSTER_UNHEALTHY,
    }
)
NOT_ITS_KEYS = (
    KeyUnavailableReason.MANAGED_BY_NKP,
    KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY,
)
"""vCenter says so of keys that only hosts can have: whether they can is not to be asked of it."""


async def last_looks(lab: LabUnderTest, guests: Guests, history: History) -> None:
    """Read every planted running guest's disk, acknowledged keys at their providers, acknowledged
    VMs in vCenter's inventory, events of VMs that were locked, and alarms where some have rung."""
    look = LabLook(lab)
    await _guests(look, guests, history)
    acked = {
        r.data["key"]: CryptoKeyId(KeyId(r.data["key"]), ProviderId(r.data["provider"]))
        for r in history.records
        if r.type == "ok" and "key" in r.data
    }
    if acked:
        status = await look.key_status(tuple(acked.values())) or {}
        found = {key: told for key, told in status.items() if told.reason not in NOT_ITS_KEYS}
        asked_for = [str(key.key_id) for key in found]
        good = [str(key.key_id) for key, status in found.items() if is_there(status)]
        history.add("state", op="keys", asked=asked_for, available=good)
    made = [r.data["vm"] for r in history.records if r.type == "ok" and "vm" in r.data]
    listed = await look.vcenter_vms() if made else {}
    if listed:
        keys = {str(vm): str(info.key.key_id) if info.key else None for vm, info in listed.items()}
        history.add("state", op="vms", listed={vm: keys[vm] for vm in made if vm in keys})
    await _inventories(lab, history)
    await _events(look, history)
    if may_have_rung(history):
        await look_at_alarms(lab, history)


async def _inventories(lab: LabUnderTest, history: History) -> None:
    """What each vCenter has, where several lead hosts, and all of them answer."""
    if len(leaders(lab)) < 2:
        return
    found: dict[NodeName, list[str]] = {}
    for vcenter in leaders(lab):
        try:
            found[vcenter] = [str(vm.vm) for vm in await all_vms(lab, vcenter)]
        except REFUSALS:
            return
    for vcenter, vms in found.items():
        history.add("state", str(vcenter), op="inventory", vms=vms)


async def _events(look: LabLook, history: History) -> None:
    """What vCenter told in a run in which VMs were locked: of each one that it had marked, and the
    order in which it told of everything whose order is fixed, from its whole log."""
    states = [r for r in history.records if r.type == "state"]
    marked = {VmName(vm) for r in states if r.op == "marks" for vm in r.data["locked"]}
    locked = VmCryptoState.LOCKED.value
    if not marked and not any(r.op == "vm" and r.data["crypto"] == locked for r in states):
        return
    before = await look.vcenter_vms() if marked else {}
    logs = await look.event_logs()
    if marked:
        _lock_events(history, marked, logs, before, await look.vcenter_vms())
    for vcenter, log in sorted((logs or {}).items()):
        rows = [(e.event.value, e.host or "", e.vm or "") for e in log if _is_ordered(e.event)]
        history.add("state", str(vcenter), op="event_log", told=rows)


def _lock_events(
    history: History,
    marked: Set[VmName],
    logs: Mapping[NodeName, Sequence[VcEvent]] | None,
    before: Mapping[VmName, VmInfo],
    after: Mapping[VmName, VmInfo],
) -> None:
    """What was told of the locks of the VMs that were marked, and which are marked still, or run;
    a VM that changed while the logs were read is left out."""
    told = {} if logs is None else _locks(logs.values())
    still = [vm for vm in sorted(marked) if vm in before and before[vm] == after.get(vm)]
    history.add(
        "state",
        op="lock_events",
        told={str(vm): told.get(vm, []) for vm in still} if logs is not None else {},
        locked=[str(vm) for vm in still if after[vm].lock_event is not None],
        running=[str(vm) for vm in still if after[vm].power is PowerState.ON],
    )


def _locks(logs: Iterable[Sequence[VcEvent]]) -> dict[VmName, list[bool]]:
    """Of each VM, oldest first, whether an event says that it was locked or that it was
    unlocked."""
    found: dict[VmName, list[bool]] = {}
    for event in (event for log in logs for event in log):
        if event.vm is not None and (locks := _locking(event.event)) is not None:
            found.setdefault(event.vm, []).append(locks)
    return found


def _locking(event: EventTypeId) -> bool | None:
    if event is EventTypeId.VM_UNLOCKED:
        return False
    return True if ".VMLocked." in event.value else None


def _is_ordered(event: EventTypeId) -> bool:
    """Whether the order of such an event is fixed by its cause."""
    return event in _ORDERED or _locking(event) is not None


async def _guests(look: LabLook, guests: Guests, history: History) -> None:
    seen = await look.vms()
    for vm in guests.list_planted():
        if vm not in seen or seen[vm][1].power is not PowerState.ON:
            continue
        asked = await guests.read_back(vm, seen[vm][0])
        if asked.right is None:
            kind, data = ("fail" if asked.definite else "info"), {"error": asked.detail}
        else:
            kind, data = "ok", {} if asked.right else {"wrong": asked.detail}
        history.add(kind, str(vm), op="guest.challenge", n=0, **data)
