"""The last looks of a run, for the checks: every guest's disk, every acknowledged key and VM, and
what vCenter has told of locks."""

from __future__ import annotations

from chaos.history import History
from chaos.lab import Lab
from chaos.observe.guests import Guests
from chaos.observe.look import Look, is_there
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    PowerState,
    ProviderId,
    VmName,
)

NOT_ITS_KEYS = (
    KeyUnavailableReason.MANAGED_BY_NKP,
    KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY,
)
"""vCenter says so of keys that only hosts can have: whether they can is not to be asked of it."""


async def last_looks(lab: Lab, guests: Guests, history: History) -> None:
    """Each planted guest that runs reads its whole disk; acknowledged keys are asked for at their
    providers, and acknowledged VMs in vCenter's inventory; the events of VMs that were locked are
    read."""
    look = Look(lab)
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
    await _lock_events(look, history)


async def _lock_events(look: Look, history: History) -> None:
    """What vCenter told of the locks of VMs that were marked in this run, and which are marked
    still, or run; a VM that changes while this is read is left out."""
    marks = [r.data["locked"] for r in history.records if r.type == "state" and r.op == "marks"]
    seen = {VmName(vm) for locked in marks for vm in locked}
    if not seen:
        return
    before = await look.vcenter_vms()
    told = await look.lock_events()
    after = await look.vcenter_vms()
    still = [vm for vm in sorted(seen) if vm in before and before[vm] == after.get(vm)]
    history.add(
        "state",
        op="lock_events",
        told={str(vm): told.get(vm, []) for vm in still} if told is not None else {},
        locked=[str(vm) for vm in still if after[vm].lock_event is not None],
        running=[str(vm) for vm in still if after[vm].power is PowerState.ON],
    )


async def _guests(look: Look, guests: Guests, history: History) -> None:
    seen = await look.vms()
    for vm in guests.planted():
        if vm not in seen or seen[vm][1].power is not PowerState.ON:
            continue
        asked = await guests.read_back(vm, seen[vm][0])
        if asked.right is None:
            kind, data = ("fail" if asked.definite else "info"), {"error": asked.detail}
        else:
            kind, data = "ok", {} if asked.right else {"wrong": asked.detail}
        history.add(kind, str(vm), op="guest.challenge", n=0, **data)
