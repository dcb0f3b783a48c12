"""The last looks of a run, for the checks: every guest's disk, every acknowledged key and VM, the
alarms of vCenter beside their causes, and what vCenter shows beside what hosts report
themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from chaos.history import History
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.guests import Guests
from chaos.observe.look import LabLook, all_vms, is_there, leaders
from protocol.events import EventTypeId
from protocol.messages.host.session import HostSummary, VmSummary
from protocol.messages.vcenter.inventory import HostInfo, VcEvent
from protocol.messages.vcenter.providers import ProviderInfo
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import (
    AttestationStatus,
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    PowerState,
    ProviderHealth,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)


def may_have_rung(history: History) -> bool:
    """Whether a host waited for its key, or a VM was locked, at any look."""
    states = [r for r in history.records if r.type == "state"]
    locked, waits = VmCryptoState.LOCKED.value, HostCryptoState.PREPARED.value
    return any(
        (r.op == "marks" and r.data["locked"])
        or (r.op == "vm" and r.data["crypto"] == locked)
        or (r.op == "host" and r.data.get("crypto") == waits)
        for r in states
    )


async def look_at_alarms(lab: LabUnderTest, history: History) -> None:
    """The alarms of every host and VM, with the report of the host that vCenter names. Entries that
    vCenter changes while hosts are queried, and nodes that do not answer, are left out."""
    before = LabLook(lab)
    hosts, vms = await before.vcenter_hosts(), await before.vcenter_vms()
    own = await before.hosts()
    after = LabLook(lab)
    hosts_then, vms_then = await after.vcenter_hosts(), await after.vcenter_vms()
    told = {(host, vm.vm): vm for host, summary in own.items() for vm in summary.vms}
    history.add(
        "state",
        op="alarms",
        hosts={
            str(name): _host(info, own[name])
            for name, info in hosts.items()
            if name in own and _host_fields(info) == _host_fields(hosts_then.get(name))
        },
        vms={
            str(name): _vm(info, found.crypto, found.power)
            for name, info in vms.items()
            if (found := told.get((info.host, name))) is not None and info == vms_then.get(name)
        },
    )


def _host_fields(info: HostInfo | None) -> Any:
    return None if info is None else (info.alarms, info.connection, info.crypto_state)


def _host(info: HostInfo, own: HostSummary) -> dict[str, Any]:
    return {
        "alarms": list(info.alarms),
        "connection": info.connection.value,
        "crypto": own.crypto_state.value,
    }


def _vm(info: VmInfo, crypto: VmCryptoState | None, power: PowerState) -> dict[str, Any]:
    return {
        "alarms": list(info.alarms),
        "marked": info.lock_event is not None,
        "connection": info.connection.value,
        "crypto": None if crypto is None else crypto.value,
        "power": power.value,
    }


SETTLE_S: Final = 60.0
"""Lab seconds within which vCenter shows what has changed on a host that it is connected to."""
AGAIN_S: Final = 5.0
_OF_HOSTS: Final = (
    *("boot", "version", "crypto_state", "crypto_key_id", "key_persistence", "cached_keys"),
    *("tpm_present", "in_maintenance_mode"),
)
_OF_VMS: Final = (
    *("connection", "crypto", "missing", "vtpm", "snapshots", "with_memory", "template"),
)
"""Fields that vCenter shows of a VM as its host reports them, beside power and key."""
_NOT_ON_ALL_HOSTS: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotOnAllHosts"


class ShownDifferences(msgspec.Struct):
    """``differ``: a sentence for each host, VM or key provider that vCenter shows differently.
    ``refused``: hosts whose TPM vCenter does not accept."""

    hosts: int = 0
    vms: int = 0
    differ: dict[str, str] = {}
    refused: list[str] = []


async def look_at_what_is_shown(lab: LabUnderTest, history: History) -> None:
    """Compare the hosts that answer and are connected, their VMs, and the key providers."""
    seen, left = await _look(lab), SETTLE_S
    while left > 0 and (seen.differ or seen.refused):
        await lab.sleep(AGAIN_S)
        before, seen, left = seen, await _look(lab), left - AGAIN_S
        seen.differ = {name: text for name, text in seen.differ.items() if name in before.differ}
        seen.refused = [host for host in seen.refused if host in before.refused]
    history.add("state", op="shown", **msgspec.to_builtins(seen))


async def _look(lab: LabUnderTest) -> ShownDifferences:
    look = LabLook(lab)
    own = await look.hosts()
    listed_hosts = await look.vcenter_hosts()
    connected = {
        host
        for host, info in listed_hosts.items()
        if info.connection is HostConnectionState.CONNECTED
    }
    shown = {host: info for host, info in listed_hosts.items() if host in connected & own.keys()}
    vms = {
        (info.host, name): info
        for name, info in (await look.vcenter_vms()).items()
        if info.host in shown and info.connection is not VmConnectionState.ORPHANED
    }
    found = ShownDifferences(hosts=len(shown), vms=len(vms))
    for host, info in shown.items():
        if text := "; ".join(_of_host(info, own[host])):
            found.differ[str(host)] = text
        if info.attestation is not None:
            if info.attestation.status is AttestationStatus.NOT_ACCEPTED:
                found.refused.append(str(host))
    listed = {(host, vm.vm): vm for host in shown for vm in own[host].vms if vm.locked_by is None}
    found.differ |= {str(name): text for (_, name), text in _of_vms(vms, listed)}
    # Of several vCenters each has its own hosts. One that does not answer here may lack the key.
    whole = len(leaders(lab)) == 1 and connected <= own.keys()
    hosts = {host: own[host] for host in shown} if whole else {}
    for provider in await look.providers() or ():
        if text := "; ".join(_of_provider(provider, hosts)):
            found.differ[f"key provider {provider.provider}"] = text
    return found


def _of_host(info: HostInfo, own: HostSummary) -> Iterator[str]:
    for name in _OF_HOSTS:
        here, there = getattr(own, name), getattr(info, name)
        if here != there:
            yield f"{name} is {here}, and vCenter shows {there}"
    if own.tpm_present and info.attestation is None:
        yield "vCenter has not attested its TPM"


def _of_vms(
    shown: Mapping[tuple[NodeName, VmName], VmInfo],
    listed: Mapping[tuple[NodeName, VmName], VmSummary],
) -> Iterator[tuple[tuple[NodeName, VmName], str]]:
    """A VM that several hosts list and none of them runs is right on any one of them."""
    right = {name for host, name in listed if (host, name) in shown}
    for place in sorted({*shown, *listed}):
        info, own = shown.get(place), listed.get(place)
        if own is None:
            yield place, f"vCenter shows it on {place[0]}, which does not list it"
        elif info is None:
            if own.power is PowerState.ON or place[1] not in right:
                yield place, f"{place[0]} lists it, and vCenter does not show it there"
        elif info.power is not own.power:
            yield place, f"it is {own.power}, and vCenter shows {info.power}"
        elif _is_unreadable(own):
            continue
        elif not _has_key(info, own):
            keys = ", ".join(map(str, own.keys)) or "no key"
            yield place, f"it is under {keys}, and vCenter shows {info.key or 'no key'}"
        elif other := _find_other(info, own):
            yield place, other


def _of_provider(info: ProviderInfo, hosts: Mapping[NodeName, HostSummary]) -> Iterator[str]:
    """Its status follows from its servers (STD-09). A native one has an id of its key, and vCenter
    shows whether each of the connected ``hosts`` has that key (NKP-02)."""
    if info.management_type is ManagementType.VCENTER:
        contacts = {contact.status for contact in info.contacts}
        due = next(iter(contacts)) if contacts in ({"green"}, {"red"}) else "yellow"
        if contacts and info.status != due:
            servers = ", ".join(sorted(contacts))
            yield f"its servers are {servers}, and vCenter shows {info.status}"
    if info.management_type is not ManagementType.NATIVE_PROVIDER:
        return
    if not info.key_id or info.health is ProviderHealth.NONE:
        yield f"vCenter shows no {'health' if info.key_id else 'id'} of its key"
        return
    without = [
        str(host)
        for host, own in hosts.items()
        if (own.tpm_present or not info.tpm_required) and not _derives(own, info)
    ]
    if hosts and bool(without) != (_NOT_ON_ALL_HOSTS in info.details):
        missing = ", ".join(without) or "no connected host"
        yield f"{missing} is without its key, and vCenter shows {info.health} {info.details}"


def _derives(own: HostSummary, info: ProviderInfo) -> bool:
    """Whether a host has the key derivation key that vCenter names."""
    right = any(
        (one.provider_id, one.key_id) == (info.provider, info.key_id) for one in own.providers
    )
    return right and info.provider in own.kdks


def _is_unreadable(own: VmSummary) -> bool:
    """Whether its host cannot read its configuration, and so knows none of its keys."""
    return own.connection is VmConnectionState.INVALID and own.crypto is None


def _has_key(info: VmInfo, own: VmSummary) -> bool:
    return info.key in own.keys if info.key is not None else not own.keys


def _find_other(info: VmInfo, own: VmSummary) -> str:
    """The first of ``_OF_VMS`` that is not as its host says; empty for none."""
    for name in _OF_VMS:
        here, there = getattr(own, name), getattr(info, name)
        if here != there:
            return f"{name} is {here}, and vCenter shows {there}"
    return ""


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
